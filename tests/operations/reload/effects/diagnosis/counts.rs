//! How many, or how much, is a finding.

use super::{Scene, Threshold, appears_while, silent_while};
use crate::reload::{
    clients::login,
    effects::{error_of, line_with},
};

/// Beyond it there is a storm, which is counted as clients come and go.
#[test]
pub fn storm_rate() {
    let threshold = Threshold {
        key: "storm_rate",
        before: "1000000",
        after: "1",
    };
    let mut scene = threshold.scene("");
    let come_and_go = |scene: &Scene| (0..5).for_each(|_| drop(scene.client()));
    silent_while(&scene, "connect-storm", "", || come_and_go(&scene));
    threshold.reload(&mut scene, "");
    appears_while(&scene, "connect-storm", "", || come_and_go(&scene));
}

/// Half of ten connections.
fn half(scene: &Scene) -> Vec<test_support::RawClient> {
    (0..5).map(|_| scene.client()).collect()
}

#[test]
pub fn ceiling_warning() {
    let threshold = Threshold {
        key: "exhausted_within: 10ms, ceiling_warning",
        before: "80",
        after: "40",
    };
    let lines = "max_connections: 10";
    threshold.makes_severe("ceiling-connections", "warning", lines, half);
}

#[test]
pub fn ceiling_critical() {
    let threshold = Threshold {
        key: "exhausted_within: 10ms, ceiling_critical",
        before: "95",
        after: "40",
    };
    let lines = "max_connections: 10";
    threshold.makes_severe("ceiling-connections", "critical", lines, half);
}

/// Messages are judged as they come.
#[test]
pub fn payload_percent() {
    let threshold = Threshold {
        key: "payload_percent",
        before: "100",
        after: "10",
    };
    let lines = "max_payload: 1000";
    let mut scene = threshold.scene(lines);
    let mut publisher = scene.client();
    let mut publish = || {
        publisher.send(format!("PUB large 500\r\n{}\r\n", "x".repeat(500)));
        publisher.sync();
    };
    silent_while(&scene, "large-payloads", "", &mut publish);
    threshold.reload(&mut scene, lines);
    appears_while(&scene, "large-payloads", "", publish);
}

#[test]
pub fn login_failures() {
    let threshold = Threshold {
        key: "login_failures",
        before: "1000",
        after: "1",
    };
    let lines = "authorization { user: u, password: p }";
    threshold.makes("login-failures", lines, |scene| {
        login(&scene.member.broker, "u", "wrong").read_to_end()
    });
}

#[test]
pub fn violations() {
    let threshold = Threshold {
        key: "violations",
        before: "1000",
        after: "1",
    };
    let lines = "authorization { users: [{ user: u, password: p, permissions: { publish: a } }] }";
    threshold.makes("permission-violations", lines, |scene| {
        let mut client = login(&scene.member.broker, "u", "p");
        client.send("PUB b 0\r\n\r\n");
        client.sync();
        client
    });
}

#[test]
pub fn no_responders() {
    let threshold = Threshold {
        key: "no_responders",
        before: "1000",
        after: "1",
    };
    threshold.makes("no-responders", "", |scene| {
        let mut client = scene.member.client();
        client.send("SUB inbox 1\r\nPUB nobody inbox 0\r\n\r\n");
        client.sync();
        client
    });
}

#[test]
pub fn no_interest() {
    let threshold = Threshold {
        key: "no_interest",
        before: "1000000",
        after: "1",
    };
    threshold.makes("no-interest-subjects", "", |scene| {
        let mut client = scene.client();
        client.send("PUB nobody 0\r\n\r\n".repeat(10));
        client.sync();
        client
    });
}

#[test]
pub fn may_be_unheard() {
    let threshold = Threshold {
        key: "no_interest: 1, may_be_unheard",
        before: "[\"other\", \"fleet.>\"]",
        after: "other",
    };
    threshold.makes("no-interest-subjects", "", |scene| {
        let mut client = scene.client();
        client.send("PUB fleet.news 0\r\n\r\n".repeat(10));
        client.sync();
        client
    });
}

/// A client with inboxes that never get a message.
fn leaking(scene: &Scene, prefix: &str) -> test_support::RawClient {
    let mut client = scene.client();
    let inboxes: String = (0..100)
        .map(|n| format!("SUB {prefix}.{n} {n}\r\n"))
        .collect();
    client.send(inboxes);
    client.sync();
    client
}

#[test]
pub fn leak_subscriptions() {
    let threshold = Threshold {
        key: "leak_subscriptions",
        before: "1000000",
        after: "50",
    };
    threshold.makes("subscription-leak", "", |scene| leaking(scene, "_INBOX"));
}

#[test]
pub fn reply_subjects() {
    let threshold = Threshold {
        key: "leak_subscriptions: 50, reply_subjects",
        before: "[\"_INBOX.>\"]",
        after: "[\"answers.*\"]",
    };
    threshold.makes("subscription-leak", "", |scene| leaking(scene, "answers"));
}

#[test]
pub fn stale_peers() {
    let threshold = Threshold {
        key: "stale_peers",
        before: "1000",
        after: "1",
    };
    let lines = "ping_interval: \"50ms\"\nping_max: 1";
    threshold.makes("stale-peers", lines, |scene| {
        let mut silent = scene.client();
        line_with(&mut silent, "PING");
        assert!(error_of(&mut silent).contains("Stale Connection"));
    });
}

/// This start counts.
#[test]
pub fn restarts() {
    let threshold = Threshold {
        key: "restarts",
        before: "100",
        after: "1",
    };
    threshold.makes("restart-loop", "", |_| ());
}
