//! More queue groups than fit into a line, or into a queue.

use std::collections::HashMap;

use test_support::{
    RawClient,
    mesh::{Kind, Member},
    wait_until,
};

use super::{groups, route_ids, start, wait_for_way};

/// One case: groups at the reader's member, some of them also with a member at the
/// publisher's, with or without a plain subscriber.
fn deliver_to_groups(
    publishing: &Member,
    reading: &Member,
    case: usize,
    (count, len, plain, here): (usize, usize, bool, bool),
) -> (HashMap<String, usize>, usize) {
    const MESSAGES: usize = 3;
    let subject = format!("case.{case}");
    let (mut publisher, mut reader) = (publishing.client(), reading.client());
    let names = groups(count, len);
    let mut lines = String::new();
    for name in &names {
        lines += &format!("SUB {subject} {name} {name}\r\n");
    }
    reader.send(&lines);
    if plain {
        reader.send(format!("SUB {subject} plain\r\n"));
    }
    let mut local = publishing.client();
    if here {
        // Every second group has a member here too.
        let lines: String = names
            .iter()
            .step_by(2)
            .map(|name| format!("SUB {subject} {name} {name}\r\n"))
            .collect();
        local.send(lines);
        local.sync();
    }
    // Another client on the same route.
    let mut other_client = reading.client();
    other_client.send("SUB bystander b\r\n");
    other_client.sync();
    wait_for_way(&mut publisher, &mut reader, &format!("ready.{case}"));
    wait_for_way(
        &mut publisher,
        &mut other_client,
        &format!("ready.too.{case}"),
    );
    let reply = ["", "some.reply "][case % 2];
    for _ in 0..MESSAGES {
        publisher.send(format!(
            "PUB {subject} {reply}1\r\nx\r\nPUB bystander 1\r\nx\r\n"
        ));
    }
    for _ in 0..MESSAGES {
        other_client.next_message();
    }
    // After all of them.
    wait_for_way_counting(
        &mut publisher,
        &mut reader,
        &mut local,
        &format!("over.{case}"),
    )
}

/// Like [`wait_for_way`], and returns how often each subscription received something in
/// the meantime, and the number of messages.
fn wait_for_way_counting(
    publisher: &mut RawClient,
    reader: &mut RawClient,
    local: &mut RawClient,
    subject: &str,
) -> (HashMap<String, usize>, usize) {
    let mut taken = HashMap::new();
    let mut all = 0;
    reader.send(format!("SUB {subject} over\r\n"));
    let mut count = |frames: Vec<test_support::Frame>| {
        let mut is_over = false;
        for frame in frames.iter().filter(|frame| frame.is_message()) {
            let sid = frame.arguments()[1].clone();
            match &*sid {
                "over" => is_over = true,
                _ => {
                    *taken.entry(sid).or_default() += 1;
                    all += 1;
                }
            }
        }
        is_over
    };
    wait_until(&format!("{subject} has arrived"), || {
        publisher.send(format!("PUB {subject} 0\r\n\r\n"));
        publisher.sync();
        count(reader.sync())
    });
    count(local.sync());
    (taken, all)
}

fn every_group_is_served(publishing: Kind, reading: Kind) {
    let members = start(&[(publishing, ""), (reading, "")]);
    let before = [route_ids(&members[0]), route_ids(&members[1])];
    // Around the limits of a line: 1024 fields and 64 KiB.
    let line = |count: usize| 65536 / count;
    let counts = [1, 1019, 1020, 1021, 1022, 1100];
    let mut cases: Vec<(usize, usize, bool, bool)> = Vec::new();
    for (at, count) in counts.into_iter().enumerate() {
        cases.push((count, 5, at % 2 == 0, at % 3 == 0));
    }
    for len in [line(640) - 2, line(640) - 1, line(640)] {
        cases.push((640, len, false, false));
    }
    cases.extend([
        (700, 101, false, false),
        (700, 101, true, false),
        (700, 101, true, true),
    ]);
    for (number, case) in cases.iter().enumerate() {
        let (count, len, plain, _) = *case;
        let (taken, _) = deliver_to_groups(&members[0], &members[1], number, *case);
        let wanted = usize::from(plain) * 3;
        assert_eq!(taken.get("plain").copied().unwrap_or(0), wanted, "{case:?}");
        let served: Vec<usize> = groups(count, len)
            .iter()
            .map(|name| taken.get(name).copied().unwrap_or(0))
            .collect();
        assert!(
            served.iter().all(|times| *times <= 3),
            "{case:?}: {served:?}"
        );
        let missed = served.iter().filter(|times| **times < 3).count();
        // Only where a second line would deliver to the plain subscriber twice.
        let fits =
            reading == Kind::Midge || publishing == Kind::Nats || !plain || len * count < 60_000;
        assert!(missed == 0 || !fits, "{case:?}: {missed} groups missed");
        assert!(missed < 100, "{case:?}: {missed} groups missed");
    }
    let after = [route_ids(&members[0]), route_ids(&members[1])];
    assert_eq!(before, after, "a route was made anew");
    if publishing == Kind::Midge && reading == Kind::Nats {
        let dropped = members[0].broker.get_json("/varz")["dropped_msgs"].clone();
        assert!(dropped["too_long"].as_u64() > Some(0), "{dropped}");
    }
}

