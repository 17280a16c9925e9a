//! Upstream brokers that are gone, slow, or refuse.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use serde_json::json;
use test_support::{
    Broker, RawClient, free_port,
    mesh::{self, Kind, Plan},
    wait_for, wait_until,
};

use super::{
    Node, REPLY, admin, ask, connected, federationz, figure, publish, request, round_trip, senders,
    site,
};

/// Without an upstream broker the site's broker is in no queue group, so that another federation
/// broker gets all replies; and says since when and why. It comes back by itself.
#[test]
fn a_lost_upstream_broker_is_told_and_found_again() {
    let port = free_port();
    let central = || Broker::midge().port(port).start();
    let mut first = central();
    let site = site("prod", &[&first], "");
    let subject = "choria.federation.prod.collective";
    let members = || {
        let answer = site.get_json(&format!("/subsz?subs=1&test={subject}"));
        answer["subscriptions_list"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(members(), 1);
    first.kill();
    wait_until("it has left", || members() == 0);
    let answer = wait_for("attempts fail", || {
        let upstream = federationz(&site)["upstream"].clone();
        (upstream["failures"].as_u64() > Some(1)).then_some(upstream)
    });
    assert_eq!(answer["connected"], false);
    let error = answer["error"].as_str().expect("an error");
    assert!(error.contains(&port.to_string()), "{error}");
    let findings = || site.get_json("/explainz").to_string();
    wait_until("it is a finding", || {
        findings().contains("federation-unreachable")
    });
    let log = site.log();
    assert!(
        log.so_far().count("The federation cannot connect") <= 2,
        "{log}"
    );

    let second = central();
    connected(&site);
    let mut node = Node::at(&site, "web1");
    let mut admin = admin(&second);
    round_trip(&mut admin, "prod", &mut node);
    assert_eq!(federationz(&site)["upstream"]["connects"], 2);
}

/// Of several upstream brokers one serves; the next takes over when it is lost or leaves.
#[test]
fn another_upstream_broker_takes_over() {
    let mut centrals = [Broker::midge().start(), Broker::midge().start()];
    let site = site("prod", &[&centrals[0], &centrals[1]], "");
    let mut node = Node::at(&site, "web1");
    let serving = |centrals: &[Broker]| {
        let upstream = federationz(&site)["upstream"].clone();
        let address = upstream["address"].as_str()?.to_owned();
        let mut all = centrals.iter();
        all.position(|it| it.client_addr().to_string() == address)
    };
    let at = serving(&centrals).expect("one is connected");
    // Lame duck mode: it says that it leaves.
    centrals[at].signal(libc::SIGUSR2);
    wait_until("the other one serves", || {
        serving(&centrals) == Some(1 - at)
    });
    let mut admin = admin(&centrals[1 - at]);
    round_trip(&mut admin, "prod", &mut node);
    centrals[at].wait_exit();
}

/// An upstream broker that refuses is told with its reason, and is not asked without pause.
#[test]
fn a_refusal_is_told_with_its_reason() {
    let central = Broker::midge()
        .config(
            "authorization { users: [{ user: u, password: p, permissions: { subscribe: { deny: \
             \"choria.>\" } } }] }",
        )
        .start();
    let address = central.client_addr();
    for (login, expected) in [
        ("", "Authorization Violation"),
        ("u:wrong@", "Authorization Violation"),
        ("u:p@", "Permissions Violation for Subscription"),
    ] {
        let url = format!("nats://{login}{address}");
        let text = format!("federation {{ name: prod, upstream: \"{url}\" }}");
        let site = Broker::midge().config(text).start();
        wait_until(expected, || {
            let error = federationz(&site)["upstream"]["error"].to_string();
            error.contains(expected)
        });
        site.log().assert_lacks("wrong");
        assert!(!federationz(&site).to_string().contains("wrong"));
    }
}

/// A reply that the upstream broker does not permit is told; the federation goes on.
#[test]
fn a_missing_permission_to_publish_is_told() {
    let central = Broker::midge()
        .config(
            "authorization { users: [{ user: u, password: p, permissions: { publish: { deny: \
             \"mcollective.reply.denied.>\" } } }, { user: admin, password: a }] }\n\
             no_auth_user: admin",
        )
        .start();
    let url = format!("nats://u:p@{}", central.client_addr());
    let text = format!("federation {{ name: prod, upstream: \"{url}\" }}");
    let site = Broker::midge().config(text).start();
    connected(&site);
    let mut node = Node::at(&site, "web1");
    let mut admin = admin(&central);
    let mut denied = request("denied", &["mcollective.node.web1"]);
    denied["headers"]["reply-to"] = json!("mcollective.reply.denied.1");
    for _ in 0..3 {
        ask(&mut admin, "prod", &denied);
        node.serve();
    }
    round_trip(&mut admin, "prod", &mut node);
    wait_until("it is counted", || {
        federationz(&site)["upstream"]["complaints"] == 3
    });
    site.log().wait_for_count("tells the federation", 1);
    assert_eq!(federationz(&site)["upstream"]["connects"], 1);
}

/// An upstream broker that lets clients in and then takes nothing more. Returns its port, and what
/// ends it.
fn stuck_upstream() -> (u16, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let (stop, stopped) = mpsc::channel::<()>();
    thread::spawn(move || {
        let mut held: Vec<TcpStream> = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let info = "INFO {\"server_id\":\"STUCK\",\"server_name\":\"stuck\",\"max_payload\":1048576}\r\n";
            let _ = stream.write_all(info.as_bytes());
            let mut received = Vec::new();
            let mut buffer = [0; 1024];
            while !received.ends_with(b"PING\r\n") {
                match stream.read(&mut buffer) {
                    Ok(len) if len > 0 => received.extend_from_slice(&buffer[..len]),
                    _ => break,
                }
            }
            let _ = stream.write_all(b"PONG\r\n");
            held.push(stream);
            if stopped.try_recv() != Err(mpsc::TryRecvError::Empty) {
                return;
            }
        }
    });
    (port, stop)
}

/// More replies than an upstream broker takes: what is kept is bounded, the rest is counted. The
/// site's own traffic and another site go on.
#[test]
fn a_slow_upstream_broker_harms_nobody_else() {
    let (port, _stop) = stuck_upstream();
    let text = format!(
        "federation {{ name: prod, upstream: \"nats://127.0.0.1:{port}\" }}\nwrite_deadline: \"1h\""
    );
    let stuck = Broker::midge().config(text).start();
    connected(&stuck);
    let central = Broker::midge().start();
    let other = site("other", &[&central], "");

    let reply = json!({
        "data": "x".repeat(500_000),
        "headers": { "mc_sender": "web1", "federation": { "req": "1", "reply-to": REPLY } },
    });
    let mut nodes = RawClient::connect_quietly(stuck.client_addr());
    let mut own = RawClient::connect_quietly(stuck.client_addr());
    own.send("SUB own 1\r\n");
    own.sync();
    wait_until("replies are dropped", || {
        for _ in 0..10 {
            publish(&mut nodes, "choria.federation.prod.collective", &reply);
        }
        own.send("PUB own 2\r\nok\r\n");
        assert_eq!(own.next_message().body, b"ok");
        figure(&stuck, "replies", "dropped") > 0
    });
    let upstream = federationz(&stuck)["upstream"].clone();
    assert!(
        upstream["pending"].as_u64() <= upstream["pending_max"].as_u64(),
        "{upstream}"
    );
    assert!(upstream["pending"].as_u64() > Some(1_000_000), "{upstream}");
    let memory = stuck.get_json("/memz").to_string();
    assert!(memory.contains("\"federation\""), "{memory}");
    let findings = || stuck.get_json("/explainz").to_string();
    wait_until("it is a finding", || {
        findings().contains("federation-dropped")
    });

    let mut node = Node::at(&other, "web1");
    let mut admin = admin(&central);
    round_trip(&mut admin, "other", &mut node);
}

/// More replies at once than may wait for the federation: they are dropped, and the next ones pass.
#[test]
fn a_burst_of_replies_beyond_the_limit_is_counted() {
    let central = Broker::midge().start();
    let text = format!(
        "max_payload: 2000\nmax_pending: 2000\n{}",
        super::block("prod", &[&central], "")
    );
    let site = Broker::midge().config(text).start();
    connected(&site);
    let mut node = Node::at(&site, "web1");
    let mut admin = admin(&central);
    let reply = json!({
        "data": "x".repeat(500),
        "headers": { "mc_sender": "web1", "federation": { "req": "1", "reply-to": REPLY } },
    });
    let payload = reply.to_string();
    let subject = "choria.federation.prod.collective";
    let one = format!("PUB {subject} {}\r\n{payload}\r\n", payload.len());
    wait_until("some are dropped", || {
        node.client.send(one.repeat(40));
        node.client.sync();
        figure(&site, "replies", "dropped") > 0
    });
    // What passed has arrived before the next answer.
    let passed = admin.sync();
    assert!(passed.iter().all(|frame| frame.is_message()), "{passed:?}");
    let site_of = || federationz(&site)["upstream"]["connects"].clone();
    assert_eq!(site_of(), 1);
    ask(
        &mut admin,
        "prod",
        &request("later", &["mcollective.node.web1"]),
    );
    node.serve();
    wait_until("a later reply arrives", || {
        let frame = admin.next_message();
        String::from_utf8_lossy(&frame.body).contains("reply of web1")
    });
}

/// An upstream broker that takes nothing for the time `write_deadline` is left for another.
#[test]
fn a_stuck_upstream_broker_is_left_for_another() {
    let (port, _stop) = stuck_upstream();
    let text = format!(
        "federation {{ name: prod, upstream: \"nats://127.0.0.1:{port}\" }}\nwrite_deadline: \"500ms\""
    );
    let site = Broker::midge().config(text).start();
    connected(&site);
    let reply = json!({
        "data": "x".repeat(500_000),
        "headers": { "mc_sender": "web1", "federation": { "req": "1", "reply-to": REPLY } },
    });
    let mut nodes = RawClient::connect_quietly(site.client_addr());
    wait_until("it is left", || {
        publish(&mut nodes, "choria.federation.prod.collective", &reply);
        let error = federationz(&site)["upstream"]["error"].to_string();
        error.contains("it took nothing for 500ms")
    });
}

/// What comes from upstream is checked: a peer that is no broker is left with the reason.
#[test]
fn a_peer_that_is_no_broker_is_told() {
    for (words, expected) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "no operation of a broker",
        ),
        (b"INFO nonsense\r\n", "its INFO is no JSON"),
        (b"PING\r\n", "something else than INFO"),
        (
            b"-ERR 'maximum connections exceeded'\r\n",
            "maximum connections exceeded",
        ),
        (b"", "closed the connection before INFO"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = stream.expect("a connection").write_all(words);
            }
        });
        let text = format!("federation {{ name: prod, upstream: \"nats://127.0.0.1:{port}\" }}");
        let site = Broker::midge().config(text).start();
        wait_until(expected, || {
            let error = federationz(&site)["upstream"]["error"].to_string();
            error.contains(expected)
        });
        // The broker itself serves.
        let mut client = RawClient::connect_quietly(site.client_addr());
        assert!(client.sync().is_empty());
    }
}

/// The brokers of an upstream cluster that are not configured are learned from the configured one.
#[test]
fn brokers_of_the_upstream_cluster_are_learned() {
    let port = free_port();
    let mut first = Plan::new(Kind::Midge, "c0", port, &[]).start();
    let site = site("prod", &[&first.broker], "");
    let second = Plan::new(Kind::Midge, "c1", free_port(), &[port]).start();
    mesh::wait_for_mesh(&[&first, &second]);
    let mut node = Node::at(&site, "web1");
    first.broker.stop();
    connected(&site);
    wait_until("the other one serves", || {
        federationz(&site)["upstream"]["server_name"] == "c1"
    });
    let mut admin = admin(&second.broker);
    ask(
        &mut admin,
        "prod",
        &request("x", &["mcollective.node.web1"]),
    );
    node.serve();
    assert_eq!(senders(&mut admin, 1).len(), 1);
}
