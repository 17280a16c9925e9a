//! Queue groups with members at several brokers. By default all members share the
//! messages evenly, as with nats-server; a policy can prefer members at the publisher's
//! broker.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use test_support::{PATIENCE, RawClient, raw_client::Next, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
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

/// Sends protocol to a member as a broker would, and reads everything before the next
/// PONG.
struct Link {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Link {
    fn new(member: &Member, connect: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", member.route_port)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("bounded");
        let mut link = Self {
            stream,
            received: Vec::new(),
        };
        let (user, password) = mesh::LOGIN.split_once(':').expect("a user and a password");
        link.say(&format!(
            "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{password}\",\
             \"name\":\"PEER\",\"cluster\":\"mesh\",\"headers\":true{connect}}}\r\nINFO \
             {{\"server_id\":\"PEER\",\"server_name\":\"peer\",\"cluster\":\"mesh\",\"headers\":true,\
             \"host\":\"127.0.0.1\",\"port\":1}}\r\n"
        ));
        link
    }

    /// The response to these lines, without interest updates.
    fn say(&mut self, words: &str) -> String {
        self.stream
            .write_all(format!("{words}PING\r\n").as_bytes())
            .expect("written");
        let end = |received: &[u8]| memchr::memmem::find(received, b"PONG\r\n").map(|at| at + 6);
        let end = loop {
            if let Some(end) = end(&self.received) {
                break end;
            }
            let mut some = [0; 65536];
            let len = self.stream.read(&mut some).expect("an answer in time");
            assert!(len > 0, "closed after {}", &words[..words.len().min(200)]);
            self.received.extend_from_slice(&some[..len]);
        };
        // What follows is read next.
        let behind = self.received.split_off(end);
        let received = std::mem::replace(&mut self.received, behind);
        String::from_utf8(received).expect("text")
    }

