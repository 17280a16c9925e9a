//! `/varz`: one broker's settings, totals and resources.

mod figures;

use std::collections::BTreeMap;

pub use figures::{FIGURES, Figure, FigureUnit, figure};
use serde::{Deserialize, Serialize};

/// The answer of `/varz`. Totals run since the start of the broker.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Varz {
    /// Public id of the broker, new at each start: 56 characters, begins with `N`.
    pub server_id: String,
    /// Configured name, otherwise the id.
    pub server_name: String,
    /// The nats-server version whose client features are supported; clients check it.
    pub version: String,
    /// midge's own version; absent in a nats-server's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub midge: Option<String>,
    /// Id of the process that this one took over from in an upgrade; absent after a plain start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_over_from: Option<u32>,
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
    /// `host:port` of all brokers of the cluster that accept clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// `host:port` of all brokers of the cluster that accept clients by WebSocket.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ws_connect_urls: Vec<String>,
    /// Limit of client connections; -1 if none are allowed.
    pub max_connections: i64,
    /// Limit of subscriptions per connection; absent if unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_subscriptions: Option<i64>,
    /// Nanoseconds between keepalive pings.
    pub ping_interval: i64,
    /// Unanswered pings before a connection is stale.
    pub ping_max: i64,
    /// Host of the plain monitoring listener.
    pub http_host: String,
    /// Port of the plain monitoring listener as configured: 0 for off, -1 for any free one.
    pub http_port: i32,
    /// Path prefix of the monitoring endpoints, as configured.
    pub http_base_path: String,
    /// Port of the TLS monitoring listener as configured: 0 for off, -1 for any free one.
    pub https_port: i32,
    /// Time limit of a login in seconds.
    pub auth_timeout: f64,
    /// Whether clients must use TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_required: bool,
    /// Whether clients must show a certificate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_verify: bool,
    /// End of the broker's certificate, RFC 3339; absent without TLS and before nats-server 2.14.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_not_after: Option<String>,
    /// More about TLS; only in midge, and only with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsVarz>,
    /// Limit of a control line in bytes.
    pub max_control_line: i64,
    /// Limit of a payload in bytes.
    pub max_payload: i64,
    /// Limit of a connection's outbound queue in bytes; `max_pending_size` in gnatsd.
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
    /// Time limit of a TLS handshake in seconds.
    pub tls_timeout: f64,
    /// Time limit of a write without progress in nanoseconds.
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
    /// Number of brokers that the routes lead to.
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
    /// Delivered messages that were written to their sockets completely; only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_msgs: Option<u64>,
    /// Bytes written to sockets, protocol lines included; only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// Lost messages by reason: `closed`, `slow_consumer` and `write_error` were queued and never
    /// written, `no_interest` had no subscriber, `too_long` had longer control lines than their
    /// peer in the cluster accepts; only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_msgs: Option<BTreeMap<String, u64>>,
    /// Their bytes: for queued messages as they would have been written, otherwise headers and
    /// payload; only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_bytes: Option<BTreeMap<String, u64>>,
    /// Connections closed as slow consumers.
    pub slow_consumers: i64,
    /// Connections closed because they answered no ping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_connections: Option<i64>,
    /// Number of times that a publisher waited for a slow consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled_clients: Option<i64>,
    /// Logins since the start; only in midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logins: Option<LoginsVarz>,
    /// The hubs whose leafnode the broker is, in short; only in midge, and only of a leafnode. `/leafz`
    /// has all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hubs: Option<HubsVarz>,
    /// The federation of the site, in short; only in midge, and only of a federation broker.
    /// `/federationz` has all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub federation: Option<FederationVarz>,
    /// The expected nodes, in short; only in midge, and only if they are watched. `/nodesz` has all of
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodesVarz>,
    /// Publishes and subscriptions of clients that were refused for lack of a permission; only in
    /// midge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_violations: Option<u64>,
    /// Subscriptions of all accounts, plus the interest of the cluster's other brokers.
    pub subscriptions: u64,
    /// Requests served on the monitoring port, by path.
    pub http_req_stats: BTreeMap<String, u64>,
    /// Time the configuration took effect, RFC 3339.
    pub config_load_time: String,
    /// `sha256:…` of the values in the configuration file, whatever its comments and spelling;
    /// empty without one.
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

