//! Metrics: what a mode measures, under one label, in one unit, with thresholds.
//!
//! The tables of the modes list [`Metric`]s; the command line turns those of one mode into
//! [`Planned`] ones, whose thresholds are set.

mod certificates;
mod cluster;
mod federation;
mod leafnodes;
mod nodes;
mod since;
mod traffic;

pub(super) use self::{
    certificates::*, cluster::*, federation::*, leafnodes::*, nodes::*, since::*, traffic::*,
};

use super::range::{Range, Unit};

/// One line of a mode's table.
#[derive(Debug)]
pub struct Metric {
    /// Label in perfdata; never changes from run to run.
    pub label: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Its description for the manual.
    pub help: &'static str,
    /// Stem of its own threshold options: `rtt` makes `--rtt-warning`. `None`
    /// for running totals, which no threshold fits.
    pub option: Option<&'static str>,
    /// Default warning range; empty for none.
    pub warning: &'static str,
    /// Default critical range; empty for none.
    pub critical: &'static str,
    /// What to do when it alerts; empty where the statement itself says it.
    pub remedy: &'static str,
}

/// A metric of this run.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Label in perfdata.
    pub label: String,
    /// Its unit.
    pub unit: Unit,
    /// Its description.
    pub help: &'static str,
    /// What to do when it alerts.
    pub remedy: &'static str,
    /// When to warn.
    pub warning: Option<Threshold>,
    /// When it is critical.
    pub critical: Option<Threshold>,
}

/// A range and its origin.
#[derive(Clone, Debug)]
pub struct Threshold {
    /// When to alert.
    pub range: Range,
    /// Whether the operator set it: then a metric that cannot be evaluated is UNKNOWN,
    /// where a default is skipped.
    pub explicit: bool,
}

impl Metric {
    const PLAIN: Self = Self {
        label: "",
        unit: Unit::Count,
        help: "",
        option: None,
        warning: "",
        critical: "",
        remedy: "",
    };
}

impl Planned {
    /// The warning and the critical threshold that apply if the metric has this limit. A
    /// default does not apply beside a threshold of the operator if it took all effect from
    /// the warning: `--warning 2s` is not to be critical from 0.5 s on.
    pub fn thresholds(&self, limit: Option<f64>) -> [Option<&Threshold>; 2] {
        let (warning, critical) = (self.warning.as_ref(), self.critical.as_ref());
        let (Some(mild), Some(severe)) = (warning, critical) else {
            return [warning, critical];
        };
        let limits = (mild.range.limits(limit), severe.range.limits(limit));
        let (Some(mild_limits), Some(severe_limits)) = limits else {
            return [warning, critical];
        };
        if mild.explicit == severe.explicit || !mild_limits.alerts_only_with(severe_limits) {
            return [warning, critical];
        }
        [warning, critical].map(|threshold| threshold.filter(|threshold| threshold.explicit))
    }
}

