//! Events: numbered records of what happened, the latest of them in a bounded ring.
//!
//! Every module records here what an operator would want to know; `/eventsz`, the dashboard, the
//! log and `$SYS` show it. Recording never waits for a reader.

use std::{collections::VecDeque, sync::Arc};

use monitor_client::text::escaped;
use parking_lot::Mutex;

use super::{
    MonotonicMillis,
    pool::{allocated, shorten_to},
};

/// Limit of the memory of all stored events, in bytes.
pub const EVENT_MEMORY_MAX: usize = 4 * 1024 * 1024;

/// Limit of each text of an event, in bytes; longer ones are shortened.
const TEXT_MAX: usize = 1024;

/// The kind of an event. Readers filter by its name, which is stable, dotted and in lower case.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum EventKind {
    /// A client logged in.
    ClientConnected,
    /// A client's connection ended.
    ClientClosed,
    /// A login was refused.
    AuthenticationFailed,
    /// A TLS handshake failed.
    HandshakeFailed,
    /// A publish or subscribe was refused.
    PermissionViolation,
    /// A consumer became slow, was disconnected, or caught up.
    SlowConsumer,
    /// Many connects and closes in a short time, as one event.
    Storm,
    /// A route was opened, lost or refused.
    Route,
    /// A leafnode connected, left or was refused.
    Leafnode,
    /// The federation has reached or lost an upstream broker.
    Federation,
    /// The configuration was reloaded.
    Reload,
    /// A certificate, key, CA or CRL changed, or could not be read.
    Certificate,
    /// A thread of the broker was not scheduled or blocked.
    WorkerStall,
    /// The broker started, stops, or enters lame duck mode.
    Server,
    /// A finding of the diagnosis appeared, got worse, eased or cleared.
    Finding,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::ClientConnected,
        Self::ClientClosed,
        Self::AuthenticationFailed,
        Self::HandshakeFailed,
        Self::PermissionViolation,
        Self::SlowConsumer,
        Self::Storm,
        Self::Route,
        Self::Leafnode,
        Self::Federation,
        Self::Reload,
        Self::Certificate,
        Self::WorkerStall,
        Self::Server,
        Self::Finding,
    ];

    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name that readers filter by.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientConnected => "client.connected",
            Self::ClientClosed => "client.closed",
            Self::AuthenticationFailed => "auth.failed",
            Self::HandshakeFailed => "tls.failed",
            Self::PermissionViolation => "auth.violation",
            Self::SlowConsumer => "slow",
            Self::Storm => "storm",
            Self::Route => "route",
            Self::Leafnode => "leafnode",
            Self::Federation => "federation",
            Self::Reload => "reload",
            Self::Certificate => "certificate",
            Self::WorkerStall => "worker.stall",
            Self::Server => "server",
            Self::Finding => "finding",
        }
    }
}

/// An event. Its texts hold no secrets.
#[derive(Clone, Debug)]
pub struct Event {
    /// Number, counted from 1 since the broker started.
    pub id: u64,
    /// When it happened.
    pub at: MonotonicMillis,
    /// What kind.
    pub kind: EventKind,
    /// The connection concerned; 0 for none.
    pub cid: u64,
    /// What it concerns: a connection's name, user or address, or the peer's.
    pub subject: String,
    /// What happened, as a sentence with numbers.
    pub text: String,
}

/// The answer to a reader's query.
#[derive(Debug, Default)]
pub struct Selection {
    /// The events, the oldest first.
    pub events: Vec<Arc<Event>>,
    /// Events after the requested number that are no longer stored, of any kind.
    pub missed: u64,
    /// The number to continue from: all selected events up to it are included.
    pub position: u64,
    /// The number of the latest event.
    pub last_id: u64,
}

/// The ring of the latest events.
#[derive(Default)]
pub struct EventLog(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    last_id: u64,
    /// Number of events so far, in the order of [`EventKind::ALL`].
    counts: [u64; EventKind::ALL.len()],
}

