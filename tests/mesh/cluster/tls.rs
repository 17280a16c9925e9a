//! Meshes with TLS: routes in every direction between every kind of member, and which
//! peers are refused or disconnected.

use std::fs;

use super::delivery::every_way;
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};
use test_support::{pki::Pki, wait_until};

/// A `tls` block with the certificate of `name`, the CA of `ca` and more settings.
pub fn block(pki: &Pki, name: &str, ca: &Pki, more: &str) -> String {
    format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, timeout: 2, {more} }}",
        pki.text(&format!("{name}.pem")),
        pki.text(&format!("{name}.key")),
        ca.text("ca.pem")
    )
}

/// A member with TLS and a certificate of its own name.
fn plan(kind: Kind, pki: &Pki, name: &str, port: u16, routes: &[u16], more: &str) -> Plan {
    let mut plan = Plan::new(kind, name, port, routes);
    plan.cluster = format!("name: mesh\n  {}", block(pki, name, pki, more));
    plan
}

/// Messages pass in both directions, whichever side dials.
#[test]
fn tls_routes_work_in_every_direction() {
    let pki = Pki::new(&["n0", "n1"]);
    for (dialled, dials) in [
        (Kind::Midge, Kind::Midge),
        (Kind::Midge, Kind::Nats),
        (Kind::Nats, Kind::Midge),
        (Kind::Midge, Kind::Nats29),
        (Kind::Nats29, Kind::Midge),
    ] {
        let port = free_port();
        let members = [
            plan(dialled, &pki, "n0", port, &[], "").start(),
            plan(dials, &pki, "n1", free_port(), &[port], "").start(),
        ];
        mesh::wait_for_mesh(&[&members[0], &members[1]]);
        every_way(&members);
        for member in &members {
            let varz = member.broker.get_json("/varz");
            assert_eq!(varz["cluster"]["tls_required"], true, "{varz}");
        }
    }
}

/// Three kinds of members in one mesh, each of which knows only the first. Certificates
/// contain a name, but members discover each other by address: midge verifies against the
/// host names of its own routes, nats-server against the first of them.
#[test]
fn discovered_members_are_verified_by_address() {
    let pki = Pki::new(&[]);
    let seed = free_port();
    let kinds = [Kind::Midge, Kind::Midge, Kind::Nats];
    let mut members = Vec::new();
    for (index, kind) in kinds.into_iter().enumerate() {
        let name = format!("n{index}");
        pki.sign_for(&name, "localhost");
        let (port, routes) = match index {
            0 => (seed, vec![]),
            _ => (free_port(), vec![seed]),
        };
        let plan = plan(kind, &pki, &name, port, &routes, "");
        let text = plan.text().replace("@127.0.0.1:", "@localhost:");
        // The first dials nobody: it needs a route to know the host name.
        let text = match index {
            0 => text.replace(
                "routes = [\n",
                &format!("routes = [\n nats-route://routes:s3cret@localhost:{seed}\n"),
            ),
            _ => text,
        };
        members.push(plan.start_with(text));
    }
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    every_way(&members);
}

/// A peer without a certificate of the CA, or without TLS, gets no route, and the log
/// names the reason.
#[test]
fn untrusted_peers_are_refused() {
    let (pki, foreign) = (Pki::new(&["host"]), Pki::new(&["intruder"]));
    let port = free_port();
    let host = plan(Kind::Midge, &pki, "host", port, &[], "").start();
    for kind in [Kind::Midge, Kind::Nats] {
        // Each case: the TLS settings of the untrusted peer, and a line in one of the
        // logs.
        for (tls, expected) in [
            (
                // It trusts the host; the host does not trust it.
                block(&foreign, "intruder", &pki, ""),
                "TLS route handshake error: the peer's certificate is not signed by a CA in \
                 ca_file: CN=intruder",
            ),
            (
                // It does not trust the host.
                block(&foreign, "intruder", &foreign, ""),
                "TLS route handshake error: the peer gave up",
            ),
            (
                String::new(),
                "TLS route handshake error: the peer did not send TLS",
            ),
        ] {
            let seen = host.broker.log().so_far().count(expected);
            let mut untrusted_peer = Plan::new(kind, "intruder", free_port(), &[port]);
            untrusted_peer.cluster = format!("name: mesh\n  {tls}");
            let untrusted_peer = untrusted_peer.start();
            wait_until(&format!("{kind:?}: {expected}"), || {
                host.broker.log().so_far().count(expected) > seen
            });
            assert!(host.peers().is_empty() && untrusted_peer.peers().is_empty());
        }
    }
    let events = host.broker.get_json("/eventsz").to_string();
    assert!(events.contains("CN=intruder"), "{events}");
}

