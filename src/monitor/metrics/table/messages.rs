//! Messages: how many, what was lost, how long they stay, what waits.

use super::{Metric, Samples, add_in_out, counter, gauge, histogram};
use crate::telemetry::loss::LossReason;

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
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
    counter(
        "midge_messages_written",
        "",
        "Delivered messages that were completely written to a socket.",
        |now, to| to.add(now.traffic.written_msgs),
    ),
    counter(
        "midge_written_bytes",
        "bytes",
        "Bytes written to sockets, including those of the protocol.",
        |now, to| to.add(now.traffic.written_bytes),
    ),
    counter(
        "midge_messages_lost",
        "",
        "Messages that were not written to a socket, by reason; no_interest: without a subscriber.",
        |now, to| {
            for reason in LossReason::ALL {
                to.add_for("reason", reason.name(), now.traffic.loss.of(reason).msgs);
            }
        },
    ),
    counter(
        "midge_lost_bytes",
        "bytes",
        "Bytes of those messages as they would have been written; for no_interest, headers and \
         payload.",
        |now, to| {
            for reason in LossReason::ALL {
                to.add_for("reason", reason.name(), now.traffic.loss.of(reason).bytes);
            }
        },
    ),
    histogram(
        "midge_message_latency_seconds",
        "Time from reading a message to writing it to a socket, by the kind of that connection.",
        |now, to| {
            for (kind, times) in &now.latency.by_kind {
                to.add_times(vec![("kind", (*kind).to_owned())], times);
            }
        },
    ),
    histogram(
        "midge_account_message_latency_seconds",
        "The same by the account of the receiving client.",
        |now, to| {
            for (account, times) in &now.latency.by_account {
                to.add_times(vec![("account", account.clone())], times);
            }
        },
    ),
    histogram(
        "midge_service_latency_seconds",
        "Time that an exported service takes to reply, of the requests that its export's latency \
         has measured, by account and exported subject.",
        |now, to| {
            for ((account, service), figures) in &now.services {
                let labels = vec![("account", account.clone()), ("service", service.clone())];
                to.add_times(labels, &figures.times().all);
            }
        },
    ),
    counter(
        "midge_service_requests",
        "",
        "These requests by status: 200 answered, 400 without a reply subject, 408 given up by the \
         requester, 503 without a responder, 504 not answered in time.",
        |now, to| {
            for ((account, service), figures) in &now.services {
                for (status, count) in &figures.by_status {
                    let labels = vec![
                        ("account", account.clone()),
                        ("service", service.clone()),
                        ("status", status.to_string()),
                    ];
                    to.add_labelled(labels, *count);
                }
            }
        },
    ),
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
        "Bytes in outbound queues whose readers take nothing.",
        |now, to| to.add(now.queue_inspection.0),
    ),
    gauge(
        "midge_queue_memory_max_bytes",
        "bytes",
        "Bytes that these queues may hold together; beyond that, the connection with the biggest \
         is closed (max_memory, or the memory that the process has left, if that is less).",
        |now, to| to.add(now.queue_inspection.1),
    ),
    gauge(
        "midge_payload_max_bytes",
        "bytes",
        "Bytes of the largest message (max_payload).",
        |now, to| to.add(now.varz.max_payload),
    ),
    gauge(
        "midge_memory_bytes",
        "bytes",
        "Memory by what holds it; exact for queues and events, else an estimate.",
        |now, to| {
            for cause in &now.report.memory.causes {
                to.add_for("cause", cause.name, cause.bytes);
            }
        },
    ),
];

/// Totals in both directions, split into clients and other brokers.
fn add_directions(to: &mut Samples, clients: (i64, i64), all: (i64, i64)) {
    for (kind, (received, delivered)) in [
        ("client", clients),
        ("broker", (all.0 - clients.0, all.1 - clients.1)),
    ] {
        add_in_out(to, &vec![("kind", kind.to_owned())], received, delivered);
    }
}
