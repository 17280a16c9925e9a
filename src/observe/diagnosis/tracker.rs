//! Tracking findings: when a symptom becomes a finding and when a finding is over. The only
//! place with hysteresis: short fluctuations neither appear nor flicker.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
    time::Duration,
};

use hashbrown::HashSet;
use monitor_client::text::escaped;

use crate::telemetry::MonotonicMillis;

/// How bad it is: what each severity means is written in the manual of the findings.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Nothing to do now.
    Info,
    /// Act soon.
    Warning,
    /// Act now.
    Critical,
}

impl Severity {
    /// All of them, the worst last.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Its name in answers: stable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A symptom that a rule finds in one sample.
#[derive(Clone, Debug)]
pub(super) struct Symptom {
    pub(super) severity: Severity,
    /// The connection, peer, file or option concerned; empty for the broker.
    pub(super) subject: String,
    /// The connection concerned; 0 for none.
    pub(super) cid: u64,
    /// A plain sentence with numbers.
    pub(super) text: String,
    /// The likely cause, where it is more than the rule's own.
    pub(super) cause: Option<String>,
}

/// Something that is wrong.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The stable code of its rule.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The connection, peer, file or option concerned; empty for the broker.
    pub subject: String,
    /// The connection concerned; 0 for none.
    pub cid: u64,
    /// Since when.
    pub since: MonotonicMillis,
    /// Whether it was so a moment ago. Short incidents are shown for longer.
    pub ongoing: bool,
    /// A plain sentence with numbers.
    pub text: String,
    /// The likely cause.
    pub cause: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Finding {
    /// A critical finding of the broker as a whole.
    pub(super) fn of(rule: &super::rules::Rule, since: MonotonicMillis, text: String) -> Self {
        Self {
            code: rule.code,
            severity: Severity::Critical,
            subject: String::new(),
            cid: 0,
            since,
            ongoing: true,
            text,
            cause: rule.cause.into(),
            remedy: rule.remedy,
        }
    }
}

/// A change of a finding, and the finding after it.
pub(super) struct Change {
    pub(super) finding: Finding,
    pub(super) kind: ChangeKind,
}

/// What changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ChangeKind {
    /// It is new.
    Appeared,
    /// It is worse than it was reported before.
    Worsened { before: Severity },
    /// It has been less severe for a while.
    Eased { before: Severity },
    /// It is over.
    Cleared,
}

/// All findings, those that are still too young included.
#[derive(Default)]
pub(super) struct FindingTracker(BTreeMap<Key, Entry>);

/// Rule, connection and subject.
type Key = (&'static str, u64, String);

struct Entry {
    finding: Finding,
    last_seen: MonotonicMillis,
    /// As it is shown; `None` while it is too young.
    reported: Option<Reported>,
}

impl Entry {
    /// That it is not shown any more, if it was.
    fn cleared(&self) -> Option<Change> {
        self.reported.map(|_| Change {
            finding: self.finding.clone(),
            kind: ChangeKind::Cleared,
        })
    }
}

/// The severity that the last change was reported with.
#[derive(Clone, Copy)]
struct Reported {
    severity: Severity,
    /// When it was at least as bad.
    last_seen: MonotonicMillis,
}

impl Reported {
    /// Takes the severity at `now`. What gets worse is reported at once, what gets better only after
    /// `patience`: a value around a threshold is not reported with every sample.
    fn see(
        &mut self,
        now: MonotonicMillis,
        severity: Severity,
        patience: Duration,
    ) -> Option<ChangeKind> {
        let before = self.severity;
        if severity < before && self.last_seen.until(now) < patience {
            return None;
        }
        *self = Self {
            severity,
            last_seen: now,
        };
        match severity.cmp(&before) {
            Ordering::Greater => Some(ChangeKind::Worsened { before }),
            Ordering::Less => Some(ChangeKind::Eased { before }),
            Ordering::Equal => None,
        }
    }
}

/// How long a symptom must last to appear, and be gone to clear.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hysteresis {
    pub(super) appear: Duration,
    pub(super) clear: Duration,
    /// How long it must be gone to be over, though it may be shown for longer, and how long it must
    /// be less severe to have eased.
    pub(super) ongoing: Duration,
}

/// Findings of one rule at a time; of more, the worst are sufficient.
pub(super) const FINDINGS_PER_RULE_MAX: usize = 20;

