//! The nodes that should be connected. Without the block `nodes` there are no values.

use monitor_client::NodesVarz;

use super::{Metric, gauge};
use crate::monitor::metrics::{sample::Samples, snapshot::Snapshot};

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    gauge(
        "midge_nodes_expected",
        "",
        "Nodes that should be connected to some member of the cluster.",
        |now, to| add(now, to, |nodes| nodes.expected),
    ),
    gauge(
        "midge_nodes_present",
        "",
        "How many of them are connected.",
        |now, to| add(now, to, |nodes| nodes.present),
    ),
    gauge(
        "midge_nodes_missing",
        "",
        "How many of them have been connected nowhere for longer than missing_after.",
        |now, to| add(now, to, |nodes| nodes.missing),
    ),
];

fn add(now: &Snapshot, to: &mut Samples, figure: fn(&NodesVarz) -> usize) {
    if let Some(nodes) = &now.varz.nodes {
        to.add(figure(nodes));
    }
}
