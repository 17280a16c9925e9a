//! Clients in several accounts at several members of a mesh that run a script, and what
//! each of them receives, so that meshes of different brokers can be compared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::accounts::comparison::{log_in, text};
use test_support::{Frame, RawClient, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

/// Rounds of markers after each step: a message that returns through an import and is
/// forwarded to a third member has arrived then.
const ROUNDS: usize = 3;

/// The account of the markers; part of every configuration.
const MARKERS: &str = "MARK { users: [ { user: mark, password: mark } ] }";

/// The clients: the number of a member, and a user, whose password is its name.
pub type Cast<'a> = &'a [(usize, &'a str)];

/// Members of a mesh and the clients at them.
pub struct ScriptedClients {
    pub members: Vec<Member>,
    clients: Vec<RawClient>,
    markers: Vec<RawClient>,
}

impl ScriptedClients {
    /// Starts members of these kinds with the same accounts, and the clients.
    pub fn new(kinds: &[Kind], accounts: &str, cast: Cast<'_>) -> Self {
        let ports: Vec<u16> = kinds.iter().map(|_| free_port()).collect();
        let members: Vec<Member> = kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| {
                let mut plan =
                    Plan::new(*kind, &format!("n{index}"), ports[index], &ports[..index]);
                // One connection for all accounts, so that what was sent before a marker
                // arrives before it.
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
        let mut scripted = Self {
            members,
            clients,
            markers,
        };
        scripted.settle();
        scripted
    }

    /// Waits until everything sent so far has arrived everywhere.
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

    /// One client sends something; returns what all of them receive, sorted.
    pub fn says(&mut self, number: usize, words: &str) -> Vec<String> {
        let frames = self.hear(number, words);
        shown(&frames)
    }

    fn hear(&mut self, number: usize, words: &str) -> Vec<(usize, Frame)> {
        self.clients[number].send(format!("{words}\r\n"));
        let mut frames = Vec::new();
        let own = self.clients[number].sync();
        frames.extend(own.into_iter().map(|frame| (number, frame)));
        self.settle();
        for (number, client) in self.clients.iter_mut().enumerate() {
            frames.extend(client.sync().into_iter().map(|frame| (number, frame)));
        }
        frames
    }

    /// Runs a script; returns what all clients received, step by step. A client that gets
    /// a request from another account replies twice.
    pub fn play(&mut self, script: &[(usize, String)]) -> Vec<String> {
        let mut seen = Vec::new();
        for (number, words) in script {
            seen.push(format!("{number} says {words}"));
            let frames = self.hear(*number, words);
            seen.extend(shown(&frames));
            // In an order that does not depend on the names of the reply subjects.
            let mut requests: Vec<(usize, String, String)> = frames
                .iter()
                .filter_map(|(number, frame)| {
                    Some((*number, masked(&text(frame)), reply_over_border(frame)?))
                })
                .collect();
            requests.sort();
            let mut answered = BTreeSet::new();
            requests.retain(|(_, _, reply)| answered.insert(reply.clone()));
            for (number, _, reply) in requests {
                for _ in 0..2 {
                    seen.push(format!("{number} answers"));
                    seen.extend(self.says(number, &format!("PUB {reply} 2\r\nok")));
                }
            }
        }
        seen
    }

    /// Sends something often enough for all random outcomes: returns the outcomes, and
    /// the total number of messages.
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

    /// Traffic of each account at each member, in and out, and the part of it over
    /// routes: messages, or bytes, which are only comparable if no header contains times.
    pub fn counted(&self, what: &str) -> BTreeMap<String, String> {
        let mut counted = BTreeMap::new();
        for (index, member) in self.members.iter().enumerate() {
            let statz = member.broker.get_json("/accstatz?unused=1");
            for stat in statz["account_statz"].as_array().into_iter().flatten() {
                let name = stat["acc"].as_str().unwrap_or_default();
                if ["$SYS", "$G", "MARK"].contains(&name) {
                    continue;
                }
                let moved = |data: &Value| format!("{} ({})", data[what], data["routes"][what]);
                counted.insert(
                    format!("{what} of {name} at {index}"),
                    format!(
                        "received {}, sent {}",
                        moved(&stat["received"]),
                        moved(&stat["sent"])
                    ),
                );
            }
        }
        counted
    }
}

/// The frames with their clients, sorted.
fn shown(frames: &[(usize, Frame)]) -> Vec<String> {
    let show = |(number, frame): &(usize, Frame)| format!("{number}: {}", masked(&text(frame)));
    let mut lines: Vec<String> = frames.iter().map(show).collect();
    lines.sort();
    lines
}

/// The reply subject of a request from another account.
fn reply_over_border(frame: &Frame) -> Option<String> {
    let arguments = frame.arguments();
    let is_reply = |word: &&String| word.starts_with("_R_.");
    // After subject and sid.
    arguments.into_iter().skip(2).find(|word| is_reply(&word))
}

/// Without what differs between two meshes: times and client ids.
fn masked(text: &str) -> String {
    let mut text = text.to_owned();
    for (name, end) in [("\"start\":\"", '"'), ("\"id\":", ',')] {
        let Some(at) = text.find(name).map(|at| at + name.len()) else {
            continue;
        };
        let len = text[at..].find(end).unwrap_or(0);
        text.replace_range(at..at + len, "*");
    }
    text
}
