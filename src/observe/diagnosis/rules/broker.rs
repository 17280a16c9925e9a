//! The broker itself: its configuration, its threads, its starts.

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::{
    observe::diagnosis::humanize::{bytes, plural, time},
    telemetry::pool::shorten_to,
};

/// Settings named in one sentence.
const NAMED_MAX: usize = 8;

/// Bytes of an error in one sentence.
const REASON_MAX: usize = 400;

/// A piece of work hangs when it takes so many times `worker_delay`.
const STUCK_DELAYS: u32 = 40;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "table-full",
        levels: "warning",
        meaning: "midge refuses or forgets something because all of its kind takes too much \
                  memory: `subscriptions` (the client gets an error), `interest` of other brokers \
                  (messages do not get there), `permissions` to respond, `replies` that are waited \
                  for, `system_requests` (to the broker itself), `payloads` that are being read \
                  (the publisher is closed). /memz shows how much they hold. The finding stays for \
                  the time `incident_window`; for interest of another broker it stays until that \
                  broker has sent it again.",
        cause: "A client subscribes or sends requests without end, or the process may use too \
                little memory.",
        remedy: "Open /memz and /connz?sort=subs to see who holds most. Give the service more \
                 memory, or limit the clients (max_subscriptions).",
        pace: Pace::AtOnce,
        find: table_full,
    },
    Rule {
        code: "config-differs",
        levels: "warning; info if it only waits for a restart",
        meaning: "The configuration file on disk differs from what the broker runs with.",
        cause: "The file was changed but not reloaded, or a changed setting needs a restart, or \
                the file has an error or cannot be read.",
        remedy: "See what differs with `midge -t --diff -c FILE`. Then reload (`midge --signal reload=PID`), or \
                 restart where a setting needs it.",
        pace: Pace::Lasting,
        find: config_differs,
    },
    Rule {
        code: "reload-failed",
        levels: "warning",
        meaning: "The last reload failed. The broker keeps its old configuration. The finding \
                  stays until a reload succeeds.",
        cause: "The configuration file, or a file that it names, has an error or cannot be read.",
        remedy: "Correct what the text names, check it with `midge -t -c FILE`, and reload \
                 again. The log has all errors, if there are several.",
        pace: Pace::AtOnce,
        find: reload_failed,
    },
    Rule {
        code: "worker-stall",
        levels: "warning; critical from ten times `worker_delay` on",
        meaning: "Work waits longer than `worker_delay` for a thread of the broker: everything is \
                  late.",
        cause: "The machine is overloaded, or the process gets too little CPU time (CPUQuota, a \
                busy neighbour, swapping).",
        remedy: "Check the load and swap of the machine (`top`, `vmstat 1`) and cpu in /varz. Give \
                 the broker more CPU.",
        pace: Pace::Lasting,
        find: worker_stall,
    },
    Rule {
        code: "worker-stuck",
        levels: "critical",
        meaning: "A thread that serves connections does not come to the end of one piece of work \
                  for 40 times `worker_delay` (10 seconds). The connection that it serves, and a few \
                  others, stand still; the other threads serve all else. If none is left, \
                  worker-stall says so too, and systemd's watchdog restarts the broker.",
        cause: "midge has a bug, or the thread was stopped by a debugger.",
        remedy: "Keep the output of `gdb -p PID -batch -ex 'thread apply all bt'` for a bug \
                 report. Then restart the broker, at a time of your choice: \
                 `midge --signal ldm=PID` moves the clients away first.",
        pace: Pace::AtOnce,
        find: worker_stuck,
    },
    Rule {
        code: "restart-loop",
        levels: "warning",
        meaning: "The broker was started at least `restarts` times within the time \
                  `incident_window`. This needs `starts_file`, or the folder that systemd names in \
                  STATE_DIRECTORY.",
        cause: "The broker ends soon after its start, or something restarts it again and again.",
        remedy: "Read the end of the log before each start: `journalctl -u midge`.",
        pace: Pace::AtOnce,
        find: restart_loop,
    },
    Rule {
        code: "unsafe-clients",
        levels: "warning",
        meaning: "Clients from other machines need neither a login nor a certificate, and may \
                  publish or subscribe to everything, or to all but a few subjects.",
        cause: "The listener is open to the network, and there are no users, no token and no \
                certificates required; or no_auth_user is a user without limits.",
        remedy: "Configure a login (authorization), or give the user of no_auth_user permissions \
                 that name subjects, or require certificates (verify in the block tls), or listen \
                 on this machine only (host: 127.0.0.1, or -a 127.0.0.1).",
        pace: Pace::AtOnce,
        find: unsafe_clients,
    },
    Rule {
        code: "unsafe-monitoring",
        levels: "warning",
        meaning: "The monitoring port is open to other machines and needs no login: it shows \
                  clients, addresses and subjects to anybody.",
        cause: "`http` names an address other than loopback, and the block `monitor` has neither a \
                token nor a user.",
        remedy: "Set a token in the block monitor. Or keep the port on 127.0.0.1 and reach it \
                 through a tunnel (`ssh -L 8222:127.0.0.1:8222 HOST`) or an agent on the machine.",
        pace: Pace::AtOnce,
        find: unsafe_monitoring,
    },
    Rule {
        code: "no-monitoring",
        levels: "info",
        meaning: "The default monitoring port could not be opened. midge serves its clients \
                  without one.",
        cause: "Another broker, or another program, on this machine uses the port.",
        remedy: "Choose another port: http_port: 8223 in the file, or -m 8223; 0 for none. Or set \
                 `unix` in the block monitor for a Unix socket.",
        pace: Pace::AtOnce,
        find: no_monitoring,
    },
];

