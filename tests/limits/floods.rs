//! Peers that never stop sending, before and after the login, on every port, with and
//! without TLS. They are disconnected in time, use little memory, and do not affect
//! others.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use test_support::{
    Broker, PATIENCE, RawClient, free_address, pki::Pki, tls_client::Speaker, wait_until,
};

/// What is sent once, and what is sent repeatedly after it.
type Flood = (&'static str, &'static str);

/// Bytes per write.
const WRITE_LEN: usize = 32 * 1024;

/// Floods that must be closed on either port before the login.
const BEFORE_LOGIN: &[Flood] = &[
    ("", "PING\r\n"),
    ("", "PONG\r\n"),
    ("", "+OK\r\n"),
    ("", "INFO {}\r\n"),
    ("", "-ERR 'x'\r\n"),
    ("", "SUB a 1\r\n"),
    ("", "PUB a 1\r\nx\r\n"),
    ("", "RS+ $G a\r\n"),
    ("", "RMSG $G a 1\r\nx\r\n"),
    ("", "A+ $G\r\n"),
    ("", "\r\n"),
    ("", " "),
    ("", "x"),
    ("CONNECT", " "),
    ("CONNECT", "\t"),
    ("CONNECT", "\r"),
    ("CONNECT {", " "),
    ("CONNECT {\"name\":\"", "x"),
    ("INFO", " "),
    ("PING", " "),
    ("+OK", "x"),
];

/// Floods of a dialling or dialled broker in place of its INFO.
const INSTEAD_OF_INFO: &[Flood] = &[
    ("", "PING\r\n"),
    ("", "PONG\r\n"),
    ("", "+OK\r\n"),
    ("", "A+ $G\r\n"),
    ("", "RS+ $G a\r\n"),
    ("INFO", " "),
    ("INFO {\"server_id\":\"", "x"),
    ("PING", " "),
    ("", "x"),
];

fn resident_kib(broker: &Broker) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let text = line.and_then(|line| line.split_whitespace().nth(1));
    text.and_then(|text| text.parse().ok()).expect("a figure")
}

/// Writes `first`, then `again` until the broker closes the connection. Nothing is read.
fn send_flood(stream: &mut impl Write, first: &str, again: &str) -> Duration {
    let begin = Instant::now();
    let piece = again.repeat(WRITE_LEN / again.len());
    let mut result = stream.write_all(first.as_bytes());
    while result.is_ok() {
        assert!(
            begin.elapsed() < PATIENCE,
            "{first:?} {again:?} goes on and on"
        );
        result = stream.write_all(piece.as_bytes());
    }
    begin.elapsed()
}

fn send_plain_flood(address: SocketAddr, first: &str, again: &str) -> Duration {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Nothing is read: the small buffer makes the broker notice soon.
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&address.into()).expect("connect");
    let mut stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(PATIENCE)).expect("a bound");
    send_flood(&mut stream, first, again)
}

fn send_tls_flood(speaker: &Speaker, address: SocketAddr, first: &str, again: &str) -> Duration {
    let (mut stream, _) = speaker.connect(address).expect("it shakes hands");
    let socket = stream.get_mut();
    socket.set_write_timeout(Some(PATIENCE)).expect("a bound");
    send_flood(&mut stream, first, again)
}

/// Sends all of these floods in parallel.
fn send_floods(
    floods: &[Flood],
    send_flood: impl Fn(&str, &str) -> Duration + Send + Sync + 'static,
) -> Vec<JoinHandle<()>> {
    let send_flood = Arc::new(send_flood);
    let start = |(first, again): &Flood| {
        let (send_flood, first, again) = (send_flood.clone(), *first, *again);
        thread::spawn(move || {
            send_flood(first, again);
        })
    };
    floods.iter().map(start).collect()
}

/// Two clients that exchange requests and replies throughout, and a monitor of the
/// memory.
struct OtherClients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    busy: JoinHandle<[RawClient; 2]>,
    before: u64,
    most: u64,
}

