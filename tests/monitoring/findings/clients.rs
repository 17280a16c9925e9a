//! Findings about misbehaving clients.

use std::{thread, time::Duration};

use super::{
    appears, appears_while, clears, client, findings, quick, quick_with, stays_silent, text,
};
use test_support::{Broker, RawClient, wait_until};

#[test]
pub fn a_connect_storm_is_reported_while_it_lasts() {
    let broker = quick("storm_rate: 20").start();
    for _ in 0..5 {
        drop(client(&broker, "one"));
    }
    stays_silent(&broker, "connect-storm");
    let storm = appears_while(&broker, "connect-storm", || {
        for _ in 0..10 {
            drop(client(&broker, "many"));
        }
    });
    assert_eq!(storm["subject"], "127.0.0.1");
    clears(&broker, "connect-storm");
}

/// A fleet that comes back after a start, or because another broker is gone, is no trouble.
#[test]
fn clients_that_come_back_and_stay_are_no_storm() {
    let broker = quick("storm_rate: 20").start();
    let mut fleet: Vec<RawClient> = Vec::new();
    wait_until("connects are no longer one event each", || {
        // All log in at the same moment, so that the machine may be busy.
        let mut many: Vec<RawClient> = (0..100).map(|_| broker.connect()).collect();
        for client in &mut many {
            client.send("CONNECT {\"verbose\":false,\"name\":\"node\"}\r\n");
        }
        for client in &mut many {
            client.sync();
        }
        fleet.extend(many);
        assert_eq!(
            findings(&broker, "connect-storm"),
            Vec::<serde_json::Value>::new()
        );
        let page = broker.get_json("/eventsz?type=client.connected&limit=1024");
        page["events"].as_array().expect("events").len() < fleet.len().min(1024)
    });
    stays_silent(&broker, "connect-storm");
    // It is an event nevertheless.
    wait_until("the event is there", || {
        let page = broker.get_json("/eventsz?type=storm");
        page["events"].as_array().is_some_and(|all| !all.is_empty())
    });
}