/// A midge with TLS that dials a peer without TLS logs it once.
#[test]
fn a_peer_without_tls_is_reported() {
    let pki = Pki::new(&["n1"]);
    let port = free_port();
    let plain = Plan::new(Kind::Midge, "n0", port, &[]).start();
    let member = plan(Kind::Midge, &pki, "n1", free_port(), &[port], "").start();
    let expected = format!("127.0.0.1:{port}: TLS handshake error: the peer did not send TLS");
    member.broker.log().wait_for(&expected);
    wait_until("several attempts", || {
        plain
            .broker
            .log()
            .so_far()
            .count("Unknown Protocol Operation")
            > 2
    });
    member.broker.log().wait_for_count(&expected, 1);
    assert!(plain.peers().is_empty());
}

/// A member whose certificate is revoked is disconnected and stays refused, whichever
/// side dialled; the others stay.
#[test]
fn a_revoked_member_is_cut_off() {
    let pki = Pki::new(&["n0", "n1", "n2", "n3"]);
    let crl = format!("crl_file: {:?}", pki.text("crl.pem"));
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let members: Vec<Member> = [Kind::Midge, Kind::Midge, Kind::Nats, Kind::Midge]
        .into_iter()
        .enumerate()
        .map(|(index, kind)| {
            let crl = if kind == Kind::Midge { &*crl } else { "" };
            // The first is dialled by some and dials the last.
            let routes = match index {
                0 => &ports[3..],
                _ => &ports[..1],
            };
            plan(kind, &pki, &format!("n{index}"), ports[index], routes, crl).start()
        })
        .collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    pki.revoke("n2");
    pki.revoke("n3");
    let left = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    for (member, others) in [(&members[0], ["n1"]), (&members[1], ["n0"])] {
        wait_until("the revoked members are disconnected", || {
            member.peers() == left(&others)
        });
    }
    let log = members[0].broker.log();
    for revoked in ["CN=n2", "CN=n3"] {
        log.wait_for(&format!("Certificate revoked: {revoked}"));
    }
    // They reconnect and are refused; so is the dialled one.
    log.wait_for("the peer's certificate is revoked: CN=n2");
    log.wait_for("TLS handshake error: the peer's certificate is revoked");
    assert_eq!(members[0].peers(), left(&["n1"]));
    every_way(&members[..2]);
}

/// The further checks of a `tls` block are applied in addition to the CA check.
#[test]
fn pinned_keys_and_known_hosts_are_checked() {
    let pki = Pki::new(&["n0", "n1"]);
    let port = free_port();
    pki.sign_for("n1", "elsewhere.example.net");
    for (more, expected) in [
        (
            "verify_cert_and_check_known_urls: true".to_owned(),
            "the peer's certificate names no host of a configured route: CN=n1",
        ),
        (
            format!("pinned_certs: [\"{}\"]", "0".repeat(64)),
            "the key of the peer's certificate is not in pinned_certs: CN=n1",
        ),
    ] {
        let host = plan(Kind::Midge, &pki, "n0", port, &[], &more).start();
        let _member = plan(Kind::Midge, &pki, "n1", free_port(), &[port], "").start();
        host.broker.log().wait_for(expected);
        assert!(host.peers().is_empty());
    }
    // With `insecure`, the name of a dialled peer is not verified.
    let host = plan(Kind::Midge, &pki, "n1", port, &[], "").start();
    let wary = plan(Kind::Midge, &pki, "n0", free_port(), &[port], "").start();
    let reported = "not valid for 127.0.0.1: it is for \"elsewhere.example.net\"";
    wary.broker.log().wait_for(reported);
    assert!(host.peers().is_empty());
    drop(wary);
    let bold = plan(
        Kind::Midge,
        &pki,
        "n0",
        free_port(),
        &[port],
        "insecure: true",
    )
    .start();
    mesh::wait_for_mesh(&[&host, &bold]);
}

