//! Who is behind an event: named on the first line, and in full on lines of their own.

use super::{Check, Failure};
use crate::{metric::Metric, text::listed};

/// Names on the first line; the further lines have the rest.
const NAMED_MAX: usize = 3;

/// Who is behind an event.
pub(super) struct Culprit {
    /// For the first line: name and address.
    pub(super) name: String,
    /// For a line of its own: all that is known.
    pub(super) line: String,
}

/// Judges a number of events and states it as `what` with those who are behind it, which
/// `find` looks up if there are events at all.
pub(super) fn state(
    check: &mut Check,
    metric: &Metric,
    new: u64,
    what: &str,
    find: impl FnOnce(&mut Check) -> Result<Vec<Culprit>, Failure>,
) {
    let culprits = match new {
        0 => Vec::new(),
        _ => found(check, find),
    };
    let phrase = format!("{what}{}", names(&culprits));
    check.report.state(metric.label, new, None, &phrase);
    tell(check, &culprits);
}

/// What `find` finds; if it cannot, a detail says why. An event is one with or without
/// names.
pub(super) fn found<T>(
    check: &mut Check,
    find: impl FnOnce(&mut Check) -> Result<Vec<T>, Failure>,
) -> Vec<T> {
    find(check).unwrap_or_else(|failure| {
        let why = format!("names unknown: {}", failure.text);
        check.report.detail(1, &why);
        Vec::new()
    })
}

/// The first names for the end of a phrase: `: "app-7" 10.0.0.7 and 5 more`.
pub(super) fn names(culprits: &[Culprit]) -> String {
    let names: Vec<String> = culprits
        .iter()
        .map(|culprit| culprit.name.clone())
        .collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(": {}", listed(&names, NAMED_MAX)),
    }
}

/// Adds a line for each of them to the last statement.
pub(super) fn tell(check: &mut Check, culprits: &[Culprit]) {
    for culprit in culprits {
        check.report.about(&culprit.line);
    }
}
