//! The diagnosis: what is wrong with the broker, who, since when, why.
//!
//! `main` calls [`watch`] once. A thread of its own takes a [`look`] at the
//! running broker about once in a second, reads the ceilings ([`ceiling`]) from
//! it, adds it to what was seen before ([`history`]) and asks each of the
//! [`rules`] what it sees. The [`board`] decides when a symptom is a finding.
//! Monitoring asks for the result. Nothing here is on the way of a message,
//! and nothing here knows how a finding is drawn.

mod board;
mod ceiling;
mod ebb;
mod history;
mod look;
mod memory;
mod mesh;
mod recent;
pub mod rules;
mod starts;
mod trend;
mod words;

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
    telemetry::{Clock, event::EventKind},
};
use board::{Board, Change};
pub use board::{Finding, Severity};
use ceiling::Ceilings;
pub use ceiling::{Ceiling, CeilingKind};
use ebb::Ebb;
use history::History;
use look::Look;
pub use memory::{Cause, Memory, MemoryHolder};
use rules::{Evidence, RULES};
use starts::Starts;

/// Bytes of the thread's stack. Nothing there recurses, but a reload, which is
/// tried out here, parses the configuration.
const STACK_LEN: usize = 2 * 1024 * 1024;

/// Work that waits for so long is not done at all: the broker is not live.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// What the last look at the broker found.
#[derive(Default)]
pub struct Diagnosis(Mutex<Arc<Report>>);

/// What one look at the broker found.
#[derive(Clone)]
pub struct Report {
    /// When; the start of the broker before the first.
    pub looked: Clock,
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
            looked: Clock(0),
            findings: Vec::new(),
            ceilings: Vec::new(),
            memory: Memory::default(),
            dead: false,
        }
    }
}

impl Diagnosis {
    /// What the last look found.
    pub fn report(&self) -> Arc<Report> {
        self.0.lock().clone()
    }
}

/// Looks at the broker for ever, on a thread of its own. To be called within
/// the runtime that serves the broker's connections.
///
/// # Errors
///
/// The thread cannot be had.
pub fn watch(server: Arc<Server>) -> io::Result<Arc<Diagnosis>> {
    let diagnosis = Arc::new(Diagnosis::default());
    let mut watch = Watch::new(server, Handle::current(), diagnosis.clone());
    thread::Builder::new()
        .name("diagnosis".into())
        .stack_size(STACK_LEN)
        .spawn(move || {
            loop {
                let begin = Instant::now();
                watch.look();
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
    board: Board,
    starts: Starts,
    ebb: Ebb,
}

impl Watch {
    fn new(server: Arc<Server>, workers: Handle, diagnosis: Arc<Diagnosis>) -> Self {
        let thresholds = server.options().diagnosis.clone();
        Self {
            ceilings: Ceilings::new(&thresholds),
            starts: Starts::note(&thresholds),
            history: History::new(workers),
            board: Board::default(),
            ebb: Ebb::default(),
            thresholds,
            server,
            diagnosis,
        }
    }

    fn look(&mut self) {
        let server = &*self.server;
        let look = Look::take(server);
        let telemetry = &server.clients.telemetry;
        telemetry.crowd.tick(&telemetry.events, look.at);
        let queued = server.clients.registry.budget.used();
        let HandshakeLook { held, most, .. } = look.handshakes;
        self.ebb.note(queued + held, queued + most);
        let ceilings = self.ceilings.read(server, &look);
        self.history.add(server, &self.thresholds, &look);
        let evidence = Evidence {
            server,
            thresholds: &self.thresholds,
            look: &look,
            ceilings: &ceilings,
            history: &self.history,
            starts: self.starts.within(self.thresholds.recent),
        };
        for rule in RULES {
            let symptoms = (rule.find)(&evidence);
            let patience = rule.patience(&self.thresholds);
            let changes = self.board.update(look.at, rule, patience, symptoms);
            changes.iter().for_each(|change| tell(server, change));
        }
        *self.diagnosis.0.lock() = Arc::new(Report {
            looked: look.at,
            findings: self.board.findings(),
            memory: Memory::of(server, &look),
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
