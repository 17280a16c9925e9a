use super::*;

/// Addresses are numbers here: the host `1` has 10.0.0.1.
fn url(host: &str, port: u16) -> Url {
    let ip = host.parse::<u8>().ok();
    Url {
        host: format!("n{host}.example.net"),
        port,
        ips: ip
            .map(|ip| IpAddr::from([10, 0, 0, ip]))
            .into_iter()
            .collect(),
    }
}

fn peer(host: u8, port: u16, is_configured: bool) -> Peer {
    Peer {
        id: format!("N{host}{port}"),
        ends: vec![(IpAddr::from([10, 0, 0, host]), port)],
        is_configured,
        ..Peer::default()
    }
}

/// The broker is at host 1.
fn own() -> Own {
    Own {
        port: 6222,
        hosts: vec![url("1", 6222)],
        ..Own::default()
    }
}

fn missing(urls: &[Url], peers: &[Peer], own: &Own) -> (usize, Vec<String>) {
    let found = judge(urls.to_vec(), peers, own);
    let short = |name: &String| name.replace(".example.net", "");
    let names = found.candidates.iter().map(short);
    assert!(!found.is_doubtful, "{found:?}");
    (found.missing, names.collect())
}

#[test]
fn a_configured_peer_without_a_route_is_missing() {
    let all = ["1", "2", "3"].map(|host| url(host, 6222));
    let none: Vec<String> = Vec::new();
    // Peer 3 has dialled: its port is any.
    let both = [peer(2, 6222, true), peer(3, 40_000, false)];
    assert_eq!(missing(&all, &both, &own()), (0, none.clone()));
    assert_eq!(missing(&all[1..], &both, &own()), (0, none.clone()));
    let lost = |names: &[&str]| (names.len(), names.iter().map(|n| (*n).into()).collect());
    assert_eq!(missing(&all, &both[..1], &own()), lost(&["n3:6222"]));
    assert_eq!(missing(&all, &[], &own()), lost(&["n2:6222", "n3:6222"]));
    // A discovered peer is none of those that are named.
    let discovered = [peer(2, 6222, true), peer(4, 6222, false)];
    assert_eq!(missing(&all, &discovered, &own()), lost(&["n3:6222"]));
    let found = judge(all[..2].to_vec(), &discovered, &own());
    assert_eq!(found.discovered, ["\"N46222\""]);
    assert!(!judge(all[..1].to_vec(), &[], &own()).names_others);
}

/// Two names of one peer are one, and a peer that is reached at another address than its
/// name has here is there if the broker says so.
#[test]
fn other_addresses_of_a_peer_are_no_other_peer() {
    let twice = [
        url("2", 6222),
        Url {
            host: "10.0.0.2".into(),
            ..url("2", 6222)
        },
    ];
    assert_eq!(missing(&twice, &[peer(2, 6222, true)], &own()).0, 0);
    assert_eq!(missing(&twice, &[], &own()).0, 1);
    let behind = [url("2", 6222), url("3", 6222)];
    let translated = [peer(20, 6222, true), peer(30, 6222, true)];
    assert_eq!(missing(&behind, &translated, &own()).0, 0);
    let (count, names) = missing(&behind, &translated[..1], &own());
    assert_eq!((count, names.len()), (1, 2));
    // Not known here, but of the same name.
    let unknown = [url("x", 6222)];
    let named = Peer {
        name: "nx".into(),
        ..peer(9, 6222, false)
    };
    assert_eq!(missing(&unknown, &[named], &own()).0, 0);
}

#[test]
fn brokers_at_one_host_are_told_apart_by_their_ports() {
    let urls = [6223, 6224].map(|port| url("2", port));
    let (count, names) = missing(&urls, &[peer(2, 6224, true)], &own());
    assert_eq!((count, names), (1, vec!["n2:6223".to_owned()]));
    // Another one that the broker has not reached at any of the two.
    let discovered = [peer(2, 6224, true), peer(2, 40_000, false)];
    assert_eq!(missing(&urls, &discovered, &own()).0, 1);
    // The port of one that has dialled says nothing.
    let (count, names) = missing(&urls, &[peer(2, 40_000, true)], &own());
    assert_eq!((count, names.len()), (1, 2));
}

/// A name without an address here may be the broker's own, unless that is known.
#[test]
fn what_may_be_the_broker_itself_is_doubtful() {
    let nowhere = Own {
        hosts: Vec::new(),
        ..own()
    };
    let found = judge(vec![url("x", 6222)], &[], &nowhere);
    assert!(found.is_doubtful && found.missing == 1, "{found:?}");
    let two = vec![url("x", 6222), url("2", 6222)];
    assert!(!judge(two, &[], &nowhere).is_doubtful);
    assert!(!judge(vec![url("x", 6223)], &[], &nowhere).is_doubtful);
    assert!(!judge(vec![url("1", 6222), url("x", 6222)], &[], &own()).is_doubtful);
    // What it gives to clients, and is no peer's, is its own.
    let advertising = Own {
        advertised: vec![IpAddr::from([10, 0, 0, 5])],
        ..Own {
            hosts: Vec::new(),
            ..own()
        }
    };
    let urls = [url("5", 6222), url("2", 6222)];
    let (count, names) = missing(&urls, &[], &advertising);
    assert_eq!((count, names), (1, vec!["n2:6222".to_owned()]));
}

#[test]
fn addresses_are_read_as_varz_has_them() {
    let parsed = |text: &str| Url::parse(text).map(|url| url.to_string());
    assert_eq!(
        parsed("N1.example.net.:6222"),
        Some("n1.example.net:6222".into())
    );
    assert_eq!(parsed("[::1]:6222"), Some("[::1]:6222".into()));
    assert_eq!(parsed("10.0.0.1"), None);
    assert_eq!(
        Url::parse("[::ffff:10.0.0.1]:1").unwrap().ips,
        [IpAddr::from([10, 0, 0, 1])]
    );
}
