//! Appending to an outbound queue, under its lock.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::MutexGuard;

use super::{backlog::CONGESTED_BYTES, state::State};
use crate::{
    connection::{CLOSING, CloseReason, Connection, buffers::ThreadBuffers},
    telemetry::{MonotonicMicros, loss::LossReason},
};

/// The locked queue of a connection that is open.
pub struct Appender<'a> {
    state: MutexGuard<'a, State>,
    connection: &'a Connection,
    /// Bytes that waited before.
    pending_before: usize,
}

impl Connection {
    /// Locks the queue to append; `None` when the connection is ending.
    pub fn append(&self) -> Option<Appender<'_>> {
        let state = self.outbound.state.lock();
        match state.closed {
            None => Some(Appender {
                pending_before: state.pending,
                state,
                connection: self,
            }),
            Some(_) => None,
        }
    }

    /// Appends one piece of the protocol and notes the connection for the
    /// batch's flush.
    pub fn send(self: &Arc<Self>, buffers: &mut ThreadBuffers, line: &[u8]) {
        let Some(mut appender) = self.append() else {
            return;
        };
        if appender.reserve(line.len()) {
            appender.push(buffers, line, b"");
            if appender.touch(buffers.read_batch) {
                buffers.touched.push(self.clone());
            }
        }
    }

    /// Has written what layers below the queue have to say: TLS' own records, pongs of a
    /// WebSocket. Notes the connection for the batch's flush.
    pub fn send_control(self: &Arc<Self>, buffers: &mut ThreadBuffers) {
        if let Some(mut appender) = self.append() {
            appender.state.queue.sealed.get_or_insert_default();
            if appender.touch(buffers.read_batch) {
                buffers.touched.push(self.clone());
            }
        }
    }
}

impl Appender<'_> {
    /// Reserves `len` bytes. `false`: the queue would outgrow its
    /// limit; the connection is now closed as a slow consumer.
    pub fn reserve(&mut self, len: usize) -> bool {
        let state = &mut *self.state;
        if state.pending + len <= state.max_pending {
            state.pending += len;
            return true;
        }
        state.close(
            CloseReason::SlowConsumerPending,
            &self.connection.outbound.sent,
        );
        self.connection.raise(CLOSING);
        false
    }

    /// Appends two pieces behind each other; their bytes must be reserved.
    #[inline]
    pub fn push(&mut self, buffers: &mut ThreadBuffers, first: &[u8], second: &[u8]) {
        self.state.queue.push(buffers, first, second);
    }

    /// Marks the end of a message.
    #[inline]
    pub fn end_message(&mut self) {
        self.state.queue.end_message();
    }

    /// Appends the end of a message without copying it; its bytes must be
    /// reserved.
    pub fn push_shared(&mut self, piece: Bytes) {
        self.state.queue.push_shared(piece);
    }

    /// Sets the read time of the messages that are appended next.
    pub fn begin(&mut self, read_at: MonotonicMicros) {
        self.state.queue.begin(read_at);
    }

    /// Notes which publisher filled the queue, if its reader is behind.
    pub fn note_producer(&mut self, cid: u64) {
        let state = &mut *self.state;
        if state.behind_since.is_some()
            && let Some(producers) = &mut state.producers
        {
            let bytes = state.pending.saturating_sub(self.pending_before);
            producers.feed(cid, bytes as u64);
        }
    }

    /// Counts messages and their payload bytes as delivered.
    pub fn count(&mut self, msgs: u64, bytes: u64) {
        let sent = &self.connection.outbound.sent;
        sent.own_msgs.add(msgs);
        sent.own_bytes.add(bytes);
    }

    /// The same of messages that another account brought.
    pub fn count_borrowed(&mut self, msgs: u64, bytes: u64) {
        let sent = &self.connection.outbound.sent;
        sent.borrowed_msgs.add(msgs);
        sent.borrowed_bytes.add(bytes);
    }

    /// Books messages that are not appended because their control lines are longer than the
    /// peer accepts.
    pub fn refuse(&mut self, msgs: u64, bytes: u64) {
        self.state.loss.add(LossReason::TooLong, msgs, bytes);
        self.connection.outbound.sent.losses.add(1);
        self.connection.note_moved();
    }

    /// Bytes that wait.
    pub fn pending(&self) -> usize {
        self.state.pending
    }

    /// Whether publishers should check whether to pause.
    pub fn is_congested(&self) -> bool {
        self.state.pending > CONGESTED_BYTES
    }

    /// Marks the queue as noted as long in a turn; `false` if the turn marked it
    /// before.
    pub fn note_turn(&mut self, turn: u64) -> bool {
        std::mem::replace(&mut self.state.congested_in, turn) != turn
    }

    /// Marks the connection as touched by a batch; `false` if the batch marked
    /// it before.
    pub fn touch(&mut self, batch: u64) -> bool {
        let first = self.state.touched_by != batch;
        self.state.touched_by = batch;
        first
    }
}
