//! Ten thousand connections are listed while messages flow and some HTTP clients do not
//! read the list.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use test_support::{Broker, HttpResponse, RawClient, http};

/// Limited by the number of open files, at most this.
const CONNECTIONS_MAX: u64 = 10_000;

/// Files that the test and the broker need in addition.
const SPARE_FILES: u64 = 500;

/// Memory of the broker that listing may use in addition to the connections, slow HTTP
/// clients included.
const MEMORY_MAX: u64 = 256 << 20;

/// The longest wait; an answer that is not read is abandoned after half a minute.
const LONG: Duration = Duration::from_secs(60);

/// Raises the limit of open files, also for the broker; returns it.
fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a pointer to a valid rlimit and keep none.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    limit.rlim_cur
}

/// Connects `count` clients with different names.
fn many_connections(address: SocketAddr, count: u64) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for number in 0..count {
        let mut client = TcpStream::connect(address).expect("connect");
        client.set_read_timeout(Some(LONG)).expect("a timeout");
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"name\":\"c{number}\"}}\r\nSUB quiet.{number} 1\r\nPING\r\n"
        );
        client.write_all(hello.as_bytes()).expect("introduce it");
        clients.push(client);
    }
    for client in &mut clients {
        let mut received = Vec::new();
        let mut part = [0; 2048];
        // The broker's own PING may follow.
        while !received.windows(6).any(|part| part == b"PONG\r\n") {
            let len = client.read(&mut part).expect("an answer");
            assert_ne!(len, 0, "closed: {}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&part[..len]);
        }
    }
    clients
}

/// Messages that may be pending: the subscriber of the traffic must not become slow, even
/// on a busy machine.
const UNDER_WAY_MAX: u64 = 10_000;

/// Publishes until it is stopped; returns the number of messages.
fn publish(mut publisher: RawClient, ends: &AtomicBool, seen: &AtomicU64) -> u64 {
    let mut sent = 0;
    while !ends.load(Ordering::Relaxed) {
        publisher.send("PUB traffic 5\r\nhello\r\n".repeat(100));
        publisher.sync();
        sent += 100;
        while sent - seen.load(Ordering::Relaxed) > UNDER_WAY_MAX && !ends.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    publisher.send("PUB traffic 3\r\nend\r\n");
    publisher.sync();
    sent
}

/// Counts messages up to the one marked as the last.
fn count(mut reader: RawClient, seen: &AtomicU64) {
    while reader.next_message().body != b"end" {
        seen.fetch_add(1, Ordering::Relaxed);
    }
}

/// A response, possibly after others were served first.
fn get(broker: &Broker, path: &str) -> HttpResponse {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = http::send_patiently(broker.monitor_addr(), &request, LONG);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer
}

/// The names on the pages of the list; each must appear once.
fn listed(broker: &Broker, limit: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    loop {
        let offset = names.len();
        let page = get(
            broker,
            &format!("/connz?limit={limit}&offset={offset}&subs=1"),
        )
        .json();
        let entries = page["connections"].as_array().expect("a list");
        for entry in entries {
            let name = entry["name"].as_str().unwrap_or_default();
            let cid = &entry["cid"];
            assert!(
                names.insert(format!("{name} {cid}")),
                "{entry} is there twice"
            );
        }
        if entries.len() < limit {
            assert_eq!(page["total"], names.len());
            return names;
        }
    }
}

/// Stops the traffic, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Resident bytes.
fn memory(broker: &Broker) -> u64 {
    let varz = get(broker, "/varz").json();
    varz["mem"].as_u64().expect("a number")
}

fn open_files(broker: &Broker) -> usize {
    fs::read_dir(format!("/proc/{}/fd", broker.pid()))
        .expect("the broker's files")
        .count()
}

#[test]
fn many_connections_are_listed_under_traffic_and_slow_http_readers_are_closed() {
    let size = CONNECTIONS_MAX.min(raise_file_limit().saturating_sub(SPARE_FILES));
    assert!(size >= 500, "open files are limited to {size}");
    let broker = Broker::midge().start();
    let many_connections = many_connections(broker.client_addr(), size);
    let mut reader = RawClient::connect_quietly(broker.client_addr());
    reader.send("SUB traffic 1\r\n");
    reader.sync();
    let mut publisher = RawClient::connect_quietly(broker.client_addr());
    publisher.sync();
    let ends = AtomicBool::new(false);
    let seen = AtomicU64::new(0);
    thread::scope(|scope| {
        let reader = scope.spawn(|| count(reader, &seen));
        let publisher = scope.spawn(|| publish(publisher, &ends, &seen));
        let ending = Ending(&ends);
        let files = open_files(&broker);
        let before = memory(&broker);
        // Three whole lists are more than the kernel buffers for a client.
        let slow: Vec<TcpStream> = (0..4)
            .map(|_| {
                let mut stream = TcpStream::connect(broker.monitor_addr()).expect("connect");
                let request = "GET /connz?subs=detail&auth=1&limit=16384 HTTP/1.1\r\n\
                               Host: localhost\r\n\r\n";
                stream.write_all(request.repeat(3).as_bytes()).expect("ask");
                stream
            })
            .collect();
        for limit in [1024, 16_384] {
            let names = listed(&broker, limit);
            // In addition, the publisher and the subscriber.
            assert_eq!(names.len() as u64, size + 2, "with a limit of {limit}");
            for number in 0..size {
                let start = format!("c{number} ");
                let next = names.range(start.clone()..).next();
                assert!(next.is_some_and(|name| name.starts_with(&start)), "{start}");
            }
        }
        for path in broker.endpoints() {
            get(&broker, &path);
        }
        get(&broker, "/subsz?subs=1");
        let grown = memory(&broker).saturating_sub(before);
        assert!(grown < MEMORY_MAX, "{grown} bytes for lists of {size}");
        // A client that does not read the answer is closed, and its memory is released.
        let deadline = Instant::now() + LONG;
        while open_files(&broker) > files {
            assert!(
                Instant::now() < deadline,
                "the slow readers are still there"
            );
            get(&broker, "/healthz");
            thread::sleep(Duration::from_millis(100));
        }
        drop(slow);
        drop(ending);
        let sent = publisher.join().expect("the publisher");
        assert!(sent > 0, "there was no traffic");
        reader.join().expect("the reader");
        assert_eq!(seen.load(Ordering::Relaxed), sent);
    });
    assert_eq!(broker.get_json("/varz")["slow_consumers"], 0);
    drop(many_connections);
}
