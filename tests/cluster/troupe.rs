//! A troupe: clients in several accounts at several members of a mesh, who play a
//! script, and what each of them sees, so that meshes of different brokers can be
//! compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    mesh::{self, Kind, Member, Plan, free_port},
    stage::{log_in, text},
    support::{RawClient, wait_until},
};

/// Rounds of markers after each step: a message that comes back over a border and
/// goes on to a third member has arrived then.
const ROUNDS: usize = 3;

/// The account of the markers; part of every configuration.
const MARKERS: &str = "MARK { users: [ { user: mark, password: mark } ] }";

/// Who plays where: the number of a member, and a user, whose password is its name.
pub type Cast<'a> = &'a [(usize, &'a str)];

/// Members of a mesh and the clients at them.
pub struct Troupe {
    pub members: Vec<Member>,
    clients: Vec<RawClient>,
    markers: Vec<RawClient>,
}

impl Troupe {
    /// Starts members of these kinds with the same accounts, and the clients.
    pub fn new(kinds: &[Kind], accounts: &str, cast: Cast<'_>) -> Self {
        let ports: Vec<u16> = kinds.iter().map(|_| free_port()).collect();
        let members: Vec<Member> = kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| {
                let mut plan =
                    Plan::new(*kind, &format!("n{index}"), ports[index], &ports[..index]);
                // One connection for all accounts, so that what was sent before a
                // marker comes before it.
                plan.cluster = "name: mesh\n  pool_size: -1".into();
                plan.config = format!("accounts {{\n{accounts}\n{MARKERS}\n}}");
                plan.start()
            })
            .collect();
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
        let mut markers: Vec<RawClient> = members
            .iter()
            .map(|member| log_in(&member.broker, "mark"))
            .collect();
        for marker in &mut markers {
            marker.send("SUB mark 1\r\n");
            marker.sync();
        }
        for member in &members {
            wait_until("the markers are known", || {
                member.knowing("mark") == members.len() - 1
            });
        }
        let clients = cast
            .iter()
            .map(|(member, user)| log_in(&members[*member].broker, user))
            .collect();
        let mut troupe = Self {
            members,
            clients,
            markers,
        };
        troupe.settle();
        troupe
    }

    /// Waits until what was said so far has come wherever it goes.
    fn settle(&mut self) {
        for _ in 0..ROUNDS {
            for marker in &mut self.markers {
                marker.send("PUB mark 0\r\n\r\n");
            }
            let count = self.markers.len();
            for marker in &mut self.markers {
                for _ in 0..count {
                    marker.next_message();
                }
            }
        }
    }

    /// One client says something; what all of them see then, sorted.
    pub fn says(&mut self, number: usize, words: &str) -> Vec<String> {
        self.clients[number].send(format!("{words}\r\n"));
        let mut frames = vec![(number, self.clients[number].sync())];
        self.settle();
        for (number, client) in self.clients.iter_mut().enumerate() {
            frames.push((number, client.sync()));
        }
        let mut lines: Vec<String> = frames
            .iter()
            .flat_map(|(number, frames)| frames.iter().map(move |frame| (number, frame)))
            .map(|(number, frame)| format!("{number}: {}", masked(&text(frame))))
            .collect();
        lines.sort();
        lines
    }

    /// Plays a script; what all clients saw, step by step.
    pub fn play(&mut self, script: &[(usize, String)]) -> Vec<String> {
        let mut seen = Vec::new();
        for (number, words) in script {
            seen.push(format!("{number} says {words}"));
            seen.extend(self.says(*number, words));
        }
        seen
    }

    /// Says something so often that chance shows all that it can do: the ways in
    /// which it went, and how many messages came in all.
    pub fn says_often(&mut self, number: usize, words: &str) -> (BTreeSet<String>, usize) {
        const TIMES: usize = 48;
        let mut ways = BTreeSet::new();
        let mut count = 0;
        for _ in 0..TIMES {
            let seen = self.says(number, words);
            count += seen.len();
            ways.insert(seen.join("; "));
        }
        (ways, count)
    }

    /// A client answers the last request that `responder` got, by its reply subject.
    pub fn last_reply(&mut self, request: (usize, &str), responder: usize) -> Option<String> {
        let (number, words) = request;
        self.clients[number].send(format!("{words}\r\n"));
        self.clients[number].sync();
        self.settle();
        let frames = self.clients[responder].sync();
        for (number, client) in self.clients.iter_mut().enumerate() {
            if number != responder {
                client.sync();
            }
        }
        let frame = frames.iter().rfind(|frame| frame.is_message())?;
        let arguments = frame.arguments();
        let sizes = if frame.verb() == b"HMSG" { 2 } else { 1 };
        // Subject, sid and reply.
        (arguments.len() - sizes == 3).then(|| arguments[2].clone())
    }

    /// Messages and bytes of each account at each member, in and out, of clients and
    /// of routes.
    pub fn counted(&self) -> BTreeMap<String, String> {
        let mut counted = BTreeMap::new();
        for (index, member) in self.members.iter().enumerate() {
            let statz = member.broker.get_json("/accstatz?unused=1");
            for stat in statz["account_statz"].as_array().into_iter().flatten() {
                let name = stat["acc"].as_str().unwrap_or_default();
                if ["$SYS", "$G", "MARK"].contains(&name) {
                    continue;
                }
                counted.insert(
                    format!("{name} at {index}"),
                    format!("received {} sent {}", stat["received"], stat["sent"]),
                );
            }
        }
        counted
    }
}

/// Without what differs between two meshes of the same kind.
fn masked(text: &str) -> String {
    text.to_owned()
}
