//! One of the two sides: brokers of one kind with their clients, and the `nats` command there.

use std::{
    process::{Child, Command as Process, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use test_support::{
    Broker,
    mesh::{self, Kind, Member, Plan},
    ports::free_port,
    tools, wait_until,
};

use super::{
    output::{OWN_NAME, Output, Replaced},
    scenarios::{Peer, Scenario},
    table::Command,
};

/// A command that takes longer is killed, and its output compared.
const PATIENCE: Duration = Duration::from_secs(60);

/// Brokers with their clients.
pub struct Side {
    members: Vec<Member>,
    peers: Vec<Child>,
    /// The command's home and working directory.
    folder: TempDir,
    /// Flags of each command.
    flags: Vec<String>,
    names: Vec<Replaced>,
}

impl Side {
    /// Starts the brokers of the scenario and its clients, and waits until all of them are known
    /// everywhere.
    pub fn start(kind: Kind, scenario: &Scenario) -> Self {
        let members = start(kind, scenario);
        let mut side = Self {
            names: names(&members),
            members,
            peers: Vec::new(),
            folder: tempfile::tempdir().expect("make a temporary folder"),
            flags: scenario.flags.clone(),
        };
        for peer in scenario.peers {
            side.start_peer(peer);
        }
        for member in &side.members[1..] {
            for subject in scenario.known {
                wait_until(&format!("{} knows {subject}", side.members[0].name), || {
                    side.members[0].knows(subject)
                });
            }
            wait_until("the system account's services are known", || {
                member.knows("$SYS.REQ.SERVER.PING")
                    && side.members[0].knows("$SYS.REQ.SERVER.PING")
            });
        }
        side
    }

    /// Starts a client that stays, and waits for its subscriptions.
    fn start_peer(&mut self, peer: &Peer) {
        let member = &self.members[peer.member];
        let mut command = self.command(member, peer.user, peer.name);
        command.args(peer.line.split_whitespace());
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start a client");
        self.peers.push(child);
        let count = self.peers.len();
        let path = "/connz?subs=1";
        wait_until(&format!("the client {} has subscribed", peer.name), || {
            let connections: Vec<_> = self
                .members
                .iter()
                .filter_map(|member| {
                    member.broker.get_json(path)["connections"]
                        .as_array()
                        .cloned()
                })
                .flatten()
                .filter(|connection| connection["subscriptions"].as_u64() > Some(0))
                .collect();
            connections.len() == count
        });
    }

    /// The `nats` command for a user at a member.
    fn command(&self, member: &Member, user: &str, name: &str) -> Process {
        let mut command = Process::new(tools::nats_cli());
        command
            .args(["--server", &member.broker.client_url()])
            .args(["--connection-name", name])
            .args(&self.flags)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env("NO_COLOR", "1")
            .env("COLUMNS", "300")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        if !user.is_empty() {
            command.args(["--user", user, "--password", user]);
        }
        command
    }

    /// What the command prints at the first member.
    pub fn run(&self, command: &Command) -> Output {
        let words = command.line.split_whitespace();
        let id = self.members[0].broker.get_json("/varz")["server_id"].clone();
        let id = id.as_str().expect("the broker's id");
        let words = words.map(|word| word.replace("SERVERID", id));
        let mut process = self.command(&self.members[0], command.user, OWN_NAME);
        process.args(words);
        let file = self.folder.path().join("output");
        let output = std::fs::File::create(&file).expect("make a file");
        let error = output.try_clone().expect("the file once more");
        let mut child = process
            .stdout(output)
            .stderr(error)
            .spawn()
            .expect("run the nats command");
        let begin = Instant::now();
        let code = loop {
            match child.try_wait().expect("wait for the nats command") {
                Some(status) => break status.code().unwrap_or(-1),
                None if begin.elapsed() > PATIENCE => {
                    end(&mut child);
                    break -1;
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let raw = std::fs::read(&file).expect("read its output");
        Output::new(
            code,
            String::from_utf8_lossy(&raw).into_owned(),
            &self.names,
        )
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.peers.iter_mut().for_each(end);
    }
}

fn end(child: &mut Child) {
    // Fails if it has ended.
    let _ = child.kill();
    let _ = child.wait();
}

fn start(kind: Kind, scenario: &Scenario) -> Vec<Member> {
    if scenario.members == 1 {
        let builder = match kind {
            Kind::Midge => Broker::midge(),
            Kind::Nats | Kind::Nats29 => Broker::nats_server(),
        };
        let text = format!("server_name: srv0\n{}", scenario.config);
        return vec![Member {
            name: "srv0".into(),
            broker: builder.config(text).start(),
            route_port: 0,
        }];
    }
    let ports: Vec<u16> = (0..scenario.members).map(|_| free_port()).collect();
    let members: Vec<Member> = (0..scenario.members)
        .map(|own| {
            let mut others = ports.clone();
            others.remove(own);
            let mut plan = Plan::new(kind, &format!("srv{own}"), ports[own], &others);
            // As midge has it: one route to each peer.
            plan.cluster += "\n  pool_size: -1";
            plan.config = scenario.config.clone();
            plan.start()
        })
        .collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    // Reports show it, and a route is new for a moment.
    for member in &members {
        wait_until("the round trips of all routes are measured", || {
            let routez = member.broker.get_json("/routez");
            let routes = routez["routes"].as_array().expect("routes");
            let is_measured =
                |route: &Value| route["rtt"].as_str().is_some_and(|it| !it.is_empty());
            routes.iter().all(is_measured)
        });
    }
    members
}

/// What the members are called in comparable outputs.
fn names(members: &[Member]) -> Vec<Replaced> {
    let mut names = Vec::new();
    for (at, member) in members.iter().enumerate() {
        let id = member.broker.get_json("/varz")["server_id"].clone();
        let id = id.as_str().expect("the broker's id").to_owned();
        let port = |address: std::net::SocketAddr, what: &str| {
            (format!(":{}", address.port()), format!(":{what}{at}"))
        };
        names.push((id, format!("SERVERID{at}")));
        names.push(port(member.broker.client_addr(), "PORT"));
        names.push(port(member.broker.monitor_addr(), "MONITOR"));
        names.push((format!(":{}", member.route_port), format!(":ROUTE{at}")));
    }
    // A port of a single broker without routes is 0, which is no name.
    names.retain(|(name, _)| name != ":0");
    names
}
