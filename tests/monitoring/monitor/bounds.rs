//! The cost of monitoring requests is bounded and does not affect others.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use test_support::{Broker, HeldThreads, http, wait_until};

/// Longer than every timeout of the monitoring port that is tested here.
const LONG: Duration = Duration::from_secs(60);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect to the monitoring port");
    stream
        .set_read_timeout(Some(LONG))
        .expect("bound the reading");
    stream
}

/// HTTP clients that request much and do not read affect neither other requests nor the
/// broker's clients.
#[test]
fn http_clients_that_do_not_read_are_harmless() {
    let broker = Broker::midge().start();
    let mut clients: Vec<_> = (0..200).map(|_| broker.connect()).collect();
    clients.iter_mut().for_each(|client| {
        client.sync();
    });
    let request = "GET /connz?subs=detail&auth=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // The answers to one client's requests are far more than the kernel buffers.
    let slow: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = connect(broker.monitor_addr());
            stream
                .write_all(request.repeat(200).as_bytes())
                .expect("send the requests");
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(broker.get_json("/connz")["num_connections"], 200);
        clients.iter_mut().for_each(|client| {
            client.sync();
        });
    }
    let memory = broker.get_json("/varz")["mem"].as_u64().expect("a number");
    assert!(memory < 100 << 20, "{memory} bytes in use");
    drop(slow);
}

/// While a long answer is produced and others are queued behind it, health checks are
/// answered as usual; the others are answered later.
#[test]
fn a_long_response_does_not_delay_health_checks() {
    let broker = Broker::midge().start();
    // The thread for long answers starts with the first one.
    broker.get_json("/connz");
    let held = HeldThreads::hold(&broker, "monitor-long");
    let address = broker.monitor_addr();
    let ask = |path: String| thread::spawn(move || http::get(address, &path).status);
    // Some of them wait for the thread, some do not.
    let others: Vec<_> = broker.endpoints().into_iter().map(ask).collect();
    let long: Vec<_> = (0..20).map(|_| ask("/connz".into())).collect();
    for path in [
        "/healthz",
        "/healthz?probe=live",
        "/varz",
        "/explainz",
        "/memz",
        "/eventsz",
    ] {
        assert_eq!(broker.get(path).status, 200, "{path}");
    }
    assert!(long.iter().all(|asker| !asker.is_finished()));
    drop(held);
    for asker in others.into_iter().chain(long) {
        assert_eq!(asker.join().expect("an answer"), 200);
    }
}