impl FindingTracker {
    /// Adds the symptoms that a rule found at `now`. The worst comes first; of several
    /// symptoms of one subject the worse one is reported, or, of equal ones, the first.
    /// Returns what changed.
    pub(super) fn update(
        &mut self,
        now: MonotonicMillis,
        rule: &super::rules::Rule,
        hysteresis: Hysteresis,
        mut symptoms: Vec<Symptom>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        symptoms.sort_by_key(|symptom| Reverse(symptom.severity));
        let mut seen = HashSet::new();
        symptoms.retain(|symptom| seen.insert((symptom.cid, symptom.subject.clone())));
        let known = |tracker: &Self, symptom: &Symptom| {
            tracker
                .0
                .contains_key(&(rule.code, symptom.cid, symptom.subject.clone()))
        };
        let mut count = self.0.keys().filter(|key| key.0 == rule.code).count();
        for symptom in symptoms.into_iter().take(FINDINGS_PER_RULE_MAX) {
            if !known(self, &symptom) {
                if count < FINDINGS_PER_RULE_MAX {
                    count += 1;
                } else {
                    let Some(milder) = self.remove_milder(rule.code, symptom.severity) else {
                        continue;
                    };
                    changes.extend(milder.cleared());
                }
            }
            changes.extend(self.see(now, rule, hysteresis, symptom));
        }
        self.0.retain(|key, entry| {
            if key.0 != rule.code || entry.last_seen == now {
                return true;
            }
            let gone_for = entry.last_seen.until(now);
            entry.finding.ongoing = gone_for < hysteresis.ongoing;
            let is_shown = entry.reported.is_some();
            let keep = is_shown && gone_for < hysteresis.clear;
            if !keep {
                changes.extend(entry.cleared());
            }
            keep
        });
        changes
    }

    /// Removes the mildest finding of a rule that is milder than `severity`: a worse one is never
    /// hidden by many that are not as bad.
    fn remove_milder(&mut self, code: &str, severity: Severity) -> Option<Entry> {
        let milder = self
            .0
            .iter()
            .filter(|(key, entry)| key.0 == code && entry.finding.severity < severity);
        let (key, _) = milder.min_by_key(|(_, entry)| entry.finding.severity)?;
        self.0.remove(&key.clone())
    }

    fn see(
        &mut self,
        now: MonotonicMillis,
        rule: &super::rules::Rule,
        hysteresis: Hysteresis,
        symptom: Symptom,
    ) -> Option<Change> {
        let key = (rule.code, symptom.cid, symptom.subject.clone());
        let since = self.0.get(&key).map_or(now, |entry| entry.finding.since);
        let mut reported = self.0.get(&key).and_then(|entry| entry.reported);
        let kind = match &mut reported {
            Some(reported) => reported.see(now, symptom.severity, hysteresis.ongoing),
            None if since.until(now) >= hysteresis.appear => {
                reported = Some(Reported {
                    severity: symptom.severity,
                    last_seen: now,
                });
                Some(ChangeKind::Appeared)
            }
            None => None,
        };
        let finding = Finding {
            code: rule.code,
            severity: symptom.severity,
            // Names chosen by peers are shown on terminals and pages.
            subject: escaped(&symptom.subject).into_owned(),
            cid: symptom.cid,
            since,
            ongoing: true,
            text: escaped(&symptom.text).into_owned(),
            cause: match symptom.cause {
                Some(cause) => escaped(&cause).into_owned(),
                None => rule.cause.into(),
            },
            remedy: rule.remedy,
        };
        let change = kind.map(|kind| Change {
            finding: finding.clone(),
            kind,
        });
        self.0.insert(
            key,
            Entry {
                finding,
                last_seen: now,
                reported,
            },
        );
        change
    }

