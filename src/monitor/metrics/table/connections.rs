//! Client connections: totals, and those with the largest values.

use super::{Labels, Metric, Samples, add_in_out, counter, gauge};
use crate::broker::registry::ConnectionView;

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    gauge(
        "midge_connections",
        "",
        "Open client connections.",
        |now, to| to.add(now.varz.connections),
    ),
    gauge(
        "midge_connections_max",
        "",
        "Limit of client connections (max_connections).",
        |now, to| to.add(now.varz.max_connections.max(0)),
    ),
    counter(
        "midge_connections_accepted",
        "",
        "Client connections accepted, refused ones included.",
        |now, to| to.add(now.varz.total_connections),
    ),
    counter(
        "midge_connections_closed",
        "",
        "Client connections that ended, by the reason that /connz?state=closed shows.",
        |now, to| {
            for (reason, count) in &now.closed {
                to.add_for("reason", reason, *count);
            }
        },
    ),
    counter(
        "midge_slow_consumers",
        "",
        "Connections closed because they read too slowly, by kind of connection.",
        |now, to| {
            let counts = now.varz.slow_consumer_stats.unwrap_or_default();
            add_kinds(to, counts);
        },
    ),
    counter(
        "midge_stale_connections",
        "",
        "Connections closed because they answered no ping, by kind of connection.",
        |now, to| {
            let counts = now.varz.stale_connection_stats.unwrap_or_default();
            add_kinds(to, counts);
        },
    ),
    counter(
        "midge_publisher_stalls",
        "",
        "Times a publisher was paused because a reader was behind.",
        |now, to| to.add(now.varz.stalled_clients.unwrap_or_default()),
    ),
    counter(
        "midge_connections_bare",
        "",
        "Connections that ended without sending anything, such as the probes of load balancers.",
        |now, to| to.add(now.probes),
    ),
    gauge(
        "midge_client_rtt_seconds",
        "seconds",
        "Last measured round trips to the connected clients: median (p50), 99th percentile (p99) \
         and longest (max).",
        |now, to| {
            let rtt = &now.connections.rtt;
            if rtt.count() > 0 {
                for (share, name) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
                    to.add_for("stat", name, rtt.quantile(share));
                }
            }
        },
    ),
    gauge(
        "midge_connection_pending_bytes",
        "bytes",
        "Bytes that wait for a client; only for the clients with the most (parameter connections).",
        |now, to| {
            for view in &now.connections.top {
                to.add_labelled(connection_labels(view), view.pending);
            }
        },
    ),
    gauge(
        "midge_connection_subscriptions",
        "",
        "Subscriptions of such a client.",
        |now, to| {
            for view in &now.connections.top {
                to.add_labelled(connection_labels(view), view.subscriptions);
            }
        },
    ),
    gauge(
        "midge_connection_rtt_seconds",
        "seconds",
        "Last measured round trip to such a client.",
        |now, to| {
            for view in &now.connections.top {
                if let Some(rtt) = view.rtt {
                    to.add_labelled(connection_labels(view), rtt.as_secs_f64());
                }
            }
        },
    ),
    counter(
        "midge_connection_messages",
        "",
        "Messages received from (in) and delivered to (out) such a client.",
        |now, to| {
            for view in &now.connections.top {
                let traffic = view.traffic;
                add_in_out(
                    to,
                    &connection_labels(view),
                    traffic.in_msgs,
                    traffic.out_msgs,
                );
            }
        },
    ),
    counter(
        "midge_connection_message_bytes",
        "bytes",
        "Payload and header bytes of those messages.",
        |now, to| {
            for view in &now.connections.top {
                let traffic = view.traffic;
                add_in_out(
                    to,
                    &connection_labels(view),
                    traffic.in_bytes,
                    traffic.out_bytes,
                );
            }
        },
    ),
    counter(
        "midge_connection_dropped_messages",
        "",
        "Messages that waited for such a client and were dropped.",
        |now, to| {
            for view in &now.connections.top {
                let dropped = view.traffic.loss.dropped();
                to.add_labelled(connection_labels(view), dropped.msgs);
            }
        },
    ),
];

/// A count for each kind of connection that midge serves.
fn add_kinds(to: &mut Samples, counts: monitor_client::KindCounts) {
    for (kind, count) in [
        ("client", counts.clients),
        ("route", counts.routes),
        ("leafnode", counts.leafs),
    ] {
        to.add_for("kind", kind, count);
    }
}

fn connection_labels(view: &ConnectionView) -> Labels {
    vec![
        ("cid", view.cid.to_string()),
        ("name", view.identity.label()),
        ("account", view.identity.account.clone()),
    ]
}
