//! Which ports follow from which options.

use super::*;
use crate::args::{self, Asked};

fn target(arguments: &[&str]) -> Result<Target, String> {
    let arguments = ["check_nats"].iter().chain(arguments);
    match args::read(arguments.map(Into::into), "") {
        Asked::Check(matches) => {
            let host = matches.get_one::<String>("hostname").cloned();
            let url = matches.get_one::<String>("url").cloned();
            Target::new(&matches, host.as_deref(), url.as_deref())
        }
        Asked::Nonsense(mistake) => Err(mistake),
        _ => panic!("the arguments of the test are wrong"),
    }
}

fn varz(host: &str, port: u16, tls_required: bool) -> Varz {
    Varz {
        host: host.into(),
        port,
        tls_required,
        ..Varz::default()
    }
}

#[test]
fn both_ports_follow_from_what_was_given() {
    for (arguments, client, monitor) in [
        (&[][..], None, "http://127.0.0.1:8222"),
        (&["-m", "8333"], None, "http://127.0.0.1:8333"),
        (&["-u", "http://b:1/x/"], None, "http://b:1/x"),
        (&["-u", "unix:/run/m.sock"], None, "unix:/run/m.sock"),
        (&["--socket", "/run/m.sock"], None, "unix:/run/m.sock"),
        (&["-p", "1"], Some("127.0.0.1:1"), "http://127.0.0.1:8222"),
        (&["-H", "b"], Some("b:4222"), "http://b:8222"),
        (&["-H", "b:1", "-m", "2"], Some("b:1"), "http://b:2"),
        (&["-H", "b:1", "-p", "1"], Some("b:1"), "http://b:8222"),
        (&["-H", "::1"], Some("[::1]:4222"), "http://[::1]:8222"),
        (&["-u", "http://b:1", "-p", "2"], Some("b:2"), "http://b:1"),
        (
            &["-u", "unix:/m", "-p", "2"],
            Some("127.0.0.1:2"),
            "unix:/m",
        ),
        (
            &["-u", "http://b:1", "-H", "c"],
            Some("c:4222"),
            "http://b:1",
        ),
    ] {
        let target = target(arguments).unwrap();
        let given = target.client.as_ref().map(ToString::to_string);
        assert_eq!(given.as_deref(), client, "{arguments:?}");
        assert_eq!(target.monitor_place(), monitor, "{arguments:?}");
    }
}

/// A host with a zone has a client port; only its monitoring port needs another name.
#[test]
fn a_zone_is_for_the_client_port_alone() {
    let zoned = target(&["-H", "fe80::1%eth0"]).unwrap();
    assert_eq!(zoned.client.unwrap().to_string(), "[fe80::1%eth0]:4222");
    assert!(zoned.monitor.unwrap_err().contains("give -u"));
    let named = target(&["-H", "fe80::1%eth0", "-u", "http://b:8222"]).unwrap();
    assert_eq!(named.monitor_place(), "http://b:8222");
}

#[test]
fn mistakes_are_named() {
    for (arguments, words) in [
        (&["-H", "b:1", "-p", "2"][..], "contradicts"),
        (&["-H", "b:x"], "--hostname \"b:…\""),
        (&["-u", "http://me:geheim@b:1"], "remove them"),
        (&["-u", "http://me:a@geheim@b:1"], "\"http://…@b:1\""),
        (&["-H", "nats://me:geheim@b"], "--password-file"),
        (&["--password", "geheim"], "--password-file FILE"),
        (&["--token=geheim"], "$CHECK_NATS_TOKEN"),
        (&["--monitor-password", "geheim"], "$MONITOR_PASSWORD"),
        (&["--user", "a"], "--password-file FILE"),
        (&["--password-file", "/x"], "--user NAME"),
        (
            &["--token-file", "/x", "--creds", "/y"],
            "only one of --token-file, --creds",
        ),
        (&["--cert", "/x"], "--key"),
        (&["--ssldir", "/x"], "--puppet"),
    ] {
        let why = target(arguments).expect_err("refused");
        assert!(why.contains(words) && !why.contains("geheim"), "{why}");
    }
}

