//! Tables of subjects, subscriptions and payloads that clients fill.

use super::{LoadTest, MIB, Memory};
use test_support::{RawClient, wait_until};

/// Long subjects that are all different: statistics keep only their beginning.
#[test]
fn unique_long_subjects_use_no_lasting_memory() {
    let load_test = LoadTest::new("max_control_line: 64KB");
    let mut publisher = load_test.log_in("p");
    let long = "x".repeat(31_000);
    load_test.while_others_are_served(|| {
        for number in 0..5000 {
            publisher.send(format!("PUB {number}.{long} 0\r\n\r\n"));
        }
        publisher.sync();
    });
    let now = load_test.adds_up();
    assert!(
        now.resident < load_test.before.resident + 40 * MIB,
        "{now:#?}"
    );
    let topz = load_test.broker.get_json("/topz?window=start");
    let subject = topz["no_interest"][0]["subject"]
        .as_str()
        .expect("a subject");
    assert!(subject.len() <= 128 && subject.ends_with('…'), "{subject}");
}

/// Publishers cache the destinations of their subjects: within a limit, and only while
/// they are connected.
#[test]
fn publisher_caches_are_bounded() {
    let load_test = LoadTest::new("max_control_line: 64KB");
    let long = "x".repeat(30_000);
    let mut publishers: Vec<RawClient> = (0..120).map(|_| load_test.log_in("p")).collect();
    load_test.while_others_are_served(|| {
        for publisher in &mut publishers {
            for number in 0..60 {
                publisher.send(format!("PUB {number}.{long} 0\r\n\r\n"));
            }
            publisher.sync();
        }
    });
    let now = load_test.adds_up();
    let held = now.cause("lookups");
    assert!((32 * MIB..=72 * MIB).contains(&held), "{held}");
    drop(publishers);
    load_test.is_given_back(24 * MIB);
    wait_until("nothing is cached", || {
        Memory::of(&load_test.broker).cause("lookups") < MIB
    });
}

/// Idle publishers keep no closed subscriptions: limited for each, for all of them
/// together, and in time.
#[test]
fn idle_publishers_keep_no_closed_subscriptions() {
    const PUBLISHERS: usize = 40;
    let load_test = LoadTest::new("max_control_line: 64KB");
    // Two kinds: a list that is cached and one that is too long for it.
    for (padding, count) in [("", 4000), (&*"x".repeat(2000), 200)] {
        let mut publishers: Vec<RawClient> =
            (0..PUBLISHERS).map(|_| load_test.log_in("p")).collect();
        let mut subscriber = load_test.log_in("s");
        let lines = |verb: &str| {
            let sids = (0..count).rev();
            let lines = sids.map(|sid| format!("{verb} {padding}{sid}\r\n"));
            lines.collect::<String>()
        };
        for publisher in &mut publishers {
            subscriber.send(lines("SUB a"));
            subscriber.sync();
            publisher.send("PUB a 0\r\n\r\n");
            publisher.sync();
            subscriber.send(lines("UNSUB"));
            subscriber.sync();
        }
        let before = load_test.before.cause("subscriptions");
        wait_until("no closed subscription is kept", || {
            let now = Memory::of(&load_test.broker);
            now.cause("lookups") < MIB && now.cause("subscriptions") < before + MIB
        });
        load_test.is_given_back(24 * MIB);
    }
}

