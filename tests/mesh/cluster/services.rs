//! The services of the system account across the mesh: a request to all brokers gets a
//! reply from each, both midge and nats-server.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::Value;

use test_support::{PATIENCE, RawClient, raw_client::Next, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

const SYSTEM: &str = "
system_account: SYS
accounts {
  SYS { users: [{user: sys, password: sys}] }
  A { users: [{user: a, password: a}] }
  B { users: [{user: b, password: b}] }
}
";

fn start(kinds: &[Kind]) -> Vec<Member> {
    let ports: Vec<u16> = kinds.iter().map(|_| free_port()).collect();
    let start = |(index, kind): (usize, &Kind)| {
        let mut others = ports.clone();
        others.remove(index);
        let mut plan = Plan::new(*kind, &format!("n{index}"), ports[index], &others);
        plan.config = SYSTEM.into();
        plan.start()
    };
    let members: Vec<Member> = kinds.iter().enumerate().map(start).collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

fn log_in(member: &Member, user: &str) -> RawClient {
    let mut client = RawClient::connect(member.broker.client_addr());
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":\"{user}\",\"user\":\"{user}\",\"pass\":\"{user}\"}}\r\n"
    ));
    client.sync();
    client
}

/// At least `count` replies, by the names of the responders; and their total number.
fn ask_all(
    client: &mut RawClient,
    subject: &str,
    inbox: &str,
    count: usize,
) -> (BTreeMap<String, Value>, usize) {
    client.send(format!(
        "SUB {inbox} {inbox}\r\nPUB {subject} {inbox} 0\r\n\r\n"
    ));
    let (mut names, mut answers) = (BTreeMap::new(), 0);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match client.poll_frame(Duration::from_millis(300)) {
            Next::Frame(frame) if frame.is_message() => {
                let answer: Value = serde_json::from_slice(&frame.body).expect("JSON");
                let name = answer["server"]["name"].as_str().expect("a server's name");
                names.insert(name.to_owned(), answer.clone());
                answers += 1;
            }
            Next::Frame(_) => {}
            _ if answers >= count => break,
            _ => {}
        }
    }
    (names, answers)
}

#[test]
fn every_server_replies_to_a_ping_of_all() {
    for kinds in MESHES {
        let members = start(kinds);
        let all: BTreeSet<String> = members.iter().map(|member| member.name.clone()).collect();
        for member in &members {
            let mut client = log_in(member, "sys");
            // A request may be sent before the others' interest has arrived.
            let asked = (0..3).map(|number| {
                let subject = "$SYS.REQ.SERVER.PING";
                let asked = ask_all(&mut client, subject, &format!("in.{number}"), all.len());
                (asked.0.into_keys().collect::<BTreeSet<_>>(), asked.1)
            });
            let mut asked = asked.skip_while(|(names, _)| *names != all);
            let answered = asked.next();
            assert_eq!(
                answered,
                Some((all.clone(), all.len())),
                "{kinds:?} {}",
                member.name
            );
        }
    }
}

/// Meshes under test.
const MESHES: [&[Kind]; 2] = [
    &[Kind::Midge, Kind::Nats, Kind::Nats29],
    &[Kind::Midge, Kind::Midge, Kind::Nats],
];

/// What no member serves has no responders, and the requester is told at once. With nats-server 2.9
/// in the mesh there are fewer services, and the same holds.
#[test]
fn an_unknown_service_has_no_responders() {
    for kinds in MESHES {
        let members = start(kinds);
        for member in &members {
            for other in &members {
                if other.name != member.name {
                    wait_until("the others' services are known", || {
                        member.knows(&format!("$SYS.REQ.SERVER.{}.VARZ", id_of(other)))
                    });
                }
            }
            let mut client = RawClient::connect(member.broker.client_addr());
            client.send(
                "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true,\
                 \"user\":\"sys\",\"pass\":\"sys\"}\r\n",
            );
            client.sync();
            for subject in [
                "$SYS.REQ.SERVER.PING.NOSUCH",
                "$SYS.REQ.SERVER.NOSUCH.VARZ",
                "$SYS.REQ.ACCOUNT.A.NOSUCH",
                "$SYS.REQ.NOSUCH",
            ] {
                client.send(format!("SUB in.* 7\r\nPUB {subject} in.1 2\r\n{{}}\r\n"));
                let answer = client.next_message();
                assert!(
                    answer.body.starts_with(b"NATS/1.0 503"),
                    "{kinds:?} {} {subject}: {answer:?}",
                    member.name
                );
                client.send("UNSUB 7\r\n");
                client.sync();
            }
        }
    }
}

fn id_of(member: &Member) -> String {
    let id = member.broker.get_json("/varz")["server_id"].clone();
    id.as_str().expect("an id").to_owned()
}

