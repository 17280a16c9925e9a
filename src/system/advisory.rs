//! What the broker tells of itself: clients that come and go, and its figures.

use std::{collections::BTreeSet, sync::Arc};

use monitor_client::{AccountStat, KindCounts, Varz};
use serde::Serialize;
use serde_json::json;

use super::{
    System,
    envelope::{now, to_json},
};
use crate::{
    account::GLOBAL_ACCOUNT,
    connection::{ClientInfo, CloseReason, Connection},
    route::Route,
};

/// Messages and bytes of one direction.
#[derive(Serialize)]
struct Data {
    msgs: i64,
    bytes: i64,
}

impl System {
    /// A client logged in, into the account that is returned.
    pub(super) fn tell_connected(&self, connection: &Arc<Connection>) -> String {
        let client = ClientInfo {
            // Nobody has measured it yet.
            rtt: 0,
            ..who(connection)
        };
        let account = client.account.clone();
        self.publish(&format!("$SYS.ACCOUNT.{account}.CONNECT"), || {
            let body = json!({ "client": client });
            self.envelope.advisory("client_connect", &body)
        });
        account
    }

    /// A client's connection ended, in the account that is returned. What the
    /// client sent is `sent`.
    pub(super) fn tell_closed(&self, connection: &Arc<Connection>, reason: CloseReason) -> String {
        let client = ClientInfo {
            stop: now(),
            ..who(connection)
        };
        let account = client.account.clone();
        let traffic = connection.traffic();
        let data = |msgs: u64, bytes: u64| json!({ "msgs": msgs, "bytes": bytes });
        let body = json!({
            "client": client,
            "sent": data(traffic.in_msgs, traffic.in_bytes),
            "received": data(traffic.out_msgs, traffic.out_bytes),
            "reason": reason.to_string(),
        });
        let make = || self.envelope.advisory("client_disconnect", &body);
        if reason == CloseReason::AuthenticationFailure {
            self.publish(&self.subject("CLIENT.AUTH.ERR"), make);
        }
        self.publish(&format!("$SYS.ACCOUNT.{account}.DISCONNECT"), make);
        account
    }

    /// How many connections each account has, of those that have any or may have
    /// so many only.
    pub(super) fn publish_all_conns(&self) {
        let accounts = self.server.clients.accounts.all();
        let busy = accounts.iter().filter(|account| {
            account.connections() > 0 || account.limits().max_connections.is_some()
        });
        self.publish_conns(&busy.map(|account| account.name.clone()).collect());
    }

    /// How many connections these accounts have now. Counting looks at every
    /// connection, so it is done only if somebody wants to know.
    pub(super) fn publish_conns(&self, accounts: &BTreeSet<String>) {
        let is_wanted = |account: &String| {
            let mut subjects = conns_subjects(account).into_iter();
            subjects.any(|subject| self.is_wanted(&subject))
        };
        if !accounts.iter().any(is_wanted) {
            return;
        }
        for stat in self.answers.accstatz().account_statz {
            if accounts.contains(&stat.acc) {
                self.publish_conns_of(&stat);
            }
        }
    }

    fn publish_conns_of(&self, stat: &AccountStat) {
        // As nats-server has it, nobody counts the global account.
        if stat.acc == GLOBAL_ACCOUNT {
            return;
        }
        for subject in conns_subjects(&stat.acc) {
            self.publish(&subject, || {
                self.envelope.advisory("account_connections", stat)
            });
        }
    }

    /// The figures, to whoever follows them.
    pub(super) fn publish_statsz(&self) {
        self.publish(&self.subject("STATSZ"), || self.statsz());
    }

