//! Notifications about findings: which of them appeared, got worse, eased or cleared since the last
//! poll, and what is worth telling.
//!
//! collectd remembers nothing of a notification, and a passive service shows the last one it got.
//! So each severity has an identifier of its own, `gauge-findings_critical` and
//! `gauge-findings_warning`, whose last notification always says how it is: bad while there are such
//! findings, OKAY as soon as there is none, and one of the two at the first poll.

mod message;
#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use monitor_client::Finding;
use serde_json::Value as Json;

pub(crate) use self::message::Message;
use crate::{
    daemon::Severity,
    followed::{Change, Followed},
};

/// Keys of `/explainz` that a notification needs.
pub(crate) const KEYS: [&str; 9] = [
    "findings.*.code",
    "findings.*.severity",
    "findings.*.subject",
    "findings.*.cid",
    "findings.*.since",
    "findings.*.text",
    "findings.*.cause",
    "findings.*.remedy",
    "findings.*.link",
];

/// Findings that are known at the same time; further ones are not notified.
const KNOWN_MAX: usize = 500;

/// Notifications about findings in one poll; the rest is counted in one more.
const MESSAGES_MAX: usize = 20;

/// A broker that started less than this ago may not have looked at everything: findings that it does
/// not have yet are not over.
const SETTLED_AFTER: Duration = Duration::from_secs(20);

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Level {
    Info,
    Warning,
    Critical,
}

impl Level {
    /// By its name in answers.
    fn named(name: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical]
            .into_iter()
            .find(|level| level.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// collectd has nothing between WARNING and OKAY.
    fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Okay,
            Self::Warning => Severity::Warning,
            Self::Critical => Severity::Failure,
        }
    }
}

/// What is known of the findings of a broker.
#[derive(Debug)]
pub(crate) enum Findings {
    /// The broker has no `/explainz`.
    Absent,
    /// `/explainz` was not read.
    Unknown,
    /// All of them.
    Known(Vec<(Level, Finding)>),
}

