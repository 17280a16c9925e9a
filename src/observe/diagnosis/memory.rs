//! Uses of memory: by cause, with the largest holders.

use super::history::History;
use crate::{
    account::{SYSTEM_REQUESTS, latency::MEASURED, lookup_cache, replies},
    broker::{halt, registry::closed},
    client::permission_cache,
    connection::{
        Connection, payload,
        subscription::{SUBSCRIPTIONS, lingering},
        websocket::{INFLATING, INFLATING_BEFORE_LOGIN, KEPT, handshake::REQUESTS},
    },
    delivery::remote::REMOTE_INTEREST,
    observe::sample::{Holder, Sample},
    security::responses,
    server::Server,
    telemetry::{metrics, pool::Pool},
};

/// Connections that are named.
const HOLDERS_MAX: usize = 10;

/// Bytes of one subscription besides itself, for the order of holders.
const SUBSCRIPTION_OVERHEAD: u64 = 160;

/// Bytes of one connection besides itself: its task and its session. An estimate.
const CONNECTION_OVERHEAD: u64 = 2048;

/// Bytes of a TLS session with the certificates that its peer showed. An
/// estimate.
const TLS_SESSION: u64 = 11 * 1024;

/// Tables that are reported when they are full, by the name of their cause.
pub(super) const REPORTED_WHEN_FULL: [(&str, &Pool); 7] = [
    ("interest", &REMOTE_INTEREST),
    ("payloads", &payload::RESERVED),
    ("permissions", &responses::POOL),
    ("replies", &replies::POOL),
    ("subscriptions", &SUBSCRIPTIONS),
    ("system_requests", &SYSTEM_REQUESTS),
    ("websockets", &INFLATING),
];

/// What WebSockets hold of what is not complete: frames, compressed messages, requests.
static WEBSOCKETS: [&Pool; 4] = [&KEPT, &INFLATING, &INFLATING_BEFORE_LOGIN, &REQUESTS];

/// Uses of the memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Resident memory in bytes; 0 if the system does not report it.
    pub resident: u64,
    /// The known causes, the largest first.
    pub causes: Vec<Cause>,
    /// Connections that hold most, the biggest first.
    pub holders: Vec<MemoryHolder>,
}

/// Memory held for one reason.
#[derive(Clone, Debug)]
pub struct Cause {
    /// The reason: stable.
    pub name: &'static str,
    /// Bytes; an estimate but for queues and events.
    pub bytes: u64,
    /// Things that hold it.
    pub count: u64,
}

/// A connection that holds memory.
#[derive(Clone, Debug)]
pub struct MemoryHolder {
    /// Connection id.
    pub cid: u64,
    /// Its name, user or address.
    pub name: String,
    /// Bytes in its outbound queue.
    pub pending: usize,
    /// Its subscriptions.
    pub subscriptions: usize,
}

impl Memory {
    /// The uses of memory in one sample.
    pub(super) fn of(server: &Server, sample: &Sample, history: &History) -> Self {
        let process = sample.process.unwrap_or_default();
        let mut causes = causes(server, sample, history);
        let counted = |causes: &[Cause]| causes.iter().map(|cause| cause.bytes).sum::<u64>();
        causes.push(cause("allocator", sample.allocated.idle_in(&process), 0));
        let other = process.resident.saturating_sub(counted(&causes));
        causes.push(cause("other", other, 0));
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.bytes));
        Self {
            resident: process.resident,
            causes,
            holders: holders(sample),
        }
    }
}

fn cause(name: &'static str, bytes: impl TryInto<u64>, count: impl TryInto<u64>) -> Cause {
    Cause {
        name,
        bytes: bytes.try_into().unwrap_or(u64::MAX),
        count: count.try_into().unwrap_or(u64::MAX),
    }
}

