//! `/nodesz`: the nodes that should be connected to some member of the cluster: which are missing,
//! since when, and where they were last. Only midge has it.

use serde::{Deserialize, Serialize};

/// The answer of `/nodesz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Nodesz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Name of the answering broker.
    pub server_name: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Whether nodes are watched (block `nodes`).
    pub enabled: bool,
    /// Seconds since the nodes were looked at.
    pub age: f64,
    /// Nodes that should be connected.
    pub expected: usize,
    /// How many of them are connected, to whichever member.
    pub present: usize,
    /// How many have been connected nowhere for longer than `missing_after`.
    pub missing: usize,
    /// How many of the expected ones were learned.
    pub learned: usize,
    /// Nodes beyond the limits of this broker, which it does not watch.
    pub left_out: usize,
    /// What is wrong with the file of expected nodes; empty for nothing.
    pub file_error: String,
    /// What is wrong with the state file; empty for nothing.
    pub state_error: String,
    /// The members of the cluster that were asked, this broker first.
    pub members: Vec<NodesMember>,
    /// How many nodes the request selects.
    pub total: usize,
    /// Entries skipped before this page.
    pub offset: usize,
    /// Maximum number of entries per page.
    pub limit: usize,
    /// The page; of missing nodes those that have been away longest come first.
    pub nodes: Vec<NodeInfo>,
}

/// A member of the cluster, and the nodes it has.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct NodesMember {
    /// Its name.
    pub name: String,
    /// Whether it has told its nodes. A nats-server does not.
    pub answered: bool,
    /// Seconds since it did so last.
    pub age: f64,
    /// Clients with a certificate, by their certnames.
    pub nodes: usize,
}

/// One expected node.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct NodeInfo {
    /// Its certname.
    pub certname: String,
    /// `present`, `missing`, or `away`: not connected, but not for longer than `missing_after`.
    pub state: String,
    /// Whether it was learned, and is in no list.
    pub learned: bool,
    /// Seconds for which this broker has missed it; 0 while it is connected.
    pub absent: f64,
    /// When it was seen last, RFC 3339; empty for never.
    pub last_seen: String,
    /// The member that it is or was connected to; empty if it was never seen.
    pub member: String,
    /// Its address there.
    pub address: String,
}
