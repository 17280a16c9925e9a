//! What a peer can do before it has logged in: little, and nothing that is expensive.
//! Each test names the class of nats-server's security advisories, or the attack, that it
//! represents. Other classes are tested elsewhere: import cycles in `config`, secrets in
//! answers and logs in `monitor`, names of certificates in `certificate_users`,
//! permissions in `permissions_model`.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::Value;
use test_support::{
    Broker, Frame, PATIENCE, RawClient, free_address, pki::Pki, raw_client::Next, wait_until,
};

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
    let lines = broker.log().lines().count();
    assert!(lines < 200, "{lines} lines of log");
    wait_until("the next line has the number of suppressed ones", || {
        let mut untrusted_peer = connect(broker.client_addr());
        untrusted_peer.write_all(b"NONSENSE\r\n").expect("write");
        read_all(&mut untrusted_peer);
        broker.log().contains("more that did not log in not shown")
    });
}

/// A flood of bare connects and of unfinished ClientHellos: others are served, and the
/// log does not grow with it.
#[test]
fn a_connection_flood_does_not_affect_others() {
    let broker = Broker::midge().config(USERS).start();
    let mut served = login(&broker);
    let lines = broker.log().lines().count();
    for _ in 0..20 {
        let flood: Vec<TcpStream> = (0..100).map(|_| connect(broker.client_addr())).collect();
        served.sync();
        drop(flood);
    }
    wait_until("they are disconnected", || {
        broker.get_json("/varz")["connections"] == 1
    });
    served.sync();
    let more = broker.log().lines().count() - lines;
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
    let lines = broker.log().matches("no login within").count();
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
    wait_until("it is reported", || {
        let line = format!("127.0.0.1:{} - cid:", client.local_port());
        let log = broker.log();
        let mut lines = log.lines().filter(|reported| reported.contains(&line));
        lines.any(|reported| reported.contains("a control line longer than max_control_line"))
    });
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
    let lines = broker.log().lines().count();
    assert!(lines < 120, "{lines} lines of log");
    witness.send("PUB y 1\r\ny\r\n");
    let received = received(&mut witness);
    assert_eq!(received.len(), 1, "{received:?}");
    assert_eq!(broker.get_json("/routez")["num_routes"], 0);
}

/// Class "forged identity" (2026-08, -09): a client cannot set the header that
/// names the requester to a service.
#[test]
fn a_client_cannot_forge_the_requester() {
    let config = "accounts { S { users: [ { user: s, password: s } ], exports: [ { service: q } ] }\n\
                  C { users: [ { user: c, password: c } ], imports: [ { service: { account: S, \
                  subject: q }, share: true } ] } }\n";
    let broker = Broker::midge().config(config).start();
    let login = |name: &str| {
        let mut client = broker.connect();
        client.send(format!(
            "CONNECT {{\"user\":{name:?},\"pass\":{name:?},\"verbose\":false,\"headers\":true}}\r\n"
        ));
        client.sync();
        client
    };
    let (mut service, mut client) = (login("s"), login("c"));
    service.send("SUB q 1\r\n");
    service.sync();
    for name in [
        "Nats-Request-Info",
        "nats-request-info",
        "NATS-REQUEST-INFO",
    ] {
        let headers = format!("NATS/1.0\r\n{name}: {{\"acc\":\"$SYS\"}}\r\n{name}: forged\r\n\r\n");
        client.send(format!(
            "HPUB q r {} {}\r\n{headers}\r\n",
            headers.len(),
            headers.len()
        ));
        let asked = service.next_message();
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        assert!(!body.contains("forged") && !body.contains("$SYS"), "{body}");
        assert!(body.contains("Nats-Request-Info"), "{body}");
    }
}

