//! The services of the system account across the mesh: who asks all brokers gets
//! an answer of each, whichever it is.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    mesh::{self, Kind, Member, Plan, free_port},
    support::{PATIENCE, RawClient, raw_client::Next},
};

const SYSTEM: &str =
    "system_account: SYS\naccounts { SYS { users: [{user: sys, password: sys}] } }";

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

/// The names of those that answer, and how many answers there were.
fn ask_all(client: &mut RawClient, inbox: &str, count: usize) -> (BTreeSet<String>, usize) {
    client.send(format!(
        "SUB {inbox} 1\r\nPUB $SYS.REQ.SERVER.PING {inbox} 0\r\n\r\n"
    ));
    let (mut names, mut answers) = (BTreeSet::new(), 0);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match client.poll_frame(Duration::from_millis(300)) {
            Next::Frame(frame) if frame.is_message() => {
                let answer: Value = serde_json::from_slice(&frame.body).expect("JSON");
                let name = answer["server"]["name"].as_str().expect("a server's name");
                names.insert(name.to_owned());
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
fn everybody_answers_a_ping_of_all() {
    for kinds in MESHES {
        let members = start(kinds);
        let all: BTreeSet<String> = members.iter().map(|member| member.name.clone()).collect();
        for member in &members {
            let mut client = RawClient::connect(member.broker.client_addr());
            client.send("CONNECT {\"verbose\":false,\"user\":\"sys\",\"pass\":\"sys\"}\r\n");
            client.sync();
            // A request may be on its way before the others' interest has come.
            let asked =
                (0..3).map(|number| ask_all(&mut client, &format!("in.{number}"), all.len()));
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

/// Meshes that are asked.
const MESHES: [&[Kind]; 2] = [
    &[Kind::Midge, Kind::Nats, Kind::Nats29],
    &[Kind::Midge, Kind::Midge, Kind::Nats],
];
