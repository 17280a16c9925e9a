//! Totals of messages that several threads write.

use std::sync::atomic::{AtomicU64, Ordering};

/// Messages, and the bytes of their headers and payloads.
#[derive(Default)]
pub struct MessageTotals {
    msgs: AtomicU64,
    bytes: AtomicU64,
}

impl MessageTotals {
    /// Counts these.
    pub fn add(&self, msgs: u64, bytes: u64) {
        self.msgs.fetch_add(msgs, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Messages and bytes so far.
    pub fn value(&self) -> (u64, u64) {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (value(&self.msgs), value(&self.bytes))
    }
}
