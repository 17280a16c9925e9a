//! The table of midge's own metrics. A metric is one entry in the part it belongs
//! to; what it is read from is in [`Snapshot`].
//!
//! Names and units follow the rules of Prometheus: base units (seconds, bytes), totals end
//! in `_total` (which is added when they are written). Metrics of the process have the
//! names that client libraries of Prometheus use. The manual (`docs/metrics.md`) is
//! generated from the table.

mod accounts;
mod broker;
mod cluster;
mod connections;
mod federation;
mod leafnodes;
#[cfg(test)]
mod manual;
mod messages;
mod nodes;
mod process;
mod security;
mod trouble;

use super::{
    sample::{Labels, Number, Samples},
    snapshot::Snapshot,
};

/// All metrics, by part, in the order of the answer.
pub(super) const PARTS: &[(&str, &[Metric])] = &[
    ("The broker", broker::METRICS),
    ("What is wrong", trouble::METRICS),
    ("Connections", connections::METRICS),
    ("Messages", messages::METRICS),
    ("Accounts and subscriptions", accounts::METRICS),
    ("Cluster", cluster::METRICS),
    ("Leafnodes", leafnodes::METRICS),
    ("Federation", federation::METRICS),
    ("Nodes", nodes::METRICS),
    ("TLS and logins", security::METRICS),
    ("The process", process::METRICS),
];

/// One metric.
pub(super) struct Metric {
    /// Its name, without the `_total` of a counter and the `_info` of an info.
    pub(super) name: &'static str,
    /// Its type.
    pub(super) kind: Kind,
    /// The unit at the end of the name; empty for a mere number.
    pub(super) unit: &'static str,
    /// Its help text, a sentence.
    pub(super) help: &'static str,
    /// Reads its values.
    pub(super) read: fn(&Snapshot, &mut Samples),
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A total that only grows.
    Counter,
    /// A level.
    Gauge,
    /// How often something took how long, since the start.
    Histogram,
    /// Always 1; the labels hold the information.
    Info,
}

impl Kind {
    /// The name in a TYPE line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// Suffixes of its values' names.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }
}

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

/// Times, in seconds.
const fn histogram(
    name: &'static str,
    help: &'static str,
    read: fn(&Snapshot, &mut Samples),
) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram,
        unit: "seconds",
        help,
        read,
    }
}

/// Two values that differ in their direction.
fn add_in_out<N: Number>(to: &mut Samples, labels: &Labels, received: N, delivered: N) {
    for (direction, value) in [("in", received), ("out", delivered)] {
        let mut labels = labels.clone();
        labels.push(("direction", direction.to_owned()));
        to.add_labelled(labels, value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_end_in_their_unit() {
        let mut names = HashSet::new();
        for metric in PARTS.iter().flat_map(|(_, metrics)| *metrics) {
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
