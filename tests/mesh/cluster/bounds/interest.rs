//! Interest in long subjects, and much of it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use test_support::{
    Broker, free_port,
    mesh::{self, Kind, Member, Plan},
    tools, wait_for, wait_until,
};

use super::{LONG, route_ids, start, wait_for_way};

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
    let log = members[0].broker.log().so_far();
    let lost = log.count("Router connection to \"n5\" closed");
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
    small.broker.log().wait_for("Interest Forgotten");
}