/// What Choria's nodes publish though nobody has to listen is no finding, nor are their quiet
/// subjects a leak. The same under other names is.
#[test]
fn a_fleet_of_choria_is_told_as_healthy() {
    let broker = quick("no_interest: 100, leak_subscriptions: 100").start();
    let mut node = client(&broker, "node1.example.net");
    let mut publish = |subject: &str| {
        node.send(format!("PUB {subject} 0\r\n\r\n").repeat(150));
        node.sync();
    };
    for subject in [
        "mcollective.broadcast.agent.registration",
        "other.broadcast.agent.registration",
        "choria.lifecycle.event.alive.server",
        "choria.machine.transition",
        "choria.machine.watcher.exec.state",
        "$KV.CHORIA_SERVICES.node1",
        "mcollective.reply.c1ed2a.77",
    ] {
        publish(subject);
    }
    stays_silent(&broker, "no-interest-subjects");
    publish("choria.lifecycle.evnet.alive");
    let finding = appears(&broker, "no-interest-subjects");
    assert_eq!(finding["subject"], "choria.lifecycle.evnet.alive");

    let subscribe = |name: &str, subject: &dyn Fn(usize) -> String| {
        let mut client = client(&broker, name);
        let lines = (0..150).map(|n| format!("SUB {} {n}\r\n", subject(n)));
        client.send(lines.collect::<String>());
        client.sync();
        client
    };
    // One that has subscribed to the subjects of many nodes, all at once.
    let _gateway = subscribe("gateway", &|n| {
        format!("mcollective.node.node{n}.example.net")
    });
    stays_silent(&broker, "subscription-leak");
    let _leaking = subscribe("rpc-client", &|n| format!("mcollective.reply.c1ed2a.{n}"));
    let finding = appears(&broker, "subscription-leak");
    assert_eq!(finding["subject"], "rpc-client");
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
pub fn unanswered_requests_are_reported_by_subject() {
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
pub fn growing_subscriptions_are_reported_as_a_leak() {
    let broker = quick("leak_subscriptions: 200").start();
    let mut burst = client(&broker, "many-at-once");
    let all: String = (0..1000).map(|n| format!("SUB s.{n} {n}\r\n")).collect();
    burst.send(all);
    burst.sync();
    stays_silent(&broker, "subscription-leak");

    let mut leaky = client(&broker, "leaky-app");
    let mut count = 0;
    let leak = appears_while(&broker, "subscription-leak", || {
        for _ in 0..5 {
            count += 1;
            leaky.send(format!("SUB r.{count} {count}\r\n"));
        }
        leaky.sync();
        thread::sleep(Duration::from_millis(10));
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
pub fn peers_that_do_not_answer_pings_are_counted() {
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
pub fn large_messages_are_reported_before_and_at_the_limit() {
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
    wait_until("the refused member is reported", || {
        findings(&broker, "large-payloads")
            .iter()
            .any(|f| f["subject"] == "above" && f["severity"] == "warning")
    });
    clears(&broker, "large-payloads");
}

/// Ten thousand clients that connect and disconnect are one finding and a few events,
/// with the default threshold.
#[test]
fn ten_thousand_connects_are_one_finding() {
    let broker = quick("").start();
    stays_silent(&broker, "connect-storm");
    let mut left = 10_000;
    let mut most = 0;
    appears_while(&broker, "connect-storm", || {
        for _ in 0..200 {
            drop(client(&broker, "fleet"));
            left -= 1;
        }
    });
    while left > 0 {
        drop(client(&broker, "fleet"));
        left -= 1;
        if left % 500 == 0 {
            most = most.max(findings(&broker, "connect-storm").len());
        }
    }
    assert_eq!(most, 1);
    clears(&broker, "connect-storm");
    wait_until("the storm is over and reported", || {
        let page = broker.get_json("/eventsz?type=storm");
        page["events"].as_array().is_some_and(|all| !all.is_empty())
    });
    let page = broker.get_json("/eventsz?limit=1000");
    let all = page["events"].as_array().expect("events");
    let reported = all.iter().filter(|event| event["type"] == "storm").count();
    assert!((1..=3).contains(&reported), "{reported} events of storms");
    assert!(all.len() < 1000, "{} events of one storm", all.len());
}

/// Tries a login with a wrong password.
fn guess(broker: &Broker, user: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"user\":{user:?},\"pass\":\"gu3ssed\"}}\r\n"
    ));
    client
}

fn logged_in(broker: &Broker, user: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"user\":{user:?},\"pass\":\"right\",\"verbose\":false}}\r\n"
    ));
    assert!(client.sync().is_empty(), "{user} is accepted");
    client
}

#[test]
pub fn unauthenticated_connections_that_fill_a_port_are_reported() {
    let broker = quick("").start();
    stays_silent(&broker, "unauthenticated-flood");
    let mut many_connections = Vec::new();
    let finding = appears_while(&broker, "unauthenticated-flood", || {
        let silent = || std::net::TcpStream::connect(broker.monitor_addr()).expect("connect");
        many_connections.extend((0..30).map(|_| silent()));
    });
    assert_eq!(finding["subject"], "monitor");
    clears(&broker, "unauthenticated-flood");
}

#[test]
pub fn refused_logins_are_reported_by_address() {
    let users =
        "authorization { users: [ { user: a, password: right }, { user: b, password: right } ] }";
    let broker = quick_with("", users).start();
    (0..20).for_each(|_| drop(logged_in(&broker, "a")));
    (0..4).for_each(|_| drop(guess(&broker, "a").read_to_end()));
    stays_silent(&broker, "login-failures");
    // In parallel: after repeated failures the answer is delayed.
    let guesses: Vec<RawClient> = (0..20).map(|_| guess(&broker, "b")).collect();
    let finding = appears(&broker, "login-failures");
    drop(guesses);
    assert_eq!(finding["subject"], "127.0.0.1", "{finding}");
    assert!(
        text(&finding).contains("refused logins within"),
        "{finding}"
    );
    assert!(!finding.to_string().contains("gu3ssed"), "{finding}");
    clears(&broker, "login-failures");
}

#[test]
pub fn permission_violations_are_reported_by_client() {
    let users = "authorization { users: [ { user: a, password: right, permissions: { publish: { \
                 deny: \"secret.>\" } } } ] }";
    let broker = quick_with("", users).start();
    let mut client = logged_in(&broker, "a");
    client.send("PUB open.1 0\r\n\r\n".repeat(50));
    client.send("PUB secret.1 0\r\n\r\n".repeat(4));
    client.sync();
    stays_silent(&broker, "permission-violations");
    client.send("PUB secret.1 0\r\n\r\n".repeat(20));
    client.sync();
    let finding = appears(&broker, "permission-violations");
    assert!(
        text(&finding).contains("permission violations"),
        "{finding}"
    );
    clears(&broker, "permission-violations");
}

#[test]
pub fn subjects_without_subscribers_are_reported() {
    let broker = quick("no_interest: 500").start();
    let mut reader = client(&broker, "reader");
    reader.send("SUB heard.> 1\r\n");
    reader.sync();
    let mut publisher = client(&broker, "typo-app");
    publisher.send("PUB heard.a 0\r\n\r\n".repeat(1000));
    publisher.send("PUB seldom 0\r\n\r\n".repeat(100));
    publisher.sync();
    // Messages without subscribers are counted once a second.
    wait_until("it is counted", || {
        broker.get_json("/topz?window=start")["no_interest"][0]["subject"] == "seldom"
    });
    stays_silent(&broker, "no-interest-subjects");
    publisher.send("PUB haerd.a 0\r\n\r\n".repeat(600));
    publisher.sync();
    let finding = appears(&broker, "no-interest-subjects");
    assert_eq!(
        (&finding["subject"], &finding["severity"]),
        (&"haerd.a".into(), &"info".into())
    );
    assert!(text(&finding).contains("600 messages"), "{finding}");
    assert!(text(&finding).contains("typo-app"), "{finding}");
    clears(&broker, "no-interest-subjects");
}