impl OtherClients {
    /// `login` is their CONNECT.
    fn watch(broker: &Broker, login: &str) -> Self {
        let mut clients = [broker.connect(), broker.connect()];
        for client in &mut clients {
            client.send(login);
            client.sync();
        }
        let [mut asks, mut answers] = clients;
        answers.send("SUB q 1\r\n");
        answers.sync();
        asks.send("SUB a 1\r\n");
        asks.sync();
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let (ends, count) = (stop.clone(), answered.clone());
        let busy = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                asks.send("PUB q a 1\r\nx\r\n");
                answers.next_message();
                answers.send("PUB a 1\r\ny\r\n");
                asks.next_message();
                count.fetch_add(1, Ordering::Relaxed);
                // Answers the broker's own pings.
                asks.send("PONG\r\n");
                answers.send("PONG\r\n");
                thread::sleep(Duration::from_millis(1));
            }
            [asks, answers]
        });
        let before = resident_kib(broker);
        Self {
            stop,
            answered,
            busy,
            before,
            most: before,
        }
    }

    /// Waits until the floods have been closed. Meanwhile all replies arrive.
    fn wait_until_closed(&mut self, broker: &Broker, floods: Vec<JoinHandle<()>>) {
        while floods.iter().any(|flood| !flood.is_finished()) {
            self.most = self.most.max(resident_kib(broker));
            assert!(
                !self.busy.is_finished(),
                "a bystander got no answer: {}",
                broker.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
        for flood in floods {
            flood.join().expect("it is disconnected in time");
        }
        let so_far = self.answered.load(Ordering::Relaxed);
        wait_until("the other clients are served", || {
            self.answered.load(Ordering::Relaxed) > so_far + 10
        });
    }

    /// Asserts that both clients are still connected, and that the floods used at most
    /// this much memory.
    fn check(self, broker: &Broker, most_kib: u64) {
        self.stop.store(true, Ordering::Relaxed);
        let clients = self.busy.join().expect("all answers came");
        wait_until("the floods are gone", || {
            broker.get_json("/varz")["connections"] == 2
        });
        for mut client in clients {
            client.sync();
        }
        let grown = self.most.saturating_sub(self.before);
        assert!(grown < most_kib, "{grown} KiB more at the most");
        broker.log().assert_lacks("panicked");
    }
}

const LOGIN: &str = "CONNECT {\"user\":\"u\",\"pass\":\"p\",\"verbose\":false}\r\n";
const FREE_LOGIN: &str = "CONNECT {\"verbose\":false}\r\n";

/// The client port, where a login is required.
#[test]
fn unauthenticated_floods_on_the_client_port() {
    let config = "authorization { user: u, password: p, timeout: 1 }\n";
    let broker = Broker::midge().config(config).start();
    let mut other_clients = OtherClients::watch(&broker, LOGIN);
    let address = broker.client_addr();
    let floods = send_floods(BEFORE_LOGIN, move |first, again| {
        send_plain_flood(address, first, again)
    });
    other_clients.wait_until_closed(&broker, floods);
    other_clients.check(&broker, 32 * 1024);
}

/// The same with a large `max_control_line`: it does not apply before the login, and an
/// endless line of an authenticated client uses no more than its limit.
#[test]
fn endless_lines_with_a_large_max_control_line() {
    let config = "authorization { user: u, password: p, timeout: 1 }\nmax_control_line: 4MB\n";
    let broker = Broker::midge().config(config).start();
    let mut other_clients = OtherClients::watch(&broker, LOGIN);
    let address = broker.client_addr();
    let floods = send_floods(BEFORE_LOGIN, move |first, again| {
        send_plain_flood(address, first, again)
    });
    other_clients.wait_until_closed(&broker, floods);
    let known = [
        ("SUB", " "),
        ("SUB a", " "),
        ("PUB ", "x"),
        ("CONNECT {", " "),
    ];
    let floods = send_floods(&known, move |first, again| {
        send_plain_flood(address, &format!("{LOGIN}{first}"), again)
    });
    other_clients.wait_until_closed(&broker, floods);
    other_clients.check(&broker, 96 * 1024);
    // The enlarged buffers are released.
    wait_until("the memory is released", || {
        broker.get_json("/varz");
        resident_kib(&broker) < 64 * 1024
    });
}

/// A line that arrives byte by byte, with a large max_control_line: the last bytes cost
/// no more than the first.
#[test]
fn a_long_line_in_small_pieces_is_accepted() {
    let broker = Broker::midge().config("max_control_line: 1MB\n").start();
    let mut client = broker.connect();
    client.send(FREE_LOGIN);
    let subject = "x".repeat(900_000);
    for piece in format!("SUB {subject} 1\r\n").as_bytes().chunks(100) {
        client.send(piece);
    }
    client.send(format!("PUB {subject} 2\r\nhi\r\n"));
    let message = client.next_message();
    assert_eq!(message.body, b"hi");
    assert_eq!(message.line, format!("MSG {subject} 1 2").as_bytes());
}

/// The client port with TLS: during and after the handshake.
#[test]
fn unauthenticated_floods_over_tls() {
    let pki = Pki::new(&["server"]);
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, timeout: 5 }}\nallow_non_tls: true\n",
        pki.text("server.pem"),
        pki.text("server.key")
    );
    let config = format!("authorization {{ user: u, password: p, timeout: 1 }}\n{tls}");
    let broker = Broker::midge().config(config).start();
    let mut other_clients = OtherClients::watch(&broker, LOGIN);
    let address = broker.client_addr();
    let speaker = Speaker::believing(&pki.path("ca.pem"));
    let floods = send_floods(BEFORE_LOGIN, move |first, again| {
        send_tls_flood(&speaker, address, first, again)
    });
    other_clients.wait_until_closed(&broker, floods);
    let floods = send_floods(IN_THE_HANDSHAKE, move |first, again| {
        send_plain_flood(address, first, again)
    });
    other_clients.wait_until_closed(&broker, floods);
    other_clients.check(&broker, 64 * 1024);
}