fn config_differs(evidence: &Evidence) -> Vec<Symptom> {
    let Some(outcome) = &evidence.pending_reload else {
        return Vec::new();
    };
    let options = evidence.server.options();
    let file = options.config_file.clone().unwrap_or_default();
    let subject = file.display().to_string();
    if let Some(error) = &outcome.error {
        let text = match outcome.changes.is_empty() {
            true => format!("the next start would fail: {}", reason(error)),
            false => format!("a reload of this file would be refused: {}", reason(error)),
        };
        return vec![warning(&subject, 0, text)];
    }
    let names: Vec<&str> = outcome.changes.iter().map(|change| &*change.name).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let waits_for_restart = outcome.answer(true).applied.is_empty();
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!(
        "the configuration file and the running broker differ in {}{more}{}",
        names[..names.len().min(NAMED_MAX)].join(", "),
        match waits_for_restart {
            true => "; these settings take effect with the next start",
            false => "",
        }
    );
    vec![Symptom {
        severity: match waits_for_restart {
            true => Severity::Info,
            false => Severity::Warning,
        },
        ..warning(&subject, 0, text)
    }]
}

fn worker_stall(evidence: &Evidence) -> Vec<Symptom> {
    let delay = evidence.sample.scheduling_delay;
    let limit = evidence.thresholds.worker_delay;
    if delay < limit {
        return Vec::new();
    }
    let text = format!(
        "work waited {} for a thread of the broker (limit: {})",
        time(delay),
        time(limit)
    );
    vec![Symptom {
        severity: match delay >= limit * 10 {
            true => Severity::Critical,
            false => Severity::Warning,
        },
        ..warning("", 0, text)
    }]
}

fn worker_stuck(evidence: &Evidence) -> Vec<Symptom> {
    let limit = evidence.thresholds.worker_delay * STUCK_DELAYS;
    let at_work = &evidence.sample.at_work;
    let stuck = at_work.iter().filter(|time| **time >= limit);
    let Some(longest) = stuck.clone().max() else {
        return Vec::new();
    };
    let text = format!(
        "{} of {} that serve connections have been in one piece of work for up to {}",
        stuck.count(),
        plural(at_work.len() as u64, "thread"),
        time(*longest)
    );
    vec![Symptom {
        severity: Severity::Critical,
        ..warning("", 0, text)
    }]
}

