//! Settings for pings and write deadlines.

use test_support::wait_until;

use super::{Effect, Scene, error_of, line_with};

pub const EFFECTS: &[Effect] = &[
    ("ping_interval", ping_interval),
    ("ping_max", ping_max),
    ("write_deadline", write_deadline),
    ("cluster ping_interval", cluster_ping_interval),
    ("cluster ping_max", cluster_ping_max),
    ("cluster write_deadline", cluster_write_deadline),
];

/// Pings that would not arrive with the old interval.
const PINGS: usize = 5;

#[test]
fn ping_interval() {
    let mut scene = Scene::new("ping_interval: \"1h\"", "");
    let (mut client, mut peer) = (scene.client(), scene.peer());
    scene.reload("ping_interval: \"100ms\"", "");
    for _ in 0..PINGS {
        line_with(&mut client, "PING");
        client.send("PONG\r\n");
        line_with(&mut peer, "PING");
        peer.send("PONG\r\n");
    }
}

#[test]
fn cluster_ping_interval() {
    let mut scene = Scene::new("ping_interval: \"1h\"", "ping_interval: \"30s\"");
    let mut peer = scene.peer();
    scene.reload("ping_interval: \"1h\"", "ping_interval: \"100ms\"");
    for _ in 0..PINGS {
        line_with(&mut peer, "PING");
        peer.send("PONG\r\n");
    }
}

/// A peer that never answers stays as long as pings may be unanswered.
#[test]
fn ping_max() {
    let often = "ping_interval: \"50ms\"";
    let mut scene = Scene::new(&format!("{often}\nping_max: 1000000"), "");
    let (mut client, mut peer) = (scene.client(), scene.peer());
    for _ in 0..PINGS {
        line_with(&mut client, "PING");
    }
    scene.reload(&format!("{often}\nping_max: 1"), "");
    assert!(error_of(&mut client).contains("Stale Connection"));
    assert!(error_of(&mut peer).contains("Stale Connection"));
    scene.route_ends();
}

#[test]
fn cluster_ping_max() {
    let often = "ping_interval: \"50ms\"";
    let mut scene = Scene::new("", &format!("{often}\n  ping_max: 1000000"));
    let mut peer = scene.peer();
    scene.reload("", &format!("{often}\n  ping_max: 1"));
    assert!(error_of(&mut peer).contains("Stale Connection"));
    scene.route_ends();
}

/// More than the socket buffer of a subscriber that does not read.
fn publish_much(scene: &Scene) {
    let mut publisher = scene.client();
    let line = format!("PUB big 100000\r\n{}\r\n", "x".repeat(100_000));
    for _ in 0..300 {
        publisher.send(&line);
    }
    publisher.sync();
}

/// Large queues and long deadlines.
const PATIENT: &str = "max_pending: 1GB\nmax_memory: 1GB\nping_interval: \"1h\"";

#[test]
fn write_deadline() {
    let mut scene = Scene::new(&format!("{PATIENT}\nwrite_deadline: \"1h\""), "");
    let (mut client, mut peer) = (scene.client(), scene.peer());
    client.send("SUB big 1\r\n");
    client.sync();
    peer.send("RS+ $G big\r\n");
    wait_until("the peer's interest is known", || scene.member.knows("big"));
    publish_much(&scene);
    assert!(!scene.closed("Slow Consumer (Write Deadline)"));
    assert!(!scene.member.routes().is_empty());
    scene.reload(&format!("{PATIENT}\nwrite_deadline: \"100ms\""), "");
    wait_until("the client is disconnected", || {
        scene.closed("Slow Consumer (Write Deadline)")
    });
    scene.route_ends();
}

#[test]
fn cluster_write_deadline() {
    let mut scene = Scene::new(PATIENT, "write_deadline: \"1h\"");
    let mut peer = scene.peer();
    peer.send("RS+ $G big\r\n");
    wait_until("the peer's interest is known", || scene.member.knows("big"));
    publish_much(&scene);
    assert!(!scene.member.routes().is_empty());
    scene.reload(PATIENT, "write_deadline: \"100ms\"");
    scene.route_ends();
}