#[test]
fn every_queue_group_is_served_between_midge_members() {
    every_group_is_served(Kind::Midge, Kind::Midge);
}

#[test]
fn every_queue_group_is_served_by_a_nats_server() {
    every_group_is_served(Kind::Midge, Kind::Nats);
}

#[test]
fn every_queue_group_is_served_for_a_nats_server() {
    every_group_is_served(Kind::Nats, Kind::Midge);
}

/// Groups that do not fit into a line for the peer are served once by local members.
#[test]
fn queue_groups_beyond_the_line_limit_are_served_locally() {
    let members = start(&[(Kind::Midge, ""), (Kind::Nats, "")]);
    let count = 1400;
    let case = (count, 101, true, true);
    let (taken, _) = deliver_to_groups(&members[0], &members[1], 0, case);
    let served = |name: &String| taken.get(name).copied().unwrap_or(0);
    let names = groups(count, 101);
    let here: Vec<usize> = names.iter().step_by(2).map(served).collect();
    assert!(here.iter().all(|times| *times == 3), "{here:?}");
    let elsewhere: Vec<usize> = names.iter().skip(1).step_by(2).map(served).collect();
    assert!(elsewhere.iter().all(|times| *times <= 3), "{elsewhere:?}");
    // Only the undelivered messages are reported.
    let lost: usize = elsewhere.iter().map(|times| 3 - times).sum();
    let dropped = members[0].broker.get_json("/varz")["dropped_msgs"].clone();
    assert_eq!(dropped["too_long"].as_u64(), Some(lost as u64), "{dropped}");
}

/// One read of a publisher's socket results in more than twice the queue limit of a peer:
/// it is processed in parts, as fast as the peer reads.
#[test]
fn a_burst_to_many_queue_groups_keeps_the_route_open() {
    const MESSAGES: usize = 2000;
    let members = start(&[(Kind::Midge, "max_memory: 64MB"), (Kind::Midge, "")]);
    let before = route_ids(&members[0]);
    let (mut publisher, mut reader) = (members[0].client(), members[1].client());
    let names = groups(35, 2000);
    for (sid, name) in names.iter().enumerate() {
        reader.send(format!("SUB burst {name} {sid}\r\n"));
    }
    wait_for_way(&mut publisher, &mut reader, "ready");
    // One batch; a batch for each message; messages that are delivered alone.
    for publishes in [
        "PUB burst 0\r\n\r\n",
        "PUB burst 0\r\n\r\nPUB o 0\r\n\r\n",
        "PUB  burst  0\r\n\r\n",
    ] {
        publisher.send(publishes.repeat(MESSAGES) + "PING\r\n");
        let mut taken = vec![0; names.len()];
        for _ in 0..MESSAGES * names.len() {
            let sid = reader.next_message().arguments()[1].clone();
            taken[sid.parse::<usize>().expect("a number")] += 1;
        }
        assert!(taken.iter().all(|times| *times == MESSAGES), "{taken:?}");
        assert_eq!(route_ids(&members[0]), before, "the route was made anew");
        // What follows the burst is processed too.
        while publisher.next_frame().expect("the connection is open").line != b"PONG" {}
    }
}
