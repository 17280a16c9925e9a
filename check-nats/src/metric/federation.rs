//! Metrics of the federation broker of a site; only midge has one.

use super::Metric;
use crate::range::Unit;

pub(crate) static FEDERATION_UP: Metric = Metric {
    label: "federation_up",
    help: "1 while an upstream broker is connected, else 0",
    option: Some("federation-up"),
    critical: "1:",
    remedy: "check host, port and certificates of the upstream brokers in the block federation, \
             and their logs; see /explainz",
    ..Metric::PLAIN
};
pub(crate) static FEDERATION_DROPPED: Metric = Metric {
    label: "federation_dropped",
    unit: Unit::Counter,
    help: "replies dropped since the start because too much waited for the upstream broker",
    ..Metric::PLAIN
};
pub(crate) static FEDERATION_PENDING: Metric = Metric {
    label: "federation_pending",
    unit: Unit::Bytes,
    help: "bytes that wait for the upstream broker; the limit is what is kept",
    option: Some("federation-pending"),
    warning: "50%",
    critical: "90%",
    remedy: "check the network to the upstream broker and its load; more is dropped",
};
pub(crate) static FEDERATION_REFUSED: Metric = Metric {
    label: "federation_refused",
    unit: Unit::Counter,
    help: "messages that the federation did not pass on since the start; -v has the reasons",
    ..Metric::PLAIN
};
pub(crate) static FEDERATION_SILENT: Metric = Metric {
    label: "federation_silent",
    help: "nodes connected to this broker that have not answered requests to all nodes while \
           others did; the limit is the number of nodes that were asked",
    option: Some("federation-silent"),
    warning: "0",
    remedy: "-v has the nodes: look into the log of mcollectived there, and at the clock; see \
             /explainz",
    ..Metric::PLAIN
};
pub(crate) static FEDERATION_REPLIES: Metric = Metric {
    label: "federation_replies",
    unit: Unit::Counter,
    help: "replies of the site's nodes since the start",
    ..Metric::PLAIN
};
pub(crate) static FEDERATION_REQUESTS: Metric = Metric {
    label: "federation_requests",
    unit: Unit::Counter,
    help: "requests from upstream since the start",
    ..Metric::PLAIN
};
pub(crate) static FEDERATION_RTT: Metric = Metric {
    label: "federation_rtt",
    unit: Unit::Seconds,
    help: "time from a request to its first reply, the shortest of the last sixteen to the agent \
           discovery; unknown before there are so many",
    option: Some("federation-rtt"),
    ..Metric::PLAIN
};
