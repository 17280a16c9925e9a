//! The flight recorder: lost messages, slow consumers and their causes, latency, and the
//! busiest clients and subjects.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use serde_json::Value;
use test_support::{Broker, PATIENCE, RawClient, wait_for, wait_until};

const MESSAGE_LEN: usize = 64 * 1024;

/// A client with this name, subscribed to `subjects` with the sids 1, 2, ….
fn client(broker: &Broker, name: &str, subjects: &[&str]) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"name\":{name:?},\"lang\":\"rust\",\"version\":\"1.2\",\
         \"headers\":true}}\r\n"
    ));
    for (index, subject) in subjects.iter().enumerate() {
        client.send(format!("SUB {subject} {}\r\n", index + 1));
    }
    client.sync();
    client
}

fn message(subject: &str, len: usize) -> Vec<u8> {
    let mut bytes = format!("PUB {subject} {len}\r\n").into_bytes();
    bytes.resize(bytes.len() + len, b'x');
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// The entry of a client in `/connz`, open or closed, once there is one.
fn entry(broker: &Broker, name: &str, state: &str) -> Value {
    wait_for("an entry in /connz", || {
        let answer = broker.get_json(&format!("/connz?state={state}"));
        let entries = answer["connections"].as_array()?;
        entries.iter().find(|entry| entry["name"] == name).cloned()
    })
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

/// Every byte that was queued for a stuck subscriber was written or is counted as
/// dropped: its socket is read to the end, and the sums agree.
#[test]
fn every_queued_message_is_written_or_counted_as_dropped() {
    for (len, count) in [(100, 120_000), (MESSAGE_LEN, 300)] {
        let broker = Broker::midge().config("max_pending: 2MB").start();
        let mut stuck = TcpStream::connect(broker.client_addr()).expect("the client port");
        stuck
            .write_all(b"CONNECT {\"verbose\":false,\"name\":\"stuck\"}\r\nSUB a 1\r\n")
            .expect("written");
        wait_until("the subscription is there", || {
            entry(&broker, "stuck", "open")["subscriptions"] == 1
        });
        let mut publisher = client(&broker, "publisher", &[]);
        publisher.send(message("a", len).repeat(count));
        publisher.sync();
        let closed = entry(&broker, "stuck", "closed");
        assert_eq!(closed["reason"], "Slow Consumer (Pending Bytes)");

        let mut received = Vec::new();
        stuck.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // A reset at the end loses nothing that was read.
        let _ = stuck.read_to_end(&mut received);
        let written = number(&closed["written_bytes"]);
        assert_eq!(written, received.len() as u64);

        let head = received.windows(4).position(|part| part == b"MSG ");
        let head = head.expect("a message") as u64;
        let each = format!("MSG a 1 {len}\r\n").len() as u64 + len as u64 + 2;
        let queued = number(&closed["out_msgs"]);
        let dropped_bytes = number(&closed["dropped_bytes"]);
        let ping = written + dropped_bytes - head - queued * each;
        assert!(
            [0, 6].contains(&ping),
            "besides messages at most a PING: {ping}"
        );
        let written_msgs = (written - head) / each;
        assert_eq!(number(&closed["written_msgs"]), written_msgs);
        assert_eq!(number(&closed["dropped_msgs"]), queued - written_msgs);

        let varz = broker.get_json("/varz");
        assert_eq!(
            varz["dropped_msgs"]["slow_consumer"],
            closed["dropped_msgs"]
        );
        assert_eq!(varz["dropped_bytes"]["slow_consumer"], dropped_bytes);
        assert_eq!(varz["dropped_msgs"]["closed"], 0);
        let accounts = broker.get_json("/accstatz?unused=1");
        let account = &accounts["account_statz"][0];
        assert_eq!(account["dropped_bytes"], dropped_bytes);
    }
}

/// Messages pending for a client that disconnects are counted as lost by its close, and a
/// healthy client loses nothing.
#[test]
fn messages_pending_at_a_close_are_counted_as_lost() {
    let broker = Broker::midge().start();
    let leaving = client(&broker, "leaving", &["a"]);
    let mut healthy = client(&broker, "healthy", &["b"]);
    let mut publisher = client(&broker, "publisher", &[]);
    publisher.send(message("a", MESSAGE_LEN).repeat(200));
    publisher.send(message("b", 10).repeat(1000));
    publisher.sync();
    assert_eq!(healthy.sync().len(), 1000);
    drop(leaving);
    let closed = entry(&broker, "leaving", "closed");
    assert!(number(&closed["dropped_msgs"]) > 0, "{closed}");
    let msgs = number(&closed["dropped_msgs"]) + number(&closed["written_msgs"]);
    assert_eq!(msgs, 200);
    let healthy = entry(&broker, "healthy", "open");
    assert_eq!(healthy["written_msgs"], 1000);
    assert_eq!(healthy.get("dropped_msgs"), None);
    let varz = broker.get_json("/varz");
    let lost =
        number(&varz["dropped_msgs"]["closed"]) + number(&varz["dropped_msgs"]["write_error"]);
    assert_eq!(lost, number(&closed["dropped_msgs"]));
}

/// A stuck subscriber of many small and some large messages: its incident is complete,
/// and ten thousand connects of a load balancer do not erase it.
#[test]
fn a_stuck_subscriber_is_an_incident_that_reconnects_do_not_erase() {
    let broker = Broker::midge().start();
    let stuck = client(&broker, "stuck-app", &["orders.*"]);
    let mut publisher = client(&broker, "shop", &[]);
    for _ in 0..1500 {
        publisher.send(message("orders.new", MESSAGE_LEN));
    }
    publisher.sync();
    entry(&broker, "stuck-app", "closed");
    let connects_before = number(&broker.get_json("/varz")["total_connections"]);
    for _ in 0..10_005 {
        let stream = TcpStream::connect(broker.client_addr()).expect("the client port");
        // Closed at once, like a probe; no port stays in use for it.
        let _ = stream.shutdown(Shutdown::Both);
    }
    wait_until("all have been accepted and closed", || {
        let varz = broker.get_json("/varz");
        number(&varz["total_connections"]) >= connects_before + 10_005 && varz["connections"] == 1
    });
    // The last of the connections that sent nothing are kept, and they push no other out;
    // the log has a line for each minute.
    entry(&broker, "stuck-app", "closed");
    let closed = number(&broker.get_json("/connz?state=closed")["total"]);
    assert!(closed <= 256 + 10, "{closed}");
    broker.log().wait_for("left without sending anything");
    let lines = broker.log().so_far().count("left without sending anything");
    assert!((1..=2).contains(&lines), "{lines} lines");
    let slowz = broker.get_json("/slowz");
    let incident = &slowz["incidents"][0];
    assert_eq!(incident["name"], "stuck-app");
    assert_eq!(incident["state"], "evicted");
    assert_eq!(incident["cause"], "peer_not_reading", "{incident}");
    assert_eq!(incident["library"], "rust 1.2");
    assert!(number(&incident["lost_bytes"]) > 60_000_000, "{incident}");
    assert!(number(&incident["lost_msgs"]) > 900);
    assert!(number(&incident["pending_max"]) > 60_000_000);
    assert_eq!(incident["subjects"][0]["subject"], "orders.new");
    assert_eq!(incident["publishers"][0]["name"], "shop");
    assert!(number(&incident["publishers"][0]["bytes"]) > 50_000_000);
    assert!(incident["curve"].as_array().expect("a curve").len() >= 2);
    assert_ne!(incident["end"], "");
    let events = broker.get_json("/eventsz?type=slow");
    let texts = events["events"].to_string();
    assert!(texts.contains("evicted after"), "{texts}");
    broker.log().wait_for("orders.new");
    broker.log().wait_for("peer_not_reading");
    drop(stuck);
}

/// A subscriber that pauses is an incident before it is disconnected, is the worst of
/// `/latencyz`, and recovers when it reads on.
#[test]
fn a_paused_subscriber_is_reported_before_max_pending_and_recovers() {
    let broker = Broker::midge().start();
    let mut paused = client(&broker, "paused", &["a"]);
    let mut healthy = client(&broker, "healthy", &["b"]);
    let mut publisher = client(&broker, "publisher", &[]);
    let count = 400;
    publisher.send(message("a", MESSAGE_LEN).repeat(count));
    publisher.send(message("b", 10).repeat(10));
    publisher.sync();
    assert_eq!(healthy.sync().len(), 10);
    let incident = wait_for("an incident", || {
        let slowz = broker.get_json("/slowz");
        let incident = slowz["incidents"].get(0)?.clone();
        (number(&incident["pending_bytes"]) > 0).then_some(incident)
    });
    assert_eq!(
        (&incident["name"], &incident["state"]),
        (&"paused".into(), &"ongoing".into())
    );
    assert_eq!(incident["cause"], "peer_not_reading", "{incident}");
    assert_eq!(incident["subjects"][0]["subject"], "a");
    wait_until("the paused subscriber is the worst", || {
        let latencyz = broker.get_json("/latencyz");
        let worst = &latencyz["worst"][0];
        worst["name"] == "paused" && worst["subject"] == "a" && worst["max"].as_f64() > Some(0.2)
    });
    let latencyz = broker.get_json("/latencyz");
    assert!(number(&latencyz["total"]["count"]) >= 2);
    assert_eq!(latencyz["by_account"][0]["name"], "$G");
    assert_eq!(latencyz["by_kind"][0]["name"], "Client");
    assert_eq!(number(&latencyz["client_rtt"]["count"]), 3);
    wait_until("the broker's threads are probed", || {
        number(&broker.get_json("/latencyz")["scheduling_delay"]["count"]) > 0
    });
    for _ in 0..count {
        paused.next_message();
    }
    let ended = wait_for("the subscriber has recovered", || {
        let slowz = broker.get_json("/slowz");
        let incident = slowz["incidents"][0].clone();
        (incident["state"] == "recovered").then_some(incident)
    });
    assert_eq!(
        (number(&ended["lost_msgs"]), number(&slowz_total(&broker))),
        (0, 1)
    );
    let paused = entry(&broker, "paused", "open");
    assert_eq!(number(&paused["written_msgs"]), count as u64);
}

fn slowz_total(broker: &Broker) -> Value {
    broker.get_json("/slowz")["total"].clone()
}

/// Subjects, connections and accounts by load; messages without subscribers with their
/// publisher; the values of closed connections stay.
#[test]
fn the_busiest_clients_and_subjects_are_listed() {
    let broker = Broker::midge().start();
    let mut reader = client(&broker, "reader", &["load.>"]);
    let mut busy = client(&broker, "busy", &[]);
    let mut typo = client(&broker, "typo", &[]);
    for subject in 1..=40 {
        let run = message(&format!("load.{subject}"), 10).repeat(4000 / subject);
        busy.send(run);
    }
    busy.sync();
    typo.send(message("lode.1", 7).repeat(30));
    typo.sync();
    let varz = broker.get_json("/varz");
    assert_eq!(varz["dropped_msgs"]["no_interest"], 30);
    assert_eq!(varz["dropped_bytes"]["no_interest"], 210);
    assert_eq!(entry(&broker, "typo", "open")["no_interest_msgs"], 30);
    drop(typo);
    entry(&broker, "typo", "closed");

    let total: u64 = (1..=40).map(|subject| 4000 / subject).sum();
    for window in ["1m", "5m", "start"] {
        let topz = wait_for("the load is measured", || {
            let topz = broker.get_json(&format!("/topz?window={window}&sort=msgs"));
            let of_account = &topz["accounts"][0];
            (of_account["in_msgs"] == total + 30 && topz["no_interest"].get(0).is_some())
                .then_some(topz)
        });
        let first = &topz["subjects"][0];
        assert_eq!(
            (&first["subject"], number(&first["msgs"])),
            (&"load.1".into(), 4000)
        );
        assert_eq!(
            (number(&first["bytes"]), number(&first["error"])),
            (40_000, 0)
        );
        assert_eq!(
            (&first["publisher"], &first["account"]),
            (&"busy".into(), &"$G".into())
        );
        assert_eq!(topz["subjects"][1]["subject"], "load.2");
        let nobody = &topz["no_interest"][0];
        assert_eq!(
            (&nobody["subject"], number(&nobody["msgs"])),
            (&"lode.1".into(), 30)
        );
        assert_eq!(nobody["publisher"], "typo");
        assert_eq!(topz["accounts"][0]["out_msgs"], total);
        assert_eq!(topz["accounts"][0]["connects"], 3);
        let names = topz["connections"].as_array().expect("a list");
        let named = |name: &str| names.iter().find(|load| load["name"] == name);
        assert_eq!(named("busy").expect("the publisher")["in_msgs"], total);
        assert_eq!(named("reader").expect("the reader")["out_msgs"], total);
    }
    assert_eq!(reader.sync().len() as u64, total);
    wait_until("a quiet second has no load", || {
        let topz = broker.get_json("/topz?window=1s");
        topz["connections"].as_array().is_some_and(Vec::is_empty)
            && topz["subjects"].as_array().is_some_and(Vec::is_empty)
    });
    let bad = broker.get("/topz?window=2m");
    assert_eq!(
        (bad.status, bad.body.contains("1s, 1m, 5m, start")),
        (400, true)
    );
}

/// Subjects of replies and of nodes are a row for each form, so that the others are seen.
#[test]
fn one_off_subjects_are_one_row() {
    let broker = Broker::midge().start();
    let mut reader = client(&broker, "reader", &[">"]);
    let mut fleet = client(&broker, "fleet", &[]);
    // So few in a batch, and so few together, that each one is counted.
    for number in 0..40_u32 {
        let hash = format!(
            "{:032x}",
            u128::from(number) * 0x9E37_79B9_7F4A_7C15 + (1 << 100)
        );
        for subject in [
            format!("mcollective.reply.{hash}.{number}"),
            format!("mcollective.node.web{number}.example.net"),
            format!("C.reply.{hash}.{hash}"),
            format!("_INBOX.Zq{number:04}hKpWJ7x9sTqRvLbM.{number:03}aBc"),
        ] {
            fleet.send(message(&subject, 10));
        }
        fleet.sync();
    }
    fleet.send(message("orders.paid", 10).repeat(2));
    fleet.sync();
    reader.sync();
    let rows = |more: &str| {
        let topz = broker.get_json(&format!("/topz?window=start{more}"));
        let rows = topz["subjects"].as_array().expect("a list").clone();
        rows.into_iter()
            .map(|row| (row["subject"].to_string(), row["msgs"].to_string()))
            .collect::<Vec<_>>()
    };
    let row = |subject: &str, msgs: u32| (format!("{subject:?}"), msgs.to_string());
    wait_until("the subjects are counted", || rows("").len() == 5);
    assert_eq!(
        rows(""),
        [
            row("C.reply.*.*", 40),
            row("_INBOX.*.*", 40),
            row("mcollective.node.*.example.net", 40),
            row("mcollective.reply.*.*", 40),
            row("orders.paid", 2),
        ]
    );
    assert_eq!(rows("&group=0&n=1024").len(), 4 * 40 + 1, "one by one");
    assert_eq!(broker.get("/topz?group=x").status, 400);
}

/// The twenty heaviest of a Zipf load over a million subjects are among the
/// first 32 named.
#[test]
fn the_heaviest_of_a_million_subjects_are_found() {
    let broker = Broker::midge().start();
    let mut publisher = client(&broker, "publisher", &[]);
    let mut random = fastrand::Rng::with_seed(3);
    let harmonic = 1e6_f64.ln();
    let mut counts = std::collections::HashMap::<u64, u64>::new();
    for _ in 0..20 {
        let mut block = Vec::new();
        for _ in 0..10_000 {
            let rank = (random.f64() * harmonic).exp() as u64;
            *counts.entry(rank).or_default() += 1;
            write!(block, "PUB zipf.{rank} 1\r\nx\r\n").expect("written");
        }
        publisher.send(&block);
        publisher.sync();
    }
    let mut ranks: Vec<_> = counts.into_iter().collect();
    ranks.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let heaviest: Vec<String> = ranks[..20]
        .iter()
        .map(|(rank, _)| format!("zipf.{rank}"))
        .collect();
    let missing = || {
        let topz = broker.get_json("/topz?window=start&n=32");
        let named = topz["no_interest"].as_array().expect("a list").clone();
        let found = |subject: &&String| named.iter().any(|load| load["subject"] == **subject);
        heaviest
            .iter()
            .filter(|subject| !found(subject))
            .cloned()
            .collect::<Vec<_>>()
    };
    wait_until("the heaviest are named", || missing().is_empty());
    // The next samples change nothing: nobody publishes any more.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(missing(), Vec::<String>::new());
}
