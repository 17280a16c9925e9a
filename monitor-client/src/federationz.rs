//! `/federationz`: the federation broker of a Choria or MCollective site: its connection to the
//! upstream brokers, what it passes on in both directions, and what it refuses. Only midge has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer of `/federationz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Federationz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Name of the answering broker.
    pub server_name: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Whether the broker is a federation broker.
    pub enabled: bool,
    /// Name of the site; empty without a federation, as is all that follows.
    pub name: String,
    /// The account of the nodes.
    pub account: String,
    /// The collectives of the site.
    pub collectives: Vec<String>,
    /// The configured upstream brokers.
    pub configured: Vec<String>,
    /// The upstream side.
    pub upstream: FederationUpstream,
    /// Requests, from upstream to the site.
    pub requests: FederationTraffic,
    /// Replies, from the site to upstream.
    pub replies: FederationTraffic,
    /// How long the site takes to answer.
    pub round_trips: FederationRoundTrips,
    /// Which nodes answer.
    pub nodes: FederationNodes,
}

/// The connection to the upstream brokers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct FederationUpstream {
    /// Whether one of them is connected. Only then does the site's federation broker serve.
    pub connected: bool,
    /// Since when it is so, RFC 3339.
    pub since: String,
    /// Seconds since then.
    pub age: f64,
    /// `host:port` of the connected one; empty without.
    pub address: String,
    /// Its name.
    pub server_name: String,
    /// Its version.
    pub version: String,
    /// Version of TLS; empty without.
    pub tls_version: String,
    /// Round trip to it in seconds; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<f64>,
    /// Bytes that wait for it.
    pub pending: u64,
    /// Bytes that may wait; more is dropped.
    pub pending_max: u64,
    /// How often an upstream broker was reached.
    pub connects: u64,
    /// Failed attempts since one was reached last.
    pub failures: u32,
    /// Complaints of upstream brokers, such as a missing permission.
    pub complaints: u64,
    /// What went wrong last, with the broker's address; empty for nothing.
    pub error: String,
    /// When that was, RFC 3339; empty for never.
    pub error_at: String,
}

/// The messages of one direction.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct FederationTraffic {
    /// Messages received.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Messages passed on: of a request one for each target.
    pub published: u64,
    /// Their bytes.
    pub published_bytes: u64,
    /// Of these, messages to subjects that nobody at the site has subscribed to. Normal: each site
    /// gets the targets of all sites.
    pub without_receiver: u64,
    /// Messages that were dropped because too much waited.
    pub dropped: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Messages that were not passed on, for any reason.
    pub refused: u64,
    /// The same by reason; reasons without any are left out.
    pub refused_by_reason: BTreeMap<String, u64>,
}

/// How long it takes from a request to its first reply, in seconds. The time that nodes need for
/// their work is part of it, but for `shortest` and `usual`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct FederationRoundTrips {
    /// How many were measured since the start.
    pub count: u64,
    /// The time that half of them did not exceed.
    pub p50: f64,
    /// The time that nine of ten did not exceed.
    pub p90: f64,
    /// The time that 99 of 100 did not exceed.
    pub p99: f64,
    /// The shortest of the last sixteen to the agent `discovery`: the way there and back; absent
    /// before there are so many. Those that end within one interval of the diagnosis count as one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortest: Option<f64>,
    /// What that usually is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual: Option<f64>,
    /// When the last one was measured, RFC 3339; empty for never.
    pub last_at: String,
}

/// Requests to all nodes, and the nodes connected here that do not answer them. A request is for all
/// nodes if it has no filter, or asks only for agents.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct FederationNodes {
    /// Requests to all nodes that were passed on here since the start.
    pub requests: u64,
    /// Of these, requests that a node has answered here; only they count.
    pub requests_answered: u64,
    /// Requests to an agent whose filter cannot be read.
    pub requests_unreadable: u64,
    /// Nodes connected here that the last of these requests were for.
    pub asked: usize,
    /// Of these, nodes that have not answered here since. Some always, where several federation
    /// brokers share the answers.
    pub unanswered: usize,
    /// Of these, nodes that have certainly not answered for many requests.
    pub silent: usize,
    /// Of these, nodes whose answers this broker has refused for lack of a permission.
    pub denied: usize,
    /// The silent nodes that have been silent longest.
    pub silent_nodes: Vec<FederationSilentNode>,
}

/// A node that does not answer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct FederationSilentNode {
    /// Its name.
    pub name: String,
    /// Its connection.
    pub cid: u64,
    /// Requests that it got and did not answer here.
    pub requests: u32,
    /// When it got the first of them, RFC 3339.
    pub since: String,
    /// Whether this broker has refused its answers.
    pub denied: bool,
}