    /// The messages of the response only.
    fn sends(&mut self, message: &str) -> String {
        let received = self.say(message);
        let from = received.find("RMSG $G").or(received.find("HMSG $G"));
        let until = received.rfind("PONG").expect("the last");
        from.map_or_else(String::new, |from| received[from..until].to_owned())
    }
}

fn linked(kind: Kind) -> Member {
    let mut plan = Plan::new(kind, "n0", free_port(), &[]);
    plan.cluster += "\n  pool_size: -1\n  compression: off";
    plan.config = "no_system_account: true".into();
    plan.start()
}

/// Messages for a member that has left go to a remote member, also back to the origin,
/// and to nobody twice: with all kinds of brokers.
#[test]
fn messages_for_a_queue_member_that_left_go_to_another() {
    for kinds in [
        [Kind::Midge, Kind::Midge, Kind::Midge],
        [Kind::Midge, Kind::Nats, Kind::Nats],
        [Kind::Nats, Kind::Midge, Kind::Nats],
        [Kind::Midge, Kind::Nats, Kind::Midge],
        [Kind::Nats, Kind::Midge, Kind::Midge],
    ] {
        let members = mesh::start(&kinds);
        // At the publisher's broker, and at a third one.
        for (number, stays) in [0, 2, 0, 2].into_iter().enumerate() {
            let subject = format!("left.{number}");
            let mut leaves = members[1].client();
            leaves.send(format!("SUB {subject} crew 1\r\nUNSUB 1 3\r\n"));
            leaves.sync();
            let mut stays = members[stays].client();
            stays.send(format!("SUB {subject} crew 1\r\n"));
            stays.sync();
            settle(&members, &format!("settled.{number}"));
            let mut publisher = members[0].client();
            let messages = (0..COUNT).map(|at| format!("PUB {subject} 4\r\n{at:04}\r\n"));
            publisher.send(messages.collect::<String>());
            publisher.sync();
            let mut came: Vec<Vec<u8>> = Vec::new();
            for client in [&mut leaves, &mut stays] {
                while let Next::Frame(frame) = client.poll_frame(Duration::from_millis(300)) {
                    came.push(frame.body);
                }
            }
            came.sort_unstable();
            let all: Vec<Vec<u8>> = (0..COUNT).map(|at| format!("{at:04}").into()).collect();
            assert!(came == all, "{kinds:?} {subject}: {} came", came.len());
        }
    }
}

/// A message for a group without local members is forwarded unchanged, once, to a broker
/// with a member; back to the sender only if that supports it.
#[test]
fn a_message_for_a_group_without_members_is_forwarded_unchanged() {
    let large = "x".repeat(200_000);
    for kind in [Kind::Midge, Kind::Nats] {
        let member = linked(kind);
        let mut link = Link::new(&member, ",\"echo\":true");
        link.say("RS+ $G bar g 3\r\n");
        for message in [
            "RMSG $G bar | g 5\r\nhello\r\n",
            "RMSG $G bar + re.ply g 5\r\nhello\r\n",
            "HMSG $G bar | g 12 17\r\nNATS/1.0\r\n\r\nhello\r\n",
            "RMSG $G bar + $JS.ACK.s.c@shown g 5\r\nhello\r\n",
            &format!("RMSG $G bar | g {}\r\n{large}\r\n", large.len()),
            &format!(
                "RMSG $G bar + $JS.ACK.s@shown g {}\r\n{large}\r\n",
                large.len()
            ),
        ] {
            assert!(link.sends(message) == message, "{kind:?} {message:.60}");
        }
        let reported = link.sends("RMSG $G bar | h g 5\r\nhello\r\n");
        assert_eq!(reported, "RMSG $G bar | g 5\r\nhello\r\n", "{kind:?}");
        // Nobody receives it twice, and messages without a group are not forwarded.
        assert_eq!(link.sends("RMSG $G bar 5\r\nhello\r\n"), "", "{kind:?}");
        let mut client = member.client();
        client.send("SUB bar g 1\r\nSUB bar 2\r\n");
        client.sync();
        let reported = link.sends("RMSG $G bar | g 5\r\nhello\r\n");
        assert_eq!(reported, "", "{kind:?}: a member is here");
        assert_eq!(client.sync().len(), 2);
        drop((client, link));
        wait_until("it has disconnected", || member.peers().is_empty());

        let mut link = Link::new(&member, "");
        link.say("RS+ $G bar g 3\r\n");
        let reported = link.sends("RMSG $G bar | g 5\r\nhello\r\n");
        assert_eq!(reported, "", "{kind:?} does not want it back");
    }
}

/// If the remaining local member may not receive a message, it is not forwarded: the next
/// broker could have such a member too, and send it back forever.
#[test]
fn a_message_denied_to_a_queue_member_is_not_forwarded() {
    let mut plan = Plan::new(Kind::Midge, "n0", free_port(), &[]);
    plan.config =
        "no_system_account: true\nauthorization { users: [ { user: u, password: p, permissions: { \
                   subscribe: { deny: [\"b.x\"] } } } ] }\nno_auth_user: u"
            .into();
    let member = plan.start();
    let mut link = Link::new(&member, ",\"echo\":true");
    link.say("RS+ $G b.x g 1\r\n");
    let mut client = member.client();
    client.send("SUB b.* g 1\r\n");
    client.sync();
    assert_eq!(link.sends("RMSG $G b.x | g 2\r\nno\r\n"), "");
    assert_eq!(link.sends("RMSG $G b.y | g 3\r\nyes\r\n"), "");
    assert_eq!(client.next_message().body, b"yes");
}

/// Many members that leave at the same time are reported in one line.
#[test]
fn many_leaving_queue_members_cause_one_update() {
    for kind in [Kind::Midge, Kind::Nats] {
        let member = linked(kind);
        let mut link = Link::new(&member, "");
        let mut client = member.client();
        let subscribe = |sid: usize| format!("SUB work crew {sid}\r\n");
        client.send((0..100).map(subscribe).collect::<String>());
        client.sync();
        wait_until("all are reported", || {
            link.say("").contains("RS+ $G work crew 100\r\n")
        });
        drop(client);
        let mut reported = String::new();
        wait_until("it is reported", || {
            reported += &link.say("");
            reported.contains("RS- $G work crew\r\n")
        });
        assert!(!reported.contains("RS+ $G work"), "{kind:?}: {reported}");
    }
}