/// Removing a pinned key by a reload closes its route, whichever side dialled.
#[test]
fn removing_a_pinned_key_closes_its_route() {
    let pki = Pki::new(&["n0", "n1", "n2"]);
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let first = |pinned: &[&str]| {
        let keys: Vec<String> = pinned
            .iter()
            .map(|name| format!("{:?}", pki.key_digest(name)))
            .collect();
        let pinned = format!("pinned_certs: [{}]", keys.join(", "));
        plan(Kind::Midge, &pki, "n0", ports[0], &ports[2..], &pinned)
    };
    let members = [
        first(&["n1", "n2"]).start(),
        plan(Kind::Nats, &pki, "n1", ports[1], &ports[..1], "").start(),
        plan(Kind::Midge, &pki, "n2", ports[2], &[], "").start(),
    ];
    wait_until("both are connected", || members[0].peers().len() == 2);
    for (stays, goes) in [("n2", "n1"), ("n1", "n2")] {
        members[0].reload(&first(&[stays]).text());
        wait_until(&format!("only {stays} is connected"), || {
            members[0].peers() == [stays.to_owned()].into()
        });
        let reported = format!("no longer in pinned_certs: CN={goes}");
        members[0].broker.log().wait_for(&reported);
    }
}

/// When the CA of a dialled member is removed, its route closes, even though its
/// certificate is for servers only and would be refused as a client's anyway.
#[test]
fn removing_a_ca_closes_routes_to_its_members() {
    let (pki, other) = (Pki::new(&["n0"]), Pki::new(&["n1"]));
    let extensions = "extendedKeyUsage = serverAuth\nsubjectAltName = IP:127.0.0.1\n";
    fs::write(other.path("n1.ext"), extensions).expect("write the extensions");
    other.openssl(
        "ca -batch -notext -config ca.cnf -extfile n1.ext -days 10 -in n1.csr -out n1.pem",
        &[],
    );
    let both = pki.path("both.pem");
    Pki::join(&[pki.path("ca.pem"), other.path("ca.pem")], &both);
    let ports = [free_port(), free_port()];
    let dialling = |ca: &str| {
        let mut plan = Plan::new(Kind::Midge, "n0", ports[0], &ports[1..]);
        let tls = block(&pki, "n0", &pki, "verify: true");
        let believed = format!("{:?}", pki.text("ca.pem"));
        plan.cluster = format!(
            "name: mesh\n  {}",
            tls.replace(&believed, &format!("{ca:?}"))
        );
        plan
    };
    let mut dialled = Plan::new(Kind::Midge, "n1", ports[1], &[]);
    let tls = block(&other, "n1", &pki, "verify: true");
    dialled.cluster = format!("name: mesh\n  {tls}");
    let member = dialling(&both.display().to_string()).start();
    let _dialled = dialled.start();
    wait_until("the route is up", || member.peers().len() == 1);
    member.reload(&dialling(&pki.text("ca.pem")).text());
    let reported = "the CA of its certificate is no longer trusted";
    wait_until("it is disconnected", || member.peers().is_empty());
    member.broker.log().wait_for(reported);
}

