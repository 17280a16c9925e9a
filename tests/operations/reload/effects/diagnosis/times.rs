//! How long something lasts, is recent, or may take.

use std::{fs, thread, time::Duration};

use test_support::{HeldThreads, RawClient, wait_until};

use super::{Scene, Threshold, appears_while, config, is_found, silent_while, stays_silent};
use crate::reload::clients::login;

/// Two of two connections.
const FULL: &str = "max_connections: 2";

fn fill(scene: &Scene) -> [RawClient; 2] {
    // One was opened to see that the broker is ready.
    scene.member.broker.wait_for_connections(0);
    [scene.client(), scene.client()]
}

#[test]
pub fn appear_after() {
    let threshold = Threshold {
        key: "appear_after",
        before: "1h",
        after: "50ms",
    };
    threshold.makes("ceiling-connections", FULL, fill);
}

#[test]
pub fn clear_after() {
    let mut scene = Scene::new(&config(FULL, "clear_after: 1h"), "");
    let clients = fill(&scene);
    appears_while(&scene, "ceiling-connections", "", || {});
    drop(clients);
    scene.member.broker.wait_for_connections(0);
    assert!(is_found(&scene, "ceiling-connections", ""));
    scene.reload(&config(FULL, "clear_after: 50ms"), "");
    wait_until("it clears", || !is_found(&scene, "ceiling-connections", ""));
}

const USER: &str = "authorization { user: u, password: p }";

#[test]
pub fn incident_window() {
    let thresholds = |window: &str| format!("login_failures: 1, incident_window: {window}");
    let mut scene = Scene::new(&config(USER, &thresholds("1h")), "");
    login(&scene.member.broker, "u", "wrong").read_to_end();
    appears_while(&scene, "login-failures", "", || {});
    scene.reload(&config(USER, &thresholds("50ms")), "");
    wait_until("it clears", || !is_found(&scene, "login-failures", ""));
}

/// A client that subscribes steadily: with a call, to some more subjects.
fn leaky(scene: &Scene) -> impl FnMut() + use<> {
    let (mut client, mut count) = (scene.client(), 0);
    move || {
        for _ in 0..20 {
            count += 1;
            client.send(format!("SUB s.{count} {count}\r\n"));
        }
        client.sync();
        thread::sleep(Duration::from_millis(10));
    }
}

/// Only what has grown for a part of the window is a leak.
#[test]
pub fn growth_window() {
    let thresholds = |window: &str| format!("leak_subscriptions: 50, growth_window: {window}");
    let mut scene = Scene::new(&config("", &thresholds("1h")), "");
    let mut subscribe = leaky(&scene);
    silent_while(&scene, "subscription-leak", "", &mut subscribe);
    scene.reload(&config("", &thresholds("2s")), "");
    appears_while(&scene, "subscription-leak", "", subscribe);
}

/// Far below the limit, but steadily growing.
#[test]
pub fn exhausted_within() {
    let threshold = Threshold {
        key: "exhausted_within",
        before: "10ms",
        after: "24h",
    };
    let limit = "max_subscriptions: 100000";
    let mut scene = threshold.scene(limit);
    let mut subscribe = leaky(&scene);
    silent_while(&scene, "ceiling-subscriptions", "", &mut subscribe);
    threshold.reload(&mut scene, limit);
    appears_while(&scene, "ceiling-subscriptions", "warning", subscribe);
}

/// The file is checked at the start, and then after an hour.
#[test]
pub fn config_check() {
    let threshold = Threshold {
        key: "config_check",
        before: "1h",
        after: "50ms",
    };
    let mut scene = threshold.scene("");
    stays_silent(&scene, "config-differs", "");
    let file = scene.member.broker.folder().join("broker.conf");
    let differ = |scene: &Scene| {
        let text = format!("{}\nmax_payload: 1000\n", scene.plan.text());
        fs::write(&file, text).expect("write the configuration");
    };
    differ(&scene);
    stays_silent(&scene, "config-differs", "");
    threshold.reload(&mut scene, "");
    differ(&scene);
    appears_while(&scene, "config-differs", "", || {});
}

#[test]
pub fn worker_delay() {
    let threshold = Threshold {
        key: "worker_delay",
        before: "1h",
        after: "200ms",
    };
    let mut scene = threshold.scene("");
    let held = HeldThreads::hold(&scene.member.broker, "tokio-rt-worker");
    stays_silent(&scene, "worker-stall", "");
    drop(held);
    threshold.reload(&mut scene, "");
    let _held = HeldThreads::hold(&scene.member.broker, "tokio-rt-worker");
    appears_while(&scene, "worker-stall", "", || {});
}