    /// The findings, the worst first, then the oldest.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let shown = self.0.values().filter(|entry| entry.reported.is_some());
        let mut findings: Vec<Finding> = shown.map(|entry| entry.finding.clone()).collect();
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.since.cmp(&b.since)));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::diagnosis::rules::RULES;

    const PATIENCE: Hysteresis = Hysteresis {
        appear: Duration::from_secs(3),
        clear: Duration::from_secs(10),
        ongoing: Duration::from_secs(10),
    };

    fn symptom(subject: &str) -> Symptom {
        Symptom {
            severity: Severity::Warning,
            subject: subject.into(),
            cid: 0,
            text: String::new(),
            cause: None,
        }
    }

    #[test]
    fn what_lasts_appears_and_what_is_gone_for_long_clears() {
        let mut tracker = FindingTracker::default();
        let mut shown = Vec::new();
        let mut changes = 0;
        for second in 0..40 {
            let is_there = (5..20).contains(&second) && second != 12;
            let symptoms = is_there.then(|| symptom("a"));
            let now = MonotonicMillis(second * 1000);
            changes += tracker
                .update(now, &RULES[0], PATIENCE, symptoms.into_iter().collect())
                .len();
            if let [finding] = &*tracker.findings() {
                assert_eq!(finding.since, MonotonicMillis(5000));
                shown.push(second);
            }
        }
        assert_eq!(shown, (8..29).collect::<Vec<_>>());
        assert_eq!(changes, 2);
    }

    #[test]
    fn what_comes_and_goes_does_not_appear() {
        let mut tracker = FindingTracker::default();
        for second in 0..40 {
            let symptoms = (second % 3 != 0).then(|| symptom("a"));
            let now = MonotonicMillis(second * 1000);
            tracker.update(now, &RULES[0], PATIENCE, symptoms.into_iter().collect());
            assert!(tracker.findings().is_empty());
        }
    }

    /// The changes of a finding that has these severities, one each second.
    fn changes(severities: impl IntoIterator<Item = Option<Severity>>) -> Vec<(u64, ChangeKind)> {
        let mut tracker = FindingTracker::default();
        let mut seen = Vec::new();
        for (second, severity) in (0..).zip(severities) {
            let symptoms = severity.map(|severity| Symptom {
                severity,
                ..symptom("a")
            });
            let now = MonotonicMillis(second * 1000);
            let changes = tracker.update(now, &RULES[0], PATIENCE, symptoms.into_iter().collect());
            for change in changes {
                if change.kind != ChangeKind::Cleared {
                    assert_eq!(Some(change.finding.severity), severity);
                }
                seen.push((second, change.kind));
            }
        }
        seen
    }

    #[test]
    fn what_gets_worse_is_reported_at_once_and_what_eases_after_a_while() {
        use Severity::{Critical, Info, Warning};
        let course = [(6, Warning), (5, Critical), (20, Warning), (2, Critical)];
        let course = course.into_iter().chain([(11, Info), (1, Warning)]);
        let course = course.flat_map(|(times, severity)| [Some(severity)].repeat(times));
        let expected = [
            (3, ChangeKind::Appeared),
            (6, ChangeKind::Worsened { before: Warning }),
            (20, ChangeKind::Eased { before: Critical }),
            (31, ChangeKind::Worsened { before: Warning }),
            (42, ChangeKind::Eased { before: Critical }),
            (44, ChangeKind::Worsened { before: Info }),
            (54, ChangeKind::Cleared),
        ];
        assert_eq!(changes(course.chain([None; 20])), expected);
    }

    /// A value around the threshold of a severity.
    #[test]
    fn a_severity_that_comes_and_goes_is_reported_once() {
        let course = (0..100).map(|second| match second % 4 {
            0 => Some(Severity::Critical),
            1 | 2 => Some(Severity::Warning),
            _ => None,
        });
        let course = [Some(Severity::Warning); 5].into_iter().chain(course);
        let before = Severity::Warning;
        let expected = [
            (3, ChangeKind::Appeared),
            (5, ChangeKind::Worsened { before }),
        ];
        assert_eq!(changes(course), expected);
    }

    /// Whatever the order in which a rule sees them.
    #[test]
    fn the_worse_of_two_symptoms_of_one_subject_is_kept() {
        let of = |severity, text: &str| Symptom {
            severity,
            text: text.into(),
            ..symptom("a")
        };
        let seen = [
            of(Severity::Warning, "mild"),
            of(Severity::Critical, "bad"),
            of(Severity::Critical, "later"),
            of(Severity::Info, "nothing"),
        ];
        for turn in 0..seen.len() {
            let mut symptoms = seen.to_vec();
            symptoms.rotate_left(turn);
            let many = (0..FINDINGS_PER_RULE_MAX).map(|n| symptom(&n.to_string()));
            symptoms.splice(0..0, many);
            let mut tracker = FindingTracker::default();
            let hysteresis = Hysteresis {
                appear: Duration::ZERO,
                ..PATIENCE
            };
            tracker.update(MonotonicMillis(0), &RULES[0], hysteresis, symptoms);
            let worst = &tracker.findings()[0];
            assert_eq!((worst.severity, &*worst.subject), (Severity::Critical, "a"));
            let expected = if turn == 2 { "later" } else { "bad" };
            assert_eq!(worst.text, expected, "{turn}");
        }
    }

    /// Many milder findings do not hide one that is worse.
    #[test]
    fn a_worse_finding_takes_the_place_of_a_milder_one() {
        let mut tracker = FindingTracker::default();
        let mut symptoms: Vec<Symptom> = (0..FINDINGS_PER_RULE_MAX)
            .map(|n| symptom(&n.to_string()))
            .collect();
        let hysteresis = Hysteresis {
            appear: Duration::ZERO,
            ..PATIENCE
        };
        tracker.update(MonotonicMillis(0), &RULES[0], hysteresis, symptoms.clone());
        symptoms.push(Symptom {
            severity: Severity::Critical,
            ..symptom("victim")
        });
        for second in 1..4 {
            let now = MonotonicMillis(second * 1000);
            tracker.update(now, &RULES[0], hysteresis, symptoms.clone());
            let findings = tracker.findings();
            assert_eq!(findings[0].subject, "victim");
            assert_eq!(findings.len(), FINDINGS_PER_RULE_MAX);
        }
    }

    #[test]
    fn findings_of_a_rule_are_limited_in_number() {
        let mut tracker = FindingTracker::default();
        for second in 0..20_u64 {
            let symptoms = (0..100)
                .map(|n| symptom(&format!("{second} {n}")))
                .collect();
            tracker.update(
                MonotonicMillis(second * 1000),
                &RULES[0],
                PATIENCE,
                symptoms,
            );
            assert!(tracker.0.len() <= FINDINGS_PER_RULE_MAX);
        }
    }
}
