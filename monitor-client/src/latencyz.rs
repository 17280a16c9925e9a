//! `/latencyz`: how long messages stay in the broker, from reading to writing. Only midge has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer of `/latencyz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Latencyz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// All messages.
    pub total: Latency,
    /// By kind of the receiving connection: `Client`, `Router`.
    pub by_kind: Vec<NamedLatency>,
    /// By account.
    pub by_account: Vec<NamedLatency>,
    /// How long exported services take whose latency is measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_service: Vec<MeasuredService>,
    /// The connections with the highest latency in the last minute, the worst
    /// first.
    pub worst: Vec<SlowSubscription>,
    /// Round trip times of clients, from the latest keepalive.
    pub client_rtt: Latency,
    /// How late the broker's own threads are scheduled.
    pub scheduling_delay: Latency,
}

/// A distribution of times.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Latency {
    /// Number of times since the start.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
    /// Median since the start, in seconds.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Maximum.
    pub max: f64,
    /// The same over the last minute.
    pub last_minute: RecentLatency,
    /// Upper bounds and cumulative counts: times of at most `le` seconds.
    pub buckets: Vec<Bucket>,
}

/// A distribution over a short period.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RecentLatency {
    /// Number of times.
    pub count: u64,
    /// Median in seconds.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Maximum.
    pub max: f64,
}

/// A bucket of a cumulative histogram.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Bucket {
    /// Upper bound, seconds.
    pub le: f64,
    /// Times up to the bound.
    pub count: u64,
}

/// A distribution with a name.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct NamedLatency {
    /// The kind or account.
    pub name: String,
    /// The distribution.
    pub latency: Latency,
}

/// A service whose requests are measured, because its export has `latency`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct MeasuredService {
    /// The account of the service.
    pub account: String,
    /// The exported subject.
    pub service: String,
    /// Measured requests by status: 200 answered, 400 without a reply subject, 408 given up, 503
    /// without a responder, 504 not answered in time.
    pub requests: BTreeMap<u16, u64>,
    /// How long the answered ones took, without the responder's round trip.
    pub latency: Latency,
}

/// A connection that receives its messages late.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SlowSubscription {
    /// Connection id.
    pub cid: u64,
    /// Its display name: name, user or address.
    pub name: String,
    /// Account.
    pub account: String,
    /// A subject with a late message.
    pub subject: String,
    /// Longest time in the last minute, seconds.
    pub max: f64,
    /// Number of times in the last minute.
    pub count: u64,
}
