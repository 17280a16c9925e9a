//! What holds the memory: by cause, and who holds most.

use super::look::{Holder, Look};
use crate::{
    connection::{Connection, Subscription},
    server::Server,
};

/// Connections that are named.
const HOLDERS_MAX: usize = 10;

/// Bytes that one subscription takes besides itself: its text, its places in
/// the sublist and in its connection's table. An estimate.
const SUBSCRIPTION_OVERHEAD: u64 = 160;

/// Bytes that one connection takes besides itself: its task and its session.
/// An estimate.
const CONNECTION_OVERHEAD: u64 = 2048;

/// Bytes of a TLS session with the certificates that its peer showed. An
/// estimate.
const TLS_SESSION: u64 = 11 * 1024;

/// Bytes of one remembered closed connection. An estimate.
const CLOSED_CONNECTION: u64 = 512;

/// What the memory is held for.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Resident memory in bytes; 0 if the system does not tell.
    pub resident: u64,
    /// What of it is known by cause, the biggest first.
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
    /// What holds the memory at one look.
    pub(super) fn of(server: &Server, look: &Look) -> Self {
        let cause = |name, bytes, count| Cause { name, bytes, count };
        let connections = look.connections as u64;
        let closed = server.clients.registry.closed_count() as u64;
        let events = &server.clients.telemetry.events;
        let log = server.log_look().waiting;
        let mut causes = vec![
            cause(
                "outbound_queues",
                look.pending as u64,
                look.queues_in_use as u64,
            ),
            cause(
                "subscriptions",
                look.subscriptions * (size_of::<Subscription>() as u64 + SUBSCRIPTION_OVERHEAD),
                look.subscriptions,
            ),
            cause(
                "connections",
                connections * (size_of::<Connection>() as u64 + CONNECTION_OVERHEAD),
                connections,
            ),
            cause(
                "tls_sessions",
                look.tls_sessions as u64 * TLS_SESSION,
                look.tls_sessions as u64,
            ),
            cause(
                "handshakes",
                look.handshakes.held as u64,
                look.handshakes.count as u64,
            ),
            cause("closed_connections", closed * CLOSED_CONNECTION, closed),
            // Lines that wait to be written.
            cause("log", log as u64, 0),
            cause("events", events.memory() as u64, events.count() as u64),
        ];
        let resident = look.resident.unwrap_or(0);
        let known: u64 = causes.iter().map(|cause| cause.bytes).sum();
        causes.push(cause("other", resident.saturating_sub(known), 0));
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.bytes));
        Self {
            resident,
            causes,
            holders: holders(look),
        }
    }
}

/// Those with the longest queues and the most subscriptions, each once.
fn holders(look: &Look) -> Vec<MemoryHolder> {
    let weight = |holder: &Holder| {
        holder.backlog.pending as u64 + holder.subscriptions as u64 * SUBSCRIPTION_OVERHEAD
    };
    let mut all: Vec<&Holder> = look
        .by_pending
        .iter()
        .chain(&look.by_subscriptions)
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
