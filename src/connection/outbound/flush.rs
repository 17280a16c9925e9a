//! Writing an outbound queue to the socket, without its lock.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use parking_lot::MutexGuard;

use super::{sealed::Layers, state::State};
use crate::{
    connection::{
        BLOCKED, CLOSING, CloseReason, Connection, QUEUED, STUCK, buffers::ThreadBuffers,
    },
    telemetry::{MonotonicMicros, MonotonicMillis},
};

/// Rounds of one flush: a publisher does not flush indefinitely while others append.
const ROUNDS_MAX: usize = 8;

impl Connection {
    /// Writes what is pending, as far as the socket accepts it now.
    pub fn flush(self: &Arc<Self>, buffers: &mut ThreadBuffers) {
        self.write_queue(buffers, false);
        self.note_moved();
    }

    /// The same for the connection's own task when the socket is writable again.
    pub fn flush_blocked(&self, buffers: &mut ThreadBuffers) {
        {
            let mut state = self.outbound.state.lock();
            state.blocked = false;
            self.lower(BLOCKED);
        }
        self.write_queue(buffers, false);
        self.note_moved();
    }

    /// The same after the close was asked for. Returns whether all is written
    /// or lost, so that there is nothing to wait for.
    pub fn flush_closing(&self, buffers: &mut ThreadBuffers) -> bool {
        self.outbound.state.lock().blocked = false;
        self.write_queue(buffers, true);
        let state = self.outbound.state.lock();
        !state.blocked && !state.writing
    }

    /// Returns the bytes that still wait.
    fn write_queue(&self, buffers: &mut ThreadBuffers, closing: bool) -> usize {
        let mut state = self.outbound.state.lock();
        if state.writing || state.blocked || (state.closed.is_some() && !closing) {
            if state.blocked {
                state.queue.trim(buffers);
                state.book();
            }
            return state.pending;
        }
        let Some(stream) = state.stream.clone() else {
            // A reader in this process takes it.
            drop(state);
            self.raise(QUEUED);
            return 0;
        };
        state.writing = true;
        for _ in 0..ROUNDS_MAX {
            if state.queue.is_empty() {
                state.writing = false;
                state.behind_since = None;
                if state.booked > 0 {
                    state.book();
                }
                return state.pending;
            }
            let mut taken = std::mem::take(&mut state.queue);
            drop(state);

            let since = taken.since();
            let written = match self.layers() {
                None => taken.write_to(&stream, buffers),
                Some(layers) => taken.seal_to(layers, &stream, buffers),
            };

            state = self.outbound.state.lock();
            state.note_written(&written, &self.outbound.sent);
            if written.progressed {
                let now = MonotonicMicros::now();
                state.last_progress = now.millis();
                if !since.is_none() {
                    let micros = since.micros_until(now);
                    state.worst.record(now, micros);
                    let series = self.series.load(Ordering::Relaxed);
                    buffers.metrics.record_latency(series, micros);
                }
            }
            match written.outcome {
                Ok(()) => taken.recycle(buffers),
                Err(error) => {
                    state.writing = false;
                    let slow = state.closed.is_some_and(CloseReason::is_slow_consumer);
                    if error.kind() == io::ErrorKind::WouldBlock && !slow {
                        state.queue.put_back(taken);
                        return self.hand_over(state, buffers);
                    }
                    let fails_now = state.closed.is_none();
                    if fails_now {
                        state.closed = Some(CloseReason::WriteError);
                    }
                    // A slow consumer's close has thrown the rest away.
                    state.queue.put_back(taken);
                    state.discard(&self.outbound.sent);
                    drop(state);
                    if fails_now {
                        self.raise(CLOSING);
                    }
                    return 0;
                }
            }
        }
        state.writing = false;
        match state.queue.is_empty() {
            true => state.pending,
            false => self.hand_over(state, buffers),
        }
    }

    /// What is between the queue and the socket.
    #[inline]
    fn layers(&self) -> Option<Layers<'_>> {
        let (tls, websocket) = (self.tls(), self.websocket());
        (tls.is_some() || websocket.is_some()).then(|| Layers {
            tls: tls.map(|it| &**it),
            websocket: websocket.map(|it| &**it),
        })
    }

    /// Leaves what waits to the connection's own task.
    fn hand_over(&self, mut state: MutexGuard<'_, State>, buffers: &mut ThreadBuffers) -> usize {
        let pending = state.pending;
        state.blocked = true;
        if state.behind_since.is_none() {
            state.behind_since = Some(MonotonicMillis::now());
            state.begin_noting_producers();
        }
        state.queue.trim(buffers);
        state.book();
        drop(state);
        self.raise(BLOCKED | STUCK);
        pending
    }
}
