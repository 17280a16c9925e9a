//! `/leafz`: the leafnode connections.

use serde::{Deserialize, Serialize};

/// The answer of `/leafz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Leafz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Number of leafnode connections.
    pub leafnodes: usize,
    /// One entry for each.
    pub leafs: Vec<serde_json::Value>,
}
