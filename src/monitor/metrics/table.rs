//! The table of midge's own metrics. A metric is one entry; what it is read
//! from is in [`Snapshot`].
//!
//! Names and units follow the rules of Prometheus: base units (seconds, bytes),
//! totals end in `_total` (which is added when they are written). Figures of
//! the process have the names that client libraries of Prometheus use.

use super::{
    sample::{Labels, Samples},
    snapshot::Snapshot,
};
use crate::{GIT_COMMIT, connection::registry::ConnectionView};

/// One metric.
pub(super) struct Metric {
    /// Its name, without the `_total` of a counter and the `_info` of an info.
    pub(super) name: &'static str,
    /// What kind of figure it is.
    pub(super) kind: Kind,
    /// The unit at the end of the name; empty for a mere number.
    pub(super) unit: &'static str,
    /// What it says, in a sentence.
    pub(super) help: &'static str,
    /// Reads its values.
    pub(super) read: fn(&Snapshot, &mut Samples),
}

/// What kind of figure a metric is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A total that only grows.
    Counter,
    /// A level.
    Gauge,
    /// Always 1; the labels tell.
    Info,
}

impl Kind {
    /// The name in a TYPE line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
        }
    }
}

/// All metrics, in the order of the answer.
pub(super) const METRICS: &[Metric] = &[
    // The broker.
    Metric {
        name: "midge_build",
        kind: Kind::Info,
        unit: "",
        help: "Which midge this is, and which nats-server its clients may take it for.",
        read: |now, to| {
            let labels = vec![
                ("version", now.varz.midge.clone().unwrap_or_default()),
                ("nats_version", now.varz.version.clone()),
                ("commit", GIT_COMMIT.to_owned()),
                ("server_id", now.varz.server_id.clone()),
                ("server_name", now.varz.server_name.clone()),
            ];
            to.add_labelled(labels, true);
        },
    },
    gauge(
        "midge_start_time_seconds",
        "seconds",
        "When the broker started, in Unix time.",
        |now, to| to.add(now.start),
    ),
    gauge(
        "midge_healthy",
        "",
        "1 while /healthz says ok, else 0.",
        |now, to| to.add(now.health.status == "ok"),
    ),
    counter(
        "midge_events",
        "",
        "Events recorded, such as logins, closes and refusals; /eventsz shows the last ones.",
        |now, to| to.add(now.events),
    ),
    Metric {
        name: "midge_http_requests",
        kind: Kind::Counter,
        unit: "",
        help: "Requests to the monitoring port, by path.",
        read: |now, to| {
            for (path, count) in &now.varz.http_req_stats {
                to.add_for("path", path, *count);
            }
        },
    },
    // Connections.
    gauge(
        "midge_connections",
        "",
        "Open client connections.",
        |now, to| to.add(now.varz.connections),
    ),
    gauge(
        "midge_connections_max",
        "",
        "Most client connections (max_connections).",
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
        "Connections cut because they read too slowly, by kind of connection.",
        |now, to| {
            let counts = now.varz.slow_consumer_stats.unwrap_or_default();
            add_kinds(to, counts);
        },
    ),
    counter(
        "midge_stale_connections",
        "",
        "Connections cut because they answered no ping, by kind of connection.",
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
    // Messages.
    counter(
        "midge_messages",
        "",
        "Messages received (in) and delivered to connections (out), by the kind of the other side.",
        |now, to| {
            let varz = &now.varz;
            add_directions(
                to,
                (varz.in_client_msgs, varz.out_client_msgs),
                (varz.in_msgs, varz.out_msgs),
            );
        },
    ),
    counter(
        "midge_message_bytes",
        "bytes",
        "Payload and header bytes of those messages.",
        |now, to| {
            let varz = &now.varz;
            add_directions(
                to,
                (varz.in_client_bytes, varz.out_client_bytes),
                (varz.in_bytes, varz.out_bytes),
            );
        },
    ),
    // Queues and memory.
    gauge(
        "midge_pending_bytes",
        "bytes",
        "Bytes that wait in the outbound queues of all clients.",
        |now, to| to.add(now.connections.pending),
    ),
    gauge(
        "midge_pending_longest_bytes",
        "bytes",
        "Bytes that wait in the longest outbound queue of a client.",
        |now, to| to.add(now.connections.longest),
    ),
    gauge(
        "midge_pending_max_bytes",
        "bytes",
        "Bytes at which an outbound queue makes its client a slow consumer (max_pending).",
        |now, to| to.add(now.varz.max_pending),
    ),
    gauge(
        "midge_queue_memory_bytes",
        "bytes",
        "Bytes held by outbound queues whose readers take nothing.",
        |now, to| to.add(now.queued.0),
    ),
    gauge(
        "midge_queue_memory_max_bytes",
        "bytes",
        "Bytes that those queues may hold together before the biggest is cut (max_memory).",
        |now, to| to.add(now.queued.1),
    ),
    gauge(
        "midge_payload_max_bytes",
        "bytes",
        "Bytes of the largest message (max_payload).",
        |now, to| to.add(now.varz.max_payload),
    ),
    // Subscriptions.
    gauge(
        "midge_subscriptions",
        "",
        "Subscriptions of all accounts.",
        |now, to| to.add(now.varz.subscriptions),
    ),
    counter(
        "midge_subscription_index_operations",
        "",
        "Insertions into, removals from and look-ups in the index of subscriptions; look-ups that \
         a publisher's memory answered are not among them.",
        |now, to| {
            for (operation, count) in now.index {
                to.add_for("operation", operation, count);
            }
        },
    ),
    // Other brokers.
    gauge(
        "midge_routes",
        "",
        "Route connections to other brokers.",
        |now, to| to.add(now.varz.routes),
    ),
    gauge(
        "midge_remotes",
        "",
        "Distinct brokers behind the routes.",
        |now, to| to.add(now.varz.remotes),
    ),
    gauge("midge_leafnodes", "", "Leafnode connections.", |now, to| {
        to.add(now.varz.leafnodes)
    }),
    // Accounts.
    gauge(
        "midge_account_connections",
        "",
        "Open connections of an account.",
        |now, to| {
            for stat in &now.accounts {
                to.add_for("account", &stat.acc, stat.total_conns);
            }
        },
    ),
    gauge(
        "midge_account_subscriptions",
        "",
        "Subscriptions of an account.",
        |now, to| {
            for stat in &now.accounts {
                to.add_for("account", &stat.acc, stat.num_subscriptions);
            }
        },
    ),
    counter(
        "midge_account_messages",
        "",
        "Messages received from (in) and delivered to (out) the connections of an account.",
        |now, to| {
            for stat in &now.accounts {
                let labels = vec![("account", stat.acc.clone())];
                add_in_out(to, &labels, stat.received.msgs, stat.sent.msgs);
            }
        },
    ),
    counter(
        "midge_account_message_bytes",
        "bytes",
        "Payload and header bytes of those messages.",
        |now, to| {
            for stat in &now.accounts {
                let labels = vec![("account", stat.acc.clone())];
                add_in_out(to, &labels, stat.received.bytes, stat.sent.bytes);
            }
        },
    ),
    counter(
        "midge_account_slow_consumers",
        "",
        "Connections of an account cut because they read too slowly.",
        |now, to| {
            for stat in &now.accounts {
                to.add_for("account", &stat.acc, stat.slow_consumers);
            }
        },
    ),
    // The connections that lead.
    gauge(
        "midge_connection_pending_bytes",
        "bytes",
        "Bytes that wait for a client; only for those with the most (parameter connections).",
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
    // The process.
    gauge(
        "process_resident_memory_bytes",
        "bytes",
        "Resident memory.",
        |now, to| to.add(now.varz.mem),
    ),
    counter(
        "process_cpu_seconds",
        "seconds",
        "Processor time used by all threads.",
        |now, to| to.add(now.process.cpu.as_secs_f64()),
    ),
    gauge(
        "process_start_time_seconds",
        "seconds",
        "When the process started, in Unix time.",
        |now, to| to.add(now.start),
    ),
    gauge(
        "process_open_fds",
        "",
        "Open file descriptors.",
        |now, to| {
            now.process
                .descriptors
                .into_iter()
                .for_each(|count| to.add(count))
        },
    ),
    gauge(
        "process_max_fds",
        "",
        "Most file descriptors that may be open.",
        |now, to| {
            now.process
                .descriptors_max
                .into_iter()
                .for_each(|count| to.add(count))
        },
    ),
];

const fn counter(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    read: fn(&Snapshot, &mut Samples),
) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit,
        help,
        read,
    }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    read: fn(&Snapshot, &mut Samples),
) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit,
        help,
        read,
    }
}

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

