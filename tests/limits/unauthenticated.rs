//! What a peer can do before it has logged in: little, and nothing that is expensive.
//! Each test names the class of nats-server's security advisories, or the attack, that it
//! represents. Other classes are tested elsewhere: import cycles in `config`, secrets in
//! answers and logs in `monitor`, names of certificates in `certificate_users`,
//! permissions in `permissions_model`.

mod crafted;
mod tls;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use test_support::{Broker, Frame, PATIENCE, RawClient, free_address, wait_until};

const USERS: &str = "authorization { timeout: 2, users: [ { user: u, password: p } ] }\n";

/// Every operation of clients and of routes, valid and invalid.
const OPERATIONS: &[&str] = &[
    "PING\r\n",
    "PONG\r\n",
    "SUB > 1\r\n",
    "UNSUB 1\r\n",
    "PUB x 1\r\nx\r\n",
    "HPUB x 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
    "INFO {}\r\n",
    "INFO {\"server_id\":\"X\",\"cluster\":\"C\",\"host\":\"1.2.3.4\",\"port\":1}\r\n",
    "+OK\r\n",
    "-ERR 'x'\r\n",
    "MSG x 1 1\r\nx\r\n",
    "RS+ $G >\r\n",
    "RS- $G >\r\n",
    "RMSG $G x 1\r\nx\r\n",
    "HMSG $G x 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
    "LS+ >\r\n",
    "LMSG x 1\r\nx\r\n",
    "A+ $G\r\n",
    "CONNECT \r\n",
    "CONNECT []\r\n",
    "CONNECT {}\r\n",
    "CONNECT {\"user\":\"u\",\"pass\":\"wrong\"}\r\n",
    "CONNECT {\"user\":\"u\",\"pass\":\"p\",\"account\":\"$SYS\"}\r\n",
    "CONNECT {\"name\":\"X\",\"cluster\":\"C\",\"user\":\"route\",\"pass\":\"wrong\"}\r\n",
    "\r\n",
    " \r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "\u{16}\u{3}\u{1}\r\n",
];

fn resident_kib(broker: &Broker) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let text = line.and_then(|line| line.split_whitespace().nth(1));
    text.and_then(|text| text.parse().ok()).expect("a figure")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
    stream
}

/// Reads to the end, which may be a reset; returns what was read.
fn read_all(stream: &mut TcpStream) -> String {
    let mut reported = Vec::new();
    if let Err(error) = stream.read_to_end(&mut reported) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&reported).into_owned()
}

fn login(broker: &Broker) -> RawClient {
    let mut client = broker.connect();
    client.send("CONNECT {\"user\":\"u\",\"pass\":\"p\",\"verbose\":false}\r\n");
    assert!(client.sync().is_empty());
    client
}

/// Sends each operation alone, twice, and followed by each of these, on a separate
/// connection; in parallel, because answers may be delayed. Returns what was sent and
/// received.
fn say_all(address: SocketAddr, behind: &[&str]) -> Vec<(String, String)> {
    let mut unauthenticated_peers = Vec::new();
    for first in OPERATIONS {
        for second in ["", first].iter().chain(behind) {
            let mut untrusted_peer = connect(address);
            let text = format!("{first}{second}");
            // It may be disconnected in between.
            let _ = untrusted_peer.write_all(text.as_bytes());
            let _ = untrusted_peer.shutdown(std::net::Shutdown::Write);
            unauthenticated_peers.push((text, untrusted_peer));
        }
    }
    let read =
        |(text, mut untrusted_peer): (String, TcpStream)| (text, read_all(&mut untrusted_peer));
    unauthenticated_peers.into_iter().map(read).collect()
}

/// Everything a client has received, without the broker's own pings.
fn received(client: &mut RawClient) -> Vec<Frame> {
    let mut frames = client.sync();
    frames.retain(|frame| frame.line != b"PING");
    frames
}

