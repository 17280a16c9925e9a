//! `/clusterz`: the mesh as a matrix, who ought to be there, who is, and who
//! sees whom. Only midge has it.

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
    /// Members that ought to be there, the answering broker included: those
    /// with a route, and those that are missed.
    pub expected: usize,
    /// Members that are there, the answering broker included.
    pub present: usize,
    /// All of them, the answering broker first.
    pub members: Vec<ClusterMember>,
    /// Seconds since the look at the broker that the disagreements are from.
    pub age: f64,
    /// What is wrong between them: the findings about routes and members.
    pub disagreements: Vec<Disagreement>,
}

/// One member: a row of the matrix.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ClusterMember {
    /// Id of its run; empty if it never was there.
    pub id: String,
    /// Its name; its address if it never was there.
    pub name: String,
    /// Version of nats-server whose features it serves.
    pub version: String,
    /// Version of midge; empty for others.
    pub midge: String,
    /// `host:port` where it takes routes.
    pub address: String,
    /// Whether it is the answering broker.
    pub own: bool,
    /// Whether the answering broker's configuration names it.
    pub configured: bool,
    /// Whether the answering broker has a route to it.
    pub connected: bool,
    /// Whether it said that it leaves.
    pub leaving: bool,
    /// Since when it is connected, or not, RFC 3339; empty if it never was.
    pub since: String,
    /// When something last came from it, RFC 3339.
    pub last_seen: String,
    /// Why it was lost, or why dialling it led to nobody.
    pub error: String,
    /// Tries to dial it since the last one that led to it.
    pub tries: u32,
    /// Times that the route to it was lost.
    pub losses: u64,
    /// Largest payload in bytes that its clients may send.
    pub max_payload: i64,
    /// When it last told what it sees, RFC 3339; empty if it does not tell.
    pub told: String,
    /// What it sees, one entry for every other member; empty if it does not
    /// tell.
    pub sees: Vec<PeerRoute>,
}

/// One member as another sees it: a cell of the matrix.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PeerRoute {
    /// Id of the member that is seen; empty if it never was there.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether there is a route to it.
    pub connected: bool,
    /// Whether the seer's configuration names it.
    pub configured: bool,
    /// Round trip time in seconds; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<f64>,
    /// Bytes that wait for it.
    pub pending: u64,
}

/// Something wrong between members.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Disagreement {
    /// The code of the finding, such as `route-missing`.
    pub code: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// Which member, or which two.
    pub subject: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Seconds since then.
    pub age: f64,
    /// What it is, in a sentence.
    pub text: String,
}