/// Connections beyond the limit replace those that have been idle longest, which is
/// logged in a few lines.
#[test]
fn connections_are_limited() {
    let broker = Broker::midge().start();
    let mut open: Vec<TcpStream> = (0..300).map(|_| admitted(broker.monitor_addr())).collect();
    let is_open = |stream: &mut TcpStream| {
        stream.set_nonblocking(true).expect("no waiting");
        matches!(stream.read(&mut [0; 4096]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    // The head of the answer is still unread.
    for stream in &mut open {
        stream.set_nonblocking(true).expect("no waiting");
        let _ = stream.read(&mut [0; 4096]);
    }
    wait_until("the first ones are closed", || {
        open.iter_mut()
            .filter_map(|it| is_open(it).then_some(()))
            .count()
            <= 64
    });
    assert!(
        open.iter_mut()
            .filter_map(|it| is_open(it).then_some(()))
            .count()
            > 32
    );
    broker.log().wait_for("silent monitoring connection");
    let log = broker.log().so_far();
    let lines = log.count("silent monitoring connection");
    assert!((1..150).contains(&lines), "{lines} lines");
    wait_until("the next line has the number of suppressed ones", || {
        open.extend((0..70).map(|_| admitted(broker.monitor_addr())));
        broker
            .log()
            .so_far()
            .already_has("more connections not shown")
    });
}

/// A connection that got an answer and so is accepted.
fn admitted(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    let request = b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).expect("ask");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    stream
}

/// Slow-loris: a client that does not complete a request is closed and logged, even if it
/// sends a byte from time to time; a connection that stays open after a complete request
/// is not.
#[test]
fn an_incomplete_request_times_out() {
    let broker = Broker::midge().start();
    let mut streams: Vec<TcpStream> = (0..30).map(|_| connect(broker.monitor_addr())).collect();
    for stream in &mut streams {
        stream
            .write_all(b"GET /varz HTTP/1.1\r\nHost: local")
            .expect("send half a request");
    }
    let mut idle = admitted(broker.monitor_addr());
    let start = Instant::now();
    let is_reported = || {
        let log = broker.log().so_far();
        log.already_has("A request was not complete within")
    };
    while !is_reported() {
        assert!(start.elapsed() < LONG, "it is waited for");
        for stream in &mut streams {
            // The connection may be closed already.
            let _ = stream.write_all(b"x");
        }
        thread::sleep(Duration::from_millis(50));
    }
    for mut stream in streams {
        let mut rest = Vec::new();
        // Unread data turns the close into a reset.
        let _ = stream.read_to_end(&mut rest);
        assert!(!String::from_utf8_lossy(&rest).contains("200"));
    }
    idle.read_to_end(&mut Vec::new()).expect("it ends too");
    let reported = broker
        .log()
        .so_far()
        .count("A request was not complete within");
    assert!(
        (1..=20).contains(&reported),
        "{reported} lines for 30 of them"
    );
    let port = idle.local_addr().expect("its address").port();
    broker.log().assert_lacks(&format!(":{port} - "));
}

/// Invalid requests are logged with the reason.
#[test]
fn invalid_requests_are_reported() {
    let broker = Broker::midge().start();
    let mut stream = connect(broker.monitor_addr());
    stream
        .write_all(b"\x16\x03\x01 nonsense\r\n\r\n")
        .expect("send");
    let _ = stream.read_to_end(&mut Vec::new());
    let port = stream.local_addr().expect("its address").port();
    let reported = format!("127.0.0.1:{port} - Not an HTTP request: ");
    broker.log().wait_for(&reported);
}

/// Endless headers are refused, one long header or many.
#[test]
fn headers_are_limited() {
    let broker = Broker::midge().start();
    let long = format!("X: {}\r\n", "x".repeat(20_000));
    for headers in [long, "X: y\r\n".repeat(100)] {
        let request = format!("GET /varz HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        let mut stream = connect(broker.monitor_addr());
        // The refusal may arrive, with a reset, before everything is sent.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = [0; 12];
        if stream.read_exact(&mut answer).is_ok() {
            assert_eq!(&answer, b"HTTP/1.1 431");
        }
        assert_eq!(http::get(broker.monitor_addr(), "/healthz").status, 200);
    }
}

/// One client's subscriptions cannot make an answer arbitrarily large; the count shows
/// that the list is truncated.
#[test]
fn listed_subscriptions_are_limited() {
    const SUBSCRIPTIONS: usize = 70_000;
    let broker = Broker::midge().start();
    let mut client = broker.connect();
    client.send(
        (0..SUBSCRIPTIONS)
            .map(|sid| format!("SUB s.{sid} {sid}\r\n"))
            .collect::<String>(),
    );
    client.sync();
    for (query, list) in [
        ("subs=1", "subscriptions_list"),
        ("subs=detail", "subscriptions_list_detail"),
    ] {
        let answer = broker.get_json(&format!("/connz?{query}"));
        let entry = &answer["connections"][0];
        assert_eq!(entry["subscriptions"], SUBSCRIPTIONS);
        assert_eq!(entry[list].as_array().map(Vec::len), Some(65_536));
    }
    let subsz = broker.get_json("/subsz?subs=1&limit=1000000");
    assert_eq!(subsz["total"], SUBSCRIPTIONS);
    assert_eq!(subsz["limit"], 16_384);
    assert_eq!(
        subsz["subscriptions_list"].as_array().map(Vec::len),
        Some(16_384)
    );
}