/// Class "memory before login" (2026-02, -11, -25): a thousand sockets with an endless
/// line use little memory each, and the log does not grow with them.
#[test]
fn unterminated_lines_use_little_memory() {
    let broker = Broker::midge()
        .config("authorization { timeout: 60, user: u, password: p }\n")
        .start();
    let mut served = login(&broker);
    let before = resident_kib(&broker);
    // Within the limit: the broker keeps the data and waits for the rest.
    let mut waiting: Vec<TcpStream> = (0..1000).map(|_| connect(broker.client_addr())).collect();
    for stream in &mut waiting {
        stream.write_all(b"CONNECT {\"name\":\"").expect("write");
        stream.write_all(&[b'x'; 3900]).expect("write");
    }
    served.sync();
    wait_until("all of them are known", || {
        broker.get_json("/varz")["connections"] == 1001
    });
    let grown = resident_kib(&broker).saturating_sub(before);
    assert!(grown < 1000 * 32, "{grown} KiB for 1000 strangers");
    // Beyond it they are disconnected, whatever else they send.
    for stream in &mut waiting {
        // It may be disconnected in the middle.
        let _ = stream.write_all(&[b'x'; 64 * 1024]);
    }
    for mut stream in waiting {
        let reported = read_all(&mut stream);
        assert!(reported.starts_with("INFO "), "{reported}");
        assert!(!reported.contains("+OK"), "{reported}");
    }
    let grown = resident_kib(&broker).saturating_sub(before);
    assert!(grown < 1000 * 48, "{grown} KiB once they have gone");
    served.sync();
    let lines = broker.log().so_far().lines().count();
    assert!(lines < 200, "{lines} lines of log");
    wait_until("the next line has the number of suppressed ones", || {
        let mut untrusted_peer = connect(broker.client_addr());
        untrusted_peer.write_all(b"NONSENSE\r\n").expect("write");
        read_all(&mut untrusted_peer);
        broker
            .log()
            .so_far()
            .already_has("more that did not log in not shown")
    });
}

/// A flood of bare connects and of unfinished ClientHellos: others are served, and the
/// log does not grow with it.
#[test]
fn a_connection_flood_does_not_affect_others() {
    let broker = Broker::midge().config(USERS).start();
    let mut served = login(&broker);
    let lines = broker.log().so_far().lines().count();
    for _ in 0..20 {
        let flood: Vec<TcpStream> = (0..100).map(|_| connect(broker.client_addr())).collect();
        served.sync();
        drop(flood);
    }
    wait_until("they are disconnected", || {
        broker.get_json("/varz")["connections"] == 1
    });
    served.sync();
    let more = broker.log().so_far().lines().count() - lines;
    assert!(more < 100, "{more} lines for 2000 connects");
}

/// Slow-loris on the client port: sending a byte from time to time does not extend the
/// login timeout.
#[test]
fn a_slow_login_is_closed_at_the_timeout() {
    let config = "authorization { timeout: 0.5, user: u, password: p }\n";
    let broker = Broker::midge().config(config).start();
    let mut slow: Vec<TcpStream> = (0..100).map(|_| connect(broker.client_addr())).collect();
    let line = b"CONNECT {\"user\":\"u\",\"pass\":\"p\"}\r\n";
    let mut sent = 0;
    while broker.get_json("/varz")["connections"] != 0 {
        assert!(sent < line.len() - 2, "somebody dawdled through the login");
        for stream in &mut slow {
            // It may be disconnected already.
            let _ = stream.write_all(&line[sent..=sent]);
        }
        sent += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    for mut stream in slow {
        let reported = read_all(&mut stream);
        assert!(
            reported.is_empty() || reported.contains("INFO"),
            "{reported}"
        );
    }
    assert_eq!(
        broker.get_json("/varz")["logins"]["refused"]["timeout"],
        100
    );
    broker.log().wait_for("no login within");
    let lines = broker.log().so_far().count("no login within");
    assert!((1..60).contains(&lines), "{lines} lines for 100 of them");
}

/// An oversized CONNECT gets an error, and is not read to its end.
#[test]
fn an_oversized_connect_is_refused() {
    let broker = Broker::midge().config(USERS).start();
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"name\":\"{}\"}}\r\nPING\r\n",
        "x".repeat(5000)
    ));
    let frames = client.read_to_end();
    assert_eq!(frames[0].line, b"-ERR 'maximum control line exceeded'");
    assert_eq!(frames.len(), 1);
    let begin = format!("127.0.0.1:{} - cid:", client.local_port());
    let too_long = "a control line longer than max_control_line";
    broker.log().wait_for_line(&[&begin, too_long]);
}

