//! The diagnosis: what is wrong with the broker, who, since when, why.
//!
//! `main` calls [`watch`] once. A thread of its own takes a [`sample`] at the
//! running broker about once in a second, reads the ceilings ([`ceiling`]) from
//! it, adds it to what was seen before ([`history`]) and asks each of the
//! [`rules`] what it sees. The [`tracker`] decides when a symptom is a finding.
//! Monitoring asks for the result. Nothing here is on the way of a message,
//! and nothing here knows how a finding is drawn.

mod ceiling;
mod config_check;
mod heap_trim;
mod history;
mod humanize;
mod memory;
mod mesh;
mod recent;
pub mod rules;
mod sample;
mod starts;
mod tracker;
mod trend;

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::{
    config,
    connection::handshake::HandshakeLook,
    server::Server,
    telemetry::{MonotonicMillis, allocator::Allocator, event::EventKind},
};
use ceiling::Ceilings;
pub use ceiling::{Ceiling, CeilingKind};
use config_check::ConfigCheck;
use heap_trim::HeapTrim;
use history::History;
pub use memory::{Cause, Memory, MemoryHolder};
use rules::{DIAGNOSIS_HANGS, Evidence, RULES};
use sample::Sample;
use starts::Starts;
use tracker::{Change, FindingTracker};
pub use tracker::{Finding, Severity};

/// Bytes of the thread's stack. Nothing there recurses.
const STACK_LEN: usize = 512 * 1024;

/// Work that waits for so long is not done at all: the broker is not live.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// A report of this age, and of several looks, is old: the diagnosis hangs.
const OLD_AFTER: Duration = Duration::from_secs(10);

/// Looks that are due within the time after which a report is old, at least.
const OLD_LOOKS: u32 = 5;

/// What the last look at the broker found.
pub struct Diagnosis {
    last: Mutex<Arc<Report>>,
    /// Age at which a report is old.
    old_after: Duration,
}

/// What one look at the broker found.
#[derive(Clone)]
pub struct Report {
    /// When; the start of the broker before the first.
    pub looked: MonotonicMillis,
    /// Findings, the worst first.
    pub findings: Vec<Finding>,
    /// Everything that has an end.
    pub ceilings: Vec<Ceiling>,
    /// What holds the memory.
    pub memory: Memory,
    /// Whether the broker's threads do not do their work.
    pub dead: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            looked: MonotonicMillis(0),
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
            old_after: OLD_AFTER.max(thresholds.interval * OLD_LOOKS),
        }
    }

    /// What the last look found. That it is old is found by whoever asks: a
    /// diagnosis that hangs cannot tell.
    pub fn report(&self) -> Arc<Report> {
        let report = self.last.lock().clone();
        report
            .at(MonotonicMillis::now(), self.old_after)
            .map_or(report, Arc::new)
    }
}

impl Report {
    /// The report as it is at `now` if it is old then: with a finding that says
    /// so.
    fn at(&self, now: MonotonicMillis, old_after: Duration) -> Option<Self> {
        let age = self.looked.until(now);
        if age < old_after {
            return None;
        }
        let text = format!(
            "the diagnosis has not looked at the broker for {}: what else is told here is as of \
             then",
            humanize::time(age)
        );
        let rule = RULES.iter().find(|rule| rule.code == DIAGNOSIS_HANGS)?;
        let mut report = self.clone();
        report
            .findings
            .insert(0, Finding::of(rule, self.looked, text));
        report.dead |= age >= DEAD_AFTER;
        Some(report)
    }
}

/// Looks at the broker for ever, on a thread of its own. To be called within
/// the runtime that serves the broker's connections.
///
/// # Errors
///
/// The thread cannot be had.
pub fn watch(server: Arc<Server>) -> io::Result<Arc<Diagnosis>> {
    let diagnosis = Arc::new(Diagnosis::new(&server.options().diagnosis));
    let mut watch = Watch::new(server, Handle::current(), diagnosis.clone());
    thread::Builder::new()
        .name("diagnosis".into())
        .stack_size(STACK_LEN)
        .spawn(move || {
            loop {
                let begin = Instant::now();
                watch.sample();
                let interval = watch.thresholds.interval;
                thread::sleep(interval.saturating_sub(begin.elapsed()));
            }
        })?;
    Ok(diagnosis)
}

