//! `/leafz`: the leafnode connections.

use serde::{Deserialize, Deserializer, Serialize};

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
    /// One entry for each; a nats-server writes `null` if there is none.
    #[serde(deserialize_with = "null_as_empty")]
    pub leafs: Vec<LeafInfo>,
    /// The hubs that the answering broker is to join, connected or not; only in midge.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remotes: Vec<LeafRemote>,
}

fn null_as_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<LeafInfo>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// A hub that the answering broker is to join.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LeafRemote {
    /// The account at the answering broker.
    pub account: String,
    /// `host:port` of the configured URLs.
    pub urls: Vec<String>,
    /// Where it is reached or was tried last.
    pub url: String,
    /// Name of the broker that is or was reached.
    pub name: String,
    /// Whether the configuration turns it off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Whether there is a connection.
    pub connected: bool,
    /// Since when it is connected or not, RFC 3339.
    pub since: String,
    /// The same in seconds until now.
    pub age: f64,
    /// Failed attempts since it was connected.
    pub attempts: u32,
    /// Connections since the start.
    pub connects: u64,
    /// Why the last attempt failed or the last connection ended; absent if none has.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    /// Seconds of the last round trip; absent while unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt: Option<f64>,
    /// Id of the connection; 0 for none.
    pub cid: u64,
}

/// One leafnode connection.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LeafInfo {
    /// Id of the connection.
    pub id: u64,
    /// Name of the other broker.
    pub name: String,
    /// Whether the answering broker is the leafnode, and the other one its hub.
    pub is_spoke: bool,
    /// Whether the other broker is not told of the interest of other leafnodes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_isolated: bool,
    /// The account that the connection is in at the answering broker.
    pub account: String,
    /// Address of the other broker.
    pub ip: String,
    /// Port of the other broker on this connection.
    pub port: u16,
    /// Round trip time, such as `472µs`; absent while unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rtt: String,
    /// Messages received.
    pub in_msgs: i64,
    /// Messages sent.
    pub out_msgs: i64,
    /// Payload and header bytes received.
    pub in_bytes: i64,
    /// Payload and header bytes sent.
    pub out_bytes: i64,
    /// Number of subjects, and of queue groups on subjects, that the other broker has interest in.
    pub subscriptions: u32,
    /// Those subjects; only if requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<String>,
    /// The compression of the connection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compression: String,
    /// The account that the connection is in at the other broker; only in midge, like what follows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// The nats-server version whose features the other broker supports.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_version: String,
    /// The user that it is logged in as.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The certname of its certificate.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certname: String,
    /// When the connection was opened, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// When a message or subscription was last received or sent, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_activity: String,
    /// Time since the start, as `1d2h3m4s`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uptime: String,
    /// Time since the last activity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub idle: String,
    /// Bytes queued.
    pub pending_size: i64,
}
