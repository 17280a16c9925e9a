//! Metrics of the nodes that are expected; only midge has them.

use super::Metric;
use crate::range::Unit;

pub(crate) static NODES_MISSING: Metric = Metric {
    label: "nodes_missing",
    help: "expected nodes that have been connected nowhere for longer than missing_after; the limit \
           is the number of expected nodes",
    option: Some("nodes-missing"),
    warning: "0",
    remedy: "-v has each node and where it was last: look whether the host is up and the agent \
             runs; take hosts that are gone out of the list",
    ..Metric::PLAIN
};
pub(crate) static NODES_AGE: Metric = Metric {
    label: "nodes_age",
    unit: Unit::Seconds,
    help: "time since the broker looked at the nodes",
    option: Some("nodes-age"),
    warning: "60",
    remedy: "the broker's thread for nodes waits for a file or is not scheduled: see /explainz",
    ..Metric::PLAIN
};
pub(crate) static NODES_EXPECTED: Metric = Metric {
    label: "nodes_expected",
    help: "nodes that should be connected",
    ..Metric::PLAIN
};
pub(crate) static NODES_PRESENT: Metric = Metric {
    label: "nodes_present",
    help: "how many of them are connected",
    ..Metric::PLAIN
};
