//! The other brokers, and the route to each.

use super::{Metric, add_in_out, counter, gauge};
use crate::monitor::metrics::{sample::Labels, snapshot::RouteFigures};

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
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
    gauge(
        "midge_route_up",
        "",
        "1 for each broker that this one has a route to.",
        |now, to| {
            for route in &now.routes {
                to.add_labelled(labels(route), true);
            }
        },
    ),
    gauge(
        "midge_route_rtt_seconds",
        "seconds",
        "Last measured round trip to the broker; absent before the first.",
        |now, to| {
            for route in &now.routes {
                if let Some(rtt) = route.rtt {
                    to.add_labelled(labels(route), rtt.as_secs_f64());
                }
            }
        },
    ),
    gauge(
        "midge_route_pending_bytes",
        "bytes",
        "Bytes that wait for the broker.",
        |now, to| {
            for route in &now.routes {
                to.add_labelled(labels(route), route.pending);
            }
        },
    ),
    gauge(
        "midge_route_subscriptions",
        "",
        "Subjects, and queue groups on subjects, that the broker is interested in.",
        |now, to| {
            for route in &now.routes {
                to.add_labelled(labels(route), route.subscriptions);
            }
        },
    ),
    counter(
        "midge_route_messages",
        "",
        "Messages received from (in) and sent to (out) the broker over the present route.",
        |now, to| {
            for route in &now.routes {
                let traffic = route.traffic;
                add_in_out(to, &labels(route), traffic.in_msgs, traffic.out_msgs);
            }
        },
    ),
    counter(
        "midge_route_message_bytes",
        "bytes",
        "Payload and header bytes of those messages.",
        |now, to| {
            for route in &now.routes {
                let traffic = route.traffic;
                add_in_out(to, &labels(route), traffic.in_bytes, traffic.out_bytes);
            }
        },
    ),
    counter(
        "midge_route_dropped_messages",
        "",
        "Messages that waited for the broker and were dropped.",
        |now, to| {
            for route in &now.routes {
                to.add_labelled(labels(route), route.traffic.loss.dropped().msgs);
            }
        },
    ),
];

fn labels(route: &RouteFigures) -> Labels {
    vec![
        ("remote", route.remote.clone()),
        ("remote_id", route.remote_id.clone()),
    ]
}
