//! `/jsz`: JetStream, which midge does not support.

use serde::{Deserialize, Serialize};

/// The answer of `/jsz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Jsz {
    /// Bytes of memory in use.
    pub memory: u64,
    /// Bytes of disk in use.
    pub storage: u64,
    /// Bytes of memory reserved.
    pub reserved_memory: u64,
    /// Bytes of disk reserved.
    pub reserved_storage: u64,
    /// Accounts with JetStream.
    pub accounts: u64,
    /// Replicated assets.
    pub ha_assets: u64,
    /// Requests to its API.
    pub api: JszApi,
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Whether JetStream is disabled.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Its limits.
    pub config: JszConfig,
    /// Streams.
    pub streams: u64,
    /// Consumers.
    pub consumers: u64,
    /// Messages stored.
    pub messages: u64,
    /// Bytes stored.
    pub bytes: u64,
    /// Entries on all pages.
    pub total: u64,
}

/// Requests to the JetStream API.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct JszApi {
    /// Version of the API.
    pub level: i64,
    /// Requests so far.
    pub total: u64,
    /// Requests that failed.
    pub errors: u64,
}

/// Limits of JetStream.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct JszConfig {
    /// Bytes of memory.
    pub max_memory: i64,
    /// Bytes of disk.
    pub max_storage: i64,
}
