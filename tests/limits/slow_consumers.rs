//! Slow and stuck subscribers: which are disconnected, which are not, and that healthy
//! subscribers get every message.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use test_support::{Broker, PATIENCE, wait_until};

const MESSAGE_LEN: usize = 64 * 1024;

/// A connection that has subscribed to `a` and reads only when the test does.
fn subscriber(broker: &Broker, name: &str) -> TcpStream {
    let stream = TcpStream::connect(broker.client_addr()).expect("the client port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let hello = format!("CONNECT {{\"verbose\":false,\"name\":{name:?}}}\r\nSUB a 1\r\nPING\r\n");
    (&stream).write_all(hello.as_bytes()).expect("written");
    read_until(&stream, b"PONG\r\n");
    stream
}

fn read_until(mut stream: &TcpStream, end: &[u8]) {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("more to read");
        seen.push(byte[0]);
    }
}

/// Reads `count` messages of [`MESSAGE_LEN`], with a pause after each `every`.
fn read_messages(mut stream: TcpStream, count: usize, every: usize, pause: Duration) {
    let len = format!("MSG a 1 {MESSAGE_LEN}\r\n\r\n").len() + MESSAGE_LEN;
    let mut message = vec![0; len];
    for number in 0..count {
        stream
            .read_exact(&mut message)
            .unwrap_or_else(|error| panic!("message {number} of {count}: {error}"));
        assert!(message.starts_with(b"MSG a 1 "));
        if number % every == 0 {
            thread::sleep(pause);
        }
    }
}

/// Publishes `count` messages and waits until the broker has processed them.
fn publish(broker: &Broker, count: usize) {
    let mut stream = TcpStream::connect(broker.client_addr()).expect("the client port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut message = format!("PUB a {MESSAGE_LEN}\r\n").into_bytes();
    message.resize(message.len() + MESSAGE_LEN, b'x');
    message.extend_from_slice(b"\r\n");
    stream
        .write_all(b"CONNECT {\"verbose\":false}\r\n")
        .expect("written");
    for _ in 0..count {
        stream.write_all(&message).expect("the broker reads");
    }
    stream.write_all(b"PING\r\n").expect("written");
    read_until(&stream, b"PONG\r\n");
}

/// Publishes `total` bytes in small messages, which every queue copies.
fn publish_many(broker: &Broker, size: usize, total: usize) {
    let mut stream = TcpStream::connect(broker.client_addr()).expect("the client port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let message = format!("PUB a {size}\r\n{}\r\n", "x".repeat(size));
    stream
        .write_all(b"CONNECT {\"verbose\":false}\r\n")
        .expect("written");
    stream
        .write_all(message.repeat(total / size).as_bytes())
        .expect("written");
    stream.write_all(b"PING\r\n").expect("written");
    read_until(&stream, b"PONG\r\n");
}

fn closed_for_pending(broker: &Broker) -> usize {
    let closed = broker.get_json("/connz?state=closed");
    closed["connections"]
        .as_array()
        .expect("connections")
        .iter()
        .filter(|entry| entry["reason"] == "Slow Consumer (Pending Bytes)")
        .count()
}

/// Number of clients disconnected because all queues together held too much.
fn closed_for_memory(broker: &Broker) -> usize {
    let closed = broker.get_json("/connz?state=closed");
    let entries = closed["connections"].as_array().expect("connections");
    let reasons = entries.iter().filter_map(|entry| entry["reason"].as_str());
    reasons
        .filter(|reason| reason.contains("All Queues Together"))
        .count()
}

/// A subscriber that does not read is disconnected at `max_pending`; one that reads gets
/// everything.
#[test]
fn a_stuck_subscriber_is_disconnected_and_a_healthy_one_gets_everything() {
    let broker = Broker::midge().config("max_pending: 8MB").start();
    let stuck = subscriber(&broker, "stuck");
    let healthy = subscriber(&broker, "healthy");
    let count = 1000;
    let reader = thread::spawn(move || read_messages(healthy, count, count, Duration::ZERO));
    publish(&broker, count);
    reader.join().expect("everything arrived");
    wait_until("the stuck subscriber is disconnected", || {
        closed_for_pending(&broker) == 1
    });
    let varz = broker.get_json("/varz");
    assert_eq!(varz["slow_consumers"], 1);
    assert_eq!(varz["slow_consumer_stats"]["clients"], 1);
    broker.log().wait_for("Slow Consumer Detected");
    drop(stuck);
}

/// Many clients below their own limits cannot use all memory: those with the largest
/// queues are disconnected.
#[test]
fn all_queues_together_stay_within_max_memory() {
    let broker = Broker::midge()
        .config("max_memory: 32MB\nmax_pending: 64MB")
        .start();
    let stuck: Vec<_> = (0..20).map(|_| subscriber(&broker, "stuck")).collect();
    let healthy = subscriber(&broker, "healthy");
    let count = 800;
    let reader = thread::spawn(move || read_messages(healthy, count, count, Duration::ZERO));
    publish(&broker, count);
    reader.join().expect("everything arrived");
    wait_until("enough stuck subscribers are disconnected", || {
        let open = broker.get_json("/connz");
        let pending: u64 = open["connections"]
            .as_array()
            .expect("connections")
            .iter()
            .map(|entry| entry["pending_bytes"].as_u64().expect("a number"))
            .sum();
        pending <= 33 << 20
    });
    assert!(closed_for_memory(&broker) >= 1);
    // No client's own limit was exceeded.
    assert_eq!(closed_for_pending(&broker), 0);
    broker
        .log()
        .wait_for("all queues together exceed max_memory of 33554432");
    broker.log().wait_for("this one held most: ");
    broker.log().assert_lacks("MaxPending");
    drop(stuck);
}

/// Memory of stuck subscribers is returned to the system after they are disconnected. Not
/// only the first time: the allocator adapts and keeps more afterwards.
#[test]
fn memory_is_released() {
    // Publishing takes long; nobody is disconnected for that.
    let broker = Broker::midge().config("write_deadline: 120s").start();
    let resident = || broker.get_json("/varz")["mem"].as_u64().expect("a number");
    let idle = resident();
    for _ in 0..3 {
        let stuck: Vec<_> = (0..4).map(|_| subscriber(&broker, "stuck")).collect();
        for size in [64, 1024] {
            publish_many(&broker, size, 24 << 20);
        }
        let held = resident();
        assert!(held > 64 << 20, "the queues hold little: {held} bytes");
        drop(stuck);
        wait_until("the memory is released", || resident() < idle + (24 << 20));
    }
}

/// The publisher is stalled for a subscriber that keeps reading, however slowly: nobody
/// is disconnected and nothing is lost.
#[test]
fn a_subscriber_that_keeps_reading_is_not_disconnected() {
    let broker = Broker::midge().config("max_pending: 16MB").start();
    let slow = subscriber(&broker, "slow");
    let count = 1500;
    let reader = thread::spawn(move || read_messages(slow, count, 20, Duration::from_millis(4)));
    publish(&broker, count);
    reader.join().expect("everything arrived");
    assert_eq!(closed_for_pending(&broker), 0);
    assert_eq!(broker.get_json("/varz")["slow_consumers"], 0);
}

/// A socket that accepts nothing for `write_deadline` is closed.
#[test]
fn a_stuck_subscriber_is_disconnected_at_the_write_deadline() {
    let broker = Broker::midge().config("write_deadline: \"500ms\"").start();
    let stuck = subscriber(&broker, "stuck");
    publish(&broker, 300);
    wait_until("the deadline has passed", || {
        let closed = broker.get_json("/connz?state=closed");
        let entries = closed["connections"]
            .as_array()
            .expect("connections")
            .clone();
        entries
            .iter()
            .any(|entry| entry["reason"] == "Slow Consumer (Write Deadline)")
    });
    drop(stuck);
}

/// Two hundred stuck subscribers that may each hold 64 MB: the broker stays within its
/// limit, and another pair of clients gets everything.
#[test]
fn two_hundred_stuck_subscribers_stay_within_max_memory() {
    const BUDGET: u64 = 512_000_000;
    let broker = Broker::midge()
        .config("max_memory: 512MB\nmax_pending: 64MB\nwrite_deadline: 60s")
        .start();
    let stuck: Vec<TcpStream> = (0..200)
        .map(|number| subscriber(&broker, &format!("stuck-{number}")))
        .collect();
    let mut healthy = test_support::RawClient::connect_quietly(broker.client_addr());
    healthy.send("SUB b 1\r\n");
    healthy.sync();
    let mut pair = test_support::RawClient::connect_quietly(broker.client_addr());
    let memory = || broker.get_json("/varz")["mem"].as_u64().expect("bytes");
    let before = memory();
    let mut most = 0;
    for round in 0..40 {
        // Small ones: large messages are shared between queues.
        publish_many(&broker, 2000, 4 * MESSAGE_LEN);
        pair.send(format!("PUB b 2\r\n{round:02}\r\n"));
        pair.sync();
        let came = healthy.next_message();
        assert_eq!(came.body, format!("{round:02}").as_bytes());
        most = most.max(memory());
    }
    // In addition to pending data: unused space in each queue's last buffer, and the
    // queues of disconnected clients until their task releases them.
    let bound = before + BUDGET + BUDGET * 40 / 100;
    assert!(most < bound, "{most} bytes resident, {before} before");
    assert!(
        most > before + BUDGET / 2,
        "the budget was not tried: {most}"
    );
    let varz = broker.get_json("/varz");
    assert!(varz["slow_consumers"].as_u64() > Some(0), "{varz}");
    drop(stuck);
}

/// The write deadline counts from the moment the socket is full, however long it and the
/// ping interval are.
#[test]
fn the_write_deadline_does_not_wait_for_a_ping() {
    let broker = Broker::midge().config("write_deadline: \"200ms\"").start();
    let stuck = subscriber(&broker, "stuck");
    // The next ping is two minutes later.
    read_until(&stuck, b"PING\r\n");
    publish(&broker, 300);
    wait_until("the deadline has passed", || {
        let closed = broker.get_json("/connz?state=closed");
        closed
            .to_string()
            .contains("Slow Consumer (Write Deadline)")
    });
}
