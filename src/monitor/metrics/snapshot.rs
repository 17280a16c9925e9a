//! What one scrape is made from: the other endpoints' answers and a few figures
//! that they do not show, all taken once.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use monitor_client::{AccountStat, Healthz, Varz};
use serde_json::Value;

use crate::{
    connection::{Connection, registry::ConnectionView},
    monitor::{
        Monitor, accstatz, answer::Refusal, healthz, leafz, process, query::Query, routez, subsz,
        varz,
    },
};

/// Most accounts with series of their own; those with the most messages come
/// first.
pub(super) const ACCOUNTS_MAX: usize = 100;

/// The figures of one moment.
pub(super) struct Snapshot {
    /// The answer of `/varz`.
    pub(super) varz: Varz,
    /// The answers of the endpoints whose numbers the exporter's names are made
    /// from.
    pub(super) answers: [(&'static str, Value); 3],
    /// Accounts, at most [`ACCOUNTS_MAX`].
    pub(super) accounts: Vec<AccountStat>,
    /// The answer of `/healthz`.
    pub(super) health: Healthz,
    /// Leafnode connections.
    pub(super) leafnodes: usize,
    /// The open connections.
    pub(super) connections: Connections,
    /// Closed connections so far, by reason.
    pub(super) closed: Vec<(String, u64)>,
    /// Look-ups in, insertions into and removals from the subscription index.
    pub(super) index: [(&'static str, u64); 3],
    /// Bytes in outbound queues that do not flow, and how many there may be.
    pub(super) queued: (usize, usize),
    /// What the process uses.
    pub(super) process: Process,
    /// Start of the broker, in seconds of Unix time.
    pub(super) start: f64,
    /// Events so far.
    pub(super) events: u64,
}

/// The open connections.
#[derive(Default)]
pub(super) struct Connections {
    /// Bytes in all outbound queues.
    pub(super) pending: usize,
    /// Bytes in the longest one.
    pub(super) longest: usize,
    /// Subscriptions of all.
    pub(super) subscriptions: usize,
    /// Those with the most bytes waiting, then those that moved the most.
    pub(super) top: Vec<ConnectionView>,
}

/// What the process uses.
pub(super) struct Process {
    /// Processor time of all threads.
    pub(super) cpu: Duration,
    /// Open file descriptors, if the system tells.
    pub(super) descriptors: Option<u64>,
    /// Most file descriptors, if they are limited.
    pub(super) descriptors_max: Option<u64>,
}

impl Snapshot {
    /// Takes the figures; `top` connections are looked at one by one.
    ///
    /// # Errors
    ///
    /// An answer cannot be made.
    pub(super) fn take(monitor: &Monitor, top: usize) -> Result<Self, Refusal> {
        let server = &monitor.server;
        let registry = &server.clients.registry;
        let query = Query::parse("");
        let varz = varz::build(monitor);
        let subsz = subsz::build(monitor, &query)?;
        let index = [
            ("insert", subsz.num_inserts),
            ("remove", subsz.num_removes),
            ("lookup", subsz.num_matches),
        ];
        let answers = [
            ("varz", to_json(&varz)?),
            ("subsz", to_json(&subsz)?),
            ("routez", to_json(&routez::build(monitor))?),
        ];
        let mut accounts = accstatz::build(monitor, true).account_statz;
        accounts.sort_by_key(|stat| Reverse(stat.sent.msgs.saturating_add(stat.received.msgs)));
        accounts.truncate(ACCOUNTS_MAX);
        let closed = registry.ended().into_iter();
        Ok(Self {
            answers,
            accounts,
            health: healthz::build(monitor, &query).1,
            leafnodes: leafz::build(monitor).leafnodes,
            connections: Connections::look(&registry.open(), top),
            closed: closed
                .map(|(reason, count)| (reason.to_string(), count))
                .collect(),
            index,
            queued: (registry.budget.used(), registry.budget.limit()),
            process: Process::look(),
            start: server.start.timestamp_millis() as f64 / 1000.0,
            events: server.clients.telemetry.events.last_id(),
            varz,
        })
    }
}

impl Connections {
    fn look(open: &[Arc<Connection>], top: usize) -> Self {
        let mut all = Self::default();
        let mut ranked: Vec<_> = open
            .iter()
            .map(|connection| {
                let pending = connection.outbound().backlog().pending;
                all.pending += pending;
                all.longest = all.longest.max(pending);
                all.subscriptions += connection.subscriptions.lock().len();
                let traffic = connection.traffic();
                let moved = traffic.in_bytes.saturating_add(traffic.out_bytes);
                (Reverse((pending, moved)), connection.cid, connection)
            })
            .collect();
        // A total order, so that the same connections lead in each scrape.
        ranked.sort_unstable_by_key(|(rank, cid, _)| (*rank, *cid));
        all.top = ranked
            .iter()
            .take(top)
            .map(|(_, _, connection)| connection.view())
            .collect();
        all
    }
}

impl Process {
    fn look() -> Self {
        Self {
            cpu: process::cpu_time(),
            descriptors: crate::telemetry::process::open_files().ok(),
            descriptors_max: crate::telemetry::process::open_files_max(),
        }
    }
}

fn to_json(answer: &impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(answer).map_err(Refusal::unwritable)
}
