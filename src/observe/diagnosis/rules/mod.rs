//! The rules. Each file has a table of those about one part of the broker. A rule is a row
//! there and a function beside it, which returns the symptoms that one sample shows. The
//! tracker decides when a symptom becomes a finding and when the finding is over.
//!
//! The manual (`docs/findings.md`) is made from the tables.

mod broker;
mod ceilings;
mod certificates;
mod clients;
mod federation;
mod leafnodes;
mod manual;
mod nodes;
mod readers;
mod routes;
mod srv;
mod subjects;
mod system;

use std::time::Duration;

use super::{
    ceiling::Ceiling,
    history::History,
    tracker::{Hysteresis, Severity, Symptom},
};
use crate::{
    config::Diagnosis,
    observe::sample::Sample,
    server::{Server, reload::Outcome},
};
pub use manual::manual;

/// What rules judge: one sample of the broker, and what earlier samples showed.
pub(super) struct Evidence<'a> {
    pub(super) server: &'a Server,
    /// The options in force.
    pub(super) thresholds: &'a Diagnosis,
    pub(super) sample: &'a Sample,
    pub(super) ceilings: &'a [Ceiling],
    pub(super) history: &'a History,
    /// Starts of the broker within `incident_window`, this one included.
    pub(super) starts: u64,
    /// What a reload would change; `None` before the file was read for the first
    /// time, and without a file.
    pub(super) pending_reload: Option<Outcome>,
}

/// One thing that may be wrong with a broker.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Its name in answers, the manual and checks: stable.
    pub code: &'static str,
    /// Its severities and when each applies, for the manual.
    levels: &'static str,
    /// What it means, for the manual.
    meaning: &'static str,
    /// The likely cause.
    pub(super) cause: &'static str,
    /// What to do.
    pub(super) remedy: &'static str,
    pace: Pace,
    pub(super) find: fn(&Evidence) -> Vec<Symptom>,
}

/// How quickly a symptom becomes a finding and clears.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pace {
    /// A fluctuating condition: it must last to appear, and be absent for a while to clear.
    Lasting,
    /// It must last to appear, and what ends it is certain: clears immediately.
    Certain,
    /// The rule itself decides how long it holds: appears and clears immediately.
    AtOnce,
    /// It must last several times as long: continuing growth.
    Slow,
    /// A single moment counts: appears immediately, and stays as long as the event is
    /// recent, so that a check that runs only from time to time reports it.
    Sudden,
}

impl Rule {
    /// How long a symptom must last to appear, and be gone to clear.
    pub(super) fn hysteresis(&self, thresholds: &Diagnosis) -> Hysteresis {
        let Diagnosis {
            appear_after,
            clear_after,
            incident_window,
            ..
        } = *thresholds;
        let (appear, clear) = match self.pace {
            Pace::AtOnce => (Duration::ZERO, Duration::ZERO),
            Pace::Lasting => (appear_after, clear_after),
            Pace::Certain => (appear_after, Duration::ZERO),
            Pace::Slow => (appear_after * 5, clear_after),
            Pace::Sudden => (Duration::ZERO, clear_after.max(incident_window)),
        };
        Hysteresis {
            appear,
            clear,
            ongoing: clear_after,
        }
    }
}

/// The rules, file by file.
const PARTS: &[&[Rule]] = &[
    readers::RULES,
    clients::RULES,
    ceilings::RULES,
    routes::RULES,
    srv::RULES,
    leafnodes::RULES,
    federation::RULES,
    nodes::RULES,
    subjects::RULES,
    broker::RULES,
    system::RULES,
    certificates::RULES,
];

/// All rules.
pub const RULES: &[Rule] = &{
    let mut all = [PARTS[0][0]; COUNT];
    let (mut part, mut at) = (0, 0);
    while part < PARTS.len() {
        let mut row = 0;
        while row < PARTS[part].len() {
            all[at] = PARTS[part][row];
            (row, at) = (row + 1, at + 1);
        }
        part += 1;
    }
    all
};

/// Number of the rules.
const COUNT: usize = {
    let (mut part, mut count) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
};

/// The code of the finding about an old report; see `Report::at`.
pub(super) const DIAGNOSIS_HANGS: &str = "diagnosis-hangs";

/// Whether a finding of this code is about the members of the mesh and their routes.
pub fn is_about_the_mesh(code: &str) -> bool {
    routes::RULES.iter().any(|rule| rule.code == code)
}

/// A symptom of severity warning about `subject`.
fn warning(subject: &str, cid: u64, text: String) -> Symptom {
    Symptom {
        severity: Severity::Warning,
        subject: subject.to_owned(),
        cid,
        text,
        cause: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_fit_an_anchor() {
        let codes: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
        assert_eq!(codes.len(), RULES.len());
        for rule in RULES {
            let fit = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(rule.code.chars().all(fit), "{}", rule.code);
            // Each case begins with its severity.
            for case in rule.levels.split("; ") {
                let word = case.split([' ', ',']).next();
                let known = Severity::ALL.iter().any(|known| word == Some(known.name()));
                assert!(known, "{}: {case}", rule.code);
            }
            for text in [rule.meaning, rule.cause, rule.remedy] {
                assert!(text.ends_with('.'), "{}: {text}", rule.code);
            }
        }
    }
}
