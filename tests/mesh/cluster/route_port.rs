//! Connections to the route port that are not routes: they are accepted, counted and
//! reported as on the client port. Also errors that a dialled broker sends.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use super::{
    faults::{CUT, LATE, PASS, Wire},
    tls,
};
use test_support::{RawClient, pki::Pki, raw_client, wait_for, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Plan},
};

/// A client that waits for INFO gets one, and an error that says it is at the route port.
#[test]
fn a_client_on_the_route_port_gets_an_explanatory_error() {
    // A nats-server sends it where no login is required; otherwise it checks the login
    // first.
    for (kind, login) in [
        (Kind::Midge, true),
        (Kind::Midge, false),
        (Kind::Nats, false),
    ] {
        let port = free_port();
        let plan = Plan::new(kind, "n0", port, &[]);
        let text: String = match login {
            true => plan.text(),
            false => {
                let text = plan.text();
                let lines = text.lines().filter(|line| !line.contains("authorization"));
                lines.map(|line| format!("{line}\n")).collect()
            }
        };
        let member = plan.start_with(text);
        let mut client = RawClient::connect_silently(([127, 0, 0, 1], port).into());
        let frame = client.next_frame().expect("INFO");
        let info = raw_client::parse_info(&frame).expect("INFO comes first");
        assert_eq!(
            (&info["server_name"], &info["port"]),
            (&"n0".into(), &port.into())
        );
        client.send("CONNECT {\"lang\":\"go\",\"version\":\"1.40\",\"verbose\":false}\r\nPING\r\n");
        let frames = client.read_to_end();
        let last = frames.last().map(|frame| frame.line.clone());
        let reported = b"-ERR 'attempted to connect to route port'".to_vec();
        assert_eq!(last, Some(reported), "{kind:?}");
        member
            .broker
            .log()
            .wait_for("attempted to connect to route port");
    }
}

/// Probes and invalid data at a route port with TLS are failed handshakes of one host and
/// not refused logins; a wrong password is a refused login.
#[test]
fn route_port_failures_are_counted_as_on_the_client_port() {
    let pki = Pki::new(&["n0", "n1"]);
    let port = free_port();
    let mut plan = Plan::new(Kind::Midge, "n0", port, &[]);
    plan.cluster += &format!("\n  {}", tls::block(&pki, "n0", &pki, ""));
    let member = plan.start();
    let broker = &member.broker;
    for _ in 0..3 {
        drop(TcpStream::connect(("127.0.0.1", port)).expect("a connection"));
        let mut rubbish = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        rubbish.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut rubbish, &mut answer);
    }
    let events = |kind: &str| {
        let events = broker.get_json(&format!("/eventsz?type={kind}"));
        events["events"].as_array().expect("events").clone()
    };
    wait_until("the handshakes are reported", || {
        events("tls.failed").len() == 3
    });
    for event in events("tls.failed") {
        assert_eq!(event["subject"], "127.0.0.1", "{event}");
    }
    assert!(events("auth.failed").is_empty());
    wait_until("connections that sent nothing are counted", || {
        let metrics = broker.get("/metrics").body;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("midge_connections_bare_total "));
        line.is_some_and(|line| !line.ends_with(" 0"))
    });

    let mut untrusted_peer = Plan::new(Kind::Midge, "n1", free_port(), &[port]);
    untrusted_peer.cluster += &format!("\n  {}", tls::block(&pki, "n1", &pki, ""));
    let _stranger = untrusted_peer.start_with(
        untrusted_peer
            .text()
            .replace("routes:s3cret@", "routes:wrong@"),
    );
    wait_until("the wrong password is reported", || {
        !events("auth.failed").is_empty()
    });
    assert_eq!(events("auth.failed")[0]["subject"], "127.0.0.1");
    assert!(events("tls.failed").len() == 3);
    let metrics = broker.get("/metrics").body;
    let refused = metrics
        .lines()
        .find(|line| line.contains("reason=\"wrong_password\"") && !line.ends_with(" 0"));
    assert!(refused.is_some(), "{metrics}");
}

/// A dialled broker that refuses the connection is never shown as a route, and its error
/// is in the log, in the events and in the finding about the missing route.
#[test]
fn the_error_of_a_dialled_broker_is_reported() {
    for kind in [Kind::Midge, Kind::Nats, Kind::Nats29] {
        for (wrong, right, reason, words) in [
            (
                "routes:wrong@",
                "routes:s3cret@",
                "Authentication Failure",
                "Authorization Violation",
            ),
            (
                "name: other",
                "name: mesh",
                "Cluster Name Conflict",
                "cluster name",
            ),
        ] {
            let port = free_port();
            let host = Plan::new(kind, "host", port, &[]).start();
            let plan = Plan::new(Kind::Midge, "n1", free_port(), &[port]);
            let member = plan.start_with(plan.text().replace(right, wrong));
            let log = member.broker.log();
            wait_for(&format!("{kind:?}: {words}"), || {
                let log = log.so_far();
                let mut lines = log.lines();
                let line = lines.find(|line| line.contains("Error trying to connect to route"))?;
                let is_reported = line.contains(reason) && line.contains(words);
                assert!(is_reported, "{kind:?} {line}");
                Some(())
            });
            wait_until("it is dialled again", || {
                let clusterz = member.broker.get_json("/clusterz").to_string();
                clusterz.contains(words)
            });
            log.assert_lacks("Route connection created");
            assert!(member.peers().is_empty());
            drop(host);
        }
    }
}

