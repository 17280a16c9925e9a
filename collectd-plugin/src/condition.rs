//! The condition of a broker: whether it answers, and what `/healthz` says. Its changes are logged
//! and notified.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    mem,
};

use monitor_client::{Error, Healthz};

use crate::{
    daemon::Severity,
    findings::{Findings, Level},
    requests::Sample,
};

/// The condition of a broker, as far as changes are logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Condition {
    /// `/varz` cannot be read.
    Down(Cause),
    /// `/varz` was read, `/healthz` was not.
    HealthUnknown(Cause),
    /// No problems.
    Serving,
    /// `/healthz` reports a problem with this code.
    Unhealthy(u16),
}

/// What tells errors apart in the log: the kind, and what more of it does not change with every
/// poll.
pub(crate) type Cause = (mem::Discriminant<Error>, u64);

impl Condition {
    /// The condition that a poll shows.
    pub(crate) fn of(sample: &Sample) -> Self {
        match (&sample.broker, &sample.health) {
            (Err(error), _) => Self::Down(cause(error)),
            (Ok(_), Some(Ok((code, health)))) if !is_well(*code, health) => Self::Unhealthy(*code),
            // Brokers before nats-server 2.0 have none.
            (Ok(_), Some(Err(error))) if !error.is_missing() => Self::HealthUnknown(cause(error)),
            (Ok(_), _) => Self::Serving,
        }
    }

    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Down(_) => Severity::Failure,
            Self::HealthUnknown(_) | Self::Unhealthy(_) => Severity::Warning,
            Self::Serving => Severity::Okay,
        }
    }
}

/// The condition as a text about the broker at `place`.
pub(crate) fn text(sample: &Sample, place: &str) -> String {
    let broker = match &sample.broker {
        Ok(broker) => broker,
        Err(error) => return format!("down: {error}"),
    };
    let note = match &sample.health {
        Some(Ok((code, health))) if !is_well(*code, health) => {
            let Healthz { status, error, .. } = health;
            return format!(
                "not healthy: {place}: /healthz says {status} with HTTP status {code}: {error}"
            );
        }
        Some(Err(error)) if error.is_missing() => "; it has no /healthz",
        Some(Err(error)) => return format!("health not known: {error}"),
        Some(Ok(_)) | None => "",
    };
    format!(
        "{place}: broker {}, version {}, serves{note}",
        broker.server_name, broker.version
    )
}

/// Whether the broker is up and well, by `/healthz` and its findings; `None` if that is not known: it
/// has no `/healthz`, or its findings could not be read and nothing else is wrong.
pub(crate) fn is_healthy(sample: &Sample) -> Option<bool> {
    if sample.broker.is_err() {
        return Some(false);
    }
    let says_well = match &sample.health {
        Some(Ok((code, health))) => Some(is_well(*code, health)),
        Some(Err(error)) if error.is_missing() => None,
        Some(Err(_)) | None => Some(false),
    };
    let has_critical = match &sample.findings {
        Findings::Known(findings) => {
            Some(findings.iter().any(|(level, _)| *level == Level::Critical))
        }
        Findings::Absent => Some(false),
        Findings::Unknown => None,
    };
    match (says_well, has_critical) {
        (Some(false), _) | (_, Some(true)) => Some(false),
        (Some(true), Some(false)) => Some(true),
        (None, _) | (_, None) => None,
    }
}

fn is_well(code: u16, health: &Healthz) -> bool {
    code == 200 && health.status == "ok"
}

/// The cause that an error is logged for.
pub(crate) fn cause(error: &Error) -> Cause {
    let more = match error {
        // A proxy has no answer of the broker: it says the one or the other.
        Error::Status { code: 504, .. } => 502,
        Error::Status { code, .. } => u64::from(*code),
        Error::Timeout { phase, .. } => *phase as u64,
        Error::Connection { detail, .. } | Error::File { detail, .. } => {
            let mut hasher = DefaultHasher::new();
            detail.hash(&mut hasher);
            hasher.finish()
        }
        _ => 0,
    };
    (mem::discriminant(error), more)
}
