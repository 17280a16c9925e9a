//! Messages for members of queue groups that have just left: they go to other members, and to nobody
//! twice.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use test_support::{
    PATIENCE, RawClient, free_port,
    mesh::{self, Kind, Member, Plan},
    raw_client::Next,
    wait_until,
};

use super::{COUNT, settle};

/// Sends protocol to a member as a broker would, and reads everything before the next
/// PONG.
struct Link {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Link {
    fn new(member: &Member, connect: &str) -> Self {
        Self::introduced(member, connect, "")
    }

    /// With more in its CONNECT and its INFO.
    fn introduced(member: &Member, connect: &str, info: &str) -> Self {
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
             \"host\":\"127.0.0.1\",\"port\":1{info}}}\r\n"
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

/// Between brokers that know it, such a message is for the queue group alone: subscribers outside of
/// it have got theirs. A client that has `|` or `||` for a reply is not meant.
#[test]
fn a_forwarded_message_reaches_nobody_outside_of_its_group() {
    let member = linked(Kind::Midge);
    let mut link = Link::introduced(&member, ",\"echo\":true", ",\"midge_queues_only\":true");
    link.say("RS+ $G bar g 3\r\nRS+ $G bar\r\n");
    for (message, forwarded) in [
        ("RMSG $G bar | g 1\r\n1\r\n", "RMSG $G bar || g 1\r\n1\r\n"),
        (
            "RMSG $G bar + re.ply g 1\r\n1\r\n",
            "RMSG $G bar ++ re.ply g 1\r\n1\r\n",
        ),
        (
            "HMSG $G bar | g 12 13\r\nNATS/1.0\r\n\r\n1\r\n",
            "HMSG $G bar || g 12 13\r\nNATS/1.0\r\n\r\n1\r\n",
        ),
        ("RMSG $G bar || g 1\r\n1\r\n", "RMSG $G bar || g 1\r\n1\r\n"),
    ] {
        assert_eq!(link.sends(message), forwarded);
    }
    let mut client = member.client();
    client.send("SUB bar g 1\r\nSUB bar 2\r\nSUB > 3\r\n");
    client.sync();
    for (message, sids) in [
        ("RMSG $G bar || g 1\r\n1\r\n", &["1"][..]),
        ("RMSG $G bar ++ r g 1\r\n1\r\n", &["1"]),
        ("RMSG $G bar | g 1\r\n1\r\n", &["1", "2", "3"]),
        ("RMSG $G bar || 1\r\n1\r\n", &["2", "3"]),
        ("RMSG $G bar ++ 1\r\n1\r\n", &["2", "3"]),
    ] {
        assert_eq!(link.sends(message), "");
        let frames = client.sync();
        let frames = frames.iter().filter(|frame| frame.is_message());
        let mut came: Vec<String> = frames.map(|frame| frame.arguments()[1].clone()).collect();
        came.sort_unstable();
        assert_eq!(came, sids, "{message}");
    }
}

/// Members of a group leave all the time, on the subject itself and on a wildcard; subscribers
/// outside of the group, at each broker, get each message once, and so does the group.
#[test]
fn messages_of_a_queue_member_that_left_reach_no_other_subscriber_twice() {
    let members = mesh::start(&[Kind::Midge, Kind::Midge, Kind::Midge]);
    for (number, pattern) in ["left.0.x", "left.1.*"].into_iter().enumerate() {
        let subject = format!("left.{number}.x");
        let mut plain: Vec<_> = members.iter().map(Member::client).collect();
        for client in &mut plain {
            client.send(format!("SUB left.{number}.> 1\r\n"));
            client.sync();
        }
        let mut leave: Vec<_> = members[1..].iter().map(Member::client).collect();
        for client in &mut leave {
            client.send(format!("SUB {pattern} crew 1\r\nUNSUB 1 3\r\n"));
            client.sync();
        }
        let mut stays = members[0].client();
        stays.send(format!("SUB {pattern} crew 1\r\n"));
        stays.sync();
        settle(&members, &format!("settled.{number}"));
        let mut publisher = members[0].client();
        let messages = (0..COUNT).map(|at| format!("PUB {subject} 4\r\n{at:04}\r\n"));
        publisher.send(messages.collect::<String>());
        publisher.sync();
        let all: Vec<Vec<u8>> = (0..COUNT).map(|at| format!("{at:04}").into()).collect();
        // The group first: when it has all, each message that went on has arrived.
        leave.push(stays);
        let mut came = collect(&mut leave);
        came.sort_unstable();
        assert!(came == all, "{pattern}: {} came to the group", came.len());
        for client in &mut plain {
            let came = collect(std::slice::from_mut(client));
            assert!(came == all, "{pattern}: {} came", came.len());
        }
    }
}

/// The messages of these clients: as many as were published, and what comes beyond that.
fn collect(clients: &mut [RawClient]) -> Vec<Vec<u8>> {
    let mut came: Vec<Vec<u8>> = Vec::new();
    wait_until("all messages have come", || {
        for client in &mut *clients {
            while let Next::Frame(frame) = client.poll_frame(Duration::from_millis(10)) {
                came.extend(frame.is_message().then_some(frame.body));
            }
        }
        came.len() >= COUNT
    });
    for client in clients {
        let more = client.sync().into_iter().filter(|frame| frame.is_message());
        came.extend(more.map(|frame| frame.body));
    }
    came
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