fn table_full(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.full_tables.by_subject();
    let tables = sums.into_iter().map(|sum| {
        let text = format!(
            "this table was full {} within {}: all of it may take {}, and one holder gets only \
             a part of what is free",
            plural(sum.count.times, "time"),
            time(evidence.thresholds.incident_window),
            bytes(sum.count.peak)
        );
        warning(&sum.subject, 0, text)
    });
    forgotten_interest(evidence).chain(tables).collect()
}

/// Holds until the peer has sent its interest again.
fn forgotten_interest(evidence: &Evidence) -> impl Iterator<Item = Symptom> {
    let mesh = &evidence.sample.mesh;
    mesh.present().filter_map(|member| {
        let route = mesh
            .route(&member.id)
            .filter(|route| route.dropped_for_memory > 0)?;
        let text = format!(
            "its subscriptions did not fit into memory {}: messages published here may not reach \
             it. When the interest of all brokers takes less than half of its limit, the route \
             is closed and made again, and the broker sends all of its interest again",
            plural(route.dropped_for_memory as u64, "time")
        );
        Some(warning(&member.name, route.cid, text))
    })
}

fn restart_loop(evidence: &Evidence) -> Vec<Symptom> {
    if evidence.starts < evidence.thresholds.restarts {
        return Vec::new();
    }
    let text = format!(
        "the broker was started {} within {}",
        plural(evidence.starts, "time"),
        time(evidence.thresholds.incident_window)
    );
    vec![warning("", 0, text)]
}

fn reload_failed(evidence: &Evidence) -> Vec<Symptom> {
    let Some(outcome) = evidence.server.last_reload() else {
        return Vec::new();
    };
    let Some(error) = &outcome.error else {
        return Vec::new();
    };
    let file = evidence.server.options().config_file.clone();
    let text = format!(
        "{}; nothing was changed by the last reload, at {}",
        reason(error),
        outcome.at.format("%Y-%m-%d %H:%M:%S UTC")
    );
    let subject = file.unwrap_or_default().display().to_string();
    vec![warning(&subject, 0, text)]
}

/// Why a configuration is not accepted: the first error, with its place, and how many follow. Errors
/// of the configuration show no value that may be secret.
fn reason(error: &str) -> String {
    let mut lines = error.lines();
    let first = shorten_to(lines.next().unwrap_or_default(), REASON_MAX);
    match lines.count() as u64 {
        0 => first.into_owned(),
        more => format!("{first} (and {})", plural(more, "more error")),
    }
}

fn unsafe_clients(evidence: &Evidence) -> Vec<Symptom> {
    let guest = evidence.server.guest();
    let Some(guest) = guest.filter(|guest| guest.is_unlimited()) else {
        return Vec::new();
    };
    let text = format!(
        "clients from other machines need neither login nor certificate: any client {}",
        guest.text()
    );
    let address = evidence.server.client_address.to_string();
    vec![warning(&address, 0, text)]
}

fn no_monitoring(evidence: &Evidence) -> Vec<Symptom> {
    let reason = evidence.server.monitor_error.as_ref();
    let symptom = reason.map(|reason| Symptom {
        severity: Severity::Info,
        ..warning(
            "",
            0,
            format!("the broker has no monitoring port: {reason}"),
        )
    });
    symptom.into_iter().collect()
}

fn unsafe_monitoring(evidence: &Evidence) -> Vec<Symptom> {
    let open = evidence.server.open_monitor_address();
    open.map(|address| {
        let text = "other machines can read the monitoring port without a login".to_owned();
        warning(&address.to_string(), 0, text)
    })
    .into_iter()
    .collect()
}
