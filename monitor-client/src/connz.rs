//! `/connz`: the connections, one entry each.

use serde::{Deserialize, Serialize};

/// The answer of `/connz`: one page of connections.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Connz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Entries on this page.
    pub num_connections: usize,
    /// Entries on all pages.
    pub total: usize,
    /// Entries skipped before this page.
    pub offset: usize,
    /// Maximum number of entries per page.
    pub limit: usize,
    /// The page.
    pub connections: Vec<ConnInfo>,
}

/// One connection, open or closed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ConnInfo {
    /// Connection id, unique in one run of the broker.
    pub cid: u64,
    /// `Client` or `Leafnode`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `nats`, `websocket` or `mqtt`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub client_type: String,
    /// Address of the peer.
    pub ip: String,
    /// Port of the peer.
    pub port: u16,
    /// Time of the accept, RFC 3339.
    pub start: String,
    /// Time of the last message or subscription, RFC 3339.
    pub last_activity: String,
    /// Time of the close, RFC 3339; closed connections only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// Why it was closed; closed connections only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Round trip time to the peer, as a Go duration (`150µs`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rtt: String,
    /// Time since the accept, as `1d2h3m4s`.
    pub uptime: String,
    /// Time since the last activity, as `1d2h3m4s`.
    pub idle: String,
    /// Bytes in the outbound queue.
    pub pending_bytes: usize,
    /// Messages received from the peer.
    pub in_msgs: u64,
    /// Messages delivered to the peer.
    pub out_msgs: u64,
    /// Payload and header bytes received from the peer.
    pub in_bytes: u64,
    /// Payload and header bytes delivered to the peer.
    pub out_bytes: u64,
    /// Messages of `out_msgs` that were written to the socket completely; only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_msgs: Option<u64>,
    /// Bytes written to the socket, protocol lines included; only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// Messages that were queued and dropped when the connection ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped_msgs: u64,
    /// Their bytes, as they would have been written.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped_bytes: u64,
    /// Messages received from the peer without a subscriber.
    #[serde(skip_serializing_if = "is_zero")]
    pub no_interest_msgs: u64,
    /// Number of times that publishers waited for this consumer.
    #[serde(skip_serializing_if = "is_zero")]
    pub stalls: u64,
    /// Number of subscriptions.
    pub subscriptions: usize,
    /// The name that the client gave.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The certname in the client's certificate; only in midge.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certname: String,
    /// Client library's language.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
    /// Client library's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Version of TLS, as `1.3`; absent without TLS.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tls_version: String,
    /// Cipher suite of TLS.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tls_cipher_suite: String,
    /// The peer's certificates, its own first; only with `auth=1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tls_peer_certs: Vec<TlsPeerCert>,
    /// Whether the TLS handshake preceded INFO.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_first: bool,
    /// The user; only with `auth=1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub authorized_user: String,
    /// Account, unless it is the global one; only with `auth=1`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// Subjects; only with `subs=1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list: Vec<String>,
    /// Subscriptions in detail; only with `subs=detail`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions_list_detail: Vec<SubDetail>,
    /// Display name of the account, its name if it has none; only with `auth=1`,
    /// and in the global account of open connections only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name_tag: String,
}

/// A certificate of a peer.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct TlsPeerCert {
    /// Its subject.
    pub subject: String,
    /// SHA-256 of its subject public key info, hexadecimal.
    pub spki_sha256: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub cert_sha256: String,
}

/// One subscription in detail.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SubDetail {
    /// Account of the subscriber.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
    /// Display name of the account, its name if it has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account_tag: String,
    /// Subject, which may have wildcards.
    pub subject: String,
    /// Queue group; empty for a plain subscription.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub qgroup: String,
    /// Subscription id the client chose.
    pub sid: String,
    /// Messages delivered to it.
    pub msgs: u64,
    /// Deliveries after which it ends; absent if unlimited.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// Connection id of the subscriber.
    pub cid: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}
