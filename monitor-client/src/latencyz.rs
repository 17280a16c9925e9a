//! `/latencyz`: how long messages stay in the broker, from being read to being
//! written. Only midge has it.

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
    /// The connections with the highest latency in the last minute, the worst
    /// first.
    pub worst: Vec<SlowSubscription>,
    /// Round trips to clients, as keepalive measured them last.
    pub client_rtt: Latency,
    /// How late the broker's own threads get to run.
    pub scheduling_delay: Latency,
}

/// A distribution of times.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Latency {
    /// Measured times since start.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
    /// Half were at most this long, seconds; since start.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// The same over the last minute.
    pub last_minute: RecentLatency,
    /// Bounds and cumulative counts: times of at most `le` seconds.
    pub buckets: Vec<Bucket>,
}

/// A distribution over a short time.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RecentLatency {
    /// Measured times.
    pub count: u64,
    /// Half were at most this long, seconds.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// The longest.
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
    /// Whose.
    pub name: String,
    /// The distribution.
    pub latency: Latency,
}

/// A connection that gets its messages late.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SlowSubscription {
    /// Connection id.
    pub cid: u64,
    /// Its name, user or address: who it is.
    pub name: String,
    /// Account.
    pub account: String,
    /// A subject it was late with.
    pub subject: String,
    /// Longest time in the last minute, seconds.
    pub max: f64,
    /// Measured times in the last minute.
    pub count: u64,
}
