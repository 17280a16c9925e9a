//! The system that the broker runs on: whether the log can be written, and whether
//! calls for files and names return.

use std::time::Duration;

use super::{DIAGNOSIS_HANGS, Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::{
    log::{Destination, LogState, LossCause},
    observe::diagnosis::humanize::{plural, time},
    telemetry::{MonotonicMillis, threads},
};

/// A write of the log, or another call, is regarded as hanging after this time.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "log-lost",
        levels: "warning",
        meaning: "The log cannot be written, hangs, or is too slow: lines are lost, or will be; \
                  the text says how many. Nothing else waits for the log. Lines that the system's \
                  log or a log server does not take go to standard error, and are lost only if \
                  that does not take them either. midge_log_lost_lines_total in /metrics counts \
                  the lost ones. The finding stays for the time `incident_window` after the last \
                  one.",
        cause: "The disk is full or hangs, nobody reads the pipe that standard error goes to, or \
                the log server cannot be reached.",
        remedy: "Free space on the disk (`df -h`), or repair what the text names. To log \
                 elsewhere, change log_file and reload; to reopen the file, send SIGUSR1. The log \
                 itself says how many lines are missing.",
        pace: Pace::AtOnce,
        find: log_lost,
    },
    Rule {
        code: "blocked-call",
        levels: "warning",
        meaning: "A call to the system has not returned for seconds: opening or reading a file, or \
                  resolving a host name. What needs its result waits, for example a reload; \
                  clients and this port do not.",
        cause: "A disk or a network file system hangs, a file is a pipe that nobody writes to, or \
                the resolver does not answer.",
        remedy: "Check the named file or resolver. A reload that waits for it goes on when the \
                 file can be read; until then no other reload starts.",
        pace: Pace::AtOnce,
        find: blocked_call,
    },
    Rule {
        code: "threads-exhausted",
        levels: "critical",
        meaning: "The system refused the broker a thread. What it was for failed: a login with a \
                  hashed password, a reload, resolving a name, reopening the log. Connected \
                  clients are served as before. The finding stays for the time \
                  `incident_window` after the last refusal.",
        cause: "The service, its user or the machine has as many threads as it may have, or the \
                machine has no memory for another one.",
        remedy: "Raise TasksMax or LimitNPROC of the service (`systemctl edit midge`), or look \
                 for programs of the same user or machine with many threads (`ps -eLf`).",
        pace: Pace::AtOnce,
        find: threads_exhausted,
    },
    Rule {
        code: DIAGNOSIS_HANGS,
        levels: "critical",
        meaning: "The diagnosis has not checked the broker for at least ten seconds and five of \
                  its intervals. All other findings and their numbers are as old. After 30 seconds \
                  /healthz says that the broker is not live.",
        cause: "The machine has no CPU time for it, the process was stopped, or midge has a bug.",
        remedy: "Check the load of the machine and the threads of the process (top -H, gdb -p PID \
                 -batch -ex 'thread apply all bt'). Keep the output for a bug report, and restart.",
        pace: Pace::AtOnce,
        // Found by the age of the report when it is asked for: a diagnosis that hangs finds
        // nothing.
        find: |_| Vec::new(),
    },
];

/// Lines of the log are lost, or were lost lately.
fn log_lost(evidence: &Evidence) -> Vec<Symptom> {
    let state = evidence.server.log_state();
    let (now, recent) = (evidence.sample.at, evidence.thresholds.incident_window);
    let text = log_trouble(&state, now, recent);
    text.map(|text| warning(&state.destination.address(), 0, text))
        .into_iter()
        .collect()
}

