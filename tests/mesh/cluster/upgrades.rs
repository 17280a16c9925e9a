//! Rolling upgrades of a mesh: no message is lost while there is a path for it, and the peers take
//! both processes of a broker for what they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use test_support::{
    Frame, RawClient, Successor, free_port,
    mesh::{Kind, Member, Plan, wait_for_mesh},
    raw_client::{self, Next},
    wait_until,
};

/// Clients have this long to go where they like.
const LAME_DUCK: &str = "lame_duck_grace_period: \"6s\"\nlame_duck_duration: \"30s\"\n";

/// How long all publish before the next member is upgraded.
const BETWEEN: Duration = Duration::from_millis(500);

/// A client that opens its next connection before its broker closes this one.
struct Mover {
    address: SocketAddr,
    /// The last one is in use; those before it are read until they end.
    connections: Vec<RawClient>,
    subject: Option<String>,
    received: BTreeSet<String>,
}

impl Mover {
    fn start(member: &Member, subject: Option<&str>) -> Self {
        let mut mover = Self {
            address: member.broker.client_addr(),
            connections: Vec::new(),
            subject: subject.map(Into::into),
            received: BTreeSet::new(),
        };
        mover.connect();
        mover
    }

    fn connect(&mut self) {
        let mut client = RawClient::connect(self.address);
        client.send("CONNECT {\"verbose\":false,\"protocol\":1}\r\n");
        if let Some(subject) = &self.subject {
            client.send(format!("SUB {subject} 1\r\n"));
        }
        let frames = client.sync();
        self.connections.push(client);
        self.take(frames);
    }

    /// Takes messages, and moves if it is told to.
    fn take(&mut self, frames: Vec<Frame>) {
        let mut must_move = false;
        for frame in frames {
            if let Some(info) = raw_client::parse_info(&frame) {
                must_move |= info["ldm"] == true;
            } else if frame.is_message() {
                let text = String::from_utf8_lossy(&frame.body).into_owned();
                self.received.insert(text);
            }
        }
        if must_move {
            self.connect();
        }
    }

    /// Reads what is there.
    fn read(&mut self) {
        let mut index = 0;
        while index < self.connections.len() {
            match self.connections[index].poll_frame(Duration::from_millis(1)) {
                Next::Frame(frame) => self.take(vec![frame]),
                Next::Nothing => index += 1,
                Next::Closed => {
                    assert!(index + 1 < self.connections.len(), "closed unannounced");
                    self.connections.remove(index);
                }
            }
        }
    }

    /// Publishes, and knows that the broker has it.
    fn publish(&mut self, text: &str) {
        let line = format!("PUB count {}\r\n{text}\r\n", text.len());
        let client = self.connections.last_mut().expect("a connection");
        client.send(line);
        let frames = client.sync();
        self.take(frames);
    }
}

fn is_calm(member: &Member) -> bool {
    let found = member.broker.get_json("/explainz");
    let found = found["findings"].as_array().cloned().unwrap_or_default();
    let of_routes = |finding: &&serde_json::Value| {
        let code = finding["code"].as_str().unwrap_or_default();
        code.starts_with("route-") || code.starts_with("members-")
    };
    !found.iter().any(|finding| of_routes(&finding))
}

/// The ids by which a member knows each of the others.
fn known(member: &Member) -> BTreeMap<String, Vec<bool>> {
    let answer = member.broker.get_json("/clusterz");
    let members = answer["members"].as_array().cloned().unwrap_or_default();
    let mut known: BTreeMap<String, Vec<bool>> = BTreeMap::new();
    for other in members.iter().filter(|it| it["own"] != true) {
        let name = other["name"].as_str().unwrap_or_default().to_owned();
        let is_connected = other["connected"] == true;
        known.entry(name).or_default().push(is_connected);
    }
    known
}

#[test]
fn a_rolling_upgrade_loses_no_message() {
    roll([Kind::Midge; 3], name_all);
}

/// A nats-server accepts the new process beside the old one, too.
#[test]
fn a_rolling_upgrade_beside_nats_servers_loses_no_message() {
    roll([Kind::Midge, Kind::Nats, Kind::Midge], name_all);
    roll([Kind::Midge, Kind::Nats29, Kind::Midge], name_all);
}

/// Each member names all others.
fn name_all(ports: &[u16]) -> [Vec<u16>; 3] {
    let others = |index: usize| {
        let mut others = ports.to_vec();
        others.remove(index);
        others
    };
    [others(0), others(1), others(2)]
}

/// The first member names nobody: its new process learns of the others from the old one.
#[test]
fn a_rolling_upgrade_of_a_seed_loses_no_message() {
    roll([Kind::Midge; 3], |ports| {
        [vec![], vec![ports[0]], vec![ports[0]]]
    });
}

fn roll(kinds: [Kind; 3], routes: impl Fn(&[u16]) -> [Vec<u16>; 3]) {
    let ports = [free_port(), free_port(), free_port()];
    let plans = routes(&ports)
        .into_iter()
        .enumerate()
        .map(|(index, routes)| {
            let mut plan = Plan::new(kinds[index], &format!("n{index}"), ports[index], &routes);
            plan.config = LAME_DUCK.into();
            plan
        });
    let mut members: Vec<Member> = plans.map(|plan| plan.start()).collect();
    wait_for_mesh(&members.iter().collect::<Vec<_>>());
    let mut subscribers: Vec<Mover> = members
        .iter()
        .map(|member| Mover::start(member, Some("count")))
        .collect();
    for member in &members {
        wait_until("all interest is known", || member.knowing("count") >= 2);
    }
    let mut publishers: Vec<Mover> = members
        .iter()
        .map(|member| Mover::start(member, None))
        .collect();
    let mut sent = BTreeSet::new();
    let mut round = |subscribers: &mut [Mover], publishers: &mut [Mover]| {
        for (number, publisher) in publishers.iter_mut().enumerate() {
            let text = format!("{number}.{}", sent.len());
            publisher.publish(&text);
            sent.insert(text);
        }
        subscribers.iter_mut().for_each(Mover::read);
    };

    let mut successors: Vec<Successor> = Vec::new();
    let is_midge = |member: &Member| {
        kinds[member.name[1..].parse::<usize>().expect("n0 to n2")] == Kind::Midge
    };
    for member in members.iter_mut().filter(|member| is_midge(member)) {
        let begin = Instant::now();
        while begin.elapsed() < BETWEEN {
            round(&mut subscribers, &mut publishers);
        }
        let broker = &member.broker;
        std::thread::scope(|scope| {
            let upgrade = scope.spawn(|| broker.upgrade());
            while !upgrade.is_finished() {
                round(&mut subscribers, &mut publishers);
            }
            successors.push(upgrade.join().expect("the upgrade"));
        });
        while !member.broker.has_exited() {
            round(&mut subscribers, &mut publishers);
        }
    }
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        wait_until(&format!("all messages at {number}"), || {
            subscriber.read();
            subscriber.received.len() >= sent.len()
        });
        assert_eq!(subscriber.received, sent);
    }

    // The mesh is whole, and nobody misses the old processes.
    wait_for_mesh(&members.iter().collect::<Vec<_>>());
    for member in members.iter().filter(|member| is_midge(member)) {
        let others = members.iter().filter(|other| other.name != member.name);
        let expected = others
            .map(|other| (other.name.clone(), vec![true]))
            .collect();
        wait_until("the old processes are forgotten", || {
            known(member) == expected
        });
        wait_until("nothing is wrong", || is_calm(member));
        let log = member.broker.log();
        log.assert_lacks("duplicate name");
        log.assert_lacks("Taking over without");
    }
    drop(successors);
}
