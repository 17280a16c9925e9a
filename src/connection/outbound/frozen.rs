//! Handing an outbound queue over to another process: while it is frozen nobody writes, and what
//! waits in it can be copied.

use std::sync::Arc;

use crate::connection::{CLOSING, CloseReason, Connection, buffers::ThreadBuffers};

impl Connection {
    /// Freezes the queue and returns what waits in it; `None` if somebody is writing, if the
    /// connection ends, if there is TLS or a
    /// WebSocket, or if more than `max` bytes wait.
    pub fn freeze(&self, max: usize) -> Option<Vec<u8>> {
        let mut state = self.outbound.state.lock();
        let is_plain = self.tls().is_none() && self.websocket().is_none();
        let is_free = !state.writing && state.closed.is_none() && is_plain;
        if !is_free || state.queue.len() > max {
            return None;
        }
        // Whoever appends leaves the writing to the one that writes.
        state.writing = true;
        Some(state.queue.to_bytes())
    }

    /// The opposite: what waits is written.
    pub fn unfreeze(self: &Arc<Self>, buffers: &mut ThreadBuffers) {
        self.outbound.state.lock().writing = false;
        self.flush_blocked(buffers);
    }

    /// Another process has the socket and what waited: neither is touched any more.
    pub fn close_handed_over(&self) {
        let mut state = self.outbound.state.lock();
        let queue = std::mem::take(&mut state.queue);
        state.writing = false;
        state.pending = 0;
        let booked = std::mem::take(&mut state.booked);
        state.budget.book(booked, 0);
        state.closed.get_or_insert(CloseReason::HandedOver);
        drop(state);
        // Memory is freed without the lock.
        drop(queue);
        self.raise(CLOSING);
    }
}
