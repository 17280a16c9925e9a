//! The names of Choria's broker, so that dashboards made for it work: `/metrics?prefix=choria` has
//! them in place of those of prometheus-nats-exporter.
//!
//! Names, types and the label `identity` are those of its `broker/network/stats.go`; the identity
//! is the broker's name, as the certificate's is there. All are gauges, totals included. The
//! traffic of each leafnode has no series; without Choria Streams the figures of streams are 0, as
//! there.

use super::{
    render::{head, line},
    snapshot::Snapshot,
};

/// The prefix that asks for these names.
pub(super) const PREFIX: &str = "choria";

/// One metric: the name after `choria_network_`, the help, and the value.
type Metric = (&'static str, &'static str, fn(&Snapshot) -> f64);

const METRICS: &[Metric] = &[
    ("connections", "Open connections of clients.", |now| {
        now.varz.connections as f64
    }),
    (
        "total_connections",
        "Connections accepted since the start.",
        |now| now.varz.total_connections as f64,
    ),
    ("routes", "Routes to other brokers.", |now| {
        now.varz.routes as f64
    }),
    ("remotes", "Other brokers with a route.", |now| {
        now.varz.remotes as f64
    }),
    ("leafnode_remotes", "Leafnode connections.", |now| {
        now.varz.leafnodes as f64
    }),
    ("in_msgs", "Messages received since the start.", |now| {
        now.varz.in_msgs as f64
    }),
    ("out_msgs", "Messages sent since the start.", |now| {
        now.varz.out_msgs as f64
    }),
    ("in_bytes", "Bytes of the received messages.", |now| {
        now.varz.in_bytes as f64
    }),
    ("out_bytes", "Bytes of the sent messages.", |now| {
        now.varz.out_bytes as f64
    }),
    (
        "slow_consumers",
        "Clients that were closed because they read too slowly.",
        |now| now.varz.slow_consumers as f64,
    ),
    ("subscriptions", "Subscriptions.", |now| {
        now.varz.subscriptions as f64
    }),
    ("stream_memorystore_max", NO_STREAMS, |_| 0.0),
    ("stream_filestore_max", NO_STREAMS, |_| 0.0),
    ("stream_memorystore_used", NO_STREAMS, |_| 0.0),
    ("stream_filestore_used", NO_STREAMS, |_| 0.0),
    ("stream_streams", NO_STREAMS, |_| 0.0),
    ("stream_consumers", NO_STREAMS, |_| 0.0),
    ("stream_messages", NO_STREAMS, |_| 0.0),
    ("stream_message_bytes", NO_STREAMS, |_| 0.0),
];

/// The help of the figures of streams.
const NO_STREAMS: &str = "Always 0: this broker keeps no streams.";

/// Writes all of them; both formats write a gauge alike.
pub(super) fn render(text: &mut String, snapshot: &Snapshot, identity: &str) {
    let labels = vec![("identity", identity.to_owned())];
    for (name, help, value) in METRICS {
        let name = format!("choria_network_{name}");
        head(text, &name, "gauge", help);
        line(text, &name, "", &labels, value(snapshot));
    }
}
