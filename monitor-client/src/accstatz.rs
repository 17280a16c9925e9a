//! `/accstatz`: traffic of each account's connections.

use serde::{Deserialize, Serialize};

/// The answer of `/accstatz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Accstatz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// One entry for each account with connections; with `unused=1` for every account.
    pub account_statz: Vec<AccountStat>,
}

/// The statistics of one account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AccountStat {
    /// Its name.
    pub acc: String,
    /// Display name, its name if it has none.
    pub name: String,
    /// Open client connections.
    pub conns: i64,
    /// Open leafnode connections.
    pub leafnodes: i64,
    /// Both together.
    pub total_conns: i64,
    /// Subscriptions.
    pub num_subscriptions: u64,
    /// Delivered to its connections.
    pub sent: DataStats,
    /// Received from its connections.
    pub received: DataStats,
    /// Connections closed as slow consumers.
    pub slow_consumers: i64,
    /// Messages that were queued for its connections and dropped; only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_msgs: Option<u64>,
    /// Their bytes, as they would have been written; only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_bytes: Option<u64>,
    /// Messages of its connections without a subscriber; only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_interest_msgs: Option<u64>,
}

/// Messages and bytes, in total and by kind of link.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct DataStats {
    /// Messages.
    pub msgs: i64,
    /// Payload and header bytes.
    pub bytes: i64,
    /// Over gateways.
    pub gateways: LinkStats,
    /// Over routes.
    pub routes: LinkStats,
    /// Over leafnode connections.
    pub leafs: LinkStats,
}

/// Messages and bytes over one kind of link.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LinkStats {
    /// Messages.
    pub msgs: i64,
    /// Payload and header bytes.
    pub bytes: i64,
}
