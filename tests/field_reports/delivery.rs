//! Messages that were lost, duplicated or sent to a client that was gone, and requests
//! without a reply.

use crate::{both, client, connections, lines, login, number, publish, subjects};
use test_support::{Broker, wait_until};

/// A member of a queue group whose machine had disappeared got its share of the messages
/// for minutes. The broker's pings detect it, with a configurable interval.
#[test]
fn nats_server_172_a_silent_queue_member_is_disconnected() {
    for builder in both() {
        let broker = builder
            .config("ping_interval: \"500ms\"\nping_max: 2\n")
            .start();
        let mut alive = client(&broker, "alive");
        alive.send("SUB jobs workers 1\r\n");
        alive.sync();
        // Neither reads nor answers, and its connection stays open.
        let mut silent = login(&broker, ",\"name\":\"silent\"");
        silent.send("SUB jobs workers 1\r\n");
        wait_until("both are connected", || {
            let listed = connections(&broker, "");
            listed.iter().filter(|it| it["subscriptions"] == 1).count() == 2
        });
        wait_until("the silent one is closed", || {
            alive.send("PONG\r\n");
            connections(&broker, "").len() == 1
        });
        alive.send(publish("jobs", 1).repeat(50));
        assert_eq!(subjects(&alive.sync()).len(), 50);
        let stale = crate::closed(&broker, "silent");
        assert_eq!(stale["reason"], "Stale Connection");
        drop(silent);
    }
}

/// Reports feared that pings would disconnect idle clients. A client that answers stays,
/// also after many more pings than may be unanswered.
#[test]
fn nats_server_609_an_idle_client_that_answers_pings_stays() {
    for builder in both() {
        let broker = builder
            .config("ping_interval: \"400ms\"\nping_max: 2\n")
            .start();
        let mut quiet = client(&broker, "quiet");
        quiet.send("SUB rare 1\r\n");
        for _ in 0..5 {
            let frame = quiet.next_frame().expect("it is not closed");
            assert_eq!(frame.line, b"PING");
            quiet.send("PONG\r\n");
        }
        let mut other = client(&broker, "other");
        other.send(publish("rare", 1));
        assert_eq!(quiet.next_message().arguments(), ["rare", "1", "1"]);
    }
}

/// A subscription that had received its last message was still counted by the monitoring.
/// It must be in no count.
#[test]
fn nats_server_6926_a_subscription_at_its_maximum_is_not_counted() {
    for builder in both() {
        let broker = builder.start();
        let mut client = client(&broker, "once");
        client.send("SUB stays 1\r\nSUB once.* 2\r\nUNSUB 2 2\r\n");
        client.send(publish("once.a", 1) + &publish("once.b", 1) + &publish("once.c", 1));
        assert_eq!(subjects(&client.sync()), ["once.a", "once.b"]);
        assert_eq!(broker.get_json("/varz")["subscriptions"], own(&broker) + 1);
        assert_eq!(
            broker.get_json("/subsz")["num_subscriptions"],
            own(&broker) + 1
        );
        let connz = broker.get_json("/connz?subs=1");
        let listed = &connz["connections"][0];
        assert_eq!(listed["subscriptions"], 1);
        assert_eq!(listed["subscriptions_list"][0], "stays");
    }
}

/// Number of the broker's own subscriptions.
fn own(broker: &Broker) -> u64 {
    let listed = broker.get_json("/connz");
    let clients = listed["connections"].as_array().expect("a list");
    let theirs: u64 = clients.iter().map(|it| number(&it["subscriptions"])).sum();
    number(&broker.get_json("/varz")["subscriptions"]) - theirs
}

/// After a reconnect a library requested the wrong number of remaining messages: it is
/// undocumented whether the number of UNSUB counts from there. It counts from the start
/// of the subscription, and a number that is reached already ends it immediately.
#[test]
fn nats_go_152_the_maximum_counts_from_the_start_of_the_subscription() {
    for builder in both() {
        let broker = builder.start();
        let mut client = client(&broker, "counts");
        client.send("SUB a 1\r\n");
        client.send(publish("a", 1).repeat(3));
        assert_eq!(subjects(&client.sync()).len(), 3);
        client.send("UNSUB 1 5\r\n");
        client.send(publish("a", 1).repeat(4));
        assert_eq!(subjects(&client.sync()).len(), 2);
        client.send("SUB a 2\r\n");
        client.send(publish("a", 1).repeat(3));
        assert_eq!(subjects(&client.sync()).len(), 3);
        client.send("UNSUB 2 3\r\n");
        client.send(publish("a", 1));
        assert_eq!(subjects(&client.sync()).len(), 0);
    }
}

