//! Noting which connections moved something since totals were last added up, so
//! that totals cost as much as there are connections that moved, and not as there
//! are connections.
//!
//! A connection notes itself once in a list of its registry, behind what it has
//! counted: at the end of each batch it reads and of each flush. That is a read of
//! one byte, and nothing per message. `broker::registry` goes through the list.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;

use super::Connection;
use crate::telemetry::{Traffic, loss::Loss};

/// Ids of connections that moved something, in no order.
#[derive(Default)]
pub struct MovedList(Mutex<Vec<u64>>);

impl MovedList {
    /// Takes the ids.
    pub fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// Whether a connection is noted, and what of its traffic is in the totals.
#[derive(Default)]
pub(super) struct Moved {
    is_noted: AtomicBool,
    /// The list of its registry; none before it is in one.
    list: OnceLock<Arc<MovedList>>,
    added_up: Mutex<AddedUp>,
}

/// The part of a connection's traffic that is in the totals.
#[derive(Default)]
struct AddedUp {
    in_msgs: u64,
    in_bytes: u64,
    out_msgs: u64,
    out_bytes: u64,
    written_msgs: u64,
    written_bytes: u64,
    /// Few connections lose anything before their end.
    loss: Option<Box<Loss>>,
}

impl Connection {
    /// Notes that something was counted. To be called afterwards.
    #[inline]
    pub fn note_moved(&self) {
        if !self.moved.is_noted.load(Ordering::Relaxed) {
            self.moved.note(self.cid);
        }
    }

    /// Has what it counts noted in the list of its registry.
    pub fn note_in(&self, list: &Arc<MovedList>) {
        self.moved.list.get_or_init(|| list.clone());
        self.note_moved();
    }

    /// Has it noted again with the next thing it counts; to be called before its
    /// counters are read.
    pub fn unnote(&self) {
        self.moved.is_noted.store(false, Ordering::Release);
    }

    /// Its traffic so far, and the part that is new since the last call. The new part is
    /// not divided by account.
    pub fn take_moved(&self) -> (Traffic, Traffic) {
        let mut added_up = self.moved.added_up.lock();
        let traffic = self.traffic();
        (traffic, added_up.add(&traffic))
    }
}

impl Moved {
    #[cold]
    fn note(&self, cid: u64) {
        if let Some(list) = self.list.get()
            && !self.is_noted.swap(true, Ordering::AcqRel)
        {
            list.0.lock().push(cid);
        }
    }
}

impl AddedUp {
    /// Stores the present values; returns the difference.
    fn add(&mut self, now: &Traffic) -> Traffic {
        let new = |now: u64, before: &mut u64| now.saturating_sub(std::mem::replace(before, now));
        Traffic {
            in_msgs: new(now.in_msgs, &mut self.in_msgs),
            in_bytes: new(now.in_bytes, &mut self.in_bytes),
            out_msgs: new(now.out_msgs, &mut self.out_msgs),
            out_bytes: new(now.out_bytes, &mut self.out_bytes),
            written_msgs: new(now.written_msgs, &mut self.written_msgs),
            written_bytes: new(now.written_bytes, &mut self.written_bytes),
            loss: self.add_loss(&now.loss),
            // Asked for by account alone, which is summed from the connections.
            own_msgs: 0,
            own_bytes: 0,
        }
    }

    fn add_loss(&mut self, now: &Loss) -> Loss {
        if *now == Loss::default() {
            return Loss::default();
        }
        let before = self.loss.get_or_insert_default();
        now.since(&std::mem::replace(&mut **before, *now))
    }
}
