//! The diagnosis: what is wrong with the broker, where, since when, why.
//!
//! The observer passes its samples to a [`Judge`]. It reads the ceilings ([`ceiling`]) from
//! a sample, adds it to earlier ones ([`history`]) and evaluates each of the [`rules`]. The
//! [`tracker`] decides when a symptom is a finding. The result is a [`Report`], which
//! monitoring reads through [`Diagnosis`]. Presentation of findings is not part of this
//! module.

mod ceiling;
mod config_check;
mod history;
pub(super) mod humanize;
mod memory;
mod recent;
pub mod rules;
mod silent_members;
mod starts;
mod tracker;
mod trend;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::sample::Sample;
use crate::{
    config,
    server::Server,
    telemetry::{MonotonicMillis, event::EventKind},
};
use ceiling::Ceilings;
pub use ceiling::{Ceiling, CeilingKind};
use config_check::ConfigCheck;
use history::History;
pub use memory::{Cause, Memory, MemoryHolder};
use rules::{DIAGNOSIS_HANGS, Evidence, RULES};
use starts::Starts;
use tracker::{Change, ChangeKind, FindingTracker};
pub use tracker::{Finding, Severity};

/// Work that waits for so long is not done at all: the broker is not live.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// A report of this age, and of several samples, is old: the diagnosis hangs.
const OLD_AFTER: Duration = Duration::from_secs(10);

/// Samples that are due within the time after which a report is old, at least.
const OLD_SAMPLES: u32 = 5;

/// The result of the last sample; read by monitoring.
pub struct Diagnosis {
    last: Mutex<Arc<Report>>,
    /// Age at which a report is old.
    old_after: Duration,
}

/// The result of one sample.
#[derive(Clone)]
pub struct Report {
    /// When the sample was taken; the start of the broker before the first.
    pub sampled: MonotonicMillis,
    /// Findings, the worst first.
    pub findings: Vec<Finding>,
    /// Everything that has an end.
    pub ceilings: Vec<Ceiling>,
    /// Uses of the memory.
    pub memory: Memory,
    /// Whether the broker's threads do not do their work.
    pub dead: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            sampled: MonotonicMillis(0),
            findings: Vec::new(),
            ceilings: Vec::new(),
            memory: Memory::default(),
            dead: false,
        }
    }
}

impl Diagnosis {
    fn new(thresholds: &config::Diagnosis) -> Self {
        Self {
            last: Mutex::default(),
            old_after: OLD_AFTER.max(thresholds.interval * OLD_SAMPLES),
        }
    }

    /// The last report. Its age is checked here, by the calling thread: an
    /// observer that hangs cannot report itself.
    pub fn report(&self) -> Arc<Report> {
        let report = self.last.lock().clone();
        report
            .at(MonotonicMillis::now(), self.old_after)
            .map_or(report, Arc::new)
    }
}

impl Report {
    /// The report at `now`; if it is old then, with a finding about that.
    fn at(&self, now: MonotonicMillis, old_after: Duration) -> Option<Self> {
        let age = self.sampled.until(now);
        if age < old_after {
            return None;
        }
        let text = format!(
            "the diagnosis has not checked the broker for {}: the other findings are as old",
            humanize::time(age)
        );
        let rule = RULES.iter().find(|rule| rule.code == DIAGNOSIS_HANGS)?;
        let mut report = self.clone();
        report
            .findings
            .insert(0, Finding::of(rule, self.sampled, text));
        report.dead |= age >= DEAD_AFTER;
        Some(report)
    }
}

/// Judges samples.
pub(super) struct Judge {
    server: Arc<Server>,
    diagnosis: Arc<Diagnosis>,
    ceilings: Ceilings,
    history: History,
    /// The `growth_window` of the growth that is being measured.
    growth_window: Duration,
    config: ConfigCheck,
    tracker: FindingTracker,
    starts: Starts,
}

impl Judge {
    pub(super) fn new(server: Arc<Server>) -> Self {
        let options = server.options();
        let thresholds = &options.diagnosis;
        Self {
            ceilings: Ceilings::new(thresholds),
            starts: Starts::note(thresholds, &server.broker.telemetry.calls),
            history: History::default(),
            growth_window: thresholds.growth_window,
            config: ConfigCheck::default(),
            tracker: FindingTracker::default(),
            diagnosis: Arc::new(Diagnosis::new(thresholds)),
            server,
        }
    }