    /// The figures as an event.
    pub(super) fn statsz(&self) -> String {
        let varz = self.answers.varz();
        let accounts = self.answers.accstatz().account_statz;
        let active = accounts.iter().filter(|stat| stat.total_conns > 0).count();
        let routes = self.server.cluster.as_ref();
        let routes = routes.map(|cluster| cluster.routes()).unwrap_or_default();
        let statsz = Statsz {
            routes: routes.iter().map(|route| RouteStat::of(route)).collect(),
            ..Statsz::new(varz, active)
        };
        self.envelope.with("statsz", &to_json(&statsz))
    }
}

/// The figures of a broker, with nats-server's names.
#[derive(Serialize)]
struct Statsz {
    start: String,
    mem: i64,
    cores: i64,
    cpu: f64,
    connections: i64,
    total_connections: u64,
    active_accounts: usize,
    subscriptions: u64,
    sent: Data,
    sent_to_clients: Data,
    received: Data,
    received_from_clients: Data,
    slow_consumers: i64,
    #[serde(skip_serializing_if = "is_none")]
    slow_consumer_stats: KindCounts,
    #[serde(skip_serializing_if = "is_nothing")]
    stale_connections: i64,
    #[serde(skip_serializing_if = "is_none")]
    stale_connection_stats: KindCounts,
    #[serde(skip_serializing_if = "is_nothing")]
    stalled_clients: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RouteStat>,
    active_servers: i64,
    gomaxprocs: i64,
}

impl Statsz {
    fn new(varz: Varz, active_accounts: usize) -> Self {
        let data = |msgs, bytes| Data { msgs, bytes };
        Self {
            start: varz.start,
            mem: varz.mem,
            cores: varz.cores,
            cpu: varz.cpu,
            connections: varz.connections,
            total_connections: varz.total_connections,
            active_accounts,
            subscriptions: varz.subscriptions,
            sent: data(varz.out_msgs, varz.out_bytes),
            sent_to_clients: data(varz.out_client_msgs, varz.out_client_bytes),
            received: data(varz.in_msgs, varz.in_bytes),
            received_from_clients: data(varz.in_client_msgs, varz.in_client_bytes),
            slow_consumers: varz.slow_consumers,
            stale_connections: varz.stale_connections.unwrap_or(0),
            slow_consumer_stats: varz.slow_consumer_stats.unwrap_or_default(),
            stale_connection_stats: varz.stale_connection_stats.unwrap_or_default(),
            stalled_clients: varz.stalled_clients.unwrap_or(0),
            routes: Vec::new(),
            // Those that a route leads to, and this one.
            active_servers: varz.remotes + 1,
            gomaxprocs: varz.gomaxprocs,
        }
    }
}

/// One route, with nats-server's names.
#[derive(Serialize)]
struct RouteStat {
    rid: u64,
    name: String,
    sent: Data,
    received: Data,
    pending: usize,
}

impl RouteStat {
    fn of(route: &Route) -> Self {
        let traffic = route.connection.traffic();
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let data = |msgs, bytes| Data {
            msgs: signed(msgs),
            bytes: signed(bytes),
        };
        Self {
            rid: route.connection.cid,
            name: route.told_name(),
            sent: data(traffic.out_msgs, traffic.out_bytes),
            received: data(traffic.in_msgs, traffic.in_bytes),
            pending: route.connection.outbound().backlog().pending,
        }
    }
}

/// The two subjects that an account's connections are told on.
fn conns_subjects(account: &str) -> [String; 2] {
    [
        format!("$SYS.ACCOUNT.{account}.SERVER.CONNS"),
        format!("$SYS.SERVER.ACCOUNT.{account}.CONNS"),
    ]
}

/// The client; who is in no account yet shows in the global one.
fn who(connection: &Connection) -> ClientInfo {
    let mut client = connection.client_info();
    if client.account.is_empty() {
        client.account = GLOBAL_ACCOUNT.into();
        client.name_tag = GLOBAL_ACCOUNT.into();
    }
    client
}

fn is_none(counts: &KindCounts) -> bool {
    *counts == KindCounts::default()
}

fn is_nothing(number: &i64) -> bool {
    *number == 0
}
