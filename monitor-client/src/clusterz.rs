//! `/clusterz`: the cluster as a matrix: which members are expected and connected, and which of
//! them have routes to each other. Only midge has it.

use serde::{Deserialize, Serialize};

/// The answer of `/clusterz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Clusterz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Name of the answering broker.
    pub server_name: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Name of the cluster; empty without one.
    pub cluster: String,
    /// Number of expected members, including the answering broker: those with a route, and those
    /// that are missing.
    pub expected: usize,
    /// Number of connected members, including the answering broker.
    pub present: usize,
    /// All members, the answering broker first.
    pub members: Vec<ClusterMember>,
    /// The SRV records that list members; absent if the configuration names none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub srv: Vec<SrvRecord>,
    /// Seconds since the sample that the disagreements are based on.
    pub age: f64,
    /// Disagreements between members: the findings about routes and members.
    pub disagreements: Vec<Disagreement>,
}

/// One member: a row of the matrix.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ClusterMember {
    /// Its id; empty if it was never connected.
    pub id: String,
    /// Its name; its address if it was never connected.
    pub name: String,
    /// The nats-server version whose features it supports.
    pub version: String,
    /// Version of midge; empty for a nats-server.
    pub midge: String,
    /// `host:port` of its route listener.
    pub address: String,
    /// Whether it is the answering broker.
    pub own: bool,
    /// Whether the answering broker's configuration names it, or an SRV record lists it.
    pub configured: bool,
    /// The SRV record that lists it; absent if the configuration names it, and for others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub srv: String,
    /// Whether the answering broker has a route to it.
    pub connected: bool,
    /// Whether it is in lame duck mode.
    pub leaving: bool,
    /// Since when it is connected, or not connected, RFC 3339; empty if it never was.
    pub since: String,
    /// When something was last received from it, RFC 3339.
    pub last_seen: String,
    /// Why the route was lost, or why dialling failed.
    pub error: String,
    /// Attempts to dial it since the last success.
    pub tries: u32,
    /// Number of times that the route to it was lost.
    pub losses: u64,
    /// The largest payload that it accepts from clients, in bytes.
    pub max_payload: i64,
    /// When it last reported its routes, RFC 3339; empty if it does not.
    pub reported: String,
    /// The routes it reported, one entry for every other member; empty if it does not report them.
    pub sees: Vec<PeerRoute>,
}

/// An SRV record that lists members.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SrvRecord {
    /// Its full name.
    pub name: String,
    /// The brokers that are dialled because of it, `host:port`: those of its last answer.
    pub listed: Vec<String>,
    /// How many further ones it lists than are dialled.
    pub left_out: usize,
    /// When it was last answered, RFC 3339; empty if it never was.
    pub answered: String,
    /// Seconds that the answer may be kept.
    pub ttl: u64,
    /// When it is asked for again, RFC 3339.
    pub next: String,
    /// Since when it has had no answer, RFC 3339; empty if it has one.
    pub failing_since: String,
    /// Questions without an answer since then.
    pub failures: u32,
    /// Why the last one had none.
    pub error: String,
}

/// The route from one member to another: a cell of the matrix.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PeerRoute {
    /// Id of the other member; empty if it was never connected.
    pub id: String,
    /// Name of the other member.
    pub name: String,
    /// Whether there is a route to it.
    pub connected: bool,
    /// Whether the reporting member's configuration names the other one.
    pub configured: bool,
    /// Round trip time in seconds; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<f64>,
    /// Bytes queued for it.
    pub pending: u64,
}

/// A disagreement between members.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Disagreement {
    /// The code of the finding, such as `route-missing`.
    pub code: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// The member, or the two members.
    pub subject: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Seconds since then.
    pub age: f64,
    /// A description, as a sentence.
    pub text: String,
}