/// Class "monitoring crash" (2026-28): extreme numbers for every parameter, over HTTP and
/// over the system account.
#[test]
fn extreme_numbers_are_harmless_to_monitoring() {
    const NUMBERS: &[&str] = &[
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551615",
        "-1",
        "0",
        "1e308",
        "99999999999999999999999999",
        "",
        "NaN",
    ];
    const PARAMETERS: &[&str] = &[
        "limit",
        "offset",
        "cid",
        "since",
        "connections",
        "n",
        "seconds",
        "lines",
    ];
    let config = "accounts { SYS { users: [ { user: s, password: s } ] }, A { users: [ { user: u, \
                  password: p } ] } }\nsystem_account: SYS\n";
    let broker = Broker::midge().config(config).start();
    let _open = login(&broker);
    for path in broker.endpoints() {
        for parameter in PARAMETERS {
            for number in NUMBERS {
                let status = broker
                    .get(&format!("{path}?{parameter}={number}&state=any"))
                    .status;
                assert!(
                    [200, 400, 404].contains(&status),
                    "{path} {parameter}={number}: {status}"
                );
            }
        }
        let both = "limit=9223372036854775807&offset=9223372036854775807&subs=1";
        broker.get(&format!("{path}?{both}"));
    }
    let mut system = broker.connect();
    system.send("CONNECT {\"user\":\"s\",\"pass\":\"s\",\"verbose\":false}\r\nSUB r 1\r\n");
    system.sync();
    let mut account = login(&broker);
    account.send("SUB r 1\r\n");
    account.sync();
    for name in [
        "CONNZ", "SUBSZ", "VARZ", "ROUTEZ", "ACCOUNTZ", "HEALTHZ", "STATSZ",
    ] {
        for number in NUMBERS
            .iter()
            .filter(|number| number.parse::<f64>().is_ok_and(f64::is_finite))
        {
            let body = format!("{{\"limit\":{number},\"offset\":{number},\"cid\":{number}}}");
            let len = body.len();
            for to in [
                format!("$SYS.REQ.SERVER.PING.{name}"),
                format!("$SYS.REQ.ACCOUNT.A.{name}"),
            ] {
                system.send(format!("PUB {to} r {len}\r\n{body}\r\n"));
            }
            account.send(format!(
                "PUB $SYS.REQ.ACCOUNT.PING.{name} r {len}\r\n{body}\r\n"
            ));
        }
    }
    system.sync();
    account.sync();
    system.send("PUB $SYS.REQ.SERVER.PING.CONNZ r 2\r\n{}\r\n");
    let answered = |system: &mut RawClient| matches!(system.poll_frame(PATIENCE), Next::Frame(_));
    assert!(answered(&mut system), "it still answers");
    let varz: Value = broker.get_json("/varz");
    assert_eq!(varz["connections"], 3, "nobody was disconnected: {varz}");
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
}

/// Class "TLS details" (2026-01): a session ticket from a listener without client
/// certificates is not accepted where one is required.
#[test]
fn a_session_ticket_is_valid_for_its_listener_only() {
    let pki = Pki::new(&["server"]);
    let block = |more: &str| {
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", timeout: 5, {more} }}\n",
            pki.text("server.pem"),
            pki.text("server.key")
        )
    };
    let verify = format!("ca_file: \"{}\", verify: true", pki.text("ca.pem"));
    let open = Broker::midge().config(block("")).start();
    let closed = Broker::midge().config(block(&verify)).start();
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(pki.path("ca.pem")).expect("the CA");
    roots.add(ca).expect("the CA");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // One ticket store for all connections, which use the same server name.
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let config = Arc::new(config);
        let mut resumed = Vec::new();
        for broker in [&open, &open, &closed] {
            let mut client = RawClient::connect(broker.client_addr());
            let mut stream = client.stream().try_clone().expect("the socket");
            stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
            let name = "localhost".try_into().expect("a name");
            let mut tls = ClientConnection::new(config.clone(), name).expect("a client");
            let mut stream = rustls::Stream::new(&mut tls, &mut stream);
            let sent = stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n");
            let mut answer = [0; 6];
            let is_in =
                sent.is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"PONG\r\n";
            let kind = tls.handshake_kind();
            resumed.push((is_in, kind == Some(rustls::HandshakeKind::Resumed)));
            let _ = client.poll_frame(Duration::ZERO);
        }
        assert_eq!(resumed[..2], [(true, false), (true, true)], "{version:?}");
        assert!(!resumed[2].0, "{version:?}: in without a certificate");
    }
}