/// Logins since the start; only in midge.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct LoginsVarz {
    /// Logins that succeeded where one is required.
    pub accepted: u64,
    /// Refused logins by reason.
    pub refused: BTreeMap<String, u64>,
    /// Refusals whose answer was delayed because their source had many.
    pub delayed: u64,
    /// Logins that waited before they were checked, because their source had many refusals.
    pub held: u64,
}

/// The nodes that should be connected, in short.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct NodesVarz {
    /// How many should be connected.
    pub expected: usize,
    /// How many of them are, to whichever member of the cluster.
    pub present: usize,
    /// How many have been connected nowhere for longer than `missing_after`.
    pub missing: usize,
}

/// The hubs that a broker is to join, in short, without those that the configuration turns off.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct HubsVarz {
    /// How many there are.
    pub configured: usize,
    /// How many of them are connected.
    pub connected: usize,
    /// How many of them are not.
    pub missing: usize,
}

/// The federation of a site, in short. Totals are since it began.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct FederationVarz {
    /// Name of the site.
    pub name: String,
    /// Whether an upstream broker is connected.
    pub connected: bool,
    /// Requests from upstream.
    pub requests: u64,
    /// Replies of the site.
    pub replies: u64,
    /// Messages of both directions that were not passed on.
    pub refused: u64,
    /// Replies that were dropped because too much waited.
    pub dropped: u64,
    /// Bytes that wait for the upstream broker.
    pub pending: u64,
    /// Nodes connected here that do not answer requests to all nodes.
    pub nodes_silent: usize,
    /// Seconds from a request to its first reply, the shortest of the last sixteen to the agent
    /// `discovery`; absent before there are so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<f64>,
    /// End of the certificate that upstream brokers are shown, RFC 3339; absent without TLS there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_not_after: Option<String>,
    /// More about its TLS; only with TLS there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsVarz>,
}

/// A problem with the TLS files of a listener.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct TlsGap {
    /// Whether it keeps nearly every peer out.
    pub critical: bool,
    /// The file; empty if it concerns none.
    pub file: String,
    /// What is wrong and what to do.
    pub text: String,
}

/// TLS of a listener; only in midge: of clients as `tls`, of routes as `tls` in the block
/// `cluster`, of the connection to upstream brokers as `tls` in the block `federation`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct TlsVarz {
    /// Subject of the broker's certificate that expires first, at `tls_cert_not_after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_name: Option<String>,
    /// Days until then; negative afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_days_left: Option<f64>,
    /// End of the CA that expires first, RFC 3339; absent without a CA file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_not_after: Option<String>,
    /// Subject of that CA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_name: Option<String>,
    /// Days until its end; negative afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_days_left: Option<f64>,
    /// When the first CRL must be renewed, RFC 3339; absent without CRLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_next_update: Option<String>,
    /// Subject of the CA that issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_name: Option<String>,
    /// Days until then; negative afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl_days_left: Option<f64>,
    /// What is wrong with changed files that could not be used; absent if the present files are in
    /// force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_files: Option<String>,
    /// Problems with the files that are in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<TlsGap>,
    /// Certificates that the CRLs revoke.
    pub revoked: u64,
    /// Connections of the listener that were closed because their certificate was revoked.
    pub revoked_closed: u64,
    /// Handshakes completed since the start.
    pub handshakes: u64,
    /// Those of them that resumed an earlier session.
    pub resumed: u64,
    /// Handshakes in progress.
    pub unfinished: u64,
    /// Handshakes that failed.
    pub failures: u64,
    /// Handshakes that failed, by cause.
    pub failed: BTreeMap<String, u64>,
    /// Total duration of the completed ones in seconds, including waiting for the peers.
    pub handshake_seconds: f64,
    /// Duration of the slowest one in seconds.
    pub handshake_slowest: f64,
}

/// Number and duration of waits for the disk. Always zero in midge, which stores nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct DiskIoWaitStats {
    /// Waiting now.
    pub waiters: i64,
    /// Waits so far.
    pub waits: u64,
    /// Total time in nanoseconds.
    pub wait_time: i64,
    /// The longest wait in nanoseconds.
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
