//! The common part of every message of the system account: sender, time, and sequence
//! number.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use crate::{broker::server_info::now, server::Server};

/// Characters of an event's id.
const ID_LEN: usize = 22;

/// Makes the envelopes of one broker.
pub(super) struct Envelope {
    server: Arc<Server>,
}

impl Envelope {
    pub(super) fn new(server: &Arc<Server>) -> Self {
        Self {
            server: server.clone(),
        }
    }

    /// The sender, as JSON. Each call is a new message.
    pub(super) fn server(&self) -> String {
        self.server.broker.server_info()
    }

    /// Name of the cluster; empty without one.
    pub(super) fn cluster(&self) -> String {
        let cluster = self.server.cluster.as_ref();
        cluster.map_or_else(String::new, |cluster| cluster.name().text)
    }

    /// Just name, host and id.
    pub(super) fn identity(&self) -> String {
        let host = self.server.broker.info.read().host.clone();
        to_json(&json!({ "name": self.server.name, "host": host, "id": self.server.id }))
    }

    /// JSON under a name beside `server`.
    pub(super) fn with(&self, name: &str, json: &str) -> String {
        format!("{{\"server\":{},\"{name}\":{json}}}", self.server())
    }

    /// Why there is no answer.
    pub(super) fn error(&self, code: u16, description: &str) -> String {
        self.with(
            "error",
            &to_json(&json!({ "code": code, "description": description })),
        )
    }

    /// An advisory: `body` is a JSON object whose fields follow.
    pub(super) fn advisory(&self, kind: &str, body: &impl Serialize) -> String {
        let head = format!(
            "{{\"type\":\"io.nats.server.advisory.v1.{kind}\",\"id\":\"{}\",\"timestamp\":\"{}\",\"server\":{}",
            event_id(),
            now(),
            self.server()
        );
        match to_json(body).strip_prefix('{') {
            Some(fields) if fields != "}" => format!("{head},{fields}"),
            _ => head + "}",
        }
    }
}

/// A value as JSON. Structs of strings and numbers always serialise.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn event_id() -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(ID_LEN)
        .collect()
}
