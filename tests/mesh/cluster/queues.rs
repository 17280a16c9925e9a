//! Queue groups with members at several brokers. By default all members share the
//! messages evenly, as with nats-server; a policy can prefer members at the publisher's
//! broker.

mod left;

use std::time::Duration;

use test_support::{
    RawClient, free_port,
    mesh::{self, Kind, Member, Plan},
    raw_client::Next,
    wait_until,
};

/// Messages of one test case.
const COUNT: usize = 1200;

/// Clients of one member, each with the given number of queue subscriptions.
struct QueueMembers {
    clients: Vec<RawClient>,
}

impl QueueMembers {
    fn join(member: &Member, subject: &str, size: usize) -> Self {
        let join = |_| {
            let mut client = member.client();
            client.send(format!("SUB {subject} crew 1\r\n"));
            client.sync();
            client
        };
        Self {
            clients: (0..size).map(join).collect(),
        }
    }

    /// Messages received by each client; waits a while for unexpected ones.
    fn counts(&mut self) -> Vec<usize> {
        let count = |client: &mut RawClient| {
            let mut count = 0;
            while let Next::Frame(frame) = client.poll_frame(Duration::from_millis(100)) {
                count += usize::from(frame.is_message());
            }
            count
        };
        self.clients.iter_mut().map(count).collect()
    }
}

/// Waits until the first member knows all interest of the others' clients.
fn settle(members: &[Member], marker: &str) {
    for (index, other) in members.iter().enumerate().skip(1) {
        let subject = format!("{marker}.{index}");
        let mut client = other.client();
        client.send(format!("SUB {subject} 1\r\n"));
        client.sync();
        wait_until("what was said before is known", || {
            members[0].knows(&subject)
        });
    }
}

/// Publishes at the first member; returns the number of messages at each.
fn shares(
    members: &[Member],
    sizes: &[usize],
    name: &str,
    publish: impl Fn(&mut RawClient, &str),
) -> Vec<usize> {
    let subject = format!("work.{name}");
    let crews = members.iter().zip(sizes);
    let mut crews: Vec<QueueMembers> = crews
        .map(|(member, size)| QueueMembers::join(member, &subject, *size))
        .collect();
    settle(members, &format!("settled.{name}"));
    publish(&mut members[0].client(), &subject);
    let count = |queue_members: &mut QueueMembers| queue_members.counts().iter().sum();
    let counts: Vec<usize> = crews.iter_mut().map(count).collect();
    assert_eq!(counts.iter().sum::<usize>(), COUNT, "{name}: {counts:?}");
    counts
}

/// All messages in one write, so that they are read and distributed together.
fn at_once(client: &mut RawClient, subject: &str) {
    client.send(format!("PUB {subject} 2\r\nhi\r\n").repeat(COUNT));
    client.sync();
}

/// Each message in a separate write.
fn one_by_one(client: &mut RawClient, subject: &str) {
    for _ in 0..COUNT {
        client.send(format!("PUB {subject} 2\r\nhi\r\n"));
        client.sync();
    }
}

/// Each share is proportional to the number of members, within a statistical tolerance
/// that one in a billion runs exceeds.
#[track_caller]
fn expect_shares(counts: &[usize], sizes: &[usize], what: &str) {
    let all: usize = sizes.iter().sum();
    for (count, size) in counts.iter().zip(sizes) {
        let chance = *size as f64 / all as f64;
        let expected = COUNT as f64 * chance;
        let deviation = (expected * (1.0 - chance)).sqrt();
        let off = (*count as f64 - expected).abs();
        assert!(
            off <= 6.0 * deviation,
            "{what}: {counts:?} of members {sizes:?}"
        );
    }
}

/// Local and remote members get equal shares, with all kinds of brokers and all ways of
/// publishing.
#[test]
fn queue_members_share_evenly_wherever_they_are() {
    for kinds in [
        [Kind::Midge, Kind::Midge, Kind::Midge],
        [Kind::Midge, Kind::Nats, Kind::Midge],
        [Kind::Nats, Kind::Midge, Kind::Nats],
    ] {
        let members = mesh::start(&kinds);
        for (number, sizes) in [[6, 6, 0], [3, 1, 2], [1, 5, 1], [0, 2, 4], [4, 0, 0]]
            .iter()
            .enumerate()
        {
            let what = format!("{kinds:?}");
            let counts = shares(&members, sizes, &format!("run{number}"), at_once);
            expect_shares(&counts, sizes, &what);
            let counts = shares(&members, sizes, &format!("single{number}"), one_by_one);
            expect_shares(&counts, sizes, &what);
        }
    }
}

/// With the policy `local`, local members get everything as long as there is one.
#[test]
fn the_queue_policy_can_be_local_and_is_reloadable() {
    let ports = [free_port(), free_port()];
    let mut first = Plan::new(Kind::Midge, "n0", ports[0], &ports[1..]);
    let weighted = first.text();
    first.cluster = "name: mesh\n  queue_policy: local".into();
    let second = Plan::new(Kind::Midge, "n1", ports[1], &[]);
    let members = [first.start(), second.start()];
    mesh::wait_for_mesh(&members.each_ref());
    let counts = shares(&members, &[2, 6], "local", at_once);
    assert_eq!(counts, [COUNT, 0]);
    let counts = shares(&members, &[0, 6], "none", at_once);
    assert_eq!(counts, [0, COUNT], "nobody here");

    members[0].reload(&weighted);
    let counts = shares(&members, &[2, 6], "weighted", at_once);
    expect_shares(&counts, &[2, 6], "reloaded");
    members[0].reload(&first.text());
    let counts = shares(&members, &[2, 6], "again", one_by_one);
    assert_eq!(counts, [COUNT, 0]);
}

/// A publisher without echo is not a member for its own messages; nor is a member that
/// reached its maximum. When the others are gone, local members get everything.
#[test]
fn nothing_is_lost_when_a_queue_member_reaches_its_maximum() {
    let mut members = mesh::start(&[Kind::Midge, Kind::Midge]);
    let mut deaf = RawClient::connect(members[0].broker.client_addr());
    deaf.send("CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB work crew 1\r\n");
    deaf.sync();
    let mut limited = members[0].client();
    limited.send("SUB work crew 1\r\nUNSUB 1 5\r\n");
    limited.sync();
    let mut queue_members = QueueMembers::join(&members[1], "work", 2);
    settle(&members, "settled");
    at_once(&mut deaf, "work");
    let elsewhere: usize = queue_members.counts().iter().sum();
    let here = QueueMembers {
        clients: vec![limited],
    }
    .counts();
    assert_eq!((here[0], elsewhere), (5, COUNT - 5));
    assert!(deaf.sync().is_empty());

    let mut here = QueueMembers::join(&members[0], "work", 1);
    members[1].broker.kill();
    wait_until("its disconnect is known", || members[0].peers().is_empty());
    at_once(&mut deaf, "work");
    assert_eq!(here.counts(), [COUNT]);
}