/// Data in place of a TLS handshake: alerts, records of one byte, of zero bytes, and one
/// without an end.
const IN_THE_HANDSHAKE: &[Flood] = &[
    ("", "\u{15}\u{3}\u{3}\u{0}\u{2}\u{1}\u{64}"),
    ("", "\u{15}\u{3}\u{3}\u{0}\u{2}\u{1}\u{0}"),
    ("", "\u{16}\u{3}\u{1}\u{0}\u{1}\u{1}"),
    ("", "\u{16}\u{3}\u{1}\u{0}\u{0}"),
    ("", "\u{14}\u{3}\u{3}\u{0}\u{1}\u{1}"),
    ("\u{16}\u{3}\u{1}\u{40}\u{0}\u{1}\u{0}\u{7f}\u{7f}", "x"),
    ("", "\u{16}"),
];

/// The route port, before the login and, without a required login, before INFO.
#[test]
fn unauthenticated_floods_on_the_route_port() {
    let address = free_address();
    let config = format!(
        "cluster {{ name: C, listen: \"{address}\", authorization {{ user: route, password: \
         secret, timeout: 1 }} }}\nmax_memory: 8MB\n"
    );
    let broker = Broker::midge().config(config).start();
    let mut other_clients = OtherClients::watch(&broker, FREE_LOGIN);
    let floods = send_floods(BEFORE_LOGIN, move |first, again| {
        send_plain_flood(address, first, again)
    });
    other_clients.wait_until_closed(&broker, floods);
    let floods = send_floods(INSTEAD_OF_INFO, move |first, again| {
        let connect =
            "CONNECT {\"name\":\"X\",\"cluster\":\"C\",\"user\":\"route\",\"pass\":\"secret\"}";
        send_plain_flood(address, &format!("{connect}\r\n{first}"), again)
    });
    other_clients.wait_until_closed(&broker, floods);
    assert_eq!(broker.get_json("/routez")["num_routes"], 0);
    other_clients.check(&broker, 32 * 1024);
}

/// The same with TLS.
#[test]
fn unauthenticated_floods_on_the_route_port_over_tls() {
    let address = free_address();
    let pki = Pki::new(&["server", "other"]);
    let config = format!(
        "cluster {{ name: C, listen: \"{address}\", tls {{ cert_file: {:?}, key_file: {:?}, ca_file: \
         {:?}, timeout: 5 }}, authorization {{ user: route, password: secret, timeout: 1 }} }}\n",
        pki.text("server.pem"),
        pki.text("server.key"),
        pki.text("ca.pem")
    );
    let broker = Broker::midge().config(config).start();
    let mut other_clients = OtherClients::watch(&broker, FREE_LOGIN);
    let speaker = Speaker::believing(&pki.path("ca.pem")).first();
    let speaker = speaker.showing(&pki.path("other.pem"), &pki.path("other.key"));
    let floods = send_floods(BEFORE_LOGIN, move |first, again| {
        send_tls_flood(&speaker, address, first, again)
    });
    other_clients.wait_until_closed(&broker, floods);
    other_clients.check(&broker, 64 * 1024);
}

