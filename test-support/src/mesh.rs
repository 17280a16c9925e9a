//! Starts the members of a mesh and waits until their routes are up and their
//! subscriptions are propagated.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    sync::mpsc,
    thread,
    time::Instant,
};

use serde_json::Value;

use crate::{Broker, BrokerBuilder, RawClient, ports::free_port, wait_until};

/// User and password of every mesh.
pub const LOGIN: &str = "routes:s3cret";

/// The broker program of a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The midge of this build.
    Midge,
    /// nats-server 2.15.
    Nats,
    /// Debian's nats-server 2.9.
    Nats29,
}

/// A running member.
pub struct Member {
    /// Its `server_name`.
    pub name: String,
    /// The broker itself.
    pub broker: Broker,
    /// Its route port.
    pub route_port: u16,
}

/// The settings of a member to be started.
pub struct Plan {
    /// Which broker program is started.
    pub kind: Kind,
    /// Its `server_name`.
    pub name: String,
    /// Its route port.
    pub route_port: u16,
    /// The route ports that it dials.
    pub routes: Vec<u16>,
    /// More lines of its block `cluster`.
    pub cluster: String,
    /// More lines of its configuration.
    pub config: String,
    /// Its client port; 0 for any free one.
    pub port: u16,
}

impl Plan {
    /// A member of the cluster `mesh` with default settings.
    pub fn new(kind: Kind, name: &str, route_port: u16, routes: &[u16]) -> Self {
        Self {
            kind,
            name: name.into(),
            route_port,
            routes: routes.to_vec(),
            cluster: "name: mesh".into(),
            config: String::new(),
            port: 0,
        }
    }

    /// The configuration file.
    pub fn text(&self) -> String {
        let routes: Vec<String> = self
            .routes
            .iter()
            .map(|port| format!("    nats-route://{LOGIN}@127.0.0.1:{port}\n"))
            .collect();
        let (user, password) = LOGIN.split_once(':').expect("a user and a password");
        format!(
            "server_name: {}\n{}\ncluster {{\n  listen: \"127.0.0.1:{}\"\n  {}\n  \
             authorization {{ user: {user}, password: {password}, timeout: 2 }}\n  \
             routes = [\n{}  ]\n}}\n",
            self.name,
            self.config,
            self.route_port,
            self.cluster,
            routes.concat()
        )
    }

    /// Starts the member and waits until it accepts clients.
    pub fn start(&self) -> Member {
        self.start_with(self.text())
    }

    /// Starts with this configuration instead of the plan's own.
    pub fn start_with(&self, text: String) -> Member {
        let builder: BrokerBuilder = match self.kind {
            Kind::Midge => Broker::midge(),
            Kind::Nats => Broker::nats_server(),
            Kind::Nats29 => Broker::nats_server_29(),
        };
        Member {
            name: self.name.clone(),
            broker: builder.config(text).port(self.port).start(),
            route_port: self.route_port,
        }
    }
}

impl Member {
    /// The member's `/routez` entries.
    pub fn routes(&self) -> Vec<Value> {
        let answer = self.broker.get_json("/routez?subs=1");
        answer["routes"].as_array().cloned().unwrap_or_default()
    }

    /// The names, or for nats-server 2.9 the ids, of the members it has routes to.
    pub fn peers(&self) -> BTreeSet<String> {
        let routes = self.routes();
        let text = |route: &Value| {
            let name = route["remote_name"].as_str().unwrap_or_default();
            let id = route["remote_id"].as_str().unwrap_or_default();
            if name.is_empty() { id } else { name }.to_owned()
        };
        routes.iter().map(text).collect()
    }

    /// A client with headers and no-responders replies.
    pub fn client(&self) -> RawClient {
        RawClient::connect_quietly(self.broker.client_addr())
    }

    /// A client that receives INFO updates from now on.
    pub fn watcher(&self) -> RawClient {
        let mut client = RawClient::connect(self.broker.client_addr());
        client.send("CONNECT {\"verbose\":false,\"protocol\":1}\r\n");
        client
    }

    /// Reloads with this configuration.
    pub fn reload(&self, text: &str) {
        self.broker.reload(text);
    }

    /// Whether another member has sent interest in `subject` to this one.
    pub fn knows(&self, subject: &str) -> bool {
        self.knowing(subject) > 0
    }

    /// Number of interest entries for `subject` that this member has received.
    pub fn knowing(&self, subject: &str) -> usize {
        let routes = self.routes();
        let lists = routes
            .iter()
            .filter_map(|route| route["subscriptions_list"].as_array());
        lists.flatten().filter(|known| *known == subject).count()
    }
}

/// Waits until each member has a route to all the others.
pub fn wait_for_mesh(members: &[&Member]) {
    for member in members {
        wait_until(&format!("{} knows all others", member.name), || {
            member.peers().len() == members.len() - 1
        });
    }
}

/// Starts members that all have routes to each other, and waits for the mesh.
pub fn start(kinds: &[Kind]) -> Vec<Member> {
    let ports: Vec<u16> = kinds.iter().map(|_| free_port()).collect();
    let members: Vec<Member> = kinds
        .iter()
        .enumerate()
        .map(|(index, kind)| {
            let mut others = ports.clone();
            others.remove(index);
            Plan::new(*kind, &format!("n{index}"), ports[index], &others).start()
        })
        .collect();
    wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

/// A peer that completes the handshake and then sends invalid protocol, this many times;
/// after that it is a member without interest. Returns its port and the times of its
/// handshakes.
pub fn failing_peer(failures: usize) -> (u16, mpsc::Receiver<Instant>) {
    const INFO: &str = "INFO {\"server_id\":\"NONSENSE\",\"server_name\":\"nonsense\",\
        \"cluster\":\"mesh\",\"host\":\"127.0.0.1\",\"port\":1,\"headers\":true}\r\n";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let (sender, times) = mpsc::channel();
    thread::spawn(move || {
        let mut introduced = 0;
        for stream in listener.incoming().flatten() {
            let Ok(mut writer) = stream.try_clone() else {
                return;
            };
            let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
            if !lines.any(|line| line.starts_with("CONNECT"))
                || writer
                    .write_all(format!("{INFO}PONG\r\n").as_bytes())
                    .is_err()
                || !lines.any(|line| line.starts_with("INFO"))
            {
                continue;
            }
            introduced += 1;
            if sender.send(Instant::now()).is_err() {
                return;
            }
            if introduced <= failures {
                let _ = writer.write_all(b"NONSENSE\r\n");
            }
            // Until the broker closes the connection.
            for line in lines {
                if line.starts_with("PING") {
                    let _ = writer.write_all(b"PONG\r\n");
                }
            }
        }
    });
    (port, times)
}
