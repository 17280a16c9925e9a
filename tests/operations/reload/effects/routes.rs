//! Settings for the routes to other brokers of the cluster.

use std::{
    io::Read,
    net::{Ipv4Addr, TcpListener},
    time::{Duration, Instant},
};

use test_support::{
    RawClient,
    dns::{Dns, Entry},
    free_port,
    mesh::{Kind, Plan, wait_for_mesh},
    pki::Pki,
    wait_until,
};

use super::{Effect, Scene, accepted, info_with, line_with};

pub const EFFECTS: &[Effect] = &[
    ("cluster authorization", authorization),
    ("cluster tls", tls),
    ("cluster routes", routes),
    ("cluster srv_domain", srv_domain),
    ("cluster nameserver", nameserver),
    ("cluster permissions", permissions),
    ("cluster advertise", advertise),
    ("cluster no_advertise", no_advertise),
    ("cluster connect_retries", connect_retries),
    ("cluster connect_backoff", connect_backoff),
    ("cluster queue_policy", queue_policy),
];

/// A peer with the old password is disconnected, one with the new one accepted.
#[test]
fn authorization() {
    let scene = Scene::new("", "");
    let _old = scene.peer();
    let text = scene
        .plan
        .text()
        .replace("password: s3cret", "password: n3w");
    scene.member.reload(&text);
    scene.route_ends();
    let mut refused = scene.peer_with("s3cret");
    refused.read_to_end();
    let _new = scene.peer_with("n3w");
    wait_until("the new password is accepted", || {
        !scene.member.routes().is_empty()
    });
}

/// A peer without TLS is disconnected and not accepted again; one with TLS is.
#[test]
fn tls() {
    let pki = Pki::new(&["n0", "n1"]);
    let block = |name: &str| {
        let file = |end: &str| pki.text(&format!("{name}.{end}"));
        let ca = pki.text("ca.pem");
        let (pem, key) = (file("pem"), file("key"));
        format!("tls {{ cert_file: {pem:?}, key_file: {key:?}, ca_file: {ca:?} }}")
    };
    let mut scene = Scene::new("", "");
    let _plain = scene.peer();
    scene.reload("", &block("n0"));
    scene.route_ends();
    let refused = scene.peer_with("s3cret");
    let _ = refused.stream().read_to_end(&mut Vec::new());
    assert!(scene.member.routes().is_empty());
    let mut other = Plan::new(Kind::Midge, "n1", free_port(), &[scene.member.route_port]);
    other.cluster += &format!("\n  {}", block("n1"));
    let other = other.start();
    wait_for_mesh(&[&scene.member, &other]);
}

/// New routes are dialled, removed ones are not any more.
#[test]
fn routes() {
    let mut scene = Scene::new("", "");
    let ((first, port), (second, other)) = (hanging_up(), hanging_up());
    scene.plan.routes = vec![port];
    scene.reload("", "");
    accepted(&first);
    scene.plan.routes = vec![other];
    scene.reload("", "");
    while first.accept().is_ok() {}
    for _ in 0..3 {
        accepted(&second);
    }
    assert!(first.accept().is_err(), "it is dialled no more");
}

/// The brokers of a new domain are dialled, and those of the domain of before are left.
#[test]
fn srv_domain() {
    let ports = [free_port(), free_port()];
    let others =
        [1, 2].map(|n| Plan::new(Kind::Midge, &format!("n{n}"), ports[n - 1], &[]).start());
    let mut dns = Dns::start("_none._tcp.example.net", &[]);
    let entry = |name: &'static str, port| Entry {
        name,
        host: "127.0.0.1",
        port,
        priority: 0,
        weight: 0,
    };
    dns.answer(&[
        entry("_mcollective-broker._tcp.a.example.net", ports[0]),
        entry("_mcollective-broker._tcp.b.example.net", ports[1]),
    ]);
    let nameserver = format!("nameserver: \"{}\"", dns.address);
    let mut scene = Scene::new("", "");
    for (domain, other) in ["a", "b"].iter().zip(&others) {
        scene.reload(
            "",
            &format!("{nameserver}\n  srv_domain: {domain}.example.net"),
        );
        wait_until("the other is the only peer", || {
            scene.member.peers() == [other.name.clone()].into()
        });
    }
    scene.reload("", "");
    wait_until("it is left", || scene.member.peers().is_empty());
}

/// Another name server is asked at once.
#[test]
fn nameserver() {
    const NAME: &str = "_mcollective-broker._tcp.example.net";
    let port = free_port();
    let other = Plan::new(Kind::Midge, "n1", port, &[]).start();
    let mut silent = Dns::start(NAME, &[]);
    silent.stop();
    let dns = Dns::start(NAME, &[("127.0.0.1", port)]);
    let lines = |dns: &Dns| {
        let address = dns.address;
        format!("nameserver: \"{address}\"\n  srv_domain: example.net")
    };
    let mut scene = Scene::new("", &lines(&silent));
    scene.reload("", &lines(&dns));
    wait_for_mesh(&[&scene.member, &other]);
}