/// The memory of many clients with many subscriptions is shown while they are connected,
/// and released afterwards but for bounded records.
#[test]
fn memory_is_released_after_many_clients_subscribe_and_leave() {
    let load_test = LoadTest::new("");
    let many_connections: Vec<RawClient> = load_test.while_others_are_served(|| {
        let subscribe = |client: usize| {
            let mut subscriber = load_test.log_in("s");
            let lines = (0..5000).map(|sid| match sid % 4 {
                0 => format!("SUB crowd.{client}.{sid}.* {sid}\r\n"),
                1 => format!("SUB crowd.{client}.{sid} group {sid}\r\n"),
                _ => format!("SUB crowd.{client}.{sid} {sid}\r\n"),
            });
            subscriber.send(lines.collect::<String>());
            subscriber.sync();
            subscriber
        };
        (0..30).map(subscribe).collect()
    });
    let there = load_test.adds_up();
    assert!(there.cause("subscriptions") > 40 * MIB, "{there:#?}");
    load_test.while_others_are_served(|| {
        drop(many_connections);
        load_test.broker.wait_for_connections(1);
    });
    let gone = load_test.adds_up();
    assert!(gone.cause("closed_connections") > 0, "{gone:#?}");
    assert!(gone.cause("closed_connections") <= 16 * MIB, "{gone:#?}");
    assert!(gone.cause("subscriptions") < MIB, "{gone:#?}");
    load_test.is_given_back(32 * MIB);
    // The number is complete, the list is not.
    let closed = load_test
        .broker
        .get_json("/connz?state=closed&subs=1&sort=subs");
    let listed = &closed["connections"][0]["subscriptions_list"];
    assert_eq!(closed["connections"][0]["subscriptions"], 5000);
    assert!((1..5000).contains(&listed.as_array().map_or(0, Vec::len)));
}

/// A payload pending in many queues is stored, and counted, once.
#[test]
fn shared_payloads_are_counted_once() {
    let load_test = LoadTest::new("");
    let mut readers: Vec<RawClient> = (0..20).map(|_| load_test.log_in("r")).collect();
    for reader in &mut readers {
        reader.send("SUB much 1\r\n");
        reader.sync();
    }
    let mut publisher = load_test.log_in("p");
    let message = format!("PUB much 1000000\r\n{}\r\n", "x".repeat(1_000_000));
    load_test.while_others_are_served(|| {
        for _ in 0..50 {
            publisher.send(&message);
        }
        publisher.sync();
    });
    let now = load_test.adds_up();
    let queues = now.cause("outbound_queues");
    assert!((20 * MIB..100 * MIB).contains(&queues), "{now:#?}");
    drop(readers);
    load_test.is_given_back(16 * MIB);
}

/// Queues of stuck subscribers.
#[test]
fn queues_of_stuck_subscribers_are_reported() {
    let load_test = LoadTest::new("");
    let mut readers: Vec<RawClient> = (0..20).map(|_| load_test.log_in("r")).collect();
    for reader in &mut readers {
        reader.send("SUB much 1\r\n");
        reader.sync();
    }
    let mut publisher = load_test.log_in("p");
    let message = format!("PUB much 1000\r\n{}\r\n", "x".repeat(1000)).repeat(100);
    load_test.while_others_are_served(|| {
        for _ in 0..80 {
            publisher.send(&message);
        }
        publisher.sync();
    });
    let now = load_test.adds_up();
    assert!(now.cause("outbound_queues") > 20 * MIB, "{now:#?}");
    drop(readers);
    load_test.is_given_back(16 * MIB);
}

/// Clients with a permission to respond: reply subjects of requests that are never
/// answered.
#[test]
fn permissions_to_respond_are_bounded() {
    let load_test = LoadTest::new(
        "max_control_line: 64KB
         authorization { users: [
           { user: p, password: p }, { user: other, password: p }
           { user: r, password: p, permissions: { subscribe: \">\", allow_responses: { max: 1, expires: 1h } } }
         ] }",
    );
    let mut responder = load_test.log_in("r");
    responder.send("SUB ask 1\r\n");
    responder.sync();
    let mut asking = load_test.log_in("p");
    let long = "x".repeat(30_000);
    load_test.while_others_are_served(|| {
        for number in 0..2000 {
            asking.send(format!("PUB ask {number}.{long} 0\r\n\r\n"));
            if number % 50 == 0 {
                asking.sync();
                responder.sync();
            }
        }
        asking.sync();
        responder.sync();
    });
    let now = load_test.adds_up();
    let held = now.cause("permissions");
    assert!((4 * MIB..=9 * MIB).contains(&held), "{held}");
    drop(responder);
    wait_until("they are released", || {
        Memory::of(&load_test.broker).cause("permissions") == 0
    });
}
