//! Who this broker is, as everything says it that the broker itself publishes: events and answers
//! of the system account, and the answer to a client's question about its own user.

use std::collections::BTreeMap;

use chrono::{SecondsFormat, Utc};
use serde::Serialize;

use super::Broker;
use crate::{COMPATIBLE_VERSION, VERSION, config::options::Options};

/// Words and pairs by which an operator distinguishes brokers; a reload replaces them.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// The option `server_tags`.
    pub tags: Vec<String>,
    /// The option `server_metadata`.
    pub metadata: BTreeMap<String, String>,
}

impl Description {
    /// The one of these options.
    pub fn of(options: &Options) -> Self {
        Self {
            tags: options.server_tags.clone(),
            metadata: options.server_metadata.clone(),
        }
    }

    /// Whether this tag is among them; case does not matter.
    pub fn has_tag(&self, wanted: &str) -> bool {
        let wanted = wanted.to_lowercase();
        self.tags.iter().any(|own| own.to_lowercase() == wanted)
    }
}

/// The object `server`, with nats-server's names.
#[derive(Serialize)]
struct ServerInfo<'a> {
    name: &'a str,
    host: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cluster: &'a str,
    ver: &'a str,
    midge: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    jetstream: bool,
    flags: u64,
    seq: u64,
    time: String,
}

impl Broker {
    /// This broker as JSON, with the number of the message that it is for: each call is a new
    /// message.
    pub fn server_info(&self) -> String {
        let info = self.info.read().clone();
        let description = self.description.read();
        let info = ServerInfo {
            name: &info.server_name,
            host: &info.host,
            id: &info.server_id,
            cluster: &info.cluster,
            ver: COMPATIBLE_VERSION,
            midge: VERSION,
            tags: &description.tags,
            metadata: &description.metadata,
            jetstream: false,
            flags: 0,
            seq: self.system.next_message(),
            time: now(),
        };
        // A struct of strings and numbers always serialises.
        serde_json::to_string(&info).unwrap_or_default()
    }
}

/// The time as nats-server writes it.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true)
}
