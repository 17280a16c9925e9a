//! `INFO` and `CONNECT` of leafnode connections, by which the two sides introduce themselves.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::{CRLF, connect::Credentials};

/// Limit of a line in bytes before the other side is let in.
pub const INTRODUCTION_MAX: usize = 64 * 1024;

/// `INFO` as the accepting side sends it: when a connection begins, once more when the other side is
/// let in (`connect_info`), and when the addresses in it have changed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LeafInfo {
    /// Id of the broker, new at each start.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// The nats-server version whose features are supported.
    pub version: String,
    /// Version of the protocol between servers.
    pub proto: i64,
    /// Version of the midge that sent it; absent from a nats-server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub midge: String,
    /// Commit of the build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Compiler that the broker was built with.
    pub go: String,
    /// Host for leafnodes.
    pub host: String,
    /// Port for leafnodes.
    pub port: u16,
    /// Whether messages may have headers.
    pub headers: bool,
    /// Whether a login is required; nats-server always says so.
    pub auth_required: bool,
    /// Whether the other side has to begin TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_required: bool,
    /// Whether it has to show a certificate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_verify: bool,
    /// Largest payload in bytes.
    pub max_payload: i64,
    /// `host:port` for leafnodes.
    pub ip: String,
    /// Number of the connection, not 0: by it and by `leafnode_urls` the other side knows that this
    /// is a port for leafnodes.
    pub client_id: u64,
    /// What a user with an nkey must sign.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether another INFO follows the CONNECT.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub info_on_connect: bool,
    /// Whether this is the one that follows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub connect_info: bool,
    /// The account that the connection is in here; together with `connect_info`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// Whether that is the system account.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub acc_is_sys: bool,
    /// What the other side may receive: lists of subjects, `allow` and `deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Box<RawValue>>,
    /// What it may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Box<RawValue>>,
    /// `host:port` for leafnodes of all brokers of the cluster that are known.
    pub leafnode_urls: Vec<String>,
}

impl LeafInfo {
    /// The protocol line.
    pub fn line(&self) -> Vec<u8> {
        // A struct of strings, numbers and JSON always serialises.
        let json = serde_json::to_string(self).unwrap_or_default();
        [b"INFO ", json.as_bytes(), CRLF].concat()
    }
}

/// `INFO` as the dialling side reads it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HubInfo {
    /// Id of the broker, new at each start.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// The nats-server version whose features are supported.
    pub version: String,
    /// Version of the protocol between servers.
    pub proto: i64,
    /// Version of the midge that sent it; absent from a nats-server.
    pub midge: String,
    /// Whether messages may have headers.
    pub headers: bool,
    /// Whether this side has to begin TLS.
    pub tls_required: bool,
    /// Largest payload in bytes.
    pub max_payload: i64,
    /// Number of the connection; 0 only at other ports.
    pub client_id: u64,
    /// What a user with a key must sign.
    pub nonce: String,
    /// Name of the cluster.
    pub cluster: String,
    /// The compression that it offers.
    pub compression: String,
    /// Whether another INFO follows the CONNECT.
    pub info_on_connect: bool,
    /// Whether this is the one that follows.
    pub connect_info: bool,
    /// The account that the connection is in there.
    pub remote_account: String,
    /// What this side may receive.
    pub import: Option<LeafRules>,
    /// What this side may send.
    pub export: Option<LeafRules>,
    /// `host:port` for leafnodes of all brokers of its cluster; absent only at other ports.
    pub leafnode_urls: Option<Vec<String>>,
}

/// Subjects that a hub permits.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct LeafRules {
    /// Permitted ones; absent for all.
    pub allow: Option<Vec<String>>,
    /// Exceptions.
    pub deny: Option<Vec<String>>,
}

/// `CONNECT` as the dialling side sends it; fields that midge does not use are ignored.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct LeafConnect {
    /// The nats-server version whose features it supports.
    pub version: String,
    /// User.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Its password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pass: String,
    /// A token instead.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_token: String,
    /// Public key of an nkey.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nkey: String,
    /// The nonce, signed with that key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sig: String,
    /// A JWT. It is not evaluated.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwt: String,
    /// Version of the midge that sent it; absent from a nats-server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub midge: String,
    /// Id of the dialling broker.
    pub server_id: String,
    /// Its name.
    pub name: String,
    /// Name of its cluster; of a broker without one its own name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether it is to count as the hub, although it dials.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_hub: bool,
    /// Whether messages may have headers.
    pub headers: bool,
    /// Whether the interest of other leafnodes is to be withheld from it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub isolate: bool,
    /// Subjects that must not be sent to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny_pub: Vec<String>,
    /// The compression of the connection; not read.
    #[serde(skip_deserializing)]
    pub compress_mode: &'static str,
    /// The account that the connection is in at its side.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote_account: String,
    /// Version of the protocol between servers.
    pub protocol: i64,
    /// Only in the CONNECT of a client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// Only in the CONNECT of a gateway.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
}

impl LeafConnect {
    /// The protocol line.
    pub fn line(&self) -> Vec<u8> {
        // A struct of strings, numbers and lists of strings always serialises.
        let json = serde_json::to_string(self).unwrap_or_default();
        [b"CONNECT ", json.as_bytes(), CRLF].concat()
    }

    /// What it shows to log in.
    pub fn credentials(&self) -> Credentials {
        // A URL with a user and no password is sent as user and as token, and may be either.
        Credentials {
            user: self.user.clone(),
            password: self.pass.clone(),
            token: self.auth_token.clone(),
            nkey: self.nkey.clone(),
            signature: self.sig.clone(),
            has_jwt: !self.jwt.is_empty(),
            jwt_is_chorias: false,
        }
    }
}

/// Without what is secret.
impl fmt::Debug for LeafConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeafConnect({:?} of {:?})", self.name, self.cluster)
    }
}