/// With `verify_and_map` the certificate of a dialling member must name the cluster's
/// user, and the password is ignored.
#[test]
fn a_dialling_member_is_identified_by_its_certificate() {
    let pki = Pki::new(&["n0", "n1"]);
    pki.sign_for("n2", "elsewhere.example.net");
    for kind in [Kind::Midge, Kind::Nats] {
        let port = free_port();
        let host = plan(kind, &pki, "n0", port, &[], "verify_and_map: true");
        let login = mesh::LOGIN.replace(':', ", password: ");
        let by_certificate = host.text().replace(
            &format!("user: {login}"),
            "user: localhost, password: another-one",
        );
        let host = host.start_with(by_certificate);
        let dials = |name: &str| plan(Kind::Midge, &pki, name, free_port(), &[port], "").start();
        let named = dials("n1");
        mesh::wait_for_mesh(&[&host, &named]);
        let other = dials("n2");
        other.broker.log().wait_for("Authorization Violation");
        assert!(other.peers().is_empty());
    }
}

/// With `verify_cert_and_check_known_urls` a dialling member must be named by the routes.
/// A reload that enables it, or changes the routes, closes the routes of members that are
/// not named. Dialled members are named anyway.
#[test]
fn a_reload_can_require_known_hosts_of_dialling_members() {
    let pki = Pki::new(&["n0", "n1", "n2"]);
    pki.sign_for("n1", "elsewhere.example.net");
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    // It dials a member by its address, whose certificate names no host of a route, and
    // is dialled by one.
    let first = |more: &str, host: &str| {
        let more = format!("insecure: true, {more}");
        let plan = plan(Kind::Midge, &pki, "n0", ports[0], &ports[2..], &more);
        let dead = format!("    nats-route://{host}:1\n  ]\n}}");
        plan.text().replace("  ]\n}", &dead)
    };
    const CHECKED: &str = "verify_cert_and_check_known_urls: true";
    let elsewhere = "elsewhere.example.net";
    let start = |text: String| plan(Kind::Midge, &pki, "n0", ports[0], &[], "").start_with(text);
    // Nobody listens where n1 says that it accepts routes: n0 cannot dial it when n2 announces it,
    // and a member that was dialled is not checked.
    let mut dialling = plan(Kind::Midge, &pki, "n1", ports[1], &ports[..1], "");
    dialling.cluster.push_str("\n  advertise: \"127.0.0.1:1\"");
    let members = [
        start(first("", "unknown.example.net")),
        dialling.start(),
        plan(Kind::Midge, &pki, "n2", ports[2], &[], "").start(),
    ];
    let there = |expected: &[&str]| {
        let expected = expected.iter().map(|&name| name.to_owned()).collect();
        wait_until(&format!("{expected:?} are connected"), || {
            members[0].peers() == expected
        });
    };
    there(&["n1", "n2"]);
    members[0].reload(&first(CHECKED, elsewhere));
    members[0].client().sync();
    there(&["n1", "n2"]);
    members[0].broker.log().assert_lacks("names no host");
    // Only the routes differ.
    members[0].reload(&first(CHECKED, "unknown.example.net"));
    there(&["n2"]);
    let reported = "the peer's certificate names no host of a configured route: CN=n1";
    members[0].broker.log().wait_for(reported);
    members[0].reload(&first("", "unknown.example.net"));
    there(&["n1", "n2"]);
    members[0].reload(&first(CHECKED, "unknown.example.net"));
    there(&["n2"]);
}

/// A reload logs the warnings that a start with the new file would, and only the new
/// ones.
#[test]
fn a_reload_warns_as_a_start_does() {
    let pki = Pki::new(&["n0"]);
    let port = free_port();
    let careful = plan(Kind::Midge, &pki, "n0", port, &[], "");
    let mut bold = plan(Kind::Midge, &pki, "n0", port, &[], "insecure: true");
    bold.config = "authorization { user: u, password: p }".into();
    let words = ["are not verified", "Plaintext passwords detected"];
    let warned = |member: &mesh::Member, times: usize| {
        for words in words {
            member.broker.log().wait_for_count(words, times);
        }
    };
    let member = careful.start();
    warned(&member, 0);
    member.reload(&bold.text());
    warned(&member, 1);
    // Known by then.
    member.reload(&bold.text());
    warned(&member, 1);
    member.reload(&careful.text());
    // Brought about again.
    member.reload(&bold.text());
    warned(&member, 2);
    drop(member);
    warned(&bold.start(), 1);
}
