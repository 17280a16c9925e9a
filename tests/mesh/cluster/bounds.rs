//! A member never sends more than its peer accepts: many queue groups, long subjects,
//! bulk interest, with different limits on both sides. A peer that keeps failing is
//! redialled with growing delays.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use test_support::{Broker, RawClient, raw_client::Next, tools, wait_for, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan, failing_peer},
};

/// Timeout for bulk interest on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Members of a mesh, each with its own configuration lines.
fn start(kinds: &[(Kind, &str)]) -> Vec<Member> {
    let ports: Vec<u16> = kinds.iter().map(|_| free_port()).collect();
    let plan = |(index, (kind, config)): (usize, &(Kind, &str))| {
        let mut others = ports.clone();
        others.remove(index);
        let mut plan = Plan::new(*kind, &format!("n{index}"), ports[index], &others);
        plan.config = (*config).into();
        plan.start()
    };
    let members: Vec<Member> = kinds.iter().enumerate().map(plan).collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

/// Ids of a member's routes; a new route has a new id.
fn route_ids(member: &Member) -> Vec<u64> {
    let routez = member.broker.get_json("/routez");
    let routes = routez["routes"].as_array().expect("routes");
    let mut ids: Vec<u64> = routes.iter().filter_map(|it| it["rid"].as_u64()).collect();
    ids.sort_unstable();
    ids
}

/// Publishes to `subject` until `reader` receives it: what the reader sent before is then
/// known to the publisher's broker. Other messages are ignored.
fn wait_for_way(publisher: &mut RawClient, reader: &mut RawClient, subject: &str) {
    reader.send(format!("SUB {subject} way\r\n"));
    reader.sync();
    wait_until(
        &format!("the other member has interest in {subject}"),
        || {
            publisher.send(format!("PUB {subject} 0\r\n\r\n"));
            publisher.sync();
            matches!(
                reader.poll_frame(Duration::from_millis(100)),
                Next::Frame(_)
            )
        },
    );
    reader.send("UNSUB way\r\n");
    reader.sync();
}

/// Names of queue groups, each of `len` bytes.
fn groups(count: usize, len: usize) -> Vec<String> {
    let pad = len.saturating_sub(5);
    (0..count)
        .map(|it| format!("{it:05}{}", "q".repeat(pad)))
        .collect()
}

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

/// A subject of 100 KB, with members of different max_control_line.
#[test]
fn members_with_different_max_control_line_stay_connected() {
    let long = "max_control_line: 1MB";
    let quick = "diagnosis { interval: 50ms, appear_after: 100ms }";
    let first = format!("{long}\n{quick}");
    let members = start(&[
        (Kind::Midge, &first),
        (Kind::Midge, ""),
        (Kind::Midge, long),
        (Kind::Nats, ""),
        (Kind::Nats, long),
        (Kind::Nats, "max_control_line: 512"),
    ]);
    // A nats-server is asked for its limit. One with a lower limit may receive one line
    // that is too long before it has answered.
    let (few, most) = (&members[5], &members[..5]);
    let routes = || -> Vec<Vec<u64>> {
        let without_few = |member: &Member| -> Vec<u64> {
            let routez = member.broker.get_json("/routez");
            let routes = routez["routes"].as_array().expect("routes").iter();
            let others = routes.filter(|route| route["remote_name"] != few.name.as_str());
            let mut ids: Vec<u64> = others.filter_map(|it| it["rid"].as_u64()).collect();
            ids.sort_unstable();
            ids
        };
        most.iter().map(without_few).collect()
    };
    let before = routes();
    let subject = format!("long.{}", "s".repeat(100_000));
    let middle = format!("middle.{}", "s".repeat(10_000));
    let mut reader = members[0].client();
    reader.send(format!("SUB {subject} 1\r\nSUB {middle} 2\r\n"));
    reader.sync();
    // Members that can publish it do, and it arrives; nats-server is tested first.
    for number in [2, 4] {
        let mut publisher = members[number].client();
        wait_until(&format!("member {number} reaches the long subject"), || {
            publisher.send(format!("PUB {subject} 0\r\n\r\n"));
            publisher.sync();
            let frames = reader.sync();
            frames.iter().any(|frame| frame.is_message())
        });
    }
    // Only the long message is lost for the member that cannot accept it.
    for (number, member) in members.iter().enumerate().skip(1) {
        let mut other = member.client();
        other.send("SUB > 1\r\n");
        other.sync();
        let mut publisher = members[0].client();
        wait_until(
            &format!("{} has received the short message", member.name),
            || {
                publisher.send(format!(
                    "PUB {subject} 0\r\n\r\nPUB short.{number} 0\r\n\r\n"
                ));
                publisher.sync();
                let frames = other.sync();
                let short = format!("MSG short.{number} 1 0");
                frames.iter().any(|frame| frame.line == short.as_bytes())
            },
        );
    }
    assert_eq!(before, routes(), "a route was made anew");
    let log = members[0].broker.log();
    let lost = log.matches("Router connection to \"n5\" closed").count();
    assert!(lost <= 1, "the route to n5 was made anew {lost} times");
    let finding = wait_for("the difference is reported", || {
        let explained = members[0].broker.get_json("/explainz");
        let found = explained["findings"].as_array()?.clone();
        found.into_iter().find(|it| {
            it["code"] == "members-differ" && it.to_string().contains("control lines of at most")
        })
    });
    assert!(
        finding["subject"] == "n3" || finding["subject"] == "n5",
        "{finding}"
    );
}

/// Waits with a longer timeout, for bulk interest.
fn wait_long(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {LONG:?} in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// 12 MB of interest, where all queues together may hold 4 MB: it is sent in parts, to a
/// new member and to an existing one, and so is its removal.
#[test]
fn bulk_interest_arrives_complete_and_the_route_stays_open() {
    const SUBJECTS: usize = 24_000;
    let ports = [free_port(), free_port(), free_port()];
    let plan = |index: usize, kind| {
        let mut others = ports.to_vec();
        others.remove(index);
        let mut plan = Plan::new(kind, &format!("n{index}"), ports[index], &others);
        if kind == Kind::Midge {
            plan.config = "max_memory: 4MB".into();
        }
        plan
    };
    let first = plan(0, Kind::Midge).start();
    let known = |member: &Member| {
        let routez = member.broker.get_json("/routez");
        let routes = routez["routes"].as_array().expect("routes");
        let of_first = routes.iter().find(|route| route["remote_name"] == "n0");
        of_first.map_or(0, |route| {
            route["subscriptions"].as_u64().expect("a number") as usize
        })
    };
    let there = plan(1, Kind::Midge).start();
    mesh::wait_for_mesh(&[&first, &there]);
    let before = route_ids(&there);
    let mut reader = first.client();
    for some in 0..SUBJECTS / 1000 {
        let lines: String = (0..1000)
            .map(|at| {
                let number = some * 1000 + at;
                format!("SUB mass.{number}.{} {number}\r\n", "s".repeat(480))
            })
            .collect();
        reader.send(lines);
    }
    reader.sync();
    wait_long("the existing member has all of it", || {
        known(&there) >= SUBJECTS
    });
    assert_eq!(route_ids(&there), before, "the route was made anew");
    let later = plan(2, Kind::Midge).start();
    wait_long("the new member has all of it", || known(&later) >= SUBJECTS);
    let came = route_ids(&later);
    // A message to the last subscription, and the reply to its request.
    let mut publisher = later.client();
    wait_long("a message arrives", || {
        publisher.send(format!("PUB mass.77.{} 0\r\n\r\n", "s".repeat(480)));
        publisher.sync();
        reader.sync().iter().any(|frame| frame.is_message())
    });
    drop(reader);
    for member in [&there, &later] {
        wait_long("all of it is removed", || known(member) < 1000);
    }
    assert_eq!(route_ids(&later), came, "the route was made anew");
    assert!(
        route_ids(&there).contains(&before[0]),
        "the route was made anew"
    );
}

#[test]
fn a_repeatedly_failing_peer_is_redialled_with_growing_delay_and_reported() {
    let (port, times) = failing_peer(usize::MAX);
    let mut plan = Plan::new(Kind::Midge, "n0", free_port(), &[port]);
    plan.config = "diagnosis { interval: 50ms }".into();
    let member = plan.start();
    let next = || times.recv_timeout(LONG).expect("it is dialled again");
    let dialled: Vec<Instant> = (0..5).map(|_| next()).collect();
    let pauses: Vec<Duration> = dialled.windows(2).map(|two| two[1] - two[0]).collect();
    // Each pause is at least twice the previous one, apart from the one second that is
    // added to each.
    for (pause, least) in pauses.iter().zip([1, 2, 3, 5]) {
        assert!(*pause >= Duration::from_secs(least), "{pauses:?}");
    }
    let finding = wait_for("it is reported", || {
        let explained = member.broker.get_json("/explainz");
        let found = explained["findings"].as_array()?.clone();
        found.into_iter().find(|it| it["code"] == "route-failing")
    });
    assert_eq!(finding["subject"], "nonsense", "{finding}");
    assert!(
        finding.to_string().contains("Protocol Violation"),
        "{finding}"
    );
}

/// A member stops reading and is then killed: its pending messages are reported as lost
/// on a route, and its incident ends.
#[test]
fn the_incident_of_a_route_ends_when_the_route_closes() {
    let mut members = start(&[(Kind::Midge, "max_memory: 200MB"), (Kind::Midge, "")]);
    let mut reader = members[1].client();
    let mut publisher = members[0].client();
    wait_for_way(&mut publisher, &mut reader, "ready");
    reader.send("SUB load.> 1\r\n");
    wait_for_way(&mut publisher, &mut reader, "ready.too");
    members[1].broker.signal(libc::SIGSTOP);
    let payload = "x".repeat(100_000);
    let incident = || -> Option<Value> {
        let slowz = members[0].broker.get_json("/slowz");
        slowz["incidents"].get(0).cloned()
    };
    let mut waiting = None;
    for _ in 0..40 {
        for _ in 0..10 {
            publisher.send(format!("PUB load.heavy 100000\r\n{payload}\r\n"));
        }
    }
    publisher.sync();
    wait_until("an incident is reported", || {
        waiting = incident();
        waiting.is_some()
    });
    members[1].broker.kill();
    let ended = wait_for("it ends", || {
        let slowz = members[0].broker.get_json("/slowz");
        let first = slowz["incidents"].get(0)?.clone();
        (first["state"] != "ongoing").then_some(first)
    });
    assert_eq!(ended["kind"], "Router", "{ended}");
    assert!(ended["lost_msgs"].as_u64().unwrap_or(0) > 50, "{ended}");
    let text = ended.to_string();
    assert!(text.contains("load.heavy"), "{text}");
}

/// A peer that does not read is disconnected at the write deadline: its incident ends,
/// and the log reports it like a slow client.
#[test]
fn a_route_closed_as_a_slow_consumer_is_logged_as_one() {
    let mut plan = Plan::new(Kind::Midge, "publishing", free_port(), &[]);
    plan.config = "write_deadline: 1s".into();
    let member = plan.start();
    let mut peer = introduce(&member, "stuck-peer");
    peer.write_all(b"RS+ $G load\r\n").expect("it reads");
    wait_until("the interest has arrived", || member.knowing("load") >= 1);
    let mut publisher = member.client();
    let messages = format!("PUB load 100000\r\n{}\r\n", "x".repeat(100_000)).repeat(20);
    let ended = wait_for("it is disconnected", || {
        publisher.send(&messages);
        publisher.sync();
        let slowz = member.broker.get_json("/slowz");
        let first = slowz["incidents"].get(0)?.clone();
        (first["state"] != "ongoing").then_some(first)
    });
    assert_eq!(ended["state"], "evicted", "{ended}");
    assert_eq!(ended["kind"], "Router", "{ended}");
    for reported in [
        "Slow Consumer Detected: WriteDeadline of 1s exceeded with",
        "Slow Consumer: lost",
    ] {
        // Log lines are written a little later.
        wait_until(reported, || {
            let log = member.broker.log();
            let mut lines = log.lines().filter(|line| line.contains("rid:"));
            lines.any(|line| line.contains(reported))
        });
    }
}

/// Interest of a member that exceeds a memory limit is reported as missing, and works
/// once memory is free again.
#[test]
fn interest_refused_at_a_limit_is_requested_again() {
    for kind in [Kind::Midge, Kind::Nats] {
        is_asked_for_again(kind);
    }
}

fn is_asked_for_again(kind: Kind) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let program = folder.path().join("limited");
    let script = format!(
        "#!/bin/sh\nulimit -d 300000 || exit 1\nexec {:?} \"$@\"\n",
        tools::midge().display().to_string()
    );
    fs::write(&program, script).expect("write the script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("may be run");
    let ports = [free_port(), free_port()];
    let mut plan = Plan::new(Kind::Midge, "small", ports[0], &[ports[1]]);
    // Findings that last shorter than `incident_window` clear at once.
    plan.config = "diagnosis { interval: 50ms, incident_window: 100ms, clear_after: 100ms }".into();
    let small = Member {
        name: plan.name.clone(),
        broker: Broker::program(&program).config(plan.text()).start(),
        route_port: ports[0],
    };
    let mut plan = Plan::new(kind, "big", ports[1], &[ports[0]]);
    plan.config = "max_control_line: 128KB".into();
    let big = plan.start();
    mesh::wait_for_mesh(&[&small, &big]);
    let finding = || -> Option<Value> {
        let explained = small.broker.get_json("/explainz");
        let found = explained["findings"].as_array()?.clone();
        let is_reported = |it: &Value| it["code"] == "table-full" && it["subject"] == "big";
        found.into_iter().find(is_reported)
    };
    let mut flood = big.client();
    let mut sid = 0;
    let mut subscribe = |count: usize, len: usize| {
        for _ in 0..count {
            sid += 1;
            flood.send(format!("SUB {sid}.{} {sid}\r\n", "x".repeat(len)));
        }
        flood.sync();
    };
    wait_until("memory is exhausted", || {
        subscribe(50, 60_000);
        finding().is_some()
    });
    // Not even a small subscription fits.
    subscribe(500, 1000);
    subscribe(3000, 1);
    let mut reader = big.client();
    reader.send("SUB orders 1\r\n");
    reader.sync();
    let mut publisher = small.client();
    drop(flood);
    wait_for_way(&mut publisher, &mut reader, "orders");
    wait_until("no interest is missing any more", || finding().is_none());
    assert!(small.broker.log().contains("Interest Forgotten"));
}

/// A connection that logs in to a member as a broker of the mesh.
fn introduce(member: &Member, name: &str) -> TcpStream {
    let mut peer = TcpStream::connect(("127.0.0.1", member.route_port)).expect("the route port");
    let (user, pass) = mesh::LOGIN.split_once(':').expect("a user and a password");
    let hello = format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"name\":\"ID-{name}\",\"cluster\":\"mesh\",\
         \"user\":{user:?},\"pass\":{pass:?}}}\r\n\
         INFO {{\"server_id\":\"ID-{name}\",\"server_name\":{name:?},\"cluster\":\"mesh\",\
         \"host\":\"127.0.0.1\",\"port\":1,\"headers\":true}}\r\n"
    );
    peer.write_all(hello.as_bytes()).expect("it reads");
    peer
}

/// A peer whose messages are very long and which reads slowly stalls publishers for a
/// while: it is named.
#[test]
fn a_peer_that_stalls_publishers_is_named() {
    let mut plan = Plan::new(Kind::Midge, "publishing", free_port(), &[]);
    plan.config = "diagnosis { interval: 600ms, appear_after: 100ms }".into();
    let member = plan.start();
    let mut peer = introduce(&member, "slow-peer");
    let interest = groups(500, 200);
    let interest = interest.iter().map(|name| format!("RS+ $G > {name} 1\r\n"));
    peer.write_all(interest.collect::<String>().as_bytes())
        .expect("it reads");
    wait_until("the interest has arrived", || member.knowing(">") >= 500);
    let finding = || {
        let explained = member.broker.get_json("/explainz");
        let found = explained["findings"].as_array()?.clone();
        found
            .into_iter()
            .find(|it| it["code"] == "publisher-stalled")
    };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = vec![0; 16 * 1024];
            while !done.load(Ordering::Relaxed) && peer.read(&mut buffer).is_ok_and(|len| len > 0) {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let _end = SetAtEnd(&done);
        let mut publisher = member.client();
        let found = wait_for("it is named", || {
            publisher.send("PUB x 0\r\n\r\n".repeat(20));
            finding()
        });
        assert_eq!(found["subject"], "slow-peer", "{found}");
    });
}

/// Sets the flag also when the test fails: a scope waits for its threads.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
