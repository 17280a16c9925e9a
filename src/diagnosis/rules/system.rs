//! What the broker needs of the system: that its log can be written, and that
//! calls for files and names come back.

use std::time::Duration;

use super::{Evidence, Symptom, warning};
use crate::{diagnosis::words::time, log::LogLook};

/// A write of the log, or another call, that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// The log cannot be written, or could not lately.
pub(super) fn log_lost(evidence: &Evidence) -> Vec<Symptom> {
    let LogLook {
        file,
        lost,
        last_lost,
        failure,
        busy_since,
        ..
    } = evidence.server.log_look();
    let now = evidence.look.at;
    let age = |since: crate::telemetry::Clock| since.until(now);
    let place = match &file {
        Some(file) => format!("the log file {}", file.display()),
        None => "standard error, where the log goes,".to_owned(),
    };
    let hangs_for = busy_since.map(age).filter(|age| *age >= HANGS_AFTER);
    let recently = last_lost.filter(|last| age(*last) < evidence.thresholds.recent);
    let what = match (failure, hangs_for, recently) {
        (Some(failure), ..) => format!("{place} cannot be written: {failure}"),
        (None, Some(age), _) => {
            format!(
                "{place} takes nothing: a write has not come back for {}",
                time(age)
            )
        }
        (None, None, Some(_)) => format!("{place} was written more slowly than lines came"),
        (None, None, None) => return Vec::new(),
    };
    let text = format!("{what}; {lost} lines were lost since the start");
    let subject = file.map_or_else(|| "stderr".into(), |file| file.display().to_string());
    vec![warning(&subject, 0, text)]
}

/// Calls that do not come back.
pub(super) fn blocked_call(evidence: &Evidence) -> Vec<Symptom> {
    let calls = &evidence.server.clients.telemetry.calls;
    let late = calls.older_than(HANGS_AFTER);
    late.into_iter()
        .map(|call| {
            let age = call.since.until(evidence.look.at);
            let text = format!(
                "{} {} has taken {} so far",
                call.what,
                call.subject,
                time(age)
            );
            warning(&call.subject, 0, text)
        })
        .collect()
}
