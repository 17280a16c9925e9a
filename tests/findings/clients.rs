//! What clients do wrong.

use std::{thread, time::Duration};

use crate::{
    appears, clears, client, findings, quick, quick_with, stays_silent,
    support::{Broker, wait_for, wait_until},
    text,
};

#[test]
fn a_crowd_is_a_storm_while_it_lasts() {
    let broker = quick("storm_rate: 20").start();
    for _ in 0..5 {
        drop(client(&broker, "one"));
    }
    stays_silent(&broker, "connect-storm");
    let storm = wait_for("connect-storm appears", || {
        for _ in 0..10 {
            drop(client(&broker, "many"));
        }
        findings(&broker, "connect-storm").into_iter().next()
    });
    assert_eq!(storm["subject"], "127.0.0.1");
    clears(&broker, "connect-storm");
}

fn request(broker: &Broker, subject: &str, times: usize) {
    let mut client = client(broker, "asker");
    client.send("SUB inbox 1\r\n");
    for _ in 0..times {
        client.send(format!("PUB {subject} inbox 0\r\n\r\n"));
    }
    client.sync();
}

#[test]
fn requests_that_nobody_answers_are_told_by_subject() {
    let broker = quick("").start();
    let mut service = client(&broker, "service");
    service.send("SUB served 1\r\n");
    service.sync();
    request(&broker, "served", 50);
    request(&broker, "seldom", 5);
    stays_silent(&broker, "no-responders");
    request(&broker, "typo.servce", 10);
    let finding = appears(&broker, "no-responders");
    assert_eq!(finding["subject"], "typo.servce");
    assert!(text(&finding).starts_with("10 requests"), "{finding}");
    clears(&broker, "no-responders");
}

#[test]
fn subscriptions_that_pile_up_are_a_leak() {
    let broker = quick("leak_subscriptions: 200").start();
    let mut burst = client(&broker, "many-at-once");
    let all: String = (0..1000).map(|n| format!("SUB s.{n} {n}\r\n")).collect();
    burst.send(all);
    burst.sync();
    stays_silent(&broker, "subscription-leak");

    let mut leaky = client(&broker, "leaky-app");
    let mut count = 0;
    let leak = wait_for("subscription-leak appears", || {
        for _ in 0..5 {
            count += 1;
            leaky.send(format!("SUB r.{count} {count}\r\n"));
        }
        leaky.sync();
        thread::sleep(Duration::from_millis(10));
        findings(&broker, "subscription-leak").into_iter().next()
    });
    assert_eq!(leak["subject"], "leaky-app");
    drop(leaky);
    clears(&broker, "subscription-leak");

    let mut forgetful = client(&broker, "forgetful-app");
    let inboxes: String = (0..300)
        .map(|n| format!("SUB _INBOX.{n} {n}\r\n"))
        .collect();
    forgetful.send(inboxes);
    forgetful.sync();
    let leak = appears(&broker, "subscription-leak");
    assert!(
        text(&leak).contains("inboxes that never got a message"),
        "{leak}"
    );
    forgetful.send(
        (0..300)
            .map(|n| format!("UNSUB {n}\r\n"))
            .collect::<String>(),
    );
    forgetful.sync();
    clears(&broker, "subscription-leak");
}

#[test]
fn peers_that_answer_no_ping_are_counted() {
    let broker = quick_with("", "ping_interval: \"50ms\"\nping_max: 1").start();
    let gone = |count: usize| {
        let before = broker.get_json("/varz")["stale_connections"].as_u64();
        let silent: Vec<_> = (0..count).map(|_| client(&broker, "silent-app")).collect();
        wait_until("they are stale", || {
            broker.get_json("/varz")["stale_connections"].as_u64()
                >= before.map(|before| before + count as u64)
        });
        drop(silent);
    };
    gone(2);
    stays_silent(&broker, "stale-peers");
    gone(3);
    let finding = appears(&broker, "stale-peers");
    assert_eq!(finding["subject"], "silent-app");
    clears(&broker, "stale-peers");
}

#[test]
fn large_messages_are_told_before_and_when_they_are_refused() {
    let broker = quick_with("", "max_payload: 1000").start();
    let mut publisher = client(&broker, "publisher");
    let mut publish = |subject: &str, len: usize| {
        publisher.send(format!("PUB {subject} {len}\r\n{}\r\n", "x".repeat(len)));
        publisher.send("PING\r\n");
        while publisher
            .next_frame()
            .is_some_and(|frame| frame.line != b"PONG")
        {}
    };
    publish("small", 500);
    stays_silent(&broker, "large-payloads");
    publish("near", 900);
    let finding = appears(&broker, "large-payloads");
    assert_eq!(
        (&finding["subject"], &finding["severity"]),
        (&"near".into(), &"info".into())
    );
    assert_eq!(broker.get_json("/healthz?probe=state")["degraded"], false);
    publish("above", 1001);
    wait_until("the refused one is told", || {
        findings(&broker, "large-payloads")
            .iter()
            .any(|f| f["subject"] == "above" && f["severity"] == "warning")
    });
    clears(&broker, "large-payloads");
}
