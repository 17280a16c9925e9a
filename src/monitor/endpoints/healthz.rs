//! `/healthz`: whether the broker serves. `ok` goes with 200.
//!
//! Status, codes and parameters are nats-server's. The parameters concern JetStream, which
//! midge does not have: as with a nats-server without JetStream, they are read and change
//! nothing. What midge adds, and how it follows from the findings, is in
//! `docs/findings.md`.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use monitor_client::{HealthError, Healthz};

use super::{super::Monitor, query::Query, refusal::Refusal};
use crate::observe::diagnosis::{Finding, Report, Severity};

const FLAGS: &[&str] = &[
    "js-enabled",
    "js-enabled-only",
    "js-server-only",
    "js-meta-only",
    "details",
];

/// Codes of findings that, when critical, keep further clients out.
const NO_ROOM: &[&str] = &[
    "ceiling-connections",
    "ceiling-fds",
    "descriptors-exhausted",
    "accept-failing",
];

/// The answer. `probe=live` and `probe=ready` make the status code that of the
/// field, `probe=state` leaves it; with any of them midge's own fields are added.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<(StatusCode, Healthz), Refusal> {
    for flag in FLAGS {
        query.boolean(flag)?;
    }
    let (status, health) = build(monitor, query);
    let probe = query.text("probe");
    if probe.is_empty() {
        return Ok((status, health));
    }
    let stopping = monitor.server.stopping.load(Ordering::Acquire);
    let report = monitor.diagnosis.report();
    let state = State::of(&report, stopping);
    let status = match &*probe {
        "live" => code(state.live),
        "ready" => code(state.ready),
        "state" => status,
        _ => {
            let text = "'probe' must be live, ready or state";
            return Err(Refusal::bad_request(text.into()));
        }
    };
    let health = Healthz {
        live: Some(state.live),
        ready: Some(state.ready),
        degraded: Some(state.degraded),
        reasons: state.reasons,
        age: Some(report.sampled.age().as_secs_f64()),
        ..health
    };
    Ok((status, health))
}

/// The state at this moment as nats-server shows it, with the status of its
/// answer.
pub(in crate::monitor) fn build(monitor: &Monitor, query: &Query) -> (StatusCode, Healthz) {
    let stopping = monitor.server.stopping.load(Ordering::Acquire);
    health(query, stopping, monitor.diagnosis.report().dead)
}

fn code(is_well: bool) -> StatusCode {
    match is_well {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// How the broker is, by its findings.
struct State {
    live: bool,
    ready: bool,
    degraded: bool,
    reasons: Vec<String>,
}

impl State {
    fn of(report: &Report, stopping: bool) -> Self {
        let bad = |finding: &&Finding| finding.severity >= Severity::Warning;
        let keeps_out = |finding: &Finding| {
            let is_critical = finding.severity == Severity::Critical;
            finding.ongoing && is_critical && NO_ROOM.contains(&finding.code)
        };
        let mut reasons: Vec<String> = Vec::new();
        if stopping {
            reasons.push("stopping".into());
        }
        for finding in report.findings.iter().filter(bad) {
            if !reasons.iter().any(|known| known == finding.code) {
                reasons.push(finding.code.into());
            }
        }
        let live = !report.dead;
        Self {
            live,
            ready: live && !stopping && !report.findings.iter().any(keeps_out),
            degraded: report.findings.iter().any(|finding| bad(&finding)),
            reasons,
        }
    }
}

fn health(query: &Query, stopping: bool, dead: bool) -> (StatusCode, Healthz) {
    let is_absent = |name| query.bytes(name).is_empty();
    // A wrong value was refused before.
    let with_details = query.boolean("details").unwrap_or(false);
    let problem = |status, text: &str, error: &str| {
        let mut health = Healthz {
            status: text.into(),
            ..Healthz::default()
        };
        match with_details && !error.is_empty() {
            true => health.errors.push(HealthError {
                kind: match status {
                    StatusCode::BAD_REQUEST => "BAD_REQUEST".into(),
                    _ => "CONNECTION".into(),
                },
                error: error.into(),
            }),
            false => health.error = error.into(),
        }
        (status, health)
    };
    if !is_absent("stream") && is_absent("account") {
        return problem(
            StatusCode::BAD_REQUEST,
            "error",
            "\"account\" must not be empty when checking stream health",
        );
    }
    if !is_absent("consumer") && is_absent("stream") {
        return problem(
            StatusCode::BAD_REQUEST,
            "error",
            "\"stream\" must not be empty when checking consumer health",
        );
    }
    if stopping {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the broker is stopping",
        );
    }
    if dead {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the broker's threads hang; see /explainz",
        );
    }
    problem(StatusCode::OK, "ok", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::MonotonicMillis;

    #[test]
    fn what_is_asked_about_jetstream_changes_nothing() {
        for text in ["", "js-enabled-only=1&account=a&stream=s&consumer=c"] {
            let (status, health) = health(&Query::parse(text), false, false);
            assert_eq!((status, &*health.status), (StatusCode::OK, "ok"));
            assert_eq!(health.error, "");
        }
    }

    #[test]
    fn half_questions_are_refused() {
        for (text, missing) in [("stream=s", "account"), ("account=a&consumer=c", "stream")] {
            let (status, health) = health(&Query::parse(text), false, false);
            assert_eq!(
                (status, &*health.status),
                (StatusCode::BAD_REQUEST, "error")
            );
            assert!(health.error.contains(missing));
        }
    }

    #[test]
    fn a_broker_that_stops_or_hangs_is_unavailable() {
        for (stopping, dead) in [(true, false), (false, true)] {
            let (status, health) = health(&Query::parse(""), stopping, dead);
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(health.status, "unavailable");
        }
    }

    fn report(codes: &[(&'static str, Severity)]) -> Report {
        let findings = codes.iter().map(|(code, severity)| Finding {
            code,
            severity: *severity,
            subject: String::new(),
            cid: 0,
            since: MonotonicMillis(0),
            ongoing: true,
            text: String::new(),
            cause: String::new(),
            remedy: "",
        });
        Report {
            findings: findings.collect(),
            ..Report::default()
        }
    }

    #[test]
    fn findings_map_to_live_ready_and_degraded() {
        use Severity::{Critical, Info, Warning};
        let state = |codes: &[_], stopping| {
            let state = State::of(&report(codes), stopping);
            (state.live, state.ready, state.degraded)
        };
        assert_eq!(state(&[], false), (true, true, false));
        assert_eq!(state(&[], true), (true, false, false));
        assert_eq!(state(&[("a", Info)], false), (true, true, false));
        assert_eq!(state(&[("a", Critical)], false), (true, true, true));
        assert_eq!(
            state(&[("ceiling-fds", Warning)], false),
            (true, true, true)
        );
        assert_eq!(
            state(&[("ceiling-fds", Critical)], false),
            (true, false, true)
        );
        // Refused connections are reported for a while; there are places again.
        let mut over = report(&[("descriptors-exhausted", Critical)]);
        assert!(!State::of(&over, false).ready);
        over.findings[0].ongoing = false;
        let state_then = State::of(&over, false);
        assert!(state_then.ready && state_then.degraded);
        let dead = Report {
            dead: true,
            ..Report::default()
        };
        assert!(!State::of(&dead, false).live && !State::of(&dead, false).ready);
        let twice = report(&[("a", Critical), ("a", Warning), ("b", Info)]);
        assert_eq!(State::of(&twice, true).reasons, ["stopping", "a"]);
    }
}