    /// Where the reports are read.
    pub(super) fn diagnosis(&self) -> Arc<Diagnosis> {
        self.diagnosis.clone()
    }

    /// Makes the report of a sample, by the thresholds in force.
    pub(super) fn judge(&mut self, sample: &Sample) {
        let server = &*self.server;
        let options = server.options();
        let thresholds = &options.diagnosis;
        if self.growth_window != thresholds.growth_window {
            // Growth over another time is measured anew.
            self.growth_window = thresholds.growth_window;
            self.ceilings = Ceilings::new(thresholds);
            self.history.subscriptions.clear();
        }
        let ceilings = self.ceilings.read(server, sample);
        self.history.add(server, thresholds, sample);
        self.config.go_on(&self.server, thresholds);
        let evidence = Evidence {
            server,
            thresholds,
            sample,
            ceilings: &ceilings,
            history: &self.history,
            starts: self.starts.within(thresholds.incident_window),
            pending_reload: self.config.outcome(),
        };
        for rule in RULES {
            let symptoms = (rule.find)(&evidence);
            let hysteresis = rule.hysteresis(thresholds);
            let changes = self.tracker.update(sample.at, rule, hysteresis, symptoms);
            changes.iter().for_each(|change| announce(server, change));
        }
        *self.diagnosis.last.lock() = Arc::new(Report {
            sampled: sample.at,
            findings: self.tracker.findings(),
            memory: Memory::of(server, sample, &self.history),
            ceilings,
            dead: sample.scheduling_delay >= DEAD_AFTER,
        });
    }
}

/// Records a change as an event and logs it.
fn announce(server: &Server, change: &Change) {
    let Finding {
        code,
        severity,
        subject,
        cid,
        text,
        ..
    } = &change.finding;
    let who = match &**subject {
        "" => String::new(),
        subject => format!(" {subject:?}"),
    };
    let now = severity.name();
    let (is_worse, sentence) = match change.kind {
        ChangeKind::Appeared => (true, format!("{now} {code}{who}: {text}")),
        ChangeKind::Worsened { before } => {
            let from = before.name();
            (
                true,
                format!("worsened from {from} to {now} {code}{who}: {text}"),
            )
        }
        ChangeKind::Eased { before } => {
            let from = before.name();
            (
                false,
                format!("eased from {from} to {now} {code}{who}: {text}"),
            )
        }
        ChangeKind::Cleared => (false, format!("cleared {code}{who}; it was: {text}")),
    };
    macro_rules! logged {
        ($log:ident) => {
            $log!(
                code = EventKind::Finding.name(),
                cid = Some(*cid).filter(|cid| *cid > 0),
                finding = code,
                severity = now,
                subject = Some(&**subject).filter(|subject| !subject.is_empty()),
                "Finding: {sentence}"
            )
        };
    }
    // The level of the line is that of the finding, unless it got better.
    match severity {
        Severity::Critical if is_worse => logged!(error),
        Severity::Warning if is_worse => logged!(warn),
        _ => logged!(info),
    }
    let events = &server.broker.telemetry.events;
    events.record(EventKind::Finding, *cid, subject, &sentence);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A diagnosis that hangs leaves its last report, which may contain no finding.
    #[test]
    fn an_old_report_is_critical_by_its_age() {
        let report = Report {
            sampled: MonotonicMillis(5_000),
            ..Report::default()
        };
        let at = |millis| report.at(MonotonicMillis(millis), OLD_AFTER);
        assert!(at(5_000).is_none() && at(14_999).is_none());
        let old = at(15_000).expect("it is old");
        let finding = &old.findings[0];
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(
            (finding.code, finding.since),
            (DIAGNOSIS_HANGS, MonotonicMillis(5_000))
        );
        assert!(finding.text.contains("10 s"), "{}", finding.text);
        assert!(!old.dead);
        assert!(at(35_000).is_some_and(|report| report.dead));
    }
}