/// A client of an ordinary account asks all members about its account, and learns nothing
/// of other accounts.
#[test]
fn every_server_replies_about_the_requesters_account() {
    for kinds in MESHES {
        let members = start(kinds);
        let all: BTreeSet<String> = members.iter().map(|member| member.name.clone()).collect();
        let mut clients: Vec<RawClient> = members.iter().map(|it| log_in(it, "a")).collect();
        let _others: Vec<RawClient> = members.iter().map(|it| log_in(it, "b")).collect();
        for (member, client) in members.iter().zip(&mut clients) {
            for (index, topic) in ["CONNZ", "STATZ"].into_iter().enumerate() {
                let subject = format!("$SYS.REQ.ACCOUNT.PING.{topic}");
                let deadline = Instant::now() + PATIENCE;
                let mut round = 0;
                let reported = loop {
                    round += 1;
                    let inbox = format!("in.{index}.{round}");
                    let (reported, answers) = ask_all(client, &subject, &inbox, all.len());
                    let is_all = reported.keys().eq(&all);
                    if is_all {
                        assert_eq!(answers, all.len(), "{kinds:?} {} {topic}", member.name);
                        break reported;
                    }
                    assert!(
                        Instant::now() < deadline,
                        "{kinds:?} {} {topic}: only {:?}",
                        member.name,
                        reported.keys()
                    );
                };
                for (name, answer) in reported {
                    let data = &answer["data"];
                    let own = match topic {
                        "CONNZ" => {
                            let listed = data["connections"].as_array().expect("a list");
                            listed.len() == 1 && listed[0]["name"] == "a"
                        }
                        _ => {
                            let listed = data["account_statz"].as_array().expect("a list");
                            listed.len() == 1 && listed[0]["acc"] == "A"
                        }
                    };
                    assert!(own, "{kinds:?} {topic} of {name}: {answer}");
                }
            }
        }
    }
}

/// A request for the number of subscribers of a subject returns the sum over all members.
#[test]
fn subscribers_are_counted_over_the_mesh() {
    for kinds in MESHES {
        let members = start(kinds);
        let mut clients: Vec<RawClient> = members.iter().map(|it| log_in(it, "sys")).collect();
        for client in &mut clients {
            client.send("SUB x.* crew 1\r\nSUB x.> 2\r\n");
            client.sync();
        }
        let count = members.len();
        for (member, client) in members.iter().zip(&mut clients) {
            for (body, expected) in [
                ("x.a", 2 * count),
                ("x.a crew", count),
                ("y", 0),
                ("x.>", 2 * count),
            ] {
                let expected = expected.to_string();
                let deadline = Instant::now() + PATIENCE;
                client.send("SUB count 9\r\n");
                // Members learn of each other's accounts a moment after they connect.
                loop {
                    client.send(format!(
                        "PUB $SYS.DEBUG.SUBSCRIBERS count {}\r\n{body}\r\n",
                        body.len()
                    ));
                    let reported = client.next_message().body;
                    let reported = String::from_utf8_lossy(&reported);
                    if reported == expected {
                        break;
                    }
                    assert!(
                        Instant::now() < deadline,
                        "{kinds:?} {}: {body} has {reported} subscribers, not {expected}",
                        member.name
                    );
                }
                client.send("UNSUB 9\r\n");
                client.sync();
            }
        }
    }
}

/// Events of one member are delivered to subscribers at another.
#[test]
fn events_of_one_member_are_received_at_all() {
    for kinds in MESHES {
        let members = start(kinds);
        let mut listeners: Vec<RawClient> = members.iter().map(|it| log_in(it, "sys")).collect();
        for listener in &mut listeners {
            listener.send("SUB $SYS.ACCOUNT.A.> 1\r\n");
            listener.sync();
        }
        wait_until("all know the subscribers", || {
            let mut known = members.iter().map(|it| it.knowing("$SYS.ACCOUNT.A.>"));
            known.all(|count| count == members.len() - 1)
        });
        for source in &members {
            drop(log_in(source, "a"));
            for (listener, at) in listeners.iter_mut().zip(&members) {
                let mut missing = BTreeSet::from(["CONNECT", "DISCONNECT", "SERVER.CONNS"]);
                let deadline = Instant::now() + PATIENCE;
                while !missing.is_empty() {
                    assert!(
                        Instant::now() < deadline,
                        "{kinds:?}: {} did not get {missing:?} of {}",
                        at.name,
                        source.name
                    );
                    let Next::Frame(frame) = listener.poll_frame(Duration::from_millis(100)) else {
                        continue;
                    };
                    if !frame.is_message() {
                        continue;
                    }
                    let event: Value = serde_json::from_slice(&frame.body).expect("JSON");
                    if event["server"]["name"] == source.name.as_str() {
                        let subject = frame.arguments()[0].to_owned();
                        missing.remove(subject.trim_start_matches("$SYS.ACCOUNT.A."));
                    }
                }
            }
        }
    }
}

/// The broker's own interest in the others is permanent, even if subscriptions of the
/// same subject existed before, appear and end.
#[test]
fn permanent_interest_survives_the_end_of_a_subscription() {
    let ports = [free_port(), free_port()];
    let start = |index: usize| {
        let mut plan = Plan::new(Kind::Midge, &format!("n{index}"), ports[index], &ports);
        plan.config = SYSTEM.into();
        plan.start()
    };
    let first = start(0);
    let varz = first.broker.get_json("/varz");
    let id = varz["server_id"].as_str().expect("an id");
    let for_good = [format!("$SYS._ROUTES.{id}"), "$SYS.REQ.SERVER.PING".into()];
    let mut client = log_in(&first, "sys");
    for (number, subject) in for_good.iter().enumerate() {
        client.send(format!("SUB {subject} {number}\r\n"));
    }
    client.sync();
    let second = start(1);
    mesh::wait_for_mesh(&[&first, &second]);
    client.send("UNSUB 0\r\nUNSUB 1\r\nSUB late 2\r\n");
    client.sync();
    wait_until("the other member has the interest", || second.knows("late"));
    for subject in &for_good {
        assert!(second.knows(subject), "{subject} is not wanted any more");
    }
}
