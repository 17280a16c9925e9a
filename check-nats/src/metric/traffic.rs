//! Metrics of messages and bytes: totals since the start, and rates.

use super::Metric;
use crate::range::Unit;

pub(crate) static IN_BYTES: Metric = Metric {
    label: "in_bytes",
    unit: Unit::Counter,
    help: "payload bytes received since the start",
    ..Metric::PLAIN
};
pub(crate) static IN_BYTES_RATE: Metric = Metric {
    label: "in_bytes_rate",
    unit: Unit::BytesPerSecond,
    help: "payload bytes received per second",
    option: Some("in-bytes"),
    ..Metric::PLAIN
};
pub(crate) static IN_MSGS: Metric = Metric {
    label: "in_msgs",
    unit: Unit::Counter,
    help: "messages received since the start",
    ..Metric::PLAIN
};
pub(crate) static IN_MSGS_RATE: Metric = Metric {
    label: "in_msgs_rate",
    help: "messages received per second",
    option: Some("in-msgs"),
    ..Metric::PLAIN
};
pub(crate) static OUT_BYTES: Metric = Metric {
    label: "out_bytes",
    unit: Unit::Counter,
    help: "payload bytes delivered since the start",
    ..Metric::PLAIN
};
pub(crate) static OUT_BYTES_RATE: Metric = Metric {
    label: "out_bytes_rate",
    unit: Unit::BytesPerSecond,
    help: "payload bytes delivered per second",
    option: Some("out-bytes"),
    ..Metric::PLAIN
};
pub(crate) static OUT_MSGS: Metric = Metric {
    label: "out_msgs",
    unit: Unit::Counter,
    help: "messages delivered since the start",
    ..Metric::PLAIN
};
pub(crate) static OUT_MSGS_RATE: Metric = Metric {
    label: "out_msgs_rate",
    help: "messages delivered per second",
    option: Some("out-msgs"),
    ..Metric::PLAIN
};
