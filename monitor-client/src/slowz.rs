//! `/slowz`: incidents of readers that fell behind, kept apart from the closed
//! connections so that ordinary closes do not push them out. Only midge has it.

use serde::{Deserialize, Serialize};

/// The answer of `/slowz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Slowz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Incidents so far, those no longer remembered included.
    pub total: u64,
    /// Remembered incidents, the latest first, ongoing ones before all others.
    pub incidents: Vec<Incident>,
}

/// One reader that fell behind, once.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Incident {
    /// Number, counted from 1 in this run of the broker.
    pub id: u64,
    /// `ongoing`, `recovered`, `evicted` (cut as a slow consumer) or `closed`
    /// (ended for another reason while behind).
    pub state: String,
    /// Connection id.
    pub cid: u64,
    /// The kind of connection: `Client`, `Router` or `Leafnode`.
    pub kind: String,
    /// The client's own name.
    pub name: String,
    /// Who logged in.
    pub user: String,
    /// Common name of the client certificate.
    pub certificate: String,
    /// Address and port of the peer.
    pub address: String,
    /// Client library and its version.
    pub library: String,
    /// Account.
    pub account: String,
    /// When it fell behind, RFC 3339.
    pub start: String,
    /// When it ended, RFC 3339; empty while ongoing.
    pub end: String,
    /// Seconds from start to end, or to now.
    pub duration: f64,
    /// `peer_not_reading`, `network`, `midge`, or `unknown` where the system
    /// tells nothing.
    pub cause: String,
    /// Why this cause was found: a plain sentence with numbers.
    pub evidence: String,
    /// Bytes waiting now, or at the end.
    pub pending_bytes: usize,
    /// Highest number of bytes waiting.
    pub pending_max: usize,
    /// The limit of the queue.
    pub limit: usize,
    /// Bytes waiting over time, the oldest first.
    pub curve: Vec<PendingSample>,
    /// Bytes in the queue by subject, the biggest first; at its highest.
    pub subjects: Vec<SubjectBytes>,
    /// Publishers that fed the queue, the biggest first.
    pub publishers: Vec<Feeder>,
    /// Messages queued and never written; known at the end.
    pub lost_msgs: u64,
    /// Bytes queued and never written; known at the end.
    pub lost_bytes: u64,
    /// Publishers that were paused for this reader.
    pub stalled: Vec<StalledPublisher>,
}

/// Bytes waiting at one moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PendingSample {
    /// Seconds since the incident's start.
    pub after: f64,
    /// Bytes waiting.
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
    /// Messages waiting.
    pub msgs: u64,
    /// Bytes waiting.
    pub bytes: u64,
}

/// A publisher that fed a queue.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Feeder {
    /// Connection id.
    pub cid: u64,
    /// Its name, user or address: who it is.
    pub name: String,
    /// Bytes it put into the queue during the incident.
    pub bytes: u64,
}

/// A publisher that was paused for a reader.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct StalledPublisher {
    /// Connection id.
    pub cid: u64,
    /// Its name, user or address: who it is.
    pub name: String,
    /// Pauses.
    pub count: u64,
    /// Seconds paused in all.
    pub seconds: f64,
}
