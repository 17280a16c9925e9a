//! Events: what happened, numbered, the last ones in a bounded ring.
//!
//! Every room records here what an operator would want to know; `/eventsz`, the
//! dashboard, the log and `$SYS` show it. Recording never waits for a reader.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use super::Clock;

/// Bytes that all remembered events may take.
pub const EVENT_MEMORY_MAX: usize = 4 * 1024 * 1024;

/// Bytes of an event's texts; longer ones are cut.
const TEXT_MAX: usize = 1024;

/// What kind of thing happened. The name is what readers filter by: stable,
/// dotted, lower case.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EventKind {
    /// A client logged in.
    ClientConnected,
    /// A client's connection ended.
    ClientClosed,
    /// A login was refused.
    AuthenticationFailed,
    /// A publish or subscribe was refused.
    PermissionViolation,
    /// A reader fell behind, was cut, or caught up.
    SlowConsumer,
    /// Many connections in a short time, as one event.
    Storm,
    /// A route was opened, lost or refused.
    Route,
    /// The configuration was read again.
    Reload,
    /// A certificate, key, CA or CRL changed, or could not be read.
    Certificate,
    /// A thread of the broker did not get on.
    WorkerStall,
    /// The broker started, stops, or leaves.
    Server,
}

impl EventKind {
    /// The name that readers filter by.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientConnected => "client.connected",
            Self::ClientClosed => "client.closed",
            Self::AuthenticationFailed => "auth.failed",
            Self::PermissionViolation => "auth.violation",
            Self::SlowConsumer => "slow",
            Self::Storm => "storm",
            Self::Route => "route",
            Self::Reload => "reload",
            Self::Certificate => "certificate",
            Self::WorkerStall => "worker.stall",
            Self::Server => "server",
        }
    }
}

/// Something that happened. Texts hold no secrets.
#[derive(Clone, Debug)]
pub struct Event {
    /// Number, counted from 1 in this run of the broker.
    pub id: u64,
    /// When.
    pub at: Clock,
    /// What kind.
    pub kind: EventKind,
    /// The connection concerned; 0 for none.
    pub cid: u64,
    /// Its name, user, address or the peer's: who it is about.
    pub subject: String,
    /// A plain sentence: what happened, with numbers.
    pub text: String,
}

/// The last events.
#[derive(Default)]
pub struct EventLog(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    last_id: u64,
}

impl EventLog {
    /// Remembers an event; the oldest make room.
    pub fn record(&self, kind: EventKind, cid: u64, subject: &str, text: &str) {
        let event = Event {
            id: 0,
            at: Clock::now(),
            kind,
            cid,
            subject: cut(subject).to_owned(),
            text: cut(text).to_owned(),
        };
        let mut ring = self.0.lock();
        ring.last_id += 1;
        let event = Arc::new(Event {
            id: ring.last_id,
            ..event
        });
        ring.bytes += size(&event);
        ring.events.push_back(event);
        while ring.bytes > EVENT_MEMORY_MAX {
            let Some(oldest) = ring.events.pop_front() else {
                break;
            };
            ring.bytes -= size(&oldest);
        }
    }

    /// Remembered events with numbers above `id`, the oldest first.
    pub fn after(&self, id: u64) -> Vec<Arc<Event>> {
        let ring = self.0.lock();
        let first = ring.events.partition_point(|event| event.id <= id);
        ring.events.range(first..).cloned().collect()
    }

    /// The number of the last event; 0 before the first.
    pub fn last_id(&self) -> u64 {
        self.0.lock().last_id
    }
}

fn size(event: &Event) -> usize {
    size_of::<Event>() + event.subject.len() + event.text.len()
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_events_make_room() {
        let log = EventLog::default();
        let text = "x".repeat(2 * TEXT_MAX);
        for _ in 0..2 * EVENT_MEMORY_MAX / TEXT_MAX {
            log.record(EventKind::Server, 0, "midge", &text);
        }
        let kept = log.after(0);
        assert!(kept.iter().map(|event| size(event)).sum::<usize>() <= EVENT_MEMORY_MAX);
        assert_eq!(kept.last().map(|event| event.id), Some(log.last_id()));
        assert_eq!(log.after(log.last_id() - 1).len(), 1);
    }
}
