//! What is published at a hub or at its leafnode reaches the other side once and whole.

use test_support::{Broker, RawClient, free_port, wait_until};

use super::{
    client, expect_silence, hub, knows, leaf, leaf_with, message, subscriber, wait_for_leafs,
};

fn pair() -> (Broker, Broker) {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let leaf = leaf("leaf", port, "", "");
    wait_for_leafs(&hub, 1);
    wait_for_leafs(&leaf, 1);
    (hub, leaf)
}

#[test]
fn messages_go_both_ways_with_replies_and_headers() {
    let (hub, leaf) = pair();
    for (from, to) in [(&hub, &leaf), (&leaf, &hub)] {
        every_form(from, to, "way");
    }
}

/// The oldest leafnode that is tried, Debian's.
#[test]
fn an_old_nats_server_is_a_leafnode() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let leaf = leaf_with(Broker::nats_server_29(), "old", port, "", "", "");
    wait_for_leafs(&hub, 1);
    wait_for_leafs(&leaf, 1);
    for (from, to) in [(&hub, &leaf), (&leaf, &hub)] {
        every_form(from, to, "old");
    }
}

/// Payloads, replies, headers and large messages from one broker to the other.
pub(super) fn every_form(from: &Broker, to: &Broker, word: &str) {
    let subject = format!("{word}.{}", from.client_addr().port());
    let mut reader = subscriber(to, from, &subject);
    let mut writer = client(from);
    let large = "x".repeat(300_000);
    writer.send(format!("PUB {subject} 5\r\nhello\r\n"));
    writer.send(format!("PUB {subject} answer.here 0\r\n\r\n"));
    writer.send(format!(
        "HPUB {subject} 17 21\r\nNATS/1.0\r\na: b\r\n\rbody\r\n"
    ));
    writer.send(format!(
        "HPUB {subject} answer.here 17 17\r\nNATS/1.0\r\na: b\r\n\r\r\n"
    ));
    writer.send(format!("PUB {subject} {}\r\n{large}\r\n", large.len()));
    let many = format!("PUB {subject} 4\r\nmany\r\n").repeat(200);
    writer.send(many);
    writer.send(format!("PUB {subject} 3\r\nend\r\n"));
    let expected = [
        (format!("MSG {subject} 1 5"), "hello".to_owned()),
        (format!("MSG {subject} 1 answer.here 0"), String::new()),
        (
            format!("HMSG {subject} 1 17 21"),
            "NATS/1.0\r\na: b\r\n\rbody".into(),
        ),
        (
            format!("HMSG {subject} 1 answer.here 17 17"),
            "NATS/1.0\r\na: b\r\n\r".into(),
        ),
        (format!("MSG {subject} 1 300000"), large.clone()),
    ];
    for (line, body) in expected {
        assert_eq!(message(&mut reader), (line, body.into_bytes()));
    }
    for _ in 0..200 {
        assert_eq!(message(&mut reader).1, b"many");
    }
    assert_eq!(message(&mut reader).1, b"end");
    expect_silence(&mut reader);
}

/// A message is delivered once to a leafnode whose subscriptions match it several times.
#[test]
fn overlapping_subscriptions_get_one_copy_over_the_wire() {
    let (hub, leaf) = pair();
    let mut reader = client(&leaf);
    reader.send("SUB over.lap 1\r\nSUB over.* 2\r\nSUB over.> 3\r\n");
    reader.sync();
    wait_until("all are known", || {
        ["over.lap", "over.*", "over.>"]
            .iter()
            .all(|subject| knows(&hub, subject))
    });
    let sent = || hub.get_json("/leafz")["leafs"][0]["out_msgs"].as_u64();
    let before = sent().expect("a number");
    let mut writer = client(&hub);
    writer.send("PUB over.lap 2\r\nhi\r\n");
    writer.sync();
    let mut sids: Vec<String> = (0..3).map(|_| message(&mut reader).0).collect();
    sids.sort();
    let expected: Vec<String> = (1..=3).map(|sid| format!("MSG over.lap {sid} 2")).collect();
    assert_eq!(sids, expected);
    expect_silence(&mut reader);
    assert_eq!(sent(), Some(before + 1));
}

/// A service on either side answers a client on the other one, and a request to nobody is answered at
/// once.
#[test]
fn requests_are_answered_over_the_connection() {
    let (hub, leaf) = pair();
    for (from, to) in [(&hub, &leaf), (&leaf, &hub)] {
        let service = format!("service.{}", from.client_addr().port());
        let mut requester = client(from);
        requester.send("SUB inbox.* 7\r\n");
        requester.send(format!("PUB {service} inbox.none 0\r\n\r\n"));
        let (_, nobody) = message(&mut requester);
        assert!(nobody.starts_with(b"NATS/1.0 503"));
        let mut server = subscriber(to, from, &service);
        requester.send(format!("PUB {service} inbox.one 2\r\nhi\r\n"));
        let (line, _) = message(&mut server);
        assert_eq!(line, format!("MSG {service} 1 inbox.one 2"));
        // The requester's inbox is known here before its request arrives.
        server.send("PUB inbox.one 3\r\nyes\r\n");
        let answer = message(&mut requester);
        assert_eq!(answer, ("MSG inbox.one 7 3".into(), b"yes".to_vec()));
        // It ends with its subscription.
        server.send("UNSUB 1\r\n");
        server.sync();
        wait_until("it is known no more", || !knows(from, &service));
        requester.send(format!("PUB {service} inbox.none 0\r\n\r\n"));
        let (_, nobody) = message(&mut requester);
        assert!(nobody.starts_with(b"NATS/1.0 503"));
    }
}