#[test]
fn permissions() {
    let mut scene = Scene::new("", "");
    let (mut client, mut peer) = (scene.client(), scene.peer());
    client.send("SUB mine 1\r\nSUB yours 2\r\n");
    client.sync();
    line_with(&mut peer, "RS+ $G yours");
    scene.reload("", "permissions { import: { deny: [mine] } }");
    line_with(&mut peer, "RS- $G mine");
    scene.reload("", "permissions { export: { deny: [theirs] } }");
    line_with(&mut peer, "RS+ $G mine");
    client.send("SUB theirs 3\r\n");
    client.sync();
    // What may not be imported is not: it does not become interest.
    peer.send("RS+ $G theirs\r\nRS+ $G open\r\n");
    wait_until("the permitted subject is known", || {
        scene.member.knows("open")
    });
    assert!(!scene.member.knows("theirs"));
}

#[test]
fn advertise() {
    let mut scene = Scene::new("", "");
    let mut peer = scene.peer();
    for (value, host, port) in [
        ("example.org:9999", "example.org", 9999),
        ("[2001:db8::1]:4333", "2001:db8::1", 4333),
        ("[::1]", "::1", scene.member.route_port),
        ("host", "host", scene.member.route_port),
    ] {
        scene.reload("", &format!("advertise: \"{value}\""));
        info_with(&mut peer, |info| {
            info["host"] == host && info["port"] == port
        });
    }
}

/// Neither do clients here learn of other members, nor their clients of this broker.
#[test]
fn no_advertise() {
    let mut scene = Scene::new("", "");
    let (mut client, mut peer) = (scene.client(), scene.peer());
    let urls = |info: &serde_json::Value| info["connect_urls"].as_array().map_or(0, Vec::len);
    peer.send(
        "INFO {\"server_id\":\"PEER\",\"server_name\":\"peer\",\"cluster\":\"mesh\",\"host\":\
         \"127.0.0.1\",\"port\":1,\"headers\":true,\"connect_urls\":[\"there:1\"]}\r\n",
    );
    info_with(&mut client, |info| {
        info["connect_urls"].to_string().contains("there:1")
    });
    scene.reload("", "no_advertise: true");
    info_with(&mut peer, |info| urls(info) == 0);
    wait_until("a new client gets no other address", || {
        urls(scene.client().info()) == 0
    });
}

/// The peer announces a broker at this port.
fn news(port: u16) -> String {
    format!(
        "INFO {{\"server_id\":\"GONE{port}\",\"server_name\":\"gone\",\"cluster\":\"mesh\",\"host\":\
         \"127.0.0.1\",\"port\":{port},\"ip\":\"nats-route://127.0.0.1:{port}/\"}}\r\n"
    )
}

/// A broker that closes each connection immediately, and its port.
fn hanging_up() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

/// Once, or repeatedly.
#[test]
fn connect_retries() {
    let mut scene = Scene::new("", "connect_retries: 0");
    let mut peer = scene.peer();
    let ((first, port), (second, other)) = (hanging_up(), hanging_up());
    peer.send(news(port));
    accepted(&first);
    scene.reload("", "connect_retries: 100");
    peer.send(news(other));
    for _ in 0..3 {
        accepted(&second);
    }
    assert!(first.accept().is_err(), "it is dialled once");
}

/// Without backoff a broker is dialled each second; with it the fourth attempt is four
/// seconds after the third.
#[test]
fn connect_backoff() {
    let mut scene = Scene::new("", "connect_backoff: false");
    scene.reload("", "connect_backoff: true");
    let port = free_port();
    scene.plan.routes = vec![port];
    scene.reload("", "connect_backoff: true");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    let mut last = Instant::now();
    for _ in 0..5 {
        drop(accepted(&listener));
        if last.elapsed() > Duration::from_secs(3) {
            return;
        }
        last = Instant::now();
    }
    panic!("the pauses do not grow");
}

/// As long as there is a local member, remote ones get nothing.
#[test]
fn queue_policy() {
    const COUNT: usize = 100;
    let mut scene = Scene::new("", "queue_policy: weighted");
    let (mut here, mut peer) = (scene.client(), scene.peer());
    here.send("SUB work crew 1\r\n");
    here.sync();
    peer.send("RS+ $G work crew 1\r\n");
    wait_until("the peer's queue member is known", || {
        scene.member.knows("work")
    });
    let served_here = |scene: &Scene, here: &mut RawClient| {
        let mut publisher = scene.client();
        publisher.send("PUB work 0\r\n\r\n".repeat(COUNT));
        publisher.sync();
        let served = here.sync();
        served.iter().filter(|frame| frame.is_message()).count()
    };
    assert!(served_here(&scene, &mut here) < COUNT);
    scene.reload("", "queue_policy: local");
    assert_eq!(served_here(&scene, &mut here), COUNT);
}