/// Totals in both directions, split into clients and other brokers.
fn add_directions(to: &mut Samples, clients: (i64, i64), all: (i64, i64)) {
    for (kind, (received, delivered)) in [
        ("client", clients),
        ("broker", (all.0 - clients.0, all.1 - clients.1)),
    ] {
        add_in_out(to, &vec![("kind", kind.to_owned())], received, delivered);
    }
}

fn add_in_out<N: super::sample::Number>(
    to: &mut Samples,
    labels: &Labels,
    received: N,
    delivered: N,
) {
    for (direction, value) in [("in", received), ("out", delivered)] {
        let mut labels = labels.clone();
        labels.push(("direction", direction.to_owned()));
        to.add_labelled(labels, value);
    }
}

fn connection_labels(view: &ConnectionView) -> Labels {
    vec![
        ("cid", view.cid.to_string()),
        ("name", view.identity.name.clone()),
        ("account", view.identity.account.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_end_in_their_unit() {
        let mut names = HashSet::new();
        for metric in METRICS {
            assert!(names.insert(metric.name), "{} is there twice", metric.name);
            assert!(metric.name.ends_with(metric.unit), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(
                ["midge_", "process_"]
                    .iter()
                    .any(|family| metric.name.starts_with(family)),
                "{}",
                metric.name
            );
            for suffix in ["_total", "_info", "_count", "_sum", "_bucket"] {
                assert!(!metric.name.ends_with(suffix), "{}", metric.name);
            }
        }
    }
}
