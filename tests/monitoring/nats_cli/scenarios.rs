//! The brokers, their configurations and the clients that are there while commands run.

use std::sync::Arc;

use test_support::pki::Pki;

use super::table::{self, Command};

/// What both sides start.
#[derive(Clone)]
pub struct Scenario {
    /// How many brokers; more than one are a mesh.
    pub members: usize,
    /// Configuration of each.
    pub config: String,
    /// Flags of each command.
    pub flags: Vec<String>,
    /// Clients that are there.
    pub peers: &'static [Peer],
    /// Subjects whose interest the first broker has from others.
    pub known: &'static [&'static str],
    /// The commands.
    pub commands: &'static [Command],
    /// Its files are needed as long as the brokers run.
    _pki: Option<Arc<Pki>>,
}

/// A client that stays: the `nats` command that subscribes or replies.
pub struct Peer {
    /// The broker that it is connected to.
    pub member: usize,
    /// User and password; empty for none.
    pub user: &'static str,
    /// Name of its connection.
    pub name: &'static str,
    /// The command.
    pub line: &'static str,
}

const fn peer(user: &'static str, name: &'static str, line: &'static str) -> Peer {
    Peer {
        member: 0,
        user,
        name,
        line,
    }
}

const DESCRIBED: &str = "server_tags: [\"az:1\", \"Rack 2\"]\nserver_metadata { owner: ops }\n";

const ACCOUNTS: &str = r#"
accounts {
  A {
    users: [ { user: a, password: a } ]
    exports: [ { service: "svc.>" }, { stream: "news.>" } ]
    mappings: {
      "old.orders": "orders.old"
      "split": [ { destination: "one", weight: 50% }, { destination: "two", weight: 50% } ]
    }
  }
  B {
    users: [ { user: b, password: b } ]
    imports: [
      { service: { account: A, subject: "svc.time" }, to: "time" }
      { stream: { account: A, subject: "news.>" }, prefix: "a" }
    ]
  }
  SYS { users: [ { user: s, password: s } ] }
}
system_account: SYS
"#;

const USERS: &str = r#"
authorization {
  users: [
    { user: admin, password: admin }
    { user: low, password: low, permissions: {
        publish: { allow: ["in.>", "_INBOX.>", "$SYS.REQ.USER.INFO"] }
        subscribe: { allow: ["_INBOX.>", "out.>"], deny: "out.secret" }
    } }
    { user: shut, password: shut, permissions: { publish: ["in.>"], subscribe: ["_INBOX.>"] } }
    { user: replier, password: replier, permissions: {
        subscribe: ["svc.>", "_INBOX.>"], allow_responses: { max: 2, expires: "1m" }
    } }
  ]
}
"#;

/// One broker without users.
pub fn plain() -> Scenario {
    Scenario {
        members: 1,
        config: DESCRIBED.into(),
        flags: Vec::new(),
        peers: const {
            &[
                peer("", "orders", "sub orders.>"),
                peer("", "worker", "sub jobs --queue workers"),
                peer("", "worker", "sub jobs --queue workers"),
                peer("", "clock", "reply svc.time noon"),
                peer("", "echo", "service serve echo"),
            ]
        },
        known: &[],
        commands: table::PLAIN,
        _pki: None,
    }
}

/// One broker with users that have permissions.
pub fn users() -> Scenario {
    Scenario {
        config: format!("{DESCRIBED}{USERS}"),
        peers: const {
            &[
                peer("admin", "out", "sub out.>"),
                peer("replier", "clock", "reply svc.time noon"),
            ]
        },
        commands: table::USERS,
        ..plain()
    }
}

/// One broker with accounts that share subjects, and a system account.
pub fn accounts() -> Scenario {
    Scenario {
        config: format!("{DESCRIBED}{ACCOUNTS}"),
        peers: const {
            &[
                peer("a", "orders", "sub orders.>"),
                peer("a", "worker", "sub jobs --queue workers"),
                peer("a", "worker", "sub jobs --queue workers"),
                peer("a", "clock", "reply svc.time noon"),
                peer("b", "news", "sub a.news.>"),
            ]
        },
        commands: table::ACCOUNTS,
        ..plain()
    }
}

/// One broker whose clients show certificates.
pub fn tls() -> Scenario {
    let pki = Pki::new(&["broker", "node"]);
    let config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem"),
    );
    let flags = [
        ("--tlscert", "node.pem"),
        ("--tlskey", "node.key"),
        ("--tlsca", "ca.pem"),
    ];
    let flags = flags.iter();
    let flags = flags.flat_map(|(flag, file)| [(*flag).to_owned(), pki.text(file)]);
    Scenario {
        config,
        flags: flags.collect(),
        peers: const {
            &[
                peer("", "orders", "sub orders.>"),
                peer("", "clock", "reply svc.time noon"),
            ]
        },
        commands: table::TLS,
        _pki: Some(Arc::new(pki)),
        ..plain()
    }
}

/// Three brokers with the accounts, and clients at each.
pub fn mesh() -> Scenario {
    Scenario {
        members: 3,
        config: format!("{DESCRIBED}{ACCOUNTS}"),
        peers: const {
            &[
                peer("a", "orders", "sub orders.>"),
                Peer {
                    member: 1,
                    ..peer("a", "far", "sub orders.>")
                },
                Peer {
                    member: 1,
                    ..peer("a", "worker", "sub jobs --queue workers")
                },
                Peer {
                    member: 2,
                    ..peer("a", "clock", "reply svc.time noon")
                },
                Peer {
                    member: 2,
                    ..peer("b", "news", "sub a.news.>")
                },
            ]
        },
        known: &["orders.>", "jobs", "svc.time", "news.>"],
        commands: table::MESH,
        ..plain()
    }
}