/// The known causes, each measured at its place, or estimated as its constant says.
fn causes(server: &Server, sample: &Sample, history: &History) -> Vec<Cause> {
    let pool = |name, pool: &Pool| cause(name, pool.used(), pool.count());
    let telemetry = &server.broker.telemetry;
    let events = &telemetry.events;
    let accounts = server.broker.accounts.all();
    let tables = accounts.iter().map(|known| known.sublist.table_memory());
    let tables = tables.sum::<usize>() + sample.subscription_tables;
    let interest = accounts
        .iter()
        .map(|known| known.remote.table_memory() + known.interest.memory());
    let surplus = accounts.iter().map(|known| known.replies.table_surplus());
    let surplus = surplus.sum();
    let connection = size_of::<Connection>() as u64 + CONNECTION_OVERHEAD;
    let (loads, moving) = telemetry.loads.memory();
    let (incidents, incidents_count) = telemetry.slow.memory();
    let (revoked, hosts) = (&telemetry.revoked_lines, &telemetry.misdirected_lines);
    let ((revoked_names, revoked), (host_names, hosts)) = (revoked.memory(), hosts.memory());
    let (buffers, threads) = metrics::buffers_memory();
    let (nodes, nodes_count) = server.broker.nodes.memory();
    let process = sample.process.unwrap_or_default();
    vec![
        cause(
            "outbound_queues",
            sample.queued.saturating_sub(sample.shared) + payload::SHARED.used(),
            sample.queues_in_use,
        ),
        pool("payloads", &payload::READ),
        cause(
            "websockets",
            WEBSOCKETS.iter().map(|pool| pool.used()).sum::<usize>(),
            WEBSOCKETS.iter().map(|pool| pool.count()).sum::<usize>(),
        ),
        cause(
            "subscriptions",
            SUBSCRIPTIONS.used() + lingering() + tables,
            sample.subscriptions,
        ),
        cause(
            "interest",
            REMOTE_INTEREST.used() + interest.sum::<usize>(),
            REMOTE_INTEREST.count(),
        ),
        cause(
            "connections",
            sample.connections as u64 * connection + sample.texts as u64,
            sample.connections,
        ),
        cause(
            "tls_sessions",
            sample.tls_sessions as u64 * TLS_SESSION,
            sample.tls_sessions,
        ),
        cause(
            "handshakes",
            sample.handshakes.held,
            sample.handshakes.count,
        ),
        pool("closed_connections", &closed::POOL),
        cause(
            "log",
            server
                .log_state()
                .waiting
                .saturating_add(revoked_names + host_names),
            revoked + hosts,
        ),
        cause(
            "federation",
            server
                .federation()
                .map_or(0, |federation| federation.memory()),
            0,
        ),
        cause("events", events.memory(), events.count()),
        cause(
            "replies",
            MEASURED.used() + replies::POOL.used().saturating_add_signed(surplus),
            MEASURED.count() + replies::POOL.count(),
        ),
        pool("lookups", &lookup_cache::POOL),
        pool("system_requests", &SYSTEM_REQUESTS),
        pool("upgrade", &halt::STATES),
        cause(
            "permissions",
            permission_cache::POOL.used() + responses::POOL.used(),
            permission_cache::POOL.count() + responses::POOL.count(),
        ),
        cause("subjects", telemetry.subjects.memory(), 0),
        cause("nodes", nodes, nodes_count),
        cause("incidents", incidents + history.memory, incidents_count),
        cause(
            "figures",
            loads + metrics::histograms_memory() + telemetry.latency.memory(),
            moving,
        ),
        cause("thread_buffers", buffers, threads),
        cause("program", process.of_files(), 0),
    ]
}

/// The connections with the longest queues and the most subscriptions, each once.
fn holders(sample: &Sample) -> Vec<MemoryHolder> {
    let weight = |holder: &Holder| {
        holder.backlog.pending as u64 + holder.subscriptions as u64 * SUBSCRIPTION_OVERHEAD
    };
    let mut all: Vec<&Holder> = sample
        .by_pending
        .iter()
        .chain(&sample.by_subscriptions)
        .collect();
    all.sort_by_key(|holder| (std::cmp::Reverse(weight(holder)), holder.connection.cid));
    all.dedup_by_key(|holder| holder.connection.cid);
    all.into_iter()
        .take(HOLDERS_MAX)
        .map(|holder| MemoryHolder {
            cid: holder.connection.cid,
            name: holder.connection.who(),
            pending: holder.backlog.pending,
            subscriptions: holder.subscriptions,
        })
        .collect()
}