struct Watch {
    server: Arc<Server>,
    thresholds: config::Diagnosis,
    diagnosis: Arc<Diagnosis>,
    ceilings: Ceilings,
    history: History,
    config: ConfigCheck,
    tracker: FindingTracker,
    starts: Starts,
    heap_trim: HeapTrim,
    allocator: Allocator,
    asked: memory::Asked,
}

impl Watch {
    fn new(server: Arc<Server>, workers: Handle, diagnosis: Arc<Diagnosis>) -> Self {
        let thresholds = server.options().diagnosis.clone();
        Self {
            ceilings: Ceilings::new(&thresholds),
            starts: Starts::note(&thresholds, &server.clients.telemetry.calls),
            history: History::new(workers),
            config: ConfigCheck::default(),
            tracker: FindingTracker::default(),
            heap_trim: HeapTrim::default(),
            allocator: Allocator::default(),
            asked: memory::Asked::default(),
            thresholds,
            server,
            diagnosis,
        }
    }

    fn sample(&mut self) {
        let server = &*self.server;
        let sample = Sample::take(server, &mut self.allocator);
        let telemetry = &server.clients.telemetry;
        telemetry.churn.tick(&telemetry.events, sample.at);
        for account in server.clients.accounts.all() {
            account.replies.remove_expired(sample.at);
        }
        if let Some(cluster) = &server.cluster {
            cluster.renew_incomplete_routes();
        }
        let budget = &server.clients.registry.budget;
        let queued = budget.used();
        let tables = queued + memory::held_in_tables();
        let taken = self.asked.taken_since(&sample, tables);
        // What was left the last time counts until the system tells again.
        if let Some(room) = memory::room(&sample, queued, self.ceilings.memory_max(), taken) {
            budget.set_room(room);
        }
        let HandshakeLook { held, most, .. } = sample.handshakes;
        let idle = usize::try_from(memory::idle(&sample)).unwrap_or(0);
        self.heap_trim.note(tables + held, tables + most, idle);
        let ceilings = self.ceilings.read(server, &sample);
        self.history.add(server, &self.thresholds, &sample);
        self.config.go_on(&self.server, &self.thresholds);
        let evidence = Evidence {
            server,
            thresholds: &self.thresholds,
            sample: &sample,
            ceilings: &ceilings,
            history: &self.history,
            starts: self.starts.within(self.thresholds.incident_window),
            pending_reload: self.config.outcome(),
        };
        for rule in RULES {
            let symptoms = (rule.find)(&evidence);
            let hysteresis = rule.hysteresis(&self.thresholds);
            let changes = self.tracker.update(sample.at, rule, hysteresis, symptoms);
            changes.iter().for_each(|change| tell(server, change));
        }
        *self.diagnosis.last.lock() = Arc::new(Report {
            looked: sample.at,
            findings: self.tracker.findings(),
            memory: Memory::of(server, &sample, &self.history),
            ceilings,
            dead: self.history.probe.delay() >= DEAD_AFTER,
        });
    }
}

/// Tells of a change as an event and in the log.
fn tell(server: &Server, change: &Change) {
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
    let sentence = match change.appeared {
        true => format!("{} {code}{who}: {text}", severity.name()),
        false => format!("cleared {code}{who}; it was: {text}"),
    };
    match change.appeared && *severity > Severity::Info {
        true => warn!("Finding: {sentence}"),
        false => info!("Finding: {sentence}"),
    }
    let events = &server.clients.telemetry.events;
    events.record(EventKind::Finding, *cid, subject, &sentence);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A diagnosis that hangs leaves its last report, which says that all is well.
    #[test]
    fn an_old_report_is_critical_by_its_age() {
        let report = Report {
            looked: MonotonicMillis(5_000),
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
