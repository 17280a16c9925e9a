use std::net::Ipv4Addr;

use hyper::header::HeaderValue;

use super::*;

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8222);
const OUTSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 8222);

fn status(rule: &HostRule, local: SocketAddr, host: &str) -> Option<StatusCode> {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
    let uri = Uri::from_static("/varz");
    rule.check(&uri, Version::HTTP_11, &headers, local)
        .err()
        .map(|refusal| refusal.status)
}

fn opened() -> HostRule {
    let mut names = own_names("broker1", "192.0.2.7 b.example.com broker1");
    names.extend(network_names(
        "broker1",
        "nameserver 192.0.2.1\nsearch example.org lan.",
    ));
    names.push("mon.example.net".into());
    HostRule {
        names,
        is_open: true,
    }
}

#[test]
fn on_loopback_only_what_nobody_else_can_be_is_answered() {
    let rule = HostRule {
        names: own_names("broker1", "127.0.1.1 broker1.example.org broker1\n"),
        is_open: false,
    };
    for host in [
        "localhost",
        "LocalHost:8222",
        "localhost.",
        "midge.localhost",
        "127.0.0.1",
        "127.0.0.1:8222",
        "127.8.9.10:1",
        "[::1]",
        "[::1]:8222",
        "[::ffff:127.0.0.1]:8222",
        "192.0.2.7",
        "192.0.2.8:80",
        "[2001:db8::7]:8222",
        "broker1",
        "BROKER1.example.org:8222",
    ] {
        assert_eq!(status(&rule, LOOPBACK, host), None, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:8222",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evillocalhost",
        "localhost@evil.example",
        "evil.example@localhost",
        "broker1.evil.example",
        "broker2",
        "nats",
        "0.0.0.0",
        "[::]",
        "[::ffff:0.0.0.0]",
        "224.0.0.1",
        "::1",
        "",
        ":8222",
        "localhost:x",
        "[::1]x",
        "[127.0.0.1]",
        "127.0.0.1:1:2",
        "2130706433",
    ] {
        assert_eq!(
            status(&rule, LOOPBACK, host),
            Some(StatusCode::MISDIRECTED_REQUEST),
            "{host}"
        );
    }
}

#[test]
fn an_opened_port_answers_to_its_names_and_to_short_ones() {
    let rule = opened();
    for host in [
        "localhost:8222",
        "127.0.0.1",
        "192.0.2.7:8222",
        "192.0.2.8",
        "broker1",
        "BROKER1:8222",
        "broker1.example.org",
        "broker1.lan",
        "b.example.com",
        "mon.example.net",
        "nats:8222",
        "my_nats-2",
    ] {
        assert_eq!(status(&rule, OUTSIDE, host), None, "{host}");
    }
    for host in [
        "evil.example",
        "broker1.evil.example",
        "nats.example.org",
        // The public DNS may have it, unlike the same without the dot.
        "nats.",
        ".example.org",
        "-nats",
        "2130706433",
        "0x7f000001",
        "na\u{ef}ve",
        "0.0.0.0",
    ] {
        assert_eq!(
            status(&rule, OUTSIDE, host),
            Some(StatusCode::MISDIRECTED_REQUEST),
            "{host}"
        );
    }
}

#[test]
fn names_beside_the_own_one_are_own_and_no_others() {
    let hosts = "127.0.0.1 localhost\n0.0.0.0 ads.example # Box\n\
                 127.0.1.1\tBox.example.org  BOX\n::1 box6 boxer\n";
    let names = own_names("box", hosts);
    assert_eq!(names, ["box", "box.example.org", "box"]);
}

#[test]
fn listed_names_and_their_pages_may_ask() {
    let hosts = ["mon.example".to_owned()];
    let rule = HostRule::new(Some(LOOPBACK.ip()), "", &hosts);
    assert_eq!(status(&rule, LOOPBACK, "MON.example:443"), None);
    assert!(status(&rule, LOOPBACK, "x.mon.example").is_some());
    let origin = |origin: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        rule.check_origin(&headers, LOOPBACK).is_ok()
    };
    for own in [
        "http://mon.example",
        "http://localhost:8222",
        "https://[::1]",
    ] {
        assert!(origin(own), "{own}");
    }
    for foreign in [
        "http://evil.example",
        "http://192.0.2.8",
        "http://nats",
        "null",
        "",
        "http://",
        "localhost",
    ] {
        assert!(!origin(foreign), "{foreign}");
    }
}

/// A page that was loaded from this port, whatever it is called.
#[test]
fn a_page_of_the_host_itself_may_ask() {
    let rule = opened();
    for (host, origin, expected) in [
        ("192.0.2.8:8222", "http://192.0.2.8:8222", None),
        ("nats:8222", "http://nats:8222", None),
        ("nats:8222", "http://nats:80", Some(StatusCode::FORBIDDEN)),
        (
            "nats:8222",
            "http://other:8222",
            Some(StatusCode::FORBIDDEN),
        ),
        (
            "evil.example",
            "http://evil.example",
            Some(StatusCode::MISDIRECTED_REQUEST),
        ),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        let checked = rule.check(&Uri::from_static("/"), Version::HTTP_11, &headers, OUTSIDE);
        let status = checked.err().map(|refusal| refusal.status);
        assert_eq!(status, expected, "{host} {origin}");
    }
}

#[test]
fn a_machine_without_a_name_has_none() {
    assert_eq!(own_names("", "127.0.0.1 localhost"), [""]);
    assert!(network_names("", "search example.org").is_empty());
}

#[test]
fn the_host_may_be_missing_before_http_1_1_only() {
    let rule = opened();
    let uri = Uri::from_static("/");
    let check = |version| {
        rule.check(&uri, version, &HeaderMap::new(), LOOPBACK)
            .err()
            .map(|refusal| refusal.status)
    };
    assert_eq!(check(Version::HTTP_10), None);
    assert_eq!(check(Version::HTTP_11), Some(StatusCode::BAD_REQUEST));
}

#[test]
fn two_hosts_foreign_request_lines_and_other_sites_are_refused() {
    let rule = opened();
    let local = HeaderValue::from_static("localhost");
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, local.clone());
    let check = |uri: &'static str, headers: &HeaderMap| {
        rule.check(&Uri::from_static(uri), Version::HTTP_11, headers, LOOPBACK)
            .err()
            .map(|refusal| refusal.status)
    };
    assert_eq!(check("http://localhost/varz", &headers), None);
    assert_eq!(
        check("http://evil.example/varz", &headers),
        Some(StatusCode::MISDIRECTED_REQUEST)
    );
    for (site, expected) in [
        ("none", None),
        ("same-origin", None),
        ("cross-site", Some(StatusCode::FORBIDDEN)),
    ] {
        headers.insert("sec-fetch-site", HeaderValue::from_static(site));
        assert_eq!(check("/", &headers), expected, "{site}");
    }
    headers.remove("sec-fetch-site");
    headers.append(header::HOST, local);
    assert_eq!(check("/", &headers), Some(StatusCode::BAD_REQUEST));
}
