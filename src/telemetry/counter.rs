//! Counters that cost their writer a plain store.

use std::{
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering},
};

use super::loss::Loss;

/// A running total with one writer at a time and any number of readers.
///
/// The writer is a connection's own task, or the holder of the lock that protects what is counted;
/// two writers at a time would lose counts.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the total. Only one writer may do so at a time.
    pub fn add(&self, amount: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(amount),
            Ordering::Relaxed,
        );
    }

    /// The total.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Messages and payload bytes (headers included) in both directions, what of them was written to
/// the socket and what was lost, as values.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Messages received.
    pub in_msgs: u64,
    /// Bytes received.
    pub in_bytes: u64,
    /// Messages delivered.
    pub out_msgs: u64,
    /// Bytes delivered.
    pub out_bytes: u64,
    /// Messages delivered to subscriptions of the connection's own account. Counted separately
    /// instead of subtracting the others, so that the value never falls.
    pub own_msgs: u64,
    /// Their bytes.
    pub own_bytes: u64,
    /// Delivered messages that were written to the socket completely.
    pub written_msgs: u64,
    /// Bytes written to the socket, protocol lines included.
    pub written_bytes: u64,
    /// What was lost, by reason.
    pub loss: Loss,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        // Every field by name: a new one that is not added does not compile.
        let Self {
            in_msgs,
            in_bytes,
            out_msgs,
            out_bytes,
            own_msgs,
            own_bytes,
            written_msgs,
            written_bytes,
            loss,
        } = other;
        self.in_msgs += in_msgs;
        self.in_bytes += in_bytes;
        self.out_msgs += out_msgs;
        self.out_bytes += out_bytes;
        self.own_msgs += own_msgs;
        self.own_bytes += own_bytes;
        self.written_msgs += written_msgs;
        self.written_bytes += written_bytes;
        self.loss += loss;
    }
}
