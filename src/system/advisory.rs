//! Events of the broker: clients that come and go, and its statistics.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use monitor_client::{AccountStat, KindCounts, Varz};
use serde::Serialize;
use serde_json::json;

use super::{System, envelope::to_json};
use crate::{
    account::{Account, GLOBAL_ACCOUNT},
    broker::{client_info::ClientInfo, registry::AccountTotals, server_info::now},
    connection::{CloseReason, Connection},
    monitor::endpoints::{accstatz, varz},
    route::Route,
};

/// How old an account's totals may be in an event about its connections: to sum
/// them up is to read every connection.
const TOTALS_AGE_MAX: Duration = Duration::from_secs(1);

/// The traffic of each account, and when it was read.
pub(super) struct Totals {
    at: Instant,
    by_account: HashMap<String, AccountTotals>,
}

/// Messages and bytes of one direction.
#[derive(Serialize)]
struct Data {
    msgs: i64,
    bytes: i64,
}

impl System {
    /// A client logged in.
    pub(super) fn publish_connected(&self, connection: &Arc<Connection>) {
        let client = ClientInfo {
            // Not measured yet.
            rtt: 0,
            ..who(connection)
        };
        let account = &client.account;
        self.publish(&format!("$SYS.ACCOUNT.{account}.CONNECT"), || {
            let body = json!({ "client": client });
            self.envelope.advisory("client_connect", &body)
        });
    }

    /// A client's connection ended. What the client sent is `sent`.
    pub(super) fn publish_closed(&self, connection: &Arc<Connection>, reason: CloseReason) {
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
    }

    /// A leafnode has joined an account.
    pub(super) fn publish_leafnode_connected(&self, account: &str) {
        let subject = format!("$SYS.ACCOUNT.{account}.LEAFNODE.CONNECT");
        self.publish(&subject, || self.conns_of(account));
    }

    /// How many connections each account has, of those that have any or may have
    /// so many only.
    pub(super) fn publish_all_conns(&self) {
        let accounts = self.server.broker.accounts.all();
        let busy = accounts.iter().filter(|account| {
            account.connections() > 0 || account.limits().max_connections.is_some()
        });
        for account in busy {
            self.publish_conns(&account.name);
        }
    }

    /// How many connections an account has now; none if it is defined no more.
    pub(super) fn publish_conns(&self, account: &str) {
        // As with nats-server, the global account is not counted.
        if account == GLOBAL_ACCOUNT {
            return;
        }
        for subject in conns_subjects(account) {
            self.publish(&subject, || self.conns_of(account));
        }
    }

    /// The event with that count.
    pub(super) fn conns_of(&self, account: &str) -> String {
        let stat = match self.server.broker.accounts.find(account) {
            Some(account) => self.stat(&account),
            None => AccountStat {
                acc: account.to_owned(),
                name: account.to_owned(),
                ..AccountStat::default()
            },
        };
        self.envelope.advisory("account_connections", &stat)
    }

    /// The statistics of an account. What counts for its limit is as it is now.
    fn stat(&self, account: &Account) -> AccountStat {
        let mut known = self.totals.borrow_mut();
        let totals = match known.take() {
            Some(totals) if totals.at.elapsed() <= TOTALS_AGE_MAX => totals,
            _ => Totals {
                at: Instant::now(),
                by_account: self.server.broker.registry.snapshot().totals_by_account(),
            },
        };
        let totals = known.insert(totals);
        let moved = totals.by_account.get(&account.name).copied();
        let conns = i64::try_from(account.connections()).unwrap_or(i64::MAX);
        AccountStat {
            conns,
            total_conns: conns + i64::try_from(account.leafnodes_here()).unwrap_or(i64::MAX),
            ..accstatz::stat(account, moved.unwrap_or_default())
        }
    }

    /// Publishes the statistics, for subscribers to them.
    pub(super) fn publish_statsz(&self) {
        self.publish(&self.subject("STATSZ"), || self.statsz());
    }

    /// The statistics as an event.
    pub(super) fn statsz(&self) -> String {
        let varz = varz::build(&self.monitor);
        let accounts = accstatz::build(&self.monitor, true).account_statz;
        let active = accounts.iter().filter(|stat| stat.total_conns > 0).count();
        let routes = self.server.cluster.as_ref();
        let routes = routes.map(|cluster| cluster.routes()).unwrap_or_default();
        let statsz = Statsz {
            routes: routes.iter().map(|route| RouteStat::of(route)).collect(),
            midge: MidgeStat {
                clients: self.server.count_clients_in(),
            },
            ..Statsz::new(varz, active)
        };
        self.envelope.with("statsz", &to_json(&statsz))
    }
}

/// The statistics of a broker, with nats-server's names.
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
    midge: MidgeStat,
}

/// What only midge tells.
#[derive(Default, Serialize)]
struct MidgeStat {
    /// Clients that are in an account.
    clients: u64,
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
            // The members with a route, and this one.
            active_servers: varz.remotes + 1,
            gomaxprocs: varz.gomaxprocs,
            midge: MidgeStat::default(),
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
            name: route.announced_name(),
            sent: data(traffic.out_msgs, traffic.out_bytes),
            received: data(traffic.in_msgs, traffic.in_bytes),
            pending: route.connection.outbound().backlog().pending,
        }
    }
}

/// The two subjects of events about an account's connections.
fn conns_subjects(account: &str) -> [String; 2] {
    [
        format!("$SYS.ACCOUNT.{account}.SERVER.CONNS"),
        format!("$SYS.SERVER.ACCOUNT.{account}.CONNS"),
    ]
}

/// The client; one without an account is shown in the global one.
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
