//! The process, with the names that client libraries of Prometheus use.

use super::{Metric, counter, gauge};

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    gauge(
        "process_resident_memory_bytes",
        "bytes",
        "Resident memory.",
        |now, to| to.add(now.varz.mem),
    ),
    counter(
        "process_cpu_seconds",
        "seconds",
        "CPU time used by all threads.",
        |now, to| to.add(now.process.cpu.as_secs_f64()),
    ),
    gauge(
        "process_start_time_seconds",
        "seconds",
        "When the process started, in Unix time.",
        |now, to| to.add(now.start),
    ),
    gauge(
        "process_open_fds",
        "",
        "Open file descriptors.",
        |now, to| {
            now.process
                .descriptors
                .into_iter()
                .for_each(|count| to.add(count))
        },
    ),
    gauge(
        "process_max_fds",
        "",
        "Limit of open file descriptors.",
        |now, to| {
            now.process
                .descriptors_max
                .into_iter()
                .for_each(|count| to.add(count))
        },
    ),
];
