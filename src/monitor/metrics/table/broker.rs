//! The broker itself.

use super::{Kind, Metric, counter, gauge};
use crate::GIT_COMMIT;

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "midge_build",
        kind: Kind::Info,
        unit: "",
        help: "The version of midge, and the nats-server version that it is compatible with.",
        read: |now, to| {
            let labels = vec![
                ("version", now.varz.midge.clone().unwrap_or_default()),
                ("nats_version", now.varz.version.clone()),
                ("commit", GIT_COMMIT.to_owned()),
                ("server_id", now.varz.server_id.clone()),
                ("server_name", now.varz.server_name.clone()),
            ];
            to.add_labelled(labels, true);
        },
    },
    Metric {
        name: "midge_server",
        kind: Kind::Info,
        unit: "",
        help: "The broker's `server_tags` and `server_metadata`, separated by commas; absent if \
               there are none.",
        read: |now, to| {
            let tags = &now.varz.tags;
            let metadata = &now.varz.metadata;
            if !tags.is_empty() || !metadata.is_empty() {
                let pairs: Vec<String> = metadata
                    .iter()
                    .map(|(name, text)| format!("{name}={text}"))
                    .collect();
                let labels = vec![("tags", tags.join(",")), ("metadata", pairs.join(","))];
                to.add_labelled(labels, true);
            }
        },
    },
    gauge(
        "midge_start_time_seconds",
        "seconds",
        "When the broker started, in Unix time.",
        |now, to| to.add(now.start),
    ),
    gauge(
        "midge_config_reload_success",
        "",
        "1 if the last reload of the configuration succeeded, 0 if it failed; absent before the \
         first.",
        |now, to| {
            now.reload.into_iter().for_each(|(_, taken)| to.add(taken));
        },
    ),
    gauge(
        "midge_config_reload_time_seconds",
        "seconds",
        "When the configuration was last reloaded, in Unix time; absent before the first.",
        |now, to| now.reload.into_iter().for_each(|(at, _)| to.add(at)),
    ),
    counter(
        "midge_events",
        "",
        "Events recorded, by type; /eventsz shows the last ones.",
        |now, to| {
            for (kind, count) in &now.events {
                to.add_for("type", kind, *count);
            }
        },
    ),
    Metric {
        name: "midge_http_requests",
        kind: Kind::Counter,
        unit: "",
        help: "Requests to the monitoring port, by path.",
        read: |now, to| {
            for (path, count) in &now.varz.http_req_stats {
                to.add_for("path", path, *count);
            }
        },
    },
    gauge(
        "midge_diagnosis_age_seconds",
        "seconds",
        "Time since the diagnosis checked the broker: findings, ceilings and memory by cause are \
         as old.",
        |now, to| to.add(now.report.sampled.age().as_secs_f64()),
    ),
    counter(
        "midge_log_lost_lines",
        "",
        "Log lines that were lost: the log could not be written, or was slower than the lines \
         came.",
        |now, to| to.add(now.log.lost),
    ),
    gauge(
        "midge_log_waiting_bytes",
        "bytes",
        "Bytes of log lines that wait to be written.",
        |now, to| to.add(now.log.waiting),
    ),
    counter(
        "midge_system_notices_dropped",
        "",
        "Advisories and requests of the system account that were dropped because too many came \
         at once, and events that were too large.",
        |now, to| to.add(now.notices_dropped),
    ),
];
