//! `/memz`: limits and memory use, with causes, holders and predictions. Only midge has it.

use serde::{Deserialize, Serialize};

/// The answer of `/memz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Memz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Time of the sample that this is based on, RFC 3339.
    pub sampled: String,
    /// Seconds since then.
    pub age: f64,
    /// Resident memory of the process, bytes.
    pub resident: u64,
    /// Its known parts by cause, the largest first.
    pub causes: Vec<MemoryCause>,
    /// Connections that use most, the largest first.
    pub holders: Vec<MemoryHolder>,
    /// Everything that has a limit.
    pub ceilings: Vec<Ceiling>,
}

/// Memory used for one purpose.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryCause {
    /// `outbound_queues` (a large payload counts once, however many queues it is in), `payloads`
    /// (large ones that are being read), `subscriptions`, `interest` (of the cluster's other
    /// members), `connections`, `tls_sessions`, `handshakes`, `closed_connections`, `log` (queued
    /// lines), `events`, `replies` (outstanding, from other accounts), `lookups` (cached
    /// destinations of subjects), `system_requests` (to the broker), `permissions` (cached
    /// decisions, and permissions to respond), `subjects` (traffic counts), `nodes`, `incidents`, `figures`,
    /// `thread_buffers`, `upgrade` (states of clients that are handed over), `program`, `allocator`
    /// (free, kept for later), `other`.
    pub cause: String,
    /// Bytes; an estimate if the allocator's overhead is unknown.
    pub bytes: u64,
    /// Number of items.
    pub count: u64,
}

/// A connection that uses memory.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryHolder {
    /// Connection id.
    pub cid: u64,
    /// Its display name: name, user or address.
    pub name: String,
    /// Bytes in its outbound queue.
    pub pending_bytes: usize,
    /// Its subscriptions.
    pub subscriptions: usize,
}

/// A resource with a limit.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Ceiling {
    /// `fds`, `connections`, `subscriptions`, `queues` (bytes in all outbound
    /// queues), `memory` (resident), `pending` (the longest queue),
    /// `certificate`, `ca`, `crl` (seconds of validity).
    pub name: String,
    /// The used amount in `unit`; for a validity period, the part that has passed.
    pub used: f64,
    /// The limit.
    pub limit: f64,
    /// `count`, `bytes` or `seconds`.
    pub unit: String,
    /// Growth per second over the last minutes.
    pub growth: f64,
    /// Seconds until the limit at that growth; absent if it does not grow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exhausted_in: Option<f64>,
    /// The largest holder, if there is one; otherwise empty.
    pub holder: String,
}
