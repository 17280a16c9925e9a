//! `/slowz`: slow consumer incidents, kept apart from closed connections so that ordinary closes do
//! not push them out. Only midge has it.

use serde::{Deserialize, Serialize};

/// The answer of `/slowz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Slowz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Incidents so far, including those no longer stored.
    pub total: u64,
    /// Stored incidents, the latest first, ongoing ones before all others.
    pub incidents: Vec<Incident>,
}

/// One incident of one consumer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Incident {
    /// Number, counted from 1 since the broker started.
    pub id: u64,
    /// `ongoing`, `recovered`, `evicted` (closed as a slow consumer) or `closed` (ended for another
    /// reason while slow).
    pub state: String,
    /// Connection id.
    pub cid: u64,
    /// The kind of connection: `Client`, `Router` or `Leafnode`.
    pub kind: String,
    /// The name that the client gave.
    pub name: String,
    /// The user.
    pub user: String,
    /// Common name of the client certificate.
    pub certificate: String,
    /// Address and port of the peer.
    pub address: String,
    /// Client library and its version.
    pub library: String,
    /// Account.
    pub account: String,
    /// When it began, RFC 3339.
    pub start: String,
    /// When it ended, RFC 3339; empty while ongoing.
    pub end: String,
    /// Seconds from start to end, or to now.
    pub duration: f64,
    /// `peer_not_reading`, `network`, `midge`, or `unknown` if the system reports nothing about the
    /// socket.
    pub cause: String,
    /// The reasons for this cause: a sentence with numbers.
    pub evidence: String,
    /// Bytes queued now, or at the end.
    pub pending_bytes: usize,
    /// Maximum of bytes queued.
    pub pending_max: usize,
    /// The limit of the queue.
    pub limit: usize,
    /// Bytes queued over time, the oldest first.
    pub curve: Vec<PendingSample>,
    /// Bytes in the queue by subject at its maximum, the largest first.
    pub subjects: Vec<SubjectBytes>,
    /// Publishers that filled the queue, the largest first.
    pub publishers: Vec<Producer>,
    /// Messages queued and never written; known at the end.
    pub lost_msgs: u64,
    /// Bytes queued and never written; known at the end.
    pub lost_bytes: u64,
    /// Publishers that were paused for this consumer.
    pub stalled: Vec<StalledPublisher>,
}

/// A sample of the queue.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PendingSample {
    /// Seconds since the incident's start.
    pub after: f64,
    /// Bytes queued.
    pub pending_bytes: usize,
    /// Bytes written since the start of the incident.
    pub written_bytes: u64,
}

/// A subject's share of a queue.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SubjectBytes {
    /// Subject.
    pub subject: String,
    /// Messages queued.
    pub msgs: u64,
    /// Bytes queued.
    pub bytes: u64,
}

/// A publisher that filled a queue.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Producer {
    /// Connection id.
    pub cid: u64,
    /// Its display name: name, user or address.
    pub name: String,
    /// Bytes it added to the queue during the incident.
    pub bytes: u64,
}

/// A publisher that was paused for a consumer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct StalledPublisher {
    /// Connection id.
    pub cid: u64,
    /// Its display name: name, user or address.
    pub name: String,
    /// Number of pauses.
    pub count: u64,
    /// Total time of the pauses in seconds.
    pub seconds: f64,
}
