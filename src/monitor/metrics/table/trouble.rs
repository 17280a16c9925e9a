//! Problems: findings, incidents, ceilings, delays.

use super::{Metric, counter, gauge, histogram};
use crate::{
    monitor::metrics::sample::Labels,
    observe::diagnosis::{Ceiling, Severity, rules::RULES},
};

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    gauge(
        "midge_healthy",
        "",
        "1 while /healthz says ok, else 0.",
        |now, to| to.add(now.health.status == "ok"),
    ),
    gauge(
        "midge_findings",
        "",
        "Present findings, by code and severity; /explainz says who, since when and what to do.",
        |now, to| {
            for code in RULES.iter().map(|rule| rule.code) {
                for severity in Severity::ALL {
                    let findings = now.report.findings.iter();
                    let count = findings
                        .filter(|known| known.code == code && known.severity == severity)
                        .count();
                    let labels = vec![
                        ("code", code.to_owned()),
                        ("severity", severity.name().to_owned()),
                    ];
                    to.add_labelled(labels, count);
                }
            }
        },
    ),
    counter(
        "midge_slow_incidents",
        "",
        "Readers that fell behind, including those that caught up; /slowz shows the last ones.",
        |now, to| to.add(now.slow.total),
    ),
    gauge(
        "midge_slow_incidents_ongoing",
        "",
        "Readers that are behind now.",
        |now, to| to.add(now.slow.ongoing),
    ),
    counter(
        "midge_slow_incidents_ended",
        "",
        "Readers that were behind, by how it ended (recovered, evicted, closed) and by cause.",
        |now, to| {
            for ((state, cause), count) in &now.slow.ended {
                let labels = vec![
                    ("state", state.name().to_owned()),
                    ("cause", cause.name().to_owned()),
                ];
                to.add_labelled(labels, *count);
            }
        },
    ),
    gauge(
        "midge_ceiling_used",
        "",
        "Use of everything that has a limit, in the unit of the label.",
        |now, to| {
            for ceiling in &now.report.ceilings {
                to.add_labelled(labels(ceiling), ceiling.used);
            }
        },
    ),
    gauge(
        "midge_ceiling_limit",
        "",
        "The limit of each of these.",
        |now, to| {
            for ceiling in &now.report.ceilings {
                to.add_labelled(labels(ceiling), ceiling.limit);
            }
        },
    ),
    gauge(
        "midge_ceiling_exhaustion_seconds",
        "seconds",
        "Time until the limit is reached at the present growth; absent for what does not grow.",
        |now, to| {
            for ceiling in &now.report.ceilings {
                if let Some(seconds) = ceiling.exhausted_in {
                    to.add_for("ceiling", ceiling.kind.name(), seconds);
                }
            }
        },
    ),
    histogram(
        "midge_worker_delay_seconds",
        "Delay of the broker's own threads, as measured by probes.",
        |now, to| to.add_times(Vec::new(), &now.latency.worker_delay),
    ),
];

fn labels(ceiling: &Ceiling) -> Labels {
    vec![
        ("ceiling", ceiling.kind.name().to_owned()),
        ("unit", ceiling.kind.unit().to_owned()),
    ]
}
