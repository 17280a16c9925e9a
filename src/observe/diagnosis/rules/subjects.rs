//! Subjects whose messages reach no subscriber, or are very large.

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::observe::diagnosis::humanize::{bytes, plural, time};

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "no-responders",
        levels: "warning",
        meaning: "At least `no_responders` requests to one subject found no subscriber within the \
                  time `incident_window`.",
        cause: "The service is down or not started yet, or the requests go to a wrong subject.",
        remedy: "Start the service that should answer, or correct the subject in the client.",
        pace: Pace::AtOnce,
        find: no_responders,
    },
    Rule {
        code: "replies-full",
        levels: "warning",
        meaning: "Requests to services of other accounts are refused, because the account already \
                  waits for as many replies as it may. Clients that ask for no-responders answers \
                  get one. Other accounts are not affected. The finding stays for the time \
                  `incident_window`.",
        cause: "The service does not answer, and clients keep sending requests.",
        remedy: "Check the service: is it running, does it answer? A shorter `threshold` in its \
                 export forgets unanswered requests sooner.",
        pace: Pace::AtOnce,
        find: replies_full,
    },
    Rule {
        code: "imports-cut",
        levels: "warning",
        meaning: "Messages were dropped at an import: they had come through it before, or through \
                  more than 32 imports in a row, or one message became more than 1024 requests.",
        cause: "Imports form a loop that the configuration alone does not show (through requests \
                to streams, or functions in mappings), or a very long chain.",
        remedy: "Look at the imports and mappings of the named account. Import each service \
                 directly from the account that serves it.",
        pace: Pace::AtOnce,
        find: imports_cut,
    },
    Rule {
        code: "no-interest-subjects",
        levels: "info",
        meaning: "At least `no_interest` messages to one subject reached no subscriber within the \
                  time `incident_window`. Subjects in `may_be_unheard` do not count.",
        cause: "The subscriber is down or gone, or the publisher has a typo in its subject.",
        remedy: "Open /topz for the subjects (`no_interest`) and their publishers. Start the \
                 subscriber, or fix the publisher. If nobody has to listen, add the subject to \
                 `may_be_unheard`.",
        pace: Pace::AtOnce,
        find: no_interest,
    },
    Rule {
        code: "large-payloads",
        levels: "info; warning if messages were refused",
        meaning: "Messages are close to `max_payload` (`payload_percent`), or were refused because \
                  they are larger. A refused message costs its publisher the connection.",
        cause: "The data grows and the messages grow with it, or a client sends more than this \
                broker accepts.",
        remedy: "Send a reference instead of the data, or split it; or raise max_payload on all \
                 brokers that the message passes.",
        pace: Pace::AtOnce,
        find: large,
    },
];

fn no_responders(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.unanswered.by_subject();
    sums.into_iter()
        .filter(|sum| sum.count.times >= evidence.thresholds.no_responders)
        .map(|sum| {
            let text = format!(
                "{} to this subject within {} found no subscriber, the last one from cid {}",
                plural(sum.count.times, "request"),
                time(evidence.thresholds.incident_window),
                sum.count.cid
            );
            warning(&sum.subject, 0, text)
        })
        .collect()
}

fn replies_full(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.replies_full.by_subject();
    sums.into_iter()
        .map(|sum| {
            let text = format!(
                "{} of this account to other accounts refused within {}, the last one from cid \
                 {}: the account already waits for as many replies as it may",
                plural(sum.count.times, "request"),
                time(evidence.thresholds.incident_window),
                sum.count.cid
            );
            warning(&sum.subject, 0, text)
        })
        .collect()
}

fn imports_cut(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.pruned_paths.by_subject();
    sums.into_iter()
        .map(|sum| {
            let text = format!(
                "{} dropped within {} at an import of this account: they had come through it \
                 before, or through too many",
                plural(sum.count.times, "message"),
                time(evidence.thresholds.incident_window),
            );
            warning(&sum.subject, 0, text)
        })
        .collect()
}

fn no_interest(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.no_interest.by_subject();
    let telemetry = &evidence.server.broker.telemetry;
    let thresholds = evidence.thresholds;
    sums.into_iter()
        .filter(|sum| sum.count.times >= thresholds.no_interest)
        .filter(|sum| !thresholds.may_be_unheard(sum.subject.as_bytes()))
        .map(|sum| {
            let cid = sum.count.cid;
            let by = match telemetry.subjects.publisher(cid) {
                Some(name) => format!("{name:?} (cid {cid})"),
                None => format!("cid {cid}"),
            };
            let text = format!(
                "{} to this subject within {} reached no subscriber, the last one from {by}",
                plural(sum.count.times, "message"),
                time(evidence.thresholds.incident_window),
            );
            Symptom {
                severity: Severity::Info,
                ..warning(&sum.subject, 0, text)
            }
        })
        .collect()
}

fn large(evidence: &Evidence) -> Vec<Symptom> {
    let max = evidence.server.broker.limits.current().max_payload as u64;
    let sums = evidence.history.large.by_subject();
    let mut symptoms: Vec<Symptom> = sums
        .into_iter()
        .map(|sum| {
            let peak = sum.count.peak;
            let (severity, refused) = match peak > max {
                true => (Severity::Warning, ", which is too large and was refused"),
                false => (Severity::Info, ""),
            };
            let text = format!(
                "{} of up to {}{refused} to this subject within {}; max_payload is {}; the last \
                 one from cid {}",
                plural(sum.count.times, "message"),
                bytes(peak),
                time(evidence.thresholds.incident_window),
                bytes(max),
                sum.count.cid
            );
            Symptom {
                severity,
                ..warning(&sum.subject, 0, text)
            }
        })
        .collect();
    symptoms.sort_by_key(|symptom| std::cmp::Reverse(symptom.severity));
    symptoms
}
