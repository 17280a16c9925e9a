//! `CONNECT` and `INFO` between brokers, by which they introduce themselves.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ASSUMED_LINE_MAX;
use crate::protocol::CRLF;

/// Limit of a line in bytes before the route is active; our own INFO respects it.
pub const INTRODUCTION_MAX: usize = ASSUMED_LINE_MAX;

/// Length in bytes from which an optional entry is left out of an INFO that is too long.
const ENTRY_LONG: usize = 256;

/// `CONNECT` as the dialling broker sends it. It has no `Debug` because it holds a password.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteConnect {
    /// Whether the dialling broker accepts messages that result from its own ones: a reply that it
    /// routed may have to return to it in another account.
    pub echo: bool,
    /// Whether the peer must answer every line with `+OK`.
    pub verbose: bool,
    /// Ignored on routes.
    pub pedantic: bool,
    /// User of the cluster's authorization.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Its password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pass: String,
    /// Whether the connection is encrypted.
    pub tls_required: bool,
    /// Whether messages may have headers.
    pub headers: bool,
    /// Id of the dialling broker.
    pub name: String,
    /// Name of its cluster.
    pub cluster: String,
    /// Whether that name was generated.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cluster_dynamic: bool,
    /// Only present in the CONNECT of a gateway.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Only present in the CONNECT of a client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
}

impl RouteConnect {
    /// The line as it is sent.
    pub fn line(&self) -> Vec<u8> {
        json_line(b"CONNECT ", serde_json::to_string(self), CRLF)
    }
}

/// `INFO` between brokers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteInfo {
    /// Id of the broker, new at each start.
    pub server_id: String,
    /// Its name, unique in the cluster.
    pub server_name: String,
    /// The nats-server version whose features are supported.
    pub version: String,
    /// Version of the protocol between servers.
    pub proto: i64,
    /// Commit of the build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Compiler that the broker was built with.
    pub go: String,
    /// Host for routes to the sender.
    pub host: String,
    /// Port for routes to the sender.
    pub port: u16,
    /// The same as a URL; added by the broker that forwards the INFO.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Whether messages may have headers.
    pub headers: bool,
    /// Whether the dialling broker must send the cluster's user and password.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auth_required: bool,
    /// Whether the routes are encrypted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_required: bool,
    /// Whether certificates are required.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_verify: bool,
    /// Largest payload in bytes that the sender accepts from its clients.
    pub max_payload: i64,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether that name was generated.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cluster_dynamic: bool,
    /// `host:port` for clients of the sender.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// The same for those that connect by WebSocket.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ws_connect_urls: Vec<String>,
    /// `host:port` for leafnodes of the sender: one, or none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leafnode_urls: Vec<String>,
    /// How far gossip about this route is forwarded: 0 by the usual rule, 1 no further, 2 further
    /// in any case.
    #[serde(skip_serializing_if = "is_zero_u8")]
    pub gossip_mode: u8,
    /// The sender is in lame duck mode.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ldm: bool,
    /// Whether the sender takes `LMSG` and `LS+`, which name the cluster of a leafnode.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lnoc: bool,
    /// Whether it takes `LS-` with that name, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lnocu: bool,
    /// Limit of a control line that the sender accepts, in bytes; 0 if not announced, as by
    /// nats-server.
    #[serde(rename = "midge_max_line", skip_serializing_if = "is_zero")]
    pub max_line: usize,
    /// Whether the sender takes messages that are for queue groups alone, as midge does.
    #[serde(
        rename = "midge_queues_only",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub queues_only: bool,
    /// Number of a mark behind interest, in an INFO that says nothing else; 0 is none. Only between
    /// two processes of one broker.
    #[serde(rename = "midge_mark", skip_serializing_if = "is_zero_u64")]
    pub mark: u64,
    /// The account that the connection is dedicated to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_account: String,
    /// What a midge without a configured name is called: its certname or its host's name.
    #[serde(rename = "midge_name", skip_serializing_if = "String::is_empty")]
    pub called: String,
    /// Version of the midge that sent it; absent from a nats-server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub midge: String,
    /// The sender's import permissions, as the sender wrote them. Kept as text, so that they take
    /// no more memory than was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Box<RawValue>>,
    /// The sender's export permissions, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Box<RawValue>>,
}

impl RouteInfo {
    /// The configured name. A broker without one uses its id as its name.
    pub fn configured_name(&self) -> Option<&str> {
        let is_given = !self.server_name.is_empty() && self.server_name != self.server_id;
        is_given.then_some(&self.server_name)
    }

    /// The protocol line; like nats-server, with a blank before its end. If it exceeds the limit
    /// that every broker accepts, optional entries are left out: first long ones that the
    /// introduction does not need (both sides apply permissions), then addresses for clients.
    pub fn line(&self) -> Vec<u8> {
        let line = |info: &Self| json_line(b"INFO ", serde_json::to_string(info), b" \r\n");
        let whole = line(self);
        if whole.len() <= INTRODUCTION_MAX {
            return whole;
        }
        let mut short = self.clone();
        for permissions in [&mut short.import, &mut short.export] {
            permissions.take_if(|text| text.get().len() > ENTRY_LONG);
        }
        loop {
            let line = line(&short);
            let urls = [&mut short.connect_urls, &mut short.ws_connect_urls];
            if line.len() <= INTRODUCTION_MAX || urls.iter().all(|urls| urls.is_empty()) {
                return line;
            }
            for urls in urls {
                urls.truncate(urls.len() / 2);
            }
        }
    }
}

fn json_line(verb: &[u8], json: serde_json::Result<String>, end: &[u8]) -> Vec<u8> {
    // A struct of strings, numbers and JSON always serialises.
    [verb, json.unwrap_or_default().as_bytes(), end].concat()
}

fn is_zero_u8(number: &u8) -> bool {
    *number == 0
}

fn is_zero_u64(number: &u64) -> bool {
    *number == 0
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}
