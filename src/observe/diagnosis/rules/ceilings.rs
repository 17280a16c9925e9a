//! Limits that are close to being reached.

use super::{Evidence, Severity, Symptom};
use crate::{
    connection::budget::LimitedBy,
    observe::diagnosis::{
        ceiling::{Ceiling, CeilingKind},
        humanize::{bytes, count, percent, seconds},
    },
};

/// When a ceiling becomes a finding, for the manual.
pub(super) const LEVELS: &str = "warning from `ceiling_warning` percent on, or if it will be \
                                 reached within `exhausted_within` at the present growth; critical \
                                 from `ceiling_critical` percent on";

pub(super) fn connections(evidence: &Evidence) -> Vec<Symptom> {
    near(evidence, CeilingKind::Connections)
}

pub(super) fn files(evidence: &Evidence) -> Vec<Symptom> {
    near(evidence, CeilingKind::Files)
}

pub(super) fn files_gone(evidence: &Evidence) -> Vec<Symptom> {
    let refused = evidence.history.places.iter().filter(|it| it.refused > 0);
    refused
        .map(|it| Symptom {
            severity: Severity::Critical,
            subject: it.now.name.to_owned(),
            cid: 0,
            text: format!(
                "{} refused so far because no file descriptor was left",
                count(it.now.refused, "connection")
            ),
            cause: None,
        })
        .collect()
}

pub(super) fn memory(evidence: &Evidence) -> Vec<Symptom> {
    near(evidence, CeilingKind::Memory)
}

pub(super) fn queues(evidence: &Evidence) -> Vec<Symptom> {
    let mut symptoms = near(evidence, CeilingKind::Queues);
    let budget = &evidence.server.broker.registry.budget;
    if let LimitedBy::Process { max_memory } = budget.limited_by() {
        for symptom in &mut symptoms {
            symptom.text += &format!(
                "; max_memory is {}, but the process has only this much memory left",
                bytes(max_memory as u64)
            );
            symptom.cause = Some(
                "Something other than queues holds most of the memory of the process; see /memz."
                    .into(),
            );
        }
    }
    symptoms
}

pub(super) fn subscriptions(evidence: &Evidence) -> Vec<Symptom> {
    near(evidence, CeilingKind::Subscriptions)
}

fn near(evidence: &Evidence, kind: CeilingKind) -> Vec<Symptom> {
    let found = evidence.ceilings.iter().find(|known| known.kind == kind);
    found
        .and_then(|ceiling| judge(evidence, ceiling))
        .into_iter()
        .collect()
}

fn judge(evidence: &Evidence, ceiling: &Ceiling) -> Option<Symptom> {
    let thresholds = evidence.thresholds;
    let fill = percent(ceiling.used, ceiling.limit);
    let is_soon = ceiling
        .exhausted_in
        .is_some_and(|left| left <= thresholds.exhausted_within.as_secs_f64());
    let severity = if fill >= thresholds.ceiling_critical as f64 {
        Severity::Critical
    } else if fill >= thresholds.ceiling_warning as f64 || is_soon {
        Severity::Warning
    } else {
        return None;
    };
    let amount = |number: f64| match ceiling.kind.unit() {
        // Whole numbers above zero.
        "bytes" => bytes(number as u64),
        _ => format!("{number:.0}"),
    };
    let mut text = format!(
        "{} of {} used ({fill:.0} %)",
        amount(ceiling.used),
        amount(ceiling.limit)
    );
    if let Some(left) = ceiling.exhausted_in {
        text += &format!(
            "; at the present growth of {} per second the limit is reached in {}",
            amount(ceiling.growth),
            seconds(left)
        );
    }
    Some(Symptom {
        severity,
        subject: ceiling.holder.clone(),
        cid: ceiling.cid,
        text,
        cause: None,
    })
}