fn log_trouble(state: &LogState, now: MonotonicMillis, recent: Duration) -> Option<String> {
    let age = |since: MonotonicMillis| since.until(now);
    let hangs_for = state.busy_since.map(age).filter(|age| *age >= HANGS_AFTER);
    let last_lost = state.last_lost.as_ref();
    let recently = last_lost.filter(|loss| age(loss.at) < recent);
    let what = match (&state.failure, hangs_for, recently.map(|loss| &loss.cause)) {
        (Some(failure), ..) if matches!(state.destination, Destination::Service(_)) => {
            format!("does not take it: {failure}; until it does, lines go to standard error")
        }
        (Some(failure), ..) => format!("cannot be written: {failure}"),
        (None, Some(age), _) => {
            format!("hangs: a write has not returned for {}", time(age))
        }
        (None, None, Some(LossCause::QueueFull)) => "was slower than the lines came".to_owned(),
        (None, None, Some(LossCause::Unwritten(cause))) => {
            format!("could not be written: {cause}")
        }
        (None, None, None) => return None,
    };
    let lost = match state.lost {
        0 => "no line was lost".to_owned(),
        1 => "1 line was lost".to_owned(),
        lost => format!("{lost} lines were lost"),
    };
    Some(format!(
        "the log goes to {}, which {what}; {lost} since the start",
        state.destination
    ))
}

/// Calls that do not return.
fn blocked_call(evidence: &Evidence) -> Vec<Symptom> {
    let calls = &evidence.server.broker.telemetry.calls;
    let late = calls.older_than(HANGS_AFTER);
    late.into_iter()
        .map(|call| {
            let age = call.since.until(evidence.sample.at);
            let text = format!(
                "{} {} has not finished for {}",
                call.what,
                call.subject,
                time(age)
            );
            warning(&call.subject, 0, text)
        })
        .collect()
}

/// Threads that were refused lately.
fn threads_exhausted(evidence: &Evidence) -> Vec<Symptom> {
    let recent = evidence.thresholds.incident_window;
    let refused = threads::refused().filter(|it| it.last.until(evidence.sample.at) < recent);
    let symptom = refused.map(|it| {
        let text = format!(
            "{} refused since the start, the last one for {:?}: {}",
            plural(it.times, "thread"),
            it.name,
            it.error
        );
        Symptom {
            severity: Severity::Critical,
            ..warning("", 0, text)
        }
    });
    symptom.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::options::RemoteSyslog,
        log::{LogService, Loss, Rotation},
    };

    /// The finding names where the log goes and what is wrong there, for each destination and
    /// each reason.
    #[test]
    fn a_log_in_trouble_is_named_with_its_place_and_reason() {
        let remote = RemoteSyslog::Tcp("::1".into(), 601);
        let places = [
            (Destination::Stderr, "stderr", "standard error"),
            (
                Destination::File {
                    path: "/a/log".into(),
                    rotation: Rotation::default(),
                },
                "/a/log",
                "the log file /a/log",
            ),
            (
                Destination::Service(LogService::Local),
                "/dev/log",
                "the system's log /dev/log",
            ),
            (
                Destination::Service(LogService::Remote(remote)),
                "tcp://[::1]:601",
                "the log server tcp://[::1]:601",
            ),
        ];
        let now = MonotonicMillis::now();
        let loss = |cause| Some(Loss { at: now, cause });
        for (destination, address, named) in places {
            assert_eq!(destination.address(), address);
            let state = LogState {
                destination,
                waiting: 0,
                lost: 3,
                last_lost: None,
                failure: None,
                busy_since: None,
            };
            let trouble = |state: &LogState| log_trouble(state, now, Duration::from_secs(600));
            assert_eq!(trouble(&state), None);
            for (state, why) in [
                (
                    LogState {
                        failure: Some("gone".into()),
                        ..state.clone()
                    },
                    ": gone",
                ),
                (
                    LogState {
                        last_lost: loss(LossCause::Unwritten("gone".into())),
                        ..state.clone()
                    },
                    "could not be written: gone",
                ),
                (
                    LogState {
                        last_lost: loss(LossCause::QueueFull),
                        ..state.clone()
                    },
                    "was slower than the lines came",
                ),
            ] {
                let text = trouble(&state).expect("it is in trouble");
                let begin = format!("the log goes to {named}, which ");
                assert!(text.starts_with(&begin) && text.contains(why), "{text}");
                for (lost, end) in [
                    (0, "; no line was lost since the start"),
                    (1, "; 1 line was lost since the start"),
                    (3, "; 3 lines were lost since the start"),
                ] {
                    let text = trouble(&LogState {
                        lost,
                        ..state.clone()
                    });
                    assert!(text.is_some_and(|text| text.ends_with(end)), "{lost}");
                }
            }
        }
    }
}
