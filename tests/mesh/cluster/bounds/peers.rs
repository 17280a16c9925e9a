//! Peers that fail again and again, or do not read.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan, failing_peer},
    wait_for, wait_until,
};

use super::{LONG, groups, start, wait_for_way};

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
        member.broker.log().wait_for_line(&["rid:", reported]);
    }
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
