//! `/varz`: one broker's settings, totals and resources.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer of `/varz`. Totals run since the start of the broker.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Varz {
    /// Public id of this run of the broker: 56 characters, begins with `N`.
    pub server_id: String,
    /// Configured name, else the id.
    pub server_name: String,
    /// The nats-server version whose client features are served; clients gate on it.
    pub version: String,
    /// midge's own version; absent in a nats-server's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub midge: Option<String>,
    /// Client protocol version.
    pub proto: i64,
    /// Commit of the build, if known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Compiler (the Go version of a nats-server).
    pub go: String,
    /// Host of the client listener.
    pub host: String,
    /// Port of the client listener.
    pub port: u16,
    /// Words that describe the broker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The same as pairs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Whether clients have to log in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auth_required: bool,
    /// `host:port` of all brokers of the cluster that take clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// Most client connections; -1 when none are allowed.
    pub max_connections: i64,
    /// Most subscriptions of one connection; absent when unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_subscriptions: Option<i64>,
    /// Nanoseconds between keepalive pings.
    pub ping_interval: i64,
    /// Unanswered pings before a connection is stale.
    pub ping_max: i64,
    /// Host of the plain monitoring listener.
    pub http_host: String,
    /// Port of the plain monitoring listener, as configured: 0 when off, -1 for any free one.
    pub http_port: i32,
    /// Path prefix of the monitoring endpoints, as configured.
    pub http_base_path: String,
    /// Port of the TLS monitoring listener, as configured: 0 when off, -1 for any free one.
    pub https_port: i32,
    /// Seconds a client may take to log in.
    pub auth_timeout: f64,
    /// Whether clients must use TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_required: bool,
    /// Whether clients must show a certificate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_verify: bool,
    /// End of the own certificate, RFC 3339; absent without TLS and before
    /// nats-server 2.14.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_not_after: Option<String>,
    /// More of TLS; only in midge, and only with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsVarz>,
    /// Bytes of the longest control line.
    pub max_control_line: i64,
    /// Bytes of the largest payload.
    pub max_payload: i64,
    /// Bytes one connection's outbound queue may hold; `max_pending_size` in
    /// gnatsd.
    #[serde(alias = "max_pending_size")]
    pub max_pending: i64,
    /// Cluster settings; empty when not clustered.
    pub cluster: serde_json::Value,
    /// Gateway settings; always empty in midge.
    pub gateway: serde_json::Value,
    /// Leafnode settings; empty when there are none.
    pub leaf: serde_json::Value,
    /// MQTT settings; always empty in midge.
    pub mqtt: serde_json::Value,
    /// Websocket settings; empty when there are none.
    pub websocket: serde_json::Value,
    /// JetStream settings; always empty in midge.
    pub jetstream: serde_json::Value,
    /// Seconds a TLS handshake may take.
    pub tls_timeout: f64,
    /// Nanoseconds a write may make no progress.
    pub write_deadline: i64,
    /// Start of the broker, RFC 3339.
    pub start: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Time since the start, as `1d2h3m4s`.
    pub uptime: String,
    /// Resident memory in bytes.
    pub mem: i64,
    /// Processor cores of the machine.
    pub cores: i64,
    /// Worker threads.
    pub gomaxprocs: i64,
    /// Processor use in percent of one core.
    pub cpu: f64,
    /// Open client connections.
    pub connections: i64,
    /// Client connections accepted so far, refused ones included.
    pub total_connections: u64,
    /// Route connections.
    pub routes: i64,
    /// Distinct brokers behind the routes.
    pub remotes: i64,
    /// Leafnode connections.
    pub leafnodes: i64,
    /// Messages received.
    pub in_msgs: i64,
    /// Messages delivered.
    pub out_msgs: i64,
    /// Payload and header bytes received.
    pub in_bytes: i64,
    /// Payload and header bytes delivered.
    pub out_bytes: i64,
    /// Messages received from clients.
    pub in_client_msgs: i64,
    /// Messages delivered to clients.
    pub out_client_msgs: i64,
    /// Bytes received from clients.
    pub in_client_bytes: i64,
    /// Bytes delivered to clients.
    pub out_client_bytes: i64,
    /// Delivered messages that their sockets have taken whole; only midge
    /// tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_msgs: Option<u64>,
    /// Bytes that sockets have taken, those of the protocol included; only midge
    /// tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// Lost messages by reason: `closed`, `slow_consumer` and `write_error` were
    /// queued and never written, `no_interest` reached nobody, `too_long` had longer
    /// control lines than their peer in the cluster takes; only midge tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_msgs: Option<BTreeMap<String, u64>>,
    /// Their bytes: of what was queued as they would have been written, of what
    /// reached nobody headers and payload; only midge tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_bytes: Option<BTreeMap<String, u64>>,
    /// Connections cut because they read too slowly.
    pub slow_consumers: i64,
    /// Connections cut because they answered no ping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_connections: Option<i64>,
    /// Times a publisher waited for a slow reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled_clients: Option<i64>,
    /// Logins since the start; only midge tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logins: Option<LoginsVarz>,
    /// Subscriptions of all accounts, and the interest of the cluster's other brokers.
    pub subscriptions: u64,
    /// Requests served on the monitoring port, by path.
    pub http_req_stats: BTreeMap<String, u64>,
    /// Time the configuration took effect, RFC 3339.
    pub config_load_time: String,
    /// `sha256:…` of the configuration file; empty without one.
    pub config_digest: String,
    /// Name of the system account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub system_account: String,
    /// Slow consumers by kind of connection; absent before nats-server 2.10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_consumer_stats: Option<KindCounts>,
    /// Stale connections by kind of connection; absent before nats-server 2.10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_connection_stats: Option<KindCounts>,
    /// Waits for the disk; absent before nats-server 2.14.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_io_wait_stats: Option<DiskIoWaitStats>,
}