/// An address in our own `routes` that floods the dialling broker: each connection ends in
/// time, and the next dial comes after a pause.
#[test]
fn floods_from_a_dialled_peer() {
    let mut routes = Vec::new();
    let mut listeners = Vec::new();
    for flood in INSTEAD_OF_INFO {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("an address");
        routes.push(format!("\"nats-route://{address}\""));
        listeners.push((listener, *flood));
    }
    let config = format!(
        "cluster {{ name: C, listen: \"{}\", routes: [ {} ] }}\nmax_memory: 8MB\n",
        free_address(),
        routes.join(", ")
    );
    let broker = Broker::midge().config(config).start();
    let mut other_clients = OtherClients::watch(&broker, FREE_LOGIN);
    let calls = listeners.into_iter().map(|(listener, (first, again))| {
        thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().expect("it dials");
                stream.set_write_timeout(Some(PATIENCE)).expect("a bound");
                send_flood(&mut stream, first, again);
            }
        })
    });
    let calls = calls.collect();
    other_clients.wait_until_closed(&broker, calls);
    other_clients.check(&broker, 32 * 1024);
}

/// Authenticated clients: what they do not read is bounded, and the timeouts apply
/// however much they send.
#[test]
fn floods_from_authenticated_clients() {
    let config = "max_pending: 4MB\nwrite_deadline: \"1s\"\nping_interval: \"2s\"\nping_max: 1\n";
    let broker = Broker::midge().config(config).start();
    let mut other_clients = OtherClients::watch(&broker, FREE_LOGIN);
    let address = broker.client_addr();
    let floods = [
        // Nobody reads the replies.
        ("", "PING\r\n"),
        ("CONNECT {}\r\n", "SUB a 1\r\n"),
        ("CONNECT {}\r\n", "PUB b 1\r\nx\r\n"),
        // The broker's pings are not answered.
        (FREE_LOGIN, "PUB b 1\r\nx\r\n"),
        (FREE_LOGIN, "UNSUB 1\r\n"),
        // No line ends.
        (FREE_LOGIN, " "),
        ("CONNECT", " "),
        ("CONNECT {\"verbose\":false}\r\nSUB", " "),
        ("CONNECT {\"verbose\":false}\r\nSUB a", " "),
        ("CONNECT {\"verbose\":false}\r\nPING", " "),
        ("CONNECT {\"verbose\":false}\r\n+OK", "x"),
    ];
    let floods = send_floods(&floods, move |first, again| {
        send_plain_flood(address, first, again)
    });
    other_clients.wait_until_closed(&broker, floods);
    other_clients.check(&broker, 48 * 1024);
}

/// A broker of the cluster that sends endless pings and reads nothing.
#[test]
fn floods_from_an_established_route() {
    let address = free_address();
    let config = format!(
        "cluster {{ name: C, listen: \"{address}\", write_deadline: \"1s\" }}\nmax_memory: 32MB\n"
    );
    let broker = Broker::midge().config(config).start();
    let mut other_clients = OtherClients::watch(&broker, FREE_LOGIN);
    let begin = "CONNECT {\"name\":\"X\",\"cluster\":\"C\"}\r\nINFO \
                 {\"server_id\":\"X\",\"server_name\":\"x\",\"cluster\":\"C\"}\r\n";
    let floods = send_floods(&[("", "PING\r\n")], move |first, again| {
        send_plain_flood(address, &format!("{begin}{first}"), again)
    });
    other_clients.wait_until_closed(&broker, floods);
    other_clients.check(&broker, 64 * 1024);
}

/// The monitoring port: endless request heads.
#[test]
fn endless_http_request_heads() {
    let broker = Broker::midge().start();
    let mut other_clients = OtherClients::watch(&broker, FREE_LOGIN);
    let address = broker.monitor_addr();
    let floods = [
        ("GET /", "x"),
        ("GET / HTTP/1.1\r\n", "x: y\r\n"),
        ("GET / HTTP/1.1\r\nx: ", " "),
        ("", "\r\n"),
        ("", " "),
        ("", "x"),
    ];
    let floods = send_floods(&floods, move |first, again| {
        send_plain_flood(address, first, again)
    });
    other_clients.wait_until_closed(&broker, floods);
    other_clients.check(&broker, 32 * 1024);
}

/// An unauthenticated client that only sends valid PINGs gets the reason for its disconnect.
#[test]
fn an_authentication_timeout_is_reported_to_the_client() {
    let address = free_address();
    let config = format!("cluster {{ name: C, listen: \"{address}\" }}\n");
    let broker = Broker::midge().config(config).start();
    let mut untrusted_peer = TcpStream::connect(address).expect("connect");
    untrusted_peer
        .set_read_timeout(Some(PATIENCE))
        .expect("a bound");
    untrusted_peer.write_all(b"PING\r\n").expect("write");
    let mut reported = String::new();
    untrusted_peer
        .read_to_string(&mut reported)
        .expect("it is reported");
    assert_eq!(reported, "-ERR 'Authorization Violation'\r\n");
    drop(broker);
}
