//! Figures: what a mode measures, under one label, in one unit, with thresholds.
//!
//! The tables of the modes list [`Figure`]s; the command line turns those of
//! one mode into [`Planned`] figures, whose thresholds are set.

use super::range::{Range, Unit};

/// One line of a mode's table.
#[derive(Debug)]
pub struct Figure {
    /// Label in perfdata; never changes from run to run.
    pub label: &'static str,
    /// What it is measured in.
    pub unit: Unit,
    /// What it is, for the manual.
    pub help: &'static str,
    /// Stem of its own threshold options: `rtt` makes `--rtt-warning`. `None`
    /// for running totals, which no threshold fits.
    pub option: Option<&'static str>,
    /// Default warning range; empty for none.
    pub warning: &'static str,
    /// Default critical range; empty for none.
    pub critical: &'static str,
}

/// A figure of this run.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Label in perfdata.
    pub label: String,
    /// What it is measured in.
    pub unit: Unit,
    /// When to warn.
    pub warning: Option<Threshold>,
    /// When it is critical.
    pub critical: Option<Threshold>,
}

/// A range and where it comes from.
#[derive(Clone, Debug)]
pub struct Threshold {
    /// When to alert.
    pub range: Range,
    /// Whether the operator asked for it: then a figure that cannot be judged
    /// is UNKNOWN, where a default is passed over.
    pub explicit: bool,
}

impl Figure {
    const PLAIN: Self = Self {
        label: "",
        unit: Unit::Count,
        help: "",
        option: None,
        warning: "",
        critical: "",
    };
}