/// Logins since the start, as midge tells them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct LoginsVarz {
    /// Those that were needed and right.
    pub accepted: u64,
    /// Those that were refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Refusals that were kept waiting, because their source had had many.
    pub delayed: u64,
    /// Logins, right or wrong, that waited before they were looked at, because
    /// their source had had many refused.
    pub held: u64,
}

/// Something that does not go together in the TLS files of a listener.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct TlsGap {
    /// Whether hardly anybody gets in for it.
    pub critical: bool,
    /// The file that it is about; empty if it is about none.
    pub file: String,
    /// What is wrong and what to do.
    pub text: String,
}

/// TLS of a listener, as midge tells it: of clients as `tls`, of routes as `tls`
/// in the block `cluster`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct TlsVarz {
    /// Subject of the own certificate that ends first; its end is
    /// `tls_cert_not_after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_name: Option<String>,
    /// Days until that end; negative afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_days_left: Option<f64>,
    /// End of the CA that ends first, RFC 3339; absent without a CA file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_not_after: Option<String>,
    /// Subject of that CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_name: Option<String>,
    /// Days until its end; negative afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_days_left: Option<f64>,
    /// When the successor of the first CRL is due, RFC 3339; absent without
    /// CRLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_next_update: Option<String>,
    /// Subject of the CA whose CRL that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_name: Option<String>,
    /// Days until its successor is due; negative afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_days_left: Option<f64>,
    /// What is wrong with files that changed and were not taken over; absent
    /// while what is in the files is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_files: Option<String>,
    /// What does not go together in the files that are in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<TlsGap>,
    /// Certificates that the CRLs name.
    pub revoked: u64,
    /// The listener's connections closed because their certificate was revoked
    /// meanwhile.
    pub revoked_closed: u64,
    /// Handshakes that were finished, since the start.
    pub handshakes: u64,
    /// Of these, those that went on from an earlier session.
    pub resumed: u64,
    /// Handshakes under way.
    pub unfinished: u64,
    /// Handshakes that failed.
    pub failures: u64,
    /// Handshakes that failed, by cause.
    pub failed: BTreeMap<String, u64>,
    /// Seconds that the finished ones took together, waiting for the peers
    /// included.
    pub handshake_seconds: f64,
    /// Seconds that the longest of them took.
    pub handshake_slowest: f64,
}

/// How often and how long something waited for the disk. All nought in midge,
/// which stores nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct DiskIoWaitStats {
    /// Waiting now.
    pub waiters: i64,
    /// Waits so far.
    pub waits: u64,
    /// Nanoseconds waited in all.
    pub wait_time: i64,
    /// Nanoseconds of the longest wait.
    pub max_wait_time: i64,
}

/// A total split by the kind of connection it concerns.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct KindCounts {
    /// Clients.
    pub clients: u64,
    /// Routes.
    pub routes: u64,
    /// Gateways.
    pub gateways: u64,
    /// Leafnodes.
    pub leafs: u64,
}
