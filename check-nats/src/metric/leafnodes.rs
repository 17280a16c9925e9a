//! Metrics of leafnodes and hubs.

use super::Metric;
use crate::range::Unit;

pub(crate) static HUBS_MISSING: Metric = Metric {
    label: "hubs_missing",
    help: "hubs of the configuration that are not connected; the limit is the number of all",
    option: Some("hubs-missing"),
    critical: "0",
    remedy: "check URL, login and certificates of the remote, and the log of the hub; see /leafz",
    ..Metric::PLAIN
};
pub(crate) static LEAFNODES: Metric = Metric {
    label: "leafnodes",
    help: "brokers that have joined this one as leafnodes",
    option: Some("leafnodes"),
    ..Metric::PLAIN
};
pub(crate) static LEAFNODE_RTT: Metric = Metric {
    label: "leafnode_rtt",
    unit: Unit::Seconds,
    help: "longest round trip of all leafnode connections",
    option: Some("leafnode-rtt"),
    ..Metric::PLAIN
};