/// A host that only `/varz` names gets no login in clear text; one that was asked for does.
#[test]
fn another_host_that_varz_names_is_not_the_one_asked() {
    for (arguments, host, is_asked) in [
        (&["-u", "http://127.0.0.1:8222"][..], "198.51.100.2", false),
        (&["-u", "unix:/m"], "198.51.100.2", false),
        (&["-u", "unix:/m"], "b.example.net", false),
        (&["-u", "http://127.0.0.1:8222"], "0.0.0.0", true),
        (&["-u", "http://127.0.0.1:8222"], "127.0.0.2", true),
        (&["-u", "http://198.51.100.1:8222"], "198.51.100.2", false),
        (&["-u", "http://198.51.100.1:8222"], "198.51.100.1", true),
        (&["-u", "http://198.51.100.1:8222"], "0.0.0.0", true),
        (
            &["-u", "http://198.51.100.1:8222", "-H", "198.51.100.2"],
            "",
            true,
        ),
    ] {
        let target = target(arguments).unwrap();
        let port = target.client_port(|| Ok(varz(host, 1, false))).unwrap();
        assert_eq!(port.is_asked, is_asked, "{arguments:?} {host}");
    }
}

#[test]
fn the_broker_says_where_its_client_port_is() {
    for (url, host, address, name, is_local) in [
        (
            "http://127.0.0.1:8222",
            "0.0.0.0",
            "127.0.0.1:1",
            "127.0.0.1",
            true,
        ),
        ("http://[::1]:8222", "::", "[::1]:1", "::1", true),
        (
            "unix:/run/m.sock",
            "0.0.0.0",
            "127.0.0.1:1",
            "127.0.0.1",
            true,
        ),
        (
            "unix:/run/m.sock",
            "10.0.0.5",
            "10.0.0.5:1",
            "10.0.0.5",
            true,
        ),
        (
            "http://b.example.net:8222",
            "0.0.0.0",
            "b.example.net:1",
            "b.example.net",
            false,
        ),
        (
            "https://b.example.net",
            "10.0.0.5",
            "10.0.0.5:1",
            "b.example.net",
            false,
        ),
    ] {
        let port = target(&["-u", url])
            .unwrap()
            .client_port(|| Ok(varz(host, 1, true)))
            .unwrap();
        assert_eq!(port.address.to_string(), address, "{url}");
        assert_eq!((&*port.name, port.is_local), (name, is_local), "{url}");
        assert!(port.tls);
        assert_eq!(port.name_is_certain, name == "b.example.net", "{url}");
    }
}

#[test]
fn a_client_port_that_cannot_be_known_is_reported() {
    let remote = target(&["-u", "http://b.example.net:8222"]).unwrap();
    for (host, port, words) in [
        (
            "127.0.0.1",
            4222,
            "of the broker's own host: give an address for it with -H",
        ),
        ("localhost", 4222, "of the broker's own host"),
        ("0.0.0.0", 0, "no client port"),
        ("a|b", 4222, "no client port"),
    ] {
        let failure = remote.client_port(|| Ok(varz(host, port, false)));
        let failure = failure.unwrap_err();
        assert!(failure.text.contains(words), "{failure:?}");
    }
    let refused = || Err(Failure::critical("refused"));
    let failure = remote.client_port(refused).unwrap_err();
    assert_eq!(failure.status, crate::status::Status::Critical);
    assert!(
        failure
            .text
            .starts_with("refused; so the client port is not known")
    );
    let default = target(&[]).unwrap().client_port(refused).unwrap();
    assert_eq!(default.address.to_string(), "127.0.0.1:4222");
}

#[test]
fn another_broker_is_reached_in_the_same_way() {
    let target = target(&["-u", "http://a:1", "-m", "8333", "--puppet"]).unwrap();
    let other = target.at("b.example.net.", 4333).unwrap();
    assert_eq!(other.name(), "b.example.net:4333");
    assert_eq!(other.monitor_place(), "http://b.example.net:8333");
    assert!(other.tls.puppet);
    assert!(target.at("a b", 1).is_err());
}
