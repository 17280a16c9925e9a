//! `/routez`: the route connections to the other brokers of the cluster.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{SrvRecord, SubDetail};

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
    /// The answering broker's import permissions, if it has some: lists of subjects, `allow` and
    /// `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Box<RawValue>>,
    /// Its export permissions, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Box<RawValue>>,
    /// The SRV records that list brokers to dial; only in midge, and only if its configuration
    /// names some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub srv: Vec<SrvRecord>,
    /// Number of routes.
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
    /// Id of the other broker.
    pub remote_id: String,
    /// Name of the other broker.
    pub remote_name: String,
    /// The nats-server version whose features the other broker supports; only in midge.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_version: String,
    /// Whether the answering broker dialled.
    pub did_solicit: bool,
    /// Whether its configuration names the other one.
    pub is_configured: bool,
    /// The other broker's import permissions, if it has some: lists of subjects, `allow` and
    /// `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Box<RawValue>>,
    /// Its export permissions, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Box<RawValue>>,
    /// Address of the other broker.
    pub ip: String,
    /// Port of the other broker on this connection.
    pub port: u16,
    /// When the route was opened, RFC 3339.
    pub start: String,
    /// When a message or subscription was last received or sent, RFC 3339.
    pub last_activity: String,
    /// Round trip time, such as `472µs`; absent while unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rtt: String,
    /// Time since the start, as `1d2h3m4s`.
    pub uptime: String,
    /// Time since the last activity.
    pub idle: String,
    /// Bytes queued.
    pub pending_size: i64,
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
    /// The same in detail; only if requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list_detail: Vec<SubDetail>,
    /// The account that the route is dedicated to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// The compression of the connection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub compression: String,
}
