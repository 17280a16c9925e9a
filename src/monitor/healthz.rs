//! `/healthz`: whether the broker serves. `ok` goes with 200.
//!
//! The parameters ask about JetStream, which midge does not have: as with a
//! nats-server without JetStream, they are read and change nothing.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use monitor_client::Healthz;

use super::{
    Monitor,
    answer::{Answer, Refusal},
    query::Query,
};

const FLAGS: &[&str] = &[
    "js-enabled",
    "js-enabled-only",
    "js-server-only",
    "js-meta-only",
    "details",
];

/// The answer.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    for flag in FLAGS {
        query.boolean(flag)?;
    }
    let (status, health) = build(monitor, query);
    Answer::compact_json(status, &health)
}

/// The state at this moment, with the status of its answer.
pub(super) fn build(monitor: &Monitor, query: &Query) -> (StatusCode, Healthz) {
    health(query, monitor.server.stopping.load(Ordering::Acquire))
}

fn health(query: &Query, stopping: bool) -> (StatusCode, Healthz) {
    let is_absent = |name| query.bytes(name).is_empty();
    let problem = |status, text: &str, error: &str| {
        let health = Healthz {
            status: text.into(),
            error: error.into(),
        };
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
    problem(StatusCode::OK, "ok", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_about_jetstream_changes_nothing() {
        for text in ["", "js-enabled-only=1&account=a&stream=s&consumer=c"] {
            let (status, health) = health(&Query::parse(text), false);
            assert_eq!((status, &*health.status), (StatusCode::OK, "ok"));
            assert_eq!(health.error, "");
        }
    }

    #[test]
    fn half_questions_are_refused() {
        for (text, missing) in [("stream=s", "account"), ("account=a&consumer=c", "stream")] {
            let (status, health) = health(&Query::parse(text), false);
            assert_eq!(
                (status, &*health.status),
                (StatusCode::BAD_REQUEST, "error")
            );
            assert!(health.error.contains(missing));
        }
    }

    #[test]
    fn a_stopping_broker_is_unavailable() {
        let (status, health) = health(&Query::parse(""), true);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(health.status, "unavailable");
    }
}