impl EventLog {
    /// Stores an event and drops the oldest ones if needed.
    pub fn record(&self, kind: EventKind, cid: u64, subject: &str, text: &str) {
        let event = Event {
            id: 0,
            at: MonotonicMillis::now(),
            kind,
            cid,
            // Peers choose these texts, and they are shown on terminals and pages.
            subject: shorten_to(&escaped(subject), TEXT_MAX).into_owned(),
            text: shorten_to(&escaped(text), TEXT_MAX).into_owned(),
        };
        let mut ring = self.0.lock();
        ring.last_id += 1;
        ring.counts[kind as usize] += 1;
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

    /// The stored events with numbers above `id`, the oldest first.
    pub fn after(&self, id: u64) -> Vec<Arc<Event>> {
        let ring = self.0.lock();
        let first = ring.events.partition_point(|event| event.id <= id);
        ring.events.range(first..).cloned().collect()
    }

    /// At most `limit` stored events of these kinds (all if the list is empty): the first ones
    /// above `after`, or the latest if that is `None`. A number from an earlier run of the broker,
    /// which is too high, counts as 0.
    pub fn select(&self, after: Option<u64>, limit: usize, kinds: &[EventKind]) -> Selection {
        let wanted = |event: &&Arc<Event>| kinds.is_empty() || kinds.contains(&event.kind);
        let ring = self.0.lock();
        let last_id = ring.last_id;
        let Some(after) = after.map(|id| if id > last_id { 0 } else { id }) else {
            let latest = ring.events.iter().rev().filter(wanted).take(limit);
            let mut events: Vec<_> = latest.cloned().collect();
            events.reverse();
            return Selection {
                events,
                missed: 0,
                position: last_id,
                last_id,
            };
        };
        let forgotten = last_id - ring.events.len() as u64;
        let first = ring.events.partition_point(|event| event.id <= after);
        let events: Vec<_> = ring
            .events
            .range(first..)
            .filter(wanted)
            .take(limit)
            .cloned()
            .collect();
        let position = match events.last() {
            Some(last) if events.len() == limit => last.id,
            _ => last_id,
        };
        Selection {
            events,
            missed: forgotten.saturating_sub(after),
            position,
            last_id,
        }
    }

    /// Number of stored events.
    pub fn count(&self) -> usize {
        self.0.lock().events.len()
    }

    /// Memory of the stored events in bytes.
    pub fn memory(&self) -> usize {
        self.0.lock().bytes
    }

    /// Number of events so far by kind, including those no longer stored.
    pub fn counts(&self) -> impl Iterator<Item = (EventKind, u64)> {
        EventKind::ALL.into_iter().zip(self.0.lock().counts)
    }

    /// The number of the latest event; 0 if there was none.
    pub fn last_id(&self) -> u64 {
        self.0.lock().last_id
    }
}

fn size(event: &Event) -> usize {
    // Plus the two counters of an Arc and its slot in the ring.
    allocated(size_of::<Event>() + 2 * size_of::<usize>())
        + size_of::<Arc<Event>>()
        + allocated(event.subject.len())
        + allocated(event.text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_are_dropped() {
        let log = EventLog::default();
        let text = "x".repeat(2 * TEXT_MAX);
        for _ in 0..2 * EVENT_MEMORY_MAX / TEXT_MAX {
            log.record(EventKind::Server, 0, "midge", &text);
        }
        let kept = log.after(0);
        assert!(kept.iter().map(|event| size(event)).sum::<usize>() <= EVENT_MEMORY_MAX);
        assert_eq!(kept.last().map(|event| event.id), Some(log.last_id()));
        assert_eq!(log.after(log.last_id() - 1).len(), 1);
        let first = kept[0].id;
        let selection = log.select(Some(3), 2, &[]);
        assert_eq!(selection.missed, first - 1 - 3);
        assert_eq!(selection.events[0].id, first);
        let bytes: usize = kept.iter().map(|event| size(event)).sum();
        assert_eq!(log.memory(), bytes);
    }

    #[test]
    fn a_selection_ends_with_the_number_to_continue_from() {
        let log = EventLog::default();
        for kind in [EventKind::Server, EventKind::Reload].repeat(5) {
            log.record(kind, 0, "midge", "");
        }
        let ids = |selection: &Selection| -> Vec<u64> {
            selection.events.iter().map(|event| event.id).collect()
        };
        let page = log.select(Some(3), 2, &[EventKind::Reload]);
        assert_eq!((ids(&page), page.position, page.missed), (vec![4, 6], 6, 0));
        let page = log.select(Some(8), 9, &[EventKind::Server]);
        assert_eq!((ids(&page), page.position), (vec![9], 10));
        assert_eq!(ids(&log.select(None, 2, &[])), [9, 10]);
        assert_eq!(log.select(Some(10), 9, &[]).events.len(), 0);
        // A number from an earlier run: all stored events.
        assert_eq!(ids(&log.select(Some(11), 2, &[])), [1, 2]);
        assert_eq!(log.select(Some(u64::MAX), 0, &[]).events.len(), 0);
    }

    #[test]
    fn every_kind_is_counted() {
        let log = EventLog::default();
        for (times, kind) in EventKind::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| log.record(kind, 0, "midge", ""));
        }
        for (times, counted) in log.counts().enumerate() {
            assert_eq!(counted, (EventKind::ALL[times], times as u64));
        }
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.name()), Some(kind));
        }
        assert_eq!(EventKind::parse("nothing"), None);
    }
}
