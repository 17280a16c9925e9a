//! Findings about slow consumers, and about publishers that wait for them.

use std::{
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{
    StopsAtEnd, appears, appears_while, clears, client, findings, quick_with, stays_silent, text,
};
use test_support::{Broker, RawClient, wait_until};

const LIMIT: &str = "max_pending: 16MB\nwrite_deadline: 60s";

fn subscriber(broker: &Broker, name: &str) -> RawClient {
    let mut subscriber = client(broker, name);
    subscriber.send("SUB a 1\r\n");
    subscriber.sync();
    subscriber
}

/// Publishes `count` messages of 64 KiB.
fn publish(publisher: &mut RawClient, count: usize) {
    let mut message = b"PUB a 65536\r\n".to_vec();
    message.resize(message.len() + 65536, b'x');
    message.extend_from_slice(b"\r\n");
    for _ in 0..count {
        publisher.send(&message);
    }
    publisher.sync();
}

/// Reads everything until it is stopped, with a pause after each read.
fn read_on<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    client: &RawClient,
    stop: &'scope AtomicBool,
    pause: Duration,
) {
    let mut stream = client.stream().try_clone().expect("a second handle");
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a timeout");
    scope.spawn(move || {
        let mut piece = vec![0; 256 * 1024];
        while !stop.load(Ordering::Relaxed) {
            // A read timeout is no error here.
            let _ = stream.read(&mut piece);
            thread::sleep(pause);
        }
    });
}

fn pending(broker: &Broker) -> u64 {
    let connz = broker.get_json("/connz?sort=pending&limit=1");
    connz["connections"][0]["pending_bytes"]
        .as_u64()
        .unwrap_or(0)
}

/// Publishes until `bytes` are pending for the slowest subscriber.
fn fill(broker: &Broker, publisher: &mut RawClient, bytes: u64) {
    wait_until("the queue is that long", || {
        publish(publisher, 8);
        pending(broker) >= bytes
    });
}

#[test]
pub fn a_stuck_subscriber_is_reported_until_it_reads() {
    let broker = quick_with("", LIMIT).start();
    let stuck = subscriber(&broker, "stuck-app");
    let mut publisher = client(&broker, "publisher");
    fill(&broker, &mut publisher, 5_000_000);
    let finding = appears(&broker, "slow-consumer");
    assert_eq!(finding["subject"], "stuck-app");
    assert_ne!(finding["cid"], 0);
    assert!(text(&finding).contains("% of max_pending"), "{finding}");
    wait_until("the subscriber is reported as stuck", || {
        let finding = appears(&broker, "slow-consumer");
        finding["cause"]
            .as_str()
            .is_some_and(|c| c.contains("read nothing"))
    });
    fill(&broker, &mut publisher, 13_000_000);
    wait_until("it is critical", || {
        appears(&broker, "slow-consumer")["severity"] == "critical"
    });
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = StopsAtEnd(&stop);
        read_on(scope, &stuck, &stop, Duration::ZERO);
        clears(&broker, "slow-consumer");
    });
}

#[test]
fn a_subscriber_that_keeps_up_is_not_reported() {
    let broker = quick_with("", LIMIT).start();
    let reader = subscriber(&broker, "fast-app");
    let mut publisher = client(&broker, "publisher");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = StopsAtEnd(&stop);
        read_on(scope, &reader, &stop, Duration::ZERO);
        for _ in 0..20 {
            publish(&mut publisher, 8);
        }
    });
    for code in [
        "slow-consumer",
        "slow-consumer-recent",
        "slow-consumer-predicted",
    ] {
        stays_silent(&broker, code);
    }
}

#[test]
pub fn a_growing_queue_is_predicted_and_a_disconnect_is_reported_for_a_while() {
    let broker = quick_with("slow_percent: 100", LIMIT).start();
    let _stuck = subscriber(&broker, "stuck-app");
    let mut publisher = client(&broker, "publisher");
    // The kernel's socket buffers are not part of the queue.
    fill(&broker, &mut publisher, 100_000);
    let foreseen = appears_while(&broker, "slow-consumer-predicted", || {
        publish(&mut publisher, 1);
        thread::sleep(Duration::from_millis(20));
    });
    assert_eq!(foreseen["subject"], "stuck-app");
    // Which of the two comes first depends on how fast this machine publishes.
    let ends = ["and is full in", "write_deadline closes it in"];
    let is_known = ends.iter().any(|end| text(&foreseen).contains(end));
    assert!(is_known, "{foreseen}");
    assert!(findings(&broker, "slow-consumer-recent").is_empty());

    wait_until("the subscriber is disconnected", || {
        publish(&mut publisher, 16);
        broker.get_json("/varz")["slow_consumers"] == 1
    });
    let cut = appears(&broker, "slow-consumer-recent");
    assert!(text(&cut).contains("\"stuck-app\""), "{cut}");
    clears(&broker, "slow-consumer-predicted");
    clears(&broker, "slow-consumer-recent");
}

/// A subscriber that reads nothing is closed by the write deadline, long before its queue is full.
#[test]
fn the_end_of_a_subscriber_that_reads_nothing_is_predicted() {
    let broker = quick_with("", "max_pending: 256MB\nwrite_deadline: 20s").start();
    let _stuck = subscriber(&broker, "stuck-app");
    let mut publisher = client(&broker, "publisher");
    stays_silent(&broker, "slow-consumer-predicted");
    fill(&broker, &mut publisher, 1_000_000);
    let foreseen = appears(&broker, "slow-consumer-predicted");
    assert_eq!(foreseen["subject"], "stuck-app");
    let is_said = text(&foreseen).contains(": write_deadline closes it in ");
    assert!(is_said, "{foreseen}");
    assert!(findings(&broker, "slow-consumer-recent").is_empty());
    let cut = appears(&broker, "slow-consumer-recent");
    assert!(text(&cut).contains("\"stuck-app\""), "{cut}");
    clears(&broker, "slow-consumer-predicted");
}

#[test]
pub fn a_subscriber_that_stalls_publishers_is_named() {
    let broker = quick_with("slow_percent: 100", LIMIT).start();
    let slow = subscriber(&broker, "slow-app");
    let mut publisher = client(&broker, "publisher");
    stays_silent(&broker, "publisher-stalled");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = StopsAtEnd(&stop);
        // Slower than the broker delivers, but fast enough for publishers to be stalled
        // for it, also on a busy machine.
        read_on(scope, &slow, &stop, Duration::from_millis(4));
        let found = appears_while(&broker, "publisher-stalled", || {
            publish(&mut publisher, 32);
        });
        assert_eq!(found["subject"], "slow-app");
        clears(&broker, "publisher-stalled");
    });
}

/// With the default thresholds: a stuck subscriber whose queue is two thirds full is a
/// finding within seconds, long before it is disconnected.
#[test]
fn a_queue_two_thirds_full_is_reported_with_default_thresholds() {
    let broker = Broker::midge().config(LIMIT).start();
    let _stuck = subscriber(&broker, "stuck-app");
    let mut publisher = client(&broker, "publisher");
    fill(&broker, &mut publisher, 11_200_000);
    let finding = appears(&broker, "slow-consumer");
    assert_eq!(finding["subject"], "stuck-app");
    let varz = broker.get_json("/varz");
    assert_eq!(varz["slow_consumers"], 0, "it is not cut yet");
}
