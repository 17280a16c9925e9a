//! `/gatewayz`: links between clusters, which midge does not support.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer of `/gatewayz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Gatewayz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Gateways it connected to, by the name of the cluster.
    pub outbound_gateways: BTreeMap<String, serde_json::Value>,
    /// Gateways that connected to it, by the name of the cluster.
    pub inbound_gateways: BTreeMap<String, Vec<serde_json::Value>>,
}
