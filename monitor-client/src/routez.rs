//! `/routez`: the route connections to the other brokers of the cluster.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::SubDetail;

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
    /// What the answering broker tells others of and takes, if it limits that: lists
    /// of subjects, `allow` and `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Box<RawValue>>,
    /// What it lets others hear, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Box<RawValue>>,
    /// How many there are.
    pub num_routes: usize,
    /// One entry for each.
    pub routes: Vec<RouteInfo>,
}

/// One route.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteInfo {
    /// Id of the connection.
    pub rid: u64,
    /// Id of the broker behind it.
    pub remote_id: String,
    /// Name of that broker.
    pub remote_name: String,
    /// Version of nats-server whose features that broker serves; told by midge
    /// only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_version: String,
    /// Whether the answering broker dialled.
    pub did_solicit: bool,
    /// Whether its configuration names the other one.
    pub is_configured: bool,
    /// What that broker tells others of and takes, if it limits that: lists of
    /// subjects, `allow` and `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Box<RawValue>>,
    /// What it lets others hear, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Box<RawValue>>,
    /// Address of the other broker.
    pub ip: String,
    /// Port of the other broker's end.
    pub port: u16,
    /// When the route was opened, RFC 3339.
    pub start: String,
    /// When a message or subscription last went through, RFC 3339.
    pub last_activity: String,
    /// Round trip time, such as `472µs`; absent while unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rtt: String,
    /// Time since the start, as `1d2h3m4s`.
    pub uptime: String,
    /// Time since the last activity.
    pub idle: String,
    /// Bytes waiting to be sent.
    pub pending_size: i64,
    /// Messages received.
    pub in_msgs: i64,
    /// Messages sent.
    pub out_msgs: i64,
    /// Payload and header bytes received.
    pub in_bytes: i64,
    /// Payload and header bytes sent.
    pub out_bytes: i64,
    /// Subjects, and queue groups on subjects, that the other broker wants.
    pub subscriptions: u32,
    /// Those subjects, if asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<String>,
    /// The same with all there is to tell, if asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list_detail: Vec<SubDetail>,
    /// The account that the route is dedicated to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// How what goes over it is compressed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compression: String,
}