pub(super) static CEILING_TIME: Metric = Metric {
    label: "ceiling_time",
    unit: Unit::Seconds,
    help: "time until the first limit is reached at the present growth; at most a year",
    option: Some("ceiling-time"),
    warning: "1d:",
    critical: "1h:",
    remedy: "see /explainz for what grows and what to do; free some of it or raise its limit",
};
pub(super) static CEILING_USED: Metric = Metric {
    label: "ceiling_used",
    unit: Unit::Percent,
    help: "percent in use of the limit that is nearest",
    option: Some("ceiling-used"),
    warning: "80",
    critical: "95",
    ..Metric::PLAIN
};
pub(super) static CONFIG_AGE: Metric = Metric {
    label: "config_age",
    unit: Unit::Seconds,
    help: "time since the configuration took effect",
    option: Some("config-age"),
    ..Metric::PLAIN
};
pub(super) static CONNECTIONS: Metric = Metric {
    label: "connections",
    help: "open client connections; the limit is max_connections",
    option: Some("conn"),
    warning: "80%",
    critical: "90%",
    remedy: "raise max_connections and the limit of open files, or find who holds many: \
             /connz?sort=idle",
    ..Metric::PLAIN
};
pub(super) static CONNECT_TIME: Metric = Metric {
    label: "connect_time",
    unit: Unit::Seconds,
    help: "TCP connect, INFO, TLS, CONNECT and the first PONG",
    option: Some("connect"),
    warning: "0.5",
    critical: "1",
    ..Metric::PLAIN
};
pub(super) static CPU: Metric = Metric {
    label: "cpu",
    unit: Unit::Percent,
    help: "CPU use in percent of one core",
    option: Some("cpu"),
    ..Metric::PLAIN
};
pub(super) static FINDINGS_CRITICAL: Metric = Metric {
    label: "findings_critical",
    help: "critical findings",
    ..Metric::PLAIN
};
pub(super) static FINDINGS_INFO: Metric = Metric {
    label: "findings_info",
    help: "findings of severity info",
    ..Metric::PLAIN
};
pub(super) static FINDINGS_WARNING: Metric = Metric {
    label: "findings_warning",
    help: "findings of severity warning",
    ..Metric::PLAIN
};
pub(super) static LAME_DUCK: Metric = Metric {
    label: "lame_duck",
    help: "1 while the broker is in lame duck mode, else 0",
    option: Some("lame-duck"),
    warning: "0",
    remedy: "clients move to other brokers by themselves; start the broker again when its \
             maintenance is over",
    ..Metric::PLAIN
};
pub(super) static LATENCY_COUNT: Metric = Metric {
    label: "latency_count",
    help: "writes to readers that were measured in the last minute",
    ..Metric::PLAIN
};
pub(super) static LATENCY_MAX: Metric = Metric {
    label: "latency_max",
    unit: Unit::Seconds,
    help: "the longest time from reading a message to writing it, in the last minute",
    option: Some("latency-max"),
    ..Metric::PLAIN
};
pub(super) static LATENCY_P50: Metric = Metric {
    label: "latency_p50",
    unit: Unit::Seconds,
    help: "half of the messages took at most this long",
    option: Some("latency-p50"),
    ..Metric::PLAIN
};
pub(super) static LATENCY_P99: Metric = Metric {
    label: "latency_p99",
    unit: Unit::Seconds,
    help: "99 of 100 messages took at most this long from being read to being written",
    option: Some("latency-p99"),
    warning: "0.1",
    critical: "0.5",
    ..Metric::PLAIN
};
pub(super) static MEM: Metric = Metric {
    label: "mem",
    unit: Unit::Bytes,
    help: "resident memory",
    option: Some("mem"),
    ..Metric::PLAIN
};
pub(super) static PENDING_MAX: Metric = Metric {
    label: "pending_max",
    unit: Unit::Bytes,
    help: "bytes waiting for the client with most of them; the limit is max_pending",
    option: Some("pending"),
    // Publishers begin to stall at three quarters of the limit.
    warning: "50%",
    critical: "75%",
    remedy: "look at the named client: is it busy, stopped or on a slow link? Give it less to \
             read, or more CPU",
};
pub(super) static PENDING_TOTAL: Metric = Metric {
    label: "pending_total",
    unit: Unit::Bytes,
    help: "bytes waiting for all clients together",
    option: Some("pending-total"),
    ..Metric::PLAIN
};
pub(super) static REQUEST_TIME: Metric = Metric {
    label: "request_time",
    unit: Unit::Seconds,
    help: "from publishing a message to the check's own inbox to its delivery",
    option: Some("req"),
    warning: "0.5",
    critical: "1",
    ..Metric::PLAIN
};
pub(super) static RTT: Metric = Metric {
    label: "rtt",
    unit: Unit::Seconds,
    help: "from a PING to its PONG",
    option: Some("rtt"),
    warning: "0.1",
    critical: "0.5",
    ..Metric::PLAIN
};
pub(super) static SCHED_MAX: Metric = Metric {
    label: "sched_max",
    unit: Unit::Seconds,
    help: "the longest delay of a thread of the broker in the last minute",
    option: Some("sched-max"),
    ..Metric::PLAIN
};
pub(super) static SCHED_P99: Metric = Metric {
    label: "sched_p99",
    unit: Unit::Seconds,
    help: "99 of 100 times a thread of the broker was delayed by at most this",
    option: Some("sched"),
    warning: "0.1",
    critical: "0.5",
    ..Metric::PLAIN
};
pub(super) static SUBSCRIPTIONS: Metric = Metric {
    label: "subscriptions",
    help: "subscriptions of all accounts, and the interest of the cluster's other brokers",
    option: Some("subs"),
    ..Metric::PLAIN
};
pub(super) static TOTAL_CONNECTIONS: Metric = Metric {
    label: "total_connections",
    unit: Unit::Counter,
    help: "client connections accepted since the start",
    ..Metric::PLAIN
};
pub(super) static UPTIME: Metric = Metric {
    label: "uptime",
    unit: Unit::Seconds,
    help: "time since the start of the broker",
    option: Some("uptime"),
    ..Metric::PLAIN
};
pub(super) static RECEIVERS: Metric = Metric {
    label: "receivers",
    help: "subscriptions, queue groups and other brokers that get a message to the subject",
    option: Some("receivers"),
    critical: "1:",
    remedy: "ask the broker for /pathz?format=text with the same subject: it says who does not get \
             it and why",
    ..Metric::PLAIN
};
/// In mode `uptime` a restart is what is looked for; elsewhere it is context.
pub(super) static UPTIME_SHORT: Metric = Metric {
    label: "uptime",
    unit: Unit::Seconds,
    help: "time since the start of the broker",
    option: Some("uptime"),
    warning: "10m:",
    critical: "",
    remedy: "read the end of the broker's log before the start: did it crash, or was it restarted \
             on purpose?",
};
/// Placeholder for the value that `--figure` names.
pub(super) static VARZ_FIGURE: Metric = Metric {
    label: "FIGURE",
    help: "the value that --figure names, labelled by its path",
    ..Metric::PLAIN
};