/// A message with headers to a broker without them was lost silently, and the program
/// continued. The broker announces in INFO that it does not support them, and a client
/// that sends one anyway is closed.
#[test]
fn nats_rs_160_unsupported_headers_are_an_error() {
    for builder in both() {
        let broker = builder.config("no_header_support: true").start();
        let plain = |name: &str| {
            let mut client = broker.connect();
            assert_ne!(client.info()["headers"], true);
            client.send(format!(
                "CONNECT {{\"verbose\":false,\"headers\":true,\"name\":{name:?}}}\r\n"
            ));
            client
        };
        let (mut listener, mut sender) = (plain("listener"), plain("sender"));
        listener.send("SUB h 1\r\n");
        listener.sync();
        sender.send("HPUB h 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
        sender.read_to_end();
        let reason = crate::closed(&broker, "sender")["reason"].clone();
        assert!(
            reason == "Protocol Violation" || reason == "Parse Error",
            "{reason}"
        );
        assert!(listener.sync().is_empty());
    }
}

/// A request without responders blocked its client forever, because it had not requested
/// no-responders replies. A client that requests them gets one immediately; a client
/// without headers is not sent any.
#[test]
fn nats_rs_219_a_requester_gets_a_no_responders_reply() {
    for builder in both() {
        let broker = builder.start();
        let request = "SUB reply.1 1\r\nPUB nobody.here reply.1 0\r\n\r\n";
        let mut asks = client(&broker, "asks");
        asks.send(request);
        let reported = asks.sync();
        assert_eq!(subjects(&reported), ["reply.1"], "{reported:?}");
        assert!(reported[0].body.starts_with(b"NATS/1.0 503\r\n"));
        let mut does_not = broker.connect();
        does_not.send("CONNECT {\"verbose\":false}\r\n");
        does_not.send(request);
        assert!(does_not.sync().is_empty());
    }
}

/// A message over the limit closed the connection without a reason that the program could
/// show. The limit is in INFO, headers count, and the error is sent before the close;
/// others are not affected.
#[test]
fn nats_py_888_an_oversized_message_with_headers_gets_an_error() {
    for builder in both() {
        let broker = builder.config("max_payload: 1000").start();
        let mut other = client(&broker, "other");
        other.send("SUB big 1\r\n");
        other.sync();
        let mut sender = client(&broker, "sender");
        assert_eq!(sender.info()["max_payload"], 1000);
        let headers = format!("NATS/1.0\r\nKey: {}\r\n\r\n", "v".repeat(80));
        let fits = 1000 - headers.len();
        for len in [fits, fits + 1] {
            let (head, body) = (headers.len(), "x".repeat(len));
            sender.send(format!(
                "HPUB big {head} {}\r\n{headers}{body}\r\n",
                head + len
            ));
        }
        let reported = lines(&sender.read_to_end());
        assert_eq!(reported, ["-ERR 'Maximum Payload Violation'"]);
        assert_eq!(subjects(&other.sync()), ["big"]);
        let closed = crate::closed(&broker, "sender");
        assert_eq!(closed["reason"], "Maximum Message Payload Exceeded");
    }
}

/// A line break at the end of a subject closed the connection, and the program only saw a
/// timeout. The broker lists and logs the closed client and the reason, and nothing of
/// the line reaches a subscriber.
#[test]
fn nats_go_1809_a_line_break_in_a_subject_is_recorded_with_its_client() {
    for builder in both() {
        let broker = builder.config("debug: true").start();
        let mut listener = client(&broker, "listener");
        listener.send("SUB > 1\r\n");
        listener.sync();
        let mut sender = client(&broker, "sender");
        sender.send("PUB orders\n 4\r\ntest\r\n");
        sender.read_to_end();
        let entry = crate::closed(&broker, "sender");
        let reason = entry["reason"].as_str().unwrap_or_default();
        assert!(
            ["Parse Error", "Protocol Violation"].contains(&reason),
            "{entry}"
        );
        let cid = format!("cid:{}", entry["cid"]);
        broker.log().wait_for_line(&[&cid, "orders"]);
        assert!(listener.sync().is_empty());
    }
}

/// A subscription beyond the limit made a library close the whole connection. It is an
/// error; existing subscriptions continue, and a freed slot can be used.
#[test]
fn nats_go_921_a_subscription_beyond_the_limit_affects_no_other() {
    for builder in both() {
        let config =
            "accounts { A { limits { max_subs: 2 }, users: [ { user: a, password: a } ] } }";
        let broker = builder.config(config).start();
        let mut a = crate::user(&broker, "a", "a");
        a.send("SUB one 1\r\nSUB two 2\r\nSUB three 3\r\n");
        assert_eq!(lines(&a.sync()), ["-ERR 'maximum subscriptions exceeded'"]);
        let all = ["one", "two", "three"]
            .map(|subject| publish(subject, 1))
            .concat();
        a.send(&all);
        assert_eq!(subjects(&a.sync()), ["one", "two"]);
        a.send("UNSUB 1\r\nSUB three 4\r\n");
        a.send(&all);
        assert_eq!(subjects(&a.sync()), ["two", "three"]);
    }
}
