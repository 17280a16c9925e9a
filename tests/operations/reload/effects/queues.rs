//! Settings for the queues of slow consumers.

use std::{
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use test_support::{RawClient, wait_until};

use super::{Effect, Scene};

pub const EFFECTS: &[Effect] = &[
    ("max_pending", max_pending),
    ("max_memory", max_memory),
    ("no_fast_producer_stall", no_fast_producer_stall),
];

const PAYLOAD: usize = 10_000;

/// The ping interval is long, so that a client that does not read is closed for that
/// reason only.
const CONFIG: &str = "max_payload: 16KB\nping_interval: \"1h\"\nwrite_deadline: \"1h\"";

/// Publishes until `done`, in parts.
fn publish_until(scene: &Scene, what: &str, mut done: impl FnMut() -> bool) {
    let mut publisher = scene.client();
    let line = format!("PUB big {PAYLOAD}\r\n{}\r\n", "x".repeat(PAYLOAD));
    let part = line.repeat(20);
    wait_until(what, || {
        publisher.send(&part);
        publisher.sync();
        done()
    });
}

pub fn reader(scene: &Scene) -> RawClient {
    let mut reader = scene.client();
    reader.send("SUB big 1\r\n");
    reader.sync();
    reader
}

/// Much less than the old limit exceeds the new one.
const SOME: usize = 30 * 1000 * 1000 / PAYLOAD;

fn publish_some(scene: &Scene) {
    let mut left = SOME / 20;
    publish_until(scene, "some is published", || {
        left -= 1;
        left == 0
    });
}

#[test]
fn max_pending() {
    let mut scene = Scene::new(&format!("{CONFIG}\nmax_pending: 1GB\nmax_memory: 1GB"), "");
    let reader = reader(&scene);
    publish_some(&scene);
    let reason = "Slow Consumer (Pending Bytes)";
    assert!(!scene.closed(reason));
    scene.reload(&format!("{CONFIG}\nmax_pending: 20KB\nmax_memory: 1GB"), "");
    publish_until(&scene, "the reader is cut", || scene.closed(reason));
    drop(reader);
}

/// The limit for all queues together applies to clients and peers.
#[test]
fn max_memory() {
    let much = "max_pending: 1GB\nmax_memory: 1GB";
    let little = "max_pending: 1GB\nmax_memory: 2MB";
    let mut scene = Scene::new(&format!("{CONFIG}\n{much}"), "");
    let reader = reader(&scene);
    publish_some(&scene);
    let is_closed = |scene: &Scene| {
        let closed = scene.member.broker.get_json("/connz?state=closed");
        let closed = closed["connections"].as_array().cloned();
        closed.into_iter().flatten().any(|it| {
            it["reason"]
                .as_str()
                .is_some_and(|why| why.contains("Slow Consumer"))
        })
    };
    assert!(!is_closed(&scene));
    scene.reload(&format!("{CONFIG}\n{little}"), "");
    publish_until(&scene, "the reader is cut", || is_closed(&scene));
    drop(reader);

    let mut scene = Scene::new(&format!("{CONFIG}\n{much}"), "");
    let mut peer = scene.peer();
    peer.send("RS+ $G big\r\n");
    wait_until("the peer's interest is known", || scene.member.knows("big"));
    publish_some(&scene);
    assert!(!scene.member.routes().is_empty());
    scene.reload(&format!("{CONFIG}\n{little}"), "");
    publish_until(&scene, "the peer is cut", || {
        scene.member.routes().is_empty()
    });
}

/// Runs `work` beside a client that subscribes and reads slowly.
pub fn beside_a_slow_reader(scene: &Scene, work: impl FnOnce()) {
    let slow = reader(scene);
    let mut stream = slow.stream();
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a bound");
    let stops = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = StopsAtEnd(&stops);
        scope.spawn(|| {
            let mut bytes = vec![0; 256 * 1024];
            while !stops.load(Ordering::Relaxed) {
                // A read timeout is no error here.
                let _ = stream.read(&mut bytes);
                thread::sleep(Duration::from_millis(4));
            }
        });
        work();
    });
}

/// Stops the reader also when the work panics.
struct StopsAtEnd<'a>(&'a AtomicBool);

impl Drop for StopsAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A publisher is stalled for a slow subscriber that reads, unless that is disabled.
#[test]
fn no_fast_producer_stall() {
    let config = "max_pending: 16MB\nwrite_deadline: \"1m\"";
    let mut scene = Scene::new(&format!("{config}\nno_fast_producer_stall: true"), "");
    let stalls = |scene: &Scene| scene.member.broker.get_json("/varz")["stalled_clients"].clone();
    let mut publisher = scene.client();
    let part = format!("PUB big 65536\r\n{}\r\n", "x".repeat(65536)).repeat(32);
    beside_a_slow_reader(&scene, || {
        for _ in 0..30 {
            publisher.send(&part);
            publisher.sync();
        }
    });
    assert_eq!(stalls(&scene), 0);
    scene.reload(&format!("{config}\nno_fast_producer_stall: false"), "");
    beside_a_slow_reader(&scene, || {
        wait_until("the publisher is stalled", || {
            publisher.send(&part);
            publisher.sync();
            stalls(&scene) != 0
        });
    });
}