/// Of a queue group with members on both sides, one gets each message: one of this side as long as it
/// has any.
#[test]
fn queue_groups_get_each_message_once() {
    let (hub, leaf) = pair();
    for (from, to) in [(&hub, &leaf), (&leaf, &hub)] {
        let subject = format!("work.{}", from.client_addr().port());
        let join = |at: &Broker, groups: &[&str]| {
            let mut worker = client(at);
            for (sid, group) in groups.iter().enumerate() {
                worker.send(format!("SUB {subject} {group} {sid}\r\n"));
            }
            worker.send(format!("SUB {subject}.end end\r\n"));
            worker.sync();
            worker
        };
        let mut writer = client(from);
        let mut publish = || {
            wait_until("both are known", || {
                knows(from, &subject) && knows(from, &format!("{subject}.end"))
            });
            let works = format!("PUB {subject} 1\r\nx\r\n").repeat(60);
            writer.send(format!("{works}PUB {subject}.end 0\r\n\r\n"));
            writer.sync();
        };
        let mut workers = [
            join(to, &["crew"]),
            join(to, &["crew"]),
            join(to, &["crew"]),
        ];
        publish();
        let counts = workers.each_mut().map(|worker| count(worker)[0]);
        assert_eq!(counts.iter().sum::<usize>(), 60, "{counts:?}");
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        let mut own = join(from, &["crew"]);
        let mut far = join(to, &["crew", "others"]);
        wait_until("the other group is known", || {
            groups_known(from, &subject) >= 2
        });
        publish();
        assert_eq!(count(&mut own), [60, 0]);
        assert_eq!(count(&mut far), [0, 60]);
        for worker in &mut workers {
            assert_eq!(count(worker), [0, 0]);
        }
    }
}

/// How many times a broker has heard of interest in a subject: once for each group.
fn groups_known(broker: &Broker, subject: &str) -> usize {
    let leafz = broker.get_json("/leafz?subs=1");
    let subjects = leafz["leafs"][0]["subscriptions_list"].as_array().cloned();
    let known = subjects.unwrap_or_default();
    known.iter().filter(|known| *known == subject).count()
}

/// Messages for the subscriptions 0 and 1, up to the one that says that there are no more.
fn count(worker: &mut RawClient) -> [usize; 2] {
    let mut counts = [0, 0];
    loop {
        let (line, _) = message(worker);
        match line.split(' ').nth(2) {
            Some("0") => counts[0] += 1,
            Some("1") => counts[1] += 1,
            _ => return counts,
        }
    }
}

/// The hub is restarted: its leafnode comes back, and with it all interest.
#[test]
fn a_leafnode_comes_back_after_a_restart_of_the_hub() {
    let port = free_port();
    let mut first = hub(Broker::midge(), port, "", "");
    let leaf = leaf("leaf", port, "", "");
    let mut reader = subscriber(&leaf, &first, "after.all");
    assert!(first.stop().success());
    let second = hub(Broker::midge(), port, "", "");
    wait_until("it is known again", || knows(&second, "after.all"));
    client(&second).send("PUB after.all 2\r\nhi\r\n");
    assert_eq!(message(&mut reader).1, b"hi");
    every_form(&leaf, &second, "again");
}

/// Two leafnodes exchange messages by way of their hub; what one sends does not come back to it.
#[test]
fn leafnodes_of_one_hub_reach_each_other() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let leafs = [leaf("a", port, "", ""), leaf("b", port, "", "")];
    wait_for_leafs(&hub, 2);
    for (from, to) in [(&leafs[0], &leafs[1]), (&leafs[1], &leafs[0])] {
        every_form(from, to, "across");
    }
    let mut own = client(&leafs[0]);
    own.send("SUB echo.it 1\r\n");
    own.sync();
    let mut far = subscriber(&leafs[1], &leafs[0], "echo.it");
    own.send("PUB echo.it 1\r\nx\r\n");
    assert_eq!(message(&mut far).1, b"x");
    assert_eq!(message(&mut own).1, b"x");
    far.send("PUB done.it 0\r\n\r\n");
    far.sync();
    expect_silence(&mut own);
}

/// A hub that isolates leafnodes tells none of them what others subscribe to.
#[test]
fn isolated_leafnodes_reach_the_hub_alone() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "isolate_leafnode_interest: true", "");
    let leafs = [leaf("a", port, "", ""), leaf("b", port, "", "")];
    wait_for_leafs(&hub, 2);
    let mut reader = subscriber(&leafs[0], &hub, "kept.apart");
    let mut all = subscriber(&hub, &leafs[1], "kept.>");
    client(&leafs[1]).send("PUB kept.apart 1\r\nx\r\n");
    // The hub passes on what it gets: but the other leafnode was not told to send it.
    assert_eq!(message(&mut all).1, b"x");
    assert!(!knows(&leafs[1], "kept.apart"));
    assert_eq!(message(&mut reader).1, b"x");
}