/// Invalid TLS data, plaintext and unfinished handshakes, many of them: bounded in
/// number, time and log lines.
#[test]
fn unauthenticated_handshakes_are_bounded() {
    let pki = Pki::new(&["server"]);
    let block = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", timeout: 1 }}\n",
        pki.text("server.pem"),
        pki.text("server.key")
    );
    let broker = Broker::midge().config(block).start();
    let before = resident_kib(&broker);
    let garbage: [&[u8]; 4] = [
        b"CONNECT {}\r\nPING\r\n",
        &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3],
        &[0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3],
        b"\x16",
    ];
    let mut unauthenticated_peers: Vec<TcpStream> =
        (0..400).map(|_| connect(broker.client_addr())).collect();
    for (stream, bytes) in unauthenticated_peers.iter_mut().zip(garbage.iter().cycle()) {
        stream.write_all(bytes).expect("write");
    }
    for mut stream in unauthenticated_peers {
        let reported = read_all(&mut stream);
        assert!(
            reported.starts_with("INFO ") && !reported.contains("PONG"),
            "{reported}"
        );
    }
    wait_until("all have been closed", || {
        let varz = broker.get_json("/varz");
        varz["connections"] == 0 && varz["tls"]["unfinished"] == 0
    });
    let grown = resident_kib(&broker).saturating_sub(before);
    assert!(grown < 400 * 64, "{grown} KiB");
    let log = broker.log();
    let lines = log.lines().count();
    assert!(lines < 120, "{lines} lines of log for 400 of them");
    for reported in ["did not send TLS", "TLS handshake timeout"] {
        assert!(log.contains(reported), "{reported}: {log}");
    }
    wait_until("the next line has the number of suppressed ones", || {
        let mut untrusted_peer = connect(broker.client_addr());
        untrusted_peer.write_all(b"NONSENSE\r\n").expect("write");
        read_all(&mut untrusted_peer);
        broker.log().contains("more failed handshakes not shown")
    });
}

/// Class "memory before login" (2026-02, -11, -25) with TLS: long incomplete first
/// messages may not hold more than their share together, and a client with a normal
/// handshake still connects.
#[test]
fn long_handshakes_are_bounded_together() {
    const STRANGERS: usize = 1000;
    let pki = Pki::new(&["server"]);
    let block = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", timeout: 60 }}\n",
        pki.text("server.pem"),
        pki.text("server.key")
    );
    let broker = Broker::midge().config(block).start();
    let before = resident_kib(&broker);
    // A ClientHello of 65,520 bytes in full records, without its end.
    let mut hello = Vec::new();
    for first in [&[1, 0, 0xff, 0xf0, 3, 3][..], &[], &[]] {
        hello.extend_from_slice(&[0x16, 3, 1, 0x40, 0]);
        hello.extend_from_slice(first);
        hello.resize(hello.len() + 16384 - first.len(), 0);
    }
    let mut unauthenticated_peers: Vec<TcpStream> = (0..STRANGERS)
        .map(|_| connect(broker.client_addr()))
        .collect();
    for stream in &mut unauthenticated_peers {
        // It may be disconnected in the middle.
        let _ = stream.write_all(&hello);
    }
    // Each pending one holds 40 KiB more than a usual handshake.
    let may_wait = 32 * 1024 / 40;
    wait_until("the excess connections are closed", || {
        let tls = &broker.get_json("/varz")["tls"];
        let cut = tls["failed"]["too_many"].as_u64().unwrap_or_default();
        cut >= STRANGERS as u64 - may_wait
    });
    let grown = resident_kib(&broker).saturating_sub(before);
    assert!(grown < 100 * 1024, "{grown} KiB for {STRANGERS} strangers");
    wait_until("the memory is shown with its cause", || {
        let causes = &broker.get_json("/memz")["causes"];
        let mut causes = causes.as_array().expect("causes").iter();
        let cause = causes.find(|cause| cause["cause"] == "handshakes");
        cause.is_some_and(|cause| {
            cause["count"].as_u64() > Some(may_wait / 2)
                && cause["bytes"].as_u64() > Some(24 * 1024 * 1024)
        })
    });
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(pki.path("ca.pem")).expect("the CA");
    roots.add(ca).expect("the CA");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = RawClient::connect(broker.client_addr());
    let name = "localhost".try_into().expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut socket = client.stream().try_clone().expect("the socket");
    let mut stream = rustls::Stream::new(&mut tls, &mut socket);
    stream.write_all(b"PING\r\n").expect("it shakes hands");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).expect("it is served");
    assert_eq!(answer, *b"PONG\r\n");
    drop(unauthenticated_peers);
    wait_until("their memory is released", || {
        resident_kib(&broker) < before + 12 * 1024
    });
}