/// A disconnected nats-server dials back without credentials, and with each dial tries a
/// second connection for its system account: neither is reported, counted, or closes the
/// route, also when its CONNECT is late. A wrong password from there is reported.
#[test]
fn a_healthy_nats_server_causes_no_event() {
    let ports = [free_port(), free_port()];
    let to_nats = Wire::to(ports[1]);
    let nats = Plan::new(Kind::Nats, "n1", ports[1], &[]).start();
    let back = Wire::to(ports[0]);
    let mut plan = Plan::new(Kind::Midge, "n0", ports[0], &[to_nats.port]);
    plan.cluster += &format!("\n  cluster_advertise: \"127.0.0.1:{}\"", back.port);
    let member = plan.start();
    mesh::wait_for_mesh(&[&member, &nats]);
    // Its dial-backs are slow from now on; the route does not use this connection.
    back.set(LATE);
    let rid = || member.routes().first().map(|route| route["rid"].clone());
    for _ in 0..3 {
        let before = rid();
        to_nats.set(CUT);
        wait_until("the route is lost", || rid() != before);
        to_nats.set(PASS);
        wait_until("there is another route", || rid().is_some());
        let standing = rid();
        // It dials back within a second.
        thread::sleep(Duration::from_secs(3));
        assert_eq!(rid(), standing, "{}", member.broker.log());
    }
    // One that dials on its own.
    let dials = Plan::new(Kind::Nats, "n2", free_port(), &ports[..1]).start();
    wait_until("it is connected", || member.peers().contains("n2"));
    thread::sleep(Duration::from_secs(2));
    let text = member.broker.get_json("/eventsz").to_string() + &member.broker.log().to_string();
    for reported in ["auth.failed", "Route refused", "Route Error", "wrong user"] {
        assert!(!text.contains(reported), "{reported}: {text}");
    }
    let refused = || {
        let metrics = member.broker.get("/metrics").body;
        let lines = metrics.lines();
        let refused = lines.filter(|line| line.starts_with("midge_logins_refused_total"));
        let refused = refused.filter(|line| !line.ends_with(" 0"));
        refused.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(refused(), Vec::<String>::new());
    drop(dials);
    let guess = Plan::new(Kind::Midge, "n3", free_port(), &ports[..1]);
    let _guess = guess.start_with(guess.text().replace("s3cret@", "wrong@"));
    wait_until("a wrong password is reported", || {
        let events = member.broker.get_json("/eventsz").to_string();
        events.contains("auth.failed") && refused().len() == 1
    });
}

/// Many clients with slow password checks do not lock out a member with a slow password
/// check.
#[test]
fn a_member_is_accepted_ahead_of_many_clients_on_the_route_port() {
    // Both are hashes of "s3cret".
    const SLOW: &str = "$2a$11$abcdefghijklmnopqrstuuUCnuixm4ngvxv5GQ9LK1yFHBonHULYe";
    let mut plan = Plan::new(Kind::Midge, "n0", free_port(), &[]);
    plan.config = format!("authorization {{ users: [ {{ user: slow, password: \"{SLOW}\" }} ] }}");
    let text = plan
        .text()
        .replace("password: s3cret,", &format!("password: \"{SLOW}\","));
    assert_eq!(text.matches(SLOW).count(), 2, "{text}");
    let member = plan.start_with(text);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (member, is_over) = (&member, &is_over);
        scope.spawn(move || {
            // With a few waiting, the last one is served first; new ones always arrive.
            let mut many_connections = Vec::new();
            for number in 0..2000_u16 {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let [high, low] = number.to_be_bytes();
                let mut client = from([127, 9, high, low], member.broker.client_addr());
                let text = b"CONNECT {\"user\":\"slow\",\"pass\":\"s3cret\"}\r\n";
                client.write_all(text).expect("send");
                many_connections.push(client);
                thread::sleep(Duration::from_millis(20));
            }
        });
        wait_until("the clients wait", || {
            let metrics = member.broker.get("/metrics").body;
            let mut lines = metrics.lines();
            let line = lines.find(|line| line.starts_with("midge_password_checks_waiting "));
            let waiting = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            waiting.is_some_and(|waiting| waiting > 5.0)
        });
        let late = Plan::new(Kind::Midge, "n1", free_port(), &[member.route_port]).start();
        mesh::wait_for_mesh(&[member, &late]);
        is_over.store(true, Ordering::Relaxed);
    });
}

/// A connection from this address.
fn from(address: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let address = SocketAddr::from((address, 0));
    socket.bind(&address.into()).expect("another address");
    socket.connect(&to.into()).expect("connect");
    socket.into()
}

/// What a broker sends between a valid CONNECT and its INFO is answered, and applies once
/// the route is up.
#[test]
fn an_error_before_info_is_reported() {
    for kind in [Kind::Midge, Kind::Nats] {
        let mut plan = Plan::new(kind, "n0", free_port(), &[]);
        plan.cluster += "\n  pool_size: -1\n  compression: off";
        let member = plan.start();
        let mut client = member.client();
        client.send("SUB early 1\r\n");
        client.sync();
        let mut peer = RawClient::connect_silently(([127, 0, 0, 1], member.route_port).into());
        peer.send(
            "CONNECT {\"user\":\"routes\",\"pass\":\"s3cret\",\"name\":\"PEER\",\"cluster\":\"mesh\"}\r\n\
             RS+ $G wanted\r\nRMSG $G early 6\r\nPING\r\n\r\n",
        );
        peer.sync();
        peer.send(
            "INFO {\"server_id\":\"PEER\",\"server_name\":\"peer\",\"cluster\":\"mesh\",\
             \"host\":\"127.0.0.1\",\"port\":1}\r\n",
        );
        assert_eq!(client.next_message().body, b"PING\r\n", "{kind:?}");
        wait_until("its interest is known", || member.knows("wanted"));
    }
}
