//! This broker as the federation broker of its site. Without a federation there are no values.

use monitor_client::{FederationTraffic, Federationz};

use super::{Metric, counter, gauge, histogram};
use crate::monitor::metrics::{sample::Samples, snapshot::Snapshot};

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    gauge(
        "midge_federation_up",
        "",
        "1 while an upstream broker is connected, by name of the site.",
        |now, to| {
            if let Some(federation) = of(now) {
                to.add_for(
                    "federation",
                    &federation.name,
                    federation.upstream.connected,
                );
            }
        },
    ),
    counter(
        "midge_federation_connects",
        "",
        "How often an upstream broker was reached.",
        |now, to| {
            if let Some(federation) = of(now) {
                to.add(federation.upstream.connects);
            }
        },
    ),
    gauge(
        "midge_federation_rtt_seconds",
        "seconds",
        "Last measured round trip to the upstream broker; absent while there is none.",
        |now, to| {
            if let Some(rtt) = of(now).and_then(|it| it.upstream.rtt) {
                to.add(rtt);
            }
        },
    ),
    gauge(
        "midge_federation_pending_bytes",
        "bytes",
        "Bytes that wait for the upstream broker.",
        |now, to| {
            if let Some(federation) = of(now) {
                to.add(federation.upstream.pending);
            }
        },
    ),
    counter(
        "midge_federation_received_messages",
        "",
        "Messages received: requests from upstream, replies from the site.",
        |now, to| by_direction(now, to, |it| it.received),
    ),
    counter(
        "midge_federation_received_message_bytes",
        "bytes",
        "Bytes of those messages.",
        |now, to| by_direction(now, to, |it| it.received_bytes),
    ),
    counter(
        "midge_federation_published_messages",
        "",
        "Messages passed on; of a request one for each target.",
        |now, to| by_direction(now, to, |it| it.published),
    ),
    counter(
        "midge_federation_published_message_bytes",
        "bytes",
        "Bytes of those messages.",
        |now, to| by_direction(now, to, |it| it.published_bytes),
    ),
    counter(
        "midge_federation_without_receiver_messages",
        "",
        "Requests to targets that nobody at the site has subscribed to; normal, as each site gets \
         the targets of all.",
        |now, to| {
            if let Some(federation) = of(now) {
                to.add(federation.requests.without_receiver);
            }
        },
    ),
    counter(
        "midge_federation_dropped_messages",
        "",
        "Messages dropped because too much waited.",
        |now, to| by_direction(now, to, |it| it.dropped),
    ),
    counter(
        "midge_federation_refused_messages",
        "",
        "Messages that were not passed on, by reason.",
        |now, to| {
            let Some(federation) = of(now) else {
                return;
            };
            for (direction, traffic) in directions(federation) {
                for (reason, count) in &traffic.refused_by_reason {
                    let labels = vec![
                        ("direction", direction.to_owned()),
                        ("reason", reason.clone()),
                    ];
                    to.add_labelled(labels, *count);
                }
            }
        },
    ),
    gauge(
        "midge_federation_nodes",
        "",
        "Nodes connected here, by state: asked by the last requests to all nodes, those of them that \
         have not answered here since, and those that are silent (finding federation-nodes-silent).",
        |now, to| {
            let Some(nodes) = of(now).map(|it| &it.nodes) else {
                return;
            };
            for (state, count) in [
                ("asked", nodes.asked),
                ("unanswered", nodes.unanswered),
                ("silent", nodes.silent),
            ] {
                to.add_for("state", state, count);
            }
        },
    ),
    histogram(
        "midge_federation_round_trip_seconds",
        "Time from a request to its first reply; contains the time that nodes need for their work.",
        |now, to| {
            if let Some(times) = &now.federation_round_trips {
                to.add_times(Vec::new(), times);
            }
        },
    ),
];

fn of(now: &Snapshot) -> Option<&Federationz> {
    Some(&now.federation).filter(|federation| federation.enabled)
}

fn directions(federation: &Federationz) -> [(&'static str, &FederationTraffic); 2] {
    [
        ("requests", &federation.requests),
        ("replies", &federation.replies),
    ]
}

fn by_direction(now: &Snapshot, to: &mut Samples, figure: fn(&FederationTraffic) -> u64) {
    for (direction, traffic) in of(now).into_iter().flat_map(directions) {
        to.add_for("direction", direction, figure(traffic));
    }
}
