//! `/routez`: the route connections to the other brokers of the cluster.

use serde::{Deserialize, Serialize};

/// The answer of `/routez`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Routez {
    /// Id of the answering broker.
    pub server_id: String,
    /// Name of the answering broker.
    pub server_name: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// How many there are.
    pub num_routes: usize,
    /// One entry for each.
    pub routes: Vec<serde_json::Value>,
}