impl Findings {
    /// All of them, if they are known.
    pub(crate) fn known(&self) -> Option<&[(Level, Finding)]> {
        match self {
            Self::Known(findings) => Some(findings),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// The findings of an answer of `/explainz`; those of unknown severities are left out. `None` if
/// there is no list of findings in it.
pub(crate) fn of_answer(explainz: &Json) -> Option<Vec<(Level, Finding)>> {
    let all = explainz["findings"].as_array()?.iter();
    let known = all.filter_map(|finding| {
        let finding: Finding = serde_json::from_value(finding.clone()).ok()?;
        Some((Level::named(&finding.severity)?, finding))
    });
    Some(known.collect())
}

/// Code and subject. The connection is not part of it: a client that reconnects is the same client.
type Key = (String, String);

/// What is known of the findings of one instance, over restarts of its broker.
#[derive(Default)]
pub(crate) struct Tracker {
    known: BTreeMap<Key, Known>,
    /// Whether there was a poll with an answer before.
    has_looked: bool,
    /// Whether the last notification of `findings_warning` and `findings_critical` was bad; `None`
    /// before the first.
    warned: Option<bool>,
    failed: Option<bool>,
}

struct Known {
    level: Followed<Option<Level>>,
    /// As it was last seen.
    finding: Finding,
}

/// Something to tell about a finding.
struct Event {
    /// The severity that the notification is about: its new one, or that from which it cleared.
    level: Level,
    change: &'static str,
    /// For a finding that had another severity.
    before: Option<Level>,
    finding: Finding,
}

impl Tracker {
    /// What is to be reported because the broker has no findings to show: those of another one that
    /// was at its place are over, also if they were reported before the start of this collectd.
    pub(crate) fn without(&mut self, now: Instant) -> Vec<Message> {
        self.update(&[], now, None)
    }

    /// What is to be reported about the findings of a poll. `uptime` is that of the broker.
    pub(crate) fn update(
        &mut self,
        findings: &[(Level, Finding)],
        now: Instant,
        uptime: Option<f64>,
    ) -> Vec<Message> {
        let is_settled = uptime.is_none_or(|uptime| uptime >= SETTLED_AFTER.as_secs_f64());
        let worst = worst_by_key(findings);
        let mut events = Vec::new();
        for (key, (level, finding)) in &worst {
            events.extend(self.see(key, *level, finding, now));
        }
        self.has_looked = true;
        for (key, known) in &mut self.known {
            if !worst.contains_key(key) && is_settled {
                events.extend(known.clear(now));
            }
        }
        self.known.retain(|_, known| known.level.is_remembered(now));
        self.messages(events, is_settled)
    }

    fn see(&mut self, key: &Key, level: Level, finding: &Finding, now: Instant) -> Option<Event> {
        if !self.known.contains_key(key) {
            if self.known.len() >= KNOWN_MAX {
                self.forget_milder(level)?;
            }
            let known = Known {
                level: Followed::new(None),
                finding: finding.clone(),
            };
            self.known.insert(key.clone(), known);
        }
        let known = self.known.get_mut(key)?;
        let before = known.level.reported();
        known.finding = finding.clone();
        let change = match (known.level.see(Some(level), now)?, before) {
            (Change::Worse { often: true }, _) => "flapping",
            (Change::Worse { .. }, None) if !self.has_looked => "present",
            (Change::Worse { .. }, None) => "appeared",
            (Change::Worse { .. }, Some(_)) => "worsened",
            (Change::Better, _) => "eased",
        };
        Some(Event {
            level,
            change,
            before,
            finding: finding.clone(),
        })
    }

    /// Forgets one that is over, or else one that is milder than `level`. `None` if there is none.
    fn forget_milder(&mut self, level: Level) -> Option<Known> {
        let severity = |known: &Known| known.level.reported();
        let (key, _) = self
            .known
            .iter()
            .filter(|(_, known)| severity(known) < Some(level))
            .min_by_key(|(_, known)| severity(known))?;
        self.known.remove(&key.clone())
    }

    fn count(&self, level: Level) -> usize {
        let reported = self.known.values().map(|known| known.level.reported());
        reported.filter(|reported| *reported == Some(level)).count()
    }

    fn messages(&mut self, mut events: Vec<Event>, is_settled: bool) -> Vec<Message> {
        events.sort_by_key(|event| Reverse(event.level));
        let untold = events.split_off(events.len().min(MESSAGES_MAX));
        let mut messages = Vec::new();
        for level in [Level::Info, Level::Warning, Level::Critical] {
            let count = self.count(level);
            let severity = match count {
                0 => Severity::Okay,
                _ => level.severity(),
            };
            let of_level = events.iter().filter(|event| event.level == level);
            messages.extend(of_level.map(|event| event.message(severity, count)));
            match untold.iter().filter(|event| event.level == level).count() {
                0 => {}
                more => messages.push(Message::more(level, severity, more)),
            }
            let is_told = messages.last().is_some_and(|last| last.level == level);
            let reported = match level {
                Level::Info => continue,
                Level::Warning => &mut self.warned,
                Level::Critical => &mut self.failed,
            };
            if is_told {
                *reported = Some(count > 0);
            } else if count == 0 && *reported != Some(false) && is_settled {
                // The first look, or the last one eased or got worse.
                *reported = Some(false);
                messages.push(Message::nothing(level));
            }
        }
        messages
    }
}

impl Known {
    /// It is not among the findings of a poll.
    fn clear(&mut self, now: Instant) -> Option<Event> {
        let before = self.level.reported()?;
        self.level.see(None, now)?;
        Some(Event {
            level: before,
            change: "cleared",
            before: None,
            finding: self.finding.clone(),
        })
    }
}

/// Of several connections of one name the worst counts.
fn worst_by_key(findings: &[(Level, Finding)]) -> BTreeMap<Key, (Level, &Finding)> {
    let mut worst: BTreeMap<Key, (Level, &Finding)> = BTreeMap::new();
    for (level, finding) in findings {
        let key = (finding.code.clone(), finding.subject.clone());
        worst
            .entry(key)
            .and_modify(|known| {
                if known.0 < *level {
                    *known = (*level, finding);
                }
            })
            .or_insert((*level, finding));
    }
    worst
}
