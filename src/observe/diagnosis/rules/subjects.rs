//! Subjects whose messages reach no subscriber, or are very large.

use super::{Evidence, Severity, Symptom, warning};
use crate::observe::diagnosis::humanize::{bytes, count, time};

pub(super) fn no_responders(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.unanswered.by_subject();
    sums.into_iter()
        .filter(|sum| sum.count.times >= evidence.thresholds.no_responders)
        .map(|sum| {
            let text = format!(
                "{} to this subject within {} found no subscriber, the last one from cid {}",
                count(sum.count.times, "request"),
                time(evidence.thresholds.incident_window),
                sum.count.cid
            );
            warning(&sum.subject, 0, text)
        })
        .collect()
}

pub(super) fn replies_full(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.replies_full.by_subject();
    sums.into_iter()
        .map(|sum| {
            let text = format!(
                "{} of this account to other accounts refused within {}, the last one from cid \
                 {}: the account already waits for as many replies as it may",
                count(sum.count.times, "request"),
                time(evidence.thresholds.incident_window),
                sum.count.cid
            );
            warning(&sum.subject, 0, text)
        })
        .collect()
}

pub(super) fn imports_cut(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.pruned_paths.by_subject();
    sums.into_iter()
        .map(|sum| {
            let text = format!(
                "{} dropped within {} at an import of this account: they had come through it \
                 before, or through too many",
                count(sum.count.times, "message"),
                time(evidence.thresholds.incident_window),
            );
            warning(&sum.subject, 0, text)
        })
        .collect()
}

pub(super) fn no_interest(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.no_interest.by_subject();
    let telemetry = &evidence.server.broker.telemetry;
    sums.into_iter()
        .filter(|sum| sum.count.times >= evidence.thresholds.no_interest)
        .map(|sum| {
            let cid = sum.count.cid;
            let by = match telemetry.subjects.publisher(cid) {
                Some(name) => format!("{name:?} (cid {cid})"),
                None => format!("cid {cid}"),
            };
            let text = format!(
                "{} to this subject within {} reached no subscriber, the last one from {by}",
                count(sum.count.times, "message"),
                time(evidence.thresholds.incident_window),
            );
            Symptom {
                severity: Severity::Info,
                ..warning(&sum.subject, 0, text)
            }
        })
        .collect()
}

pub(super) fn large(evidence: &Evidence) -> Vec<Symptom> {
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
                count(sum.count.times, "message"),
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
