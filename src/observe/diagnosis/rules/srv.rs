//! SRV records of the DNS that list the brokers of the cluster.

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::observe::diagnosis::humanize::{plural, time};

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[Rule {
    code: "srv-failing",
    levels: "critical if no broker was ever found by it; warning",
    meaning: "An SRV record of the DNS that lists brokers of the cluster (`srv_domain`, or \
                  srv:// in `routes`) cannot be had, names no broker, or lists more than are \
                  dialled. The brokers of its last answer stay in use; new ones are not found.",
    cause: "No name server answers, or the record is not there: it was removed, or its name is \
                not the one that is asked for.",
    remedy: "The text has the name, and the name server with its answer. Ask it by hand: dig \
                 NAME SRV. Correct the record, /etc/resolv.conf or `nameserver`; midge asks again \
                 by itself.",
    pace: Pace::Certain,
    find: unresolved,
}];

fn unresolved(evidence: &Evidence) -> Vec<Symptom> {
    let now = evidence.sample.at;
    let records = evidence.sample.mesh.records.iter();
    let symptoms = records.filter_map(|record| {
        let listed = plural(record.listed.len(), "broker");
        let Some(since) = record.failing_since else {
            let text = format!(
                "the SRV record lists {} more than the {listed} that are dialled",
                record.left_out
            );
            return (record.left_out > 0).then(|| warning(&record.name, 0, text));
        };
        let (severity, kept) = match record.listed.is_empty() {
            true => (Severity::Critical, "no broker is known by it".to_owned()),
            false => (
                Severity::Warning,
                format!("its last answer stays in use ({listed})"),
            ),
        };
        let text = format!(
            "the SRV record has given no brokers for {}, the last of {} said: {}; {kept}",
            time(since.until(now)),
            plural(record.failures, "question"),
            record.error
        );
        Some(Symptom {
            severity,
            ..warning(&record.name, 0, text)
        })
    });
    symptoms.collect()
}
