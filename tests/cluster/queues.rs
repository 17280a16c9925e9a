//! Queue groups with members at several brokers: who serves what is published at
//! one of them. As with nats-server all members alike do, wherever they are; where
//! it is configured, those at the publisher's broker go first.

use std::time::Duration;

use crate::{
    mesh::{self, Kind, Member, Plan, free_port},
    support::{RawClient, raw_client::Next, wait_until},
};

/// Messages of one trial.
const COUNT: usize = 1200;

/// Clients of one member, each in the group as often as is said.
struct Crew {
    clients: Vec<RawClient>,
}

impl Crew {
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

    /// Messages that have come, for each client; nothing more may come for a while.
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

/// Waits until the first member knows all that the others' clients want.
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

/// What is published at the first member goes to so many at each.
fn shares(
    members: &[Member],
    sizes: &[usize],
    name: &str,
    publish: impl Fn(&mut RawClient, &str),
) -> Vec<usize> {
    let subject = format!("work.{name}");
    let crews = members.iter().zip(sizes);
    let mut crews: Vec<Crew> = crews
        .map(|(member, size)| Crew::join(member, &subject, *size))
        .collect();
    settle(members, &format!("settled.{name}"));
    publish(&mut members[0].client(), &subject);
    let count = |crew: &mut Crew| crew.counts().iter().sum();
    let counts: Vec<usize> = crews.iter_mut().map(count).collect();
    assert_eq!(counts.iter().sum::<usize>(), COUNT, "{name}: {counts:?}");
    counts
}

/// All messages in one write, so that they are read and dealt out together.
fn at_once(client: &mut RawClient, subject: &str) {
    client.send(format!("PUB {subject} 2\r\nhi\r\n").repeat(COUNT));
    client.sync();
}

/// Each message by itself.
fn one_by_one(client: &mut RawClient, subject: &str) {
    for _ in 0..COUNT {
        client.send(format!("PUB {subject} 2\r\nhi\r\n"));
        client.sync();
    }
}

/// Each share is what it is to be by the number of members, as far as chance lets
/// it; in a billion trials one is further off.
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

/// Members here and elsewhere serve alike, whichever brokers it are and however
/// the messages come.
#[test]
fn members_of_a_group_serve_alike_wherever_they_are() {
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

/// Those here take all as long as there are any, if that is configured.
#[test]
fn the_policy_can_be_local_and_changes_with_a_reload() {
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

/// A publisher that does not want its own messages is no member for them; a member
/// that has had its last one neither; when the others are gone, those here take all.
#[test]
fn nothing_is_lost_when_a_member_takes_no_more() {
    let mut members = mesh::start(&[Kind::Midge, Kind::Midge]);
    let mut deaf = RawClient::connect(members[0].broker.client_addr());
    deaf.send("CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB work crew 1\r\n");
    deaf.sync();
    let mut limited = members[0].client();
    limited.send("SUB work crew 1\r\nUNSUB 1 5\r\n");
    limited.sync();
    let mut crew = Crew::join(&members[1], "work", 2);
    settle(&members, "settled");
    at_once(&mut deaf, "work");
    let elsewhere: usize = crew.counts().iter().sum();
    let here = Crew {
        clients: vec![limited],
    }
    .counts();
    assert_eq!((here[0], elsewhere), (5, COUNT - 5));
    assert!(deaf.sync().is_empty());

    let mut here = Crew::join(&members[0], "work", 1);
    members[1].broker.kill();
    wait_until("its end is known", || members[0].peers().is_empty());
    at_once(&mut deaf, "work");
    assert_eq!(here.counts(), [COUNT]);
}
