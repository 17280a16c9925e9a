//! When a reader is slow, or will be.

use std::{thread, time::Duration};

use super::{Scene, Threshold, appears_while, silent_while};
use crate::reload::effects::queues::{beside_a_slow_reader, reader};

const CONFIG: &str = "max_pending: 64MB\nwrite_deadline: \"1h\"\nping_interval: \"1h\"";

/// Publishes with each call.
fn publisher(scene: &Scene, messages: usize) -> impl FnMut() + use<> {
    let mut publisher = scene.client();
    let part = format!("PUB big 65536\r\n{}\r\n", "x".repeat(65536)).repeat(messages);
    move || {
        publisher.send(&part);
        publisher.sync();
    }
}

/// The queue of a reader that does not read grows steadily.
#[test]
pub fn queue_full_within() {
    let threshold = Threshold {
        key: "queue_full_within",
        before: "10ms",
        after: "24h",
    };
    let mut scene = threshold.scene(CONFIG);
    let _stuck = reader(&scene);
    let mut publish = publisher(&scene, 1);
    let mut publish = || {
        publish();
        thread::sleep(Duration::from_millis(10));
    };
    silent_while(&scene, "slow-consumer-predicted", "", &mut publish);
    threshold.reload(&mut scene, CONFIG);
    appears_while(&scene, "slow-consumer-predicted", "", publish);
}

/// A reader that reads, but more slowly than is published.
#[test]
pub fn slow_percent() {
    let threshold = Threshold {
        key: "slow_percent",
        before: "100",
        after: "1",
    };
    let mut scene = threshold.scene(CONFIG);
    let mut publish = publisher(&scene, 32);
    beside_a_slow_reader(&scene, || {
        silent_while(&scene, "slow-consumer", "", &mut publish);
    });
    threshold.reload(&mut scene, CONFIG);
    beside_a_slow_reader(&scene, || {
        appears_while(&scene, "slow-consumer", "", &mut publish);
    });
}