pub(super) static CA_DAYS: Figure = Figure {
    label: "ca_days",
    help: "days until the CA of the clients' certificates ends; only midge tells",
    option: Some("ca"),
    warning: "30:",
    critical: "7:",
    ..Figure::PLAIN
};
pub(super) static CEILING_TIME: Figure = Figure {
    label: "ceiling_time",
    unit: Unit::Seconds,
    help: "time until the first ceiling is reached at the present growth; at most a year",
    option: Some("ceiling-time"),
    warning: "1d:",
    critical: "1h:",
};
pub(super) static CEILING_USED: Figure = Figure {
    label: "ceiling_used",
    unit: Unit::Percent,
    help: "percent in use of the fullest ceiling",
    option: Some("ceiling-used"),
    warning: "80",
    critical: "95",
};
pub(super) static CERT_DAYS: Figure = Figure {
    label: "cert_days",
    help: "days until the broker's certificate ends",
    option: Some("cert"),
    warning: "30:",
    critical: "7:",
    ..Figure::PLAIN
};
pub(super) static ROUTE_CERT_DAYS: Figure = Figure {
    label: "route_cert_days",
    help: "days until the certificate of the route port ends",
    option: Some("route-cert"),
    warning: "30:",
    critical: "7:",
    ..Figure::PLAIN
};
pub(super) static ROUTE_CA_DAYS: Figure = Figure {
    label: "route_ca_days",
    help: "days until the CA of the routes' certificates ends; only midge tells",
    option: Some("route-ca"),
    warning: "30:",
    critical: "7:",
    ..Figure::PLAIN
};
pub(super) static ROUTE_CRL_DAYS: Figure = Figure {
    label: "route_crl_days",
    help: "days until the successor of the routes' CRL is due; only midge tells",
    option: Some("route-crl"),
    warning: "3:",
    critical: "0.5:",
    ..Figure::PLAIN
};
pub(super) static CRL_DAYS: Figure = Figure {
    label: "crl_days",
    help: "days until the successor of the CRL is due; only midge tells",
    option: Some("crl"),
    warning: "3:",
    critical: "0.5:",
    ..Figure::PLAIN
};
pub(super) static CONFIG_AGE: Figure = Figure {
    label: "config_age",
    unit: Unit::Seconds,
    help: "time since the configuration took effect",
    option: Some("config-age"),
    ..Figure::PLAIN
};
pub(super) static CONNECTIONS: Figure = Figure {
    label: "connections",
    help: "open client connections; the limit is max_connections",
    option: Some("conn"),
    warning: "80%",
    critical: "90%",
    ..Figure::PLAIN
};
pub(super) static CONNECT_TIME: Figure = Figure {
    label: "connect_time",
    unit: Unit::Seconds,
    help: "TCP connect, INFO, CONNECT and the first PONG",
    option: Some("connect"),
    warning: "0.5",
    critical: "1",
};
pub(super) static CPU: Figure = Figure {
    label: "cpu",
    unit: Unit::Percent,
    help: "processor use in percent of one core",
    option: Some("cpu"),
    ..Figure::PLAIN
};
pub(super) static FINDINGS_CRITICAL: Figure = Figure {
    label: "findings_critical",
    help: "critical findings",
    ..Figure::PLAIN
};
pub(super) static FINDINGS_INFO: Figure = Figure {
    label: "findings_info",
    help: "findings that are only worth knowing",
    ..Figure::PLAIN
};
pub(super) static FINDINGS_WARNING: Figure = Figure {
    label: "findings_warning",
    help: "findings of severity warning",
    ..Figure::PLAIN
};
pub(super) static IN_BYTES: Figure = Figure {
    label: "in_bytes",
    unit: Unit::Counter,
    help: "payload bytes received since the start",
    ..Figure::PLAIN
};
pub(super) static IN_BYTES_RATE: Figure = Figure {
    label: "in_bytes_rate",
    unit: Unit::BytesPerSecond,
    help: "payload bytes received per second",
    option: Some("in-bytes"),
    ..Figure::PLAIN
};
pub(super) static IN_MSGS: Figure = Figure {
    label: "in_msgs",
    unit: Unit::Counter,
    help: "messages received since the start",
    ..Figure::PLAIN
};
pub(super) static IN_MSGS_RATE: Figure = Figure {
    label: "in_msgs_rate",
    help: "messages received per second",
    option: Some("in-msgs"),
    ..Figure::PLAIN
};
pub(super) static LAME_DUCK: Figure = Figure {
    label: "lame_duck",
    help: "1 while the broker is in lame duck mode, else 0",
    option: Some("lame-duck"),
    warning: "0",
    ..Figure::PLAIN
};
pub(super) static LATENCY_COUNT: Figure = Figure {
    label: "latency_count",
    help: "writes to readers that were measured in the last minute",
    ..Figure::PLAIN
};
pub(super) static LATENCY_MAX: Figure = Figure {
    label: "latency_max",
    unit: Unit::Seconds,
    help: "the longest time from reading a message to writing it, in the last minute",
    option: Some("latency-max"),
    ..Figure::PLAIN
};
pub(super) static LATENCY_P50: Figure = Figure {
    label: "latency_p50",
    unit: Unit::Seconds,
    help: "half of the messages took at most this long",
    option: Some("latency-p50"),
    ..Figure::PLAIN
};
pub(super) static LATENCY_P99: Figure = Figure {
    label: "latency_p99",
    unit: Unit::Seconds,
    help: "99 of 100 messages took at most this long from being read to being written",
    option: Some("latency-p99"),
    warning: "0.1",
    critical: "0.5",
};
pub(super) static MEM: Figure = Figure {
    label: "mem",
    unit: Unit::Bytes,
    help: "resident memory",
    option: Some("mem"),
    ..Figure::PLAIN
};
pub(super) static MEMBERS: Figure = Figure {
    label: "members",
    help: "members of the cluster, the broker itself included",
    option: Some("members"),
    ..Figure::PLAIN
};
pub(super) static MEMBERS_MISSING: Figure = Figure {
    label: "members_missing",
    help: "members that ought to be there and are not",
    ..Figure::PLAIN
};
pub(super) static MESH_PROBLEMS: Figure = Figure {
    label: "mesh_problems",
    help: "findings about routes and members; midge only",
    ..Figure::PLAIN
};
pub(super) static OUT_BYTES: Figure = Figure {
    label: "out_bytes",
    unit: Unit::Counter,
    help: "payload bytes delivered since the start",
    ..Figure::PLAIN
};
pub(super) static OUT_BYTES_RATE: Figure = Figure {
    label: "out_bytes_rate",
    unit: Unit::BytesPerSecond,
    help: "payload bytes delivered per second",
    option: Some("out-bytes"),
    ..Figure::PLAIN
};
pub(super) static OUT_MSGS: Figure = Figure {
    label: "out_msgs",
    unit: Unit::Counter,
    help: "messages delivered since the start",
    ..Figure::PLAIN
};
pub(super) static OUT_MSGS_RATE: Figure = Figure {
    label: "out_msgs_rate",
    help: "messages delivered per second",
    option: Some("out-msgs"),
    ..Figure::PLAIN
};
pub(super) static PENDING_MAX: Figure = Figure {
    label: "pending_max",
    unit: Unit::Bytes,
    help: "bytes waiting for the client with most of them; the limit is max_pending",
    option: Some("pending"),
    // Publishers begin to stall at three quarters of the limit.
    warning: "50%",
    critical: "75%",
};
pub(super) static PENDING_TOTAL: Figure = Figure {
    label: "pending_total",
    unit: Unit::Bytes,
    help: "bytes waiting for all clients together",
    option: Some("pending-total"),
    ..Figure::PLAIN
};
pub(super) static REQUEST_TIME: Figure = Figure {
    label: "request_time",
    unit: Unit::Seconds,
    help: "from a message published to the own inbox to its delivery",
    option: Some("req"),
    warning: "0.5",
    critical: "1",
};
pub(super) static RTT: Figure = Figure {
    label: "rtt",
    unit: Unit::Seconds,
    help: "from a PING to its PONG",
    option: Some("rtt"),
    warning: "0.1",
    critical: "0.5",
};
pub(super) static SCHED_MAX: Figure = Figure {
    label: "sched_max",
    unit: Unit::Seconds,
    help: "the latest that a thread of the broker ran in the last minute",
    option: Some("sched-max"),
    ..Figure::PLAIN
};
pub(super) static SCHED_P99: Figure = Figure {
    label: "sched_p99",
    unit: Unit::Seconds,
    help: "99 of 100 times a thread of the broker ran at most this late",
    option: Some("sched"),
    warning: "0.1",
    critical: "0.5",
};
pub(super) static SLOW_CLIENTS: Figure = Figure {
    label: "slow_clients",
    unit: Unit::Counter,
    help: "slow clients since the start",
    ..Figure::PLAIN
};
pub(super) static SLOW_CONSUMERS: Figure = Figure {
    label: "slow_consumers",
    unit: Unit::Counter,
    help: "slow consumers of all kinds since the start",
    ..Figure::PLAIN
};
pub(super) static SLOW_GATEWAYS: Figure = Figure {
    label: "slow_gateways",
    unit: Unit::Counter,
    help: "slow gateways since the start",
    ..Figure::PLAIN
};
pub(super) static SLOW_LEAFS: Figure = Figure {
    label: "slow_leafs",
    unit: Unit::Counter,
    help: "slow leafnodes since the start",
    ..Figure::PLAIN
};
pub(super) static SLOW_NEW: Figure = Figure {
    label: "slow_new",
    help: "slow consumers since the run before, or during the sample",
    option: Some("slow"),
    warning: "0",
    ..Figure::PLAIN
};
pub(super) static SLOW_ROUTES: Figure = Figure {
    label: "slow_routes",
    unit: Unit::Counter,
    help: "slow routes since the start",
    ..Figure::PLAIN
};
pub(super) static SUBSCRIPTIONS: Figure = Figure {
    label: "subscriptions",
    help: "subscriptions of all accounts, and the interest of the cluster's other brokers",
    option: Some("subs"),
    ..Figure::PLAIN
};
pub(super) static TOTAL_CONNECTIONS: Figure = Figure {
    label: "total_connections",
    unit: Unit::Counter,
    help: "client connections accepted since the start",
    ..Figure::PLAIN
};
pub(super) static UPTIME: Figure = Figure {
    label: "uptime",
    unit: Unit::Seconds,
    help: "time since the start of the broker",
    option: Some("uptime"),
    ..Figure::PLAIN
};
/// In mode `uptime` a restart is what is looked for; elsewhere it is context.
pub(super) static UPTIME_SHORT: Figure = Figure {
    label: "uptime",
    unit: Unit::Seconds,
    help: "time since the start of the broker",
    option: Some("uptime"),
    warning: "10m:",
    critical: "",
};
/// Stands for the figure that `--figure` names.
pub(super) static VARZ_FIGURE: Figure = Figure {
    label: "FIGURE",
    help: "the figure of --figure, labelled by its path",
    ..Figure::PLAIN
};
