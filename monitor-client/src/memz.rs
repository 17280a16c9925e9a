//! `/memz`: ceilings and memory, what holds it, and when it runs out. Only midge
//! has it.

use serde::{Deserialize, Serialize};

/// The answer of `/memz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Memz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Time of the look at the broker that this is from, RFC 3339.
    pub looked: String,
    /// Seconds since then.
    pub age: f64,
    /// Resident memory of the process, bytes.
    pub resident: u64,
    /// What of it is known by cause, the biggest first.
    pub causes: Vec<MemoryCause>,
    /// Connections that hold most, the biggest first.
    pub holders: Vec<MemoryHolder>,
    /// Everything that has an end.
    pub ceilings: Vec<Ceiling>,
}

/// Memory held for one reason.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryCause {
    /// `outbound_queues` (a large payload once, however many queues it waits in),
    /// `payloads` (large ones that are being read), `subscriptions`, `interest` (of the cluster's other members),
    /// `connections`, `tls_sessions`, `handshakes`, `closed_connections`,
    /// `log` (lines that wait to be written), `events`,
    /// `replies` (waited for from other accounts), `lookups` (whom subjects reach),
    /// `system_requests` (to the broker), `permissions` (verdicts, and to respond), `subjects` (counted), `incidents`,
    /// `figures`, `thread_buffers`, `program`, `allocator` (free, and kept for
    /// later), `other`.
    pub cause: String,
    /// Bytes; an estimate where the allocator's share is unknown.
    pub bytes: u64,
    /// Things that hold it.
    pub count: u64,
}

/// A connection that holds memory.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryHolder {
    /// Connection id.
    pub cid: u64,
    /// Its name, user or address: who it is.
    pub name: String,
    /// Bytes in its outbound queue.
    pub pending_bytes: usize,
    /// Its subscriptions.
    pub subscriptions: usize,
}

/// Something that has an end.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Ceiling {
    /// `fds`, `connections`, `subscriptions`, `queues` (bytes in all outbound
    /// queues), `memory` (resident), `pending` (the longest queue),
    /// `certificate`, `ca`, `crl` (seconds of validity).
    pub name: String,
    /// What is used: a number in `unit`; of a validity what has passed.
    pub used: f64,
    /// Where it ends.
    pub limit: f64,
    /// `count`, `bytes` or `seconds`.
    pub unit: String,
    /// Growth per second over the last minutes.
    pub growth: f64,
    /// Seconds until the limit at that growth; absent where it does not grow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exhausted_in: Option<f64>,
    /// Who holds most of it, where that is one; else empty.
    pub holder: String,
}
