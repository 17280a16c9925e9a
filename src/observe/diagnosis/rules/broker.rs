//! The broker itself: its configuration, its threads, its starts.

use super::{Evidence, Severity, Symptom, warning};
use crate::{
    observe::diagnosis::humanize::{bytes, count, time},
    telemetry::process::system_error_in,
};

/// Settings named in one sentence.
const NAMED_MAX: usize = 8;

pub(super) fn config_differs(evidence: &Evidence) -> Vec<Symptom> {
    let Some(outcome) = &evidence.pending_reload else {
        return Vec::new();
    };
    let options = evidence.server.options();
    let file = options.config_file.clone().unwrap_or_default();
    let subject = file.display().to_string();
    // The error itself may quote the file, which may hold secrets.
    if let Some(error) = &outcome.error {
        let text = match system_error_in(error) {
            Some(cause) => format!("this file, or one that it names, cannot be read: {cause}"),
            None => "the configuration file has an error: the next start would fail".to_owned(),
        };
        return vec![warning(&subject, 0, text)];
    }
    let names: Vec<&str> = outcome.changes.iter().map(|change| &*change.name).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let waits_for_restart = outcome.needs_restart().count() == names.len();
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

pub(super) fn worker_stall(evidence: &Evidence) -> Vec<Symptom> {
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

pub(super) fn table_full(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.full_tables.by_subject();
    let tables = sums.into_iter().map(|sum| {
        let text = format!(
            "this table was full {} within {}: all of it may take {}, and one holder gets only \
             a part of what is free",
            count(sum.count.times, "time"),
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
            count(route.dropped_for_memory as u64, "time")
        );
        Some(warning(&member.name, route.cid, text))
    })
}

pub(super) fn restart_loop(evidence: &Evidence) -> Vec<Symptom> {
    if evidence.starts < evidence.thresholds.restarts {
        return Vec::new();
    }
    let text = format!(
        "the broker was started {} times within {}",
        evidence.starts,
        time(evidence.thresholds.incident_window)
    );
    vec![warning("", 0, text)]
}

pub(super) fn reload_failed(evidence: &Evidence) -> Vec<Symptom> {
    let Some(outcome) = evidence.server.last_reload() else {
        return Vec::new();
    };
    // The error itself may quote the file, which may hold secrets.
    let Some(error) = &outcome.error else {
        return Vec::new();
    };
    let file = evidence.server.options().config_file.clone();
    let text = format!(
        "the last reload, at {}, failed: nothing was changed{}",
        outcome.at.format("%Y-%m-%d %H:%M:%S UTC"),
        match system_error_in(error) {
            Some(cause) => format!("; a file could not be read: {cause}"),
            None => String::new(),
        }
    );
    let subject = file.unwrap_or_default().display().to_string();
    vec![warning(&subject, 0, text)]
}

pub(super) fn unsafe_clients(evidence: &Evidence) -> Vec<Symptom> {
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

pub(super) fn no_monitoring(evidence: &Evidence) -> Vec<Symptom> {
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

pub(super) fn unsafe_monitoring(evidence: &Evidence) -> Vec<Symptom> {
    let open = evidence.server.open_monitor_address();
    open.map(|address| {
        let text = "other machines can read the monitoring port without a login".to_owned();
        warning(&address.to_string(), 0, text)
    })
    .into_iter()
    .collect()
}