/// A larger `max_control_line` applies to authenticated clients only.
#[test]
fn unauthenticated_connections_have_their_own_limit() {
    let broker = Broker::midge()
        .config(format!("{USERS}max_control_line: 1MB\n"))
        .start();
    let mut known = login(&broker);
    known.send(format!("SUB {} 1\r\n", "x".repeat(100_000)));
    assert!(known.sync().is_empty());
    let mut untrusted_peer = connect(broker.client_addr());
    untrusted_peer
        .write_all(b"CONNECT {\"name\":\"")
        .expect("write");
    untrusted_peer.write_all(&[b'x'; 33 * 1024]).expect("write");
    let reported = read_all(&mut untrusted_peer);
    assert!(
        reported.contains("maximum control line exceeded"),
        "{reported}"
    );
}

/// Class "login skipped" (2026-16, -24, 2023-01, 2022-01): whatever is sent before a
/// valid CONNECT, once or twice, neither subscribes nor publishes.
#[test]
fn only_connect_is_accepted_before_the_login() {
    let broker = Broker::midge().config(USERS).start();
    let mut witness = login(&broker);
    witness.send("SUB > 1\r\n");
    witness.sync();
    let behind = ["PUB x 1\r\nx\r\n", "SUB > 1\r\nPING\r\n"];
    for (text, reported) in say_all(broker.client_addr(), &behind) {
        assert!(
            !reported.contains("PONG") && !reported.contains("MSG"),
            "{text:?}: {reported}"
        );
    }
    wait_until("they are disconnected", || {
        broker.get_json("/varz")["connections"] == 1
    });
    let received = received(&mut witness);
    assert!(received.is_empty(), "{received:?}");
    assert_eq!(
        broker.get_json("/varz")["subscriptions"].as_u64(),
        subscriptions_of_a_fresh(&broker)
    );
}

/// Subscriptions while only the witness is connected: the broker's own, and that one.
fn subscriptions_of_a_fresh(broker: &Broker) -> Option<u64> {
    let answer = broker.get_json("/connz?subs=1");
    assert_eq!(answer["num_connections"], 1, "{answer}");
    assert_eq!(answer["connections"][0]["subscriptions"], 1, "{answer}");
    broker.get_json("/subsz")["num_subscriptions"].as_u64()
}

/// The same class, 2026-24: the `no_auth_user` is restricted to its connection types too,
/// with and without CONNECT.
#[test]
fn no_auth_user_keeps_its_connection_types() {
    let config = "no_auth_user: w\nauthorization { users: [ { user: u, password: p }, { user: w, \
                  password: w, allowed_connection_types: [WEBSOCKET] } ] }\n";
    let broker = Broker::midge().config(config).start();
    for text in ["PING\r\n", "SUB > 1\r\nPING\r\n", "CONNECT {}\r\nPING\r\n"] {
        let mut client = broker.connect();
        client.send(text);
        let frames = client.read_to_end();
        assert_eq!(frames[0].line, b"-ERR 'Authorization Violation'", "{text}");
    }
}

/// The same classes on the route port (2026-16, 2026-04, -10, -19): an unauthenticated
/// peer reaches no subscriber, becomes no route, and ends nothing.
#[test]
fn unauthenticated_peers_on_the_route_port_reach_nobody() {
    let address = free_address();
    let config = format!(
        "{USERS}no_auth_user: u\ncluster {{ name: C, listen: \"{address}\", authorization {{ user: route, \
         password: secret, timeout: 1 }} }}\n"
    );
    let broker = Broker::midge().config(config).start();
    let mut witness = login(&broker);
    witness.send("SUB > 1\r\n");
    witness.sync();
    let behind = ["RMSG $G x 1\r\nx\r\n", "RS+ $G >\r\nPING\r\n"];
    for (text, reported) in say_all(address, &behind) {
        assert!(
            !reported.contains("RMSG") && !reported.contains("RS+"),
            "{text:?}: {reported}"
        );
    }
    // An endless line is closed there too.
    let mut endless = connect(address);
    let _ = endless.write_all(&[b'x'; 256 * 1024]);
    read_all(&mut endless);
    let lines = broker.log().so_far().lines().count();
    assert!(lines < 120, "{lines} lines of log");
    witness.send("PUB y 1\r\ny\r\n");
    let received = received(&mut witness);
    assert_eq!(received.len(), 1, "{received:?}");
    assert_eq!(broker.get_json("/routez")["num_routes"], 0);
}
