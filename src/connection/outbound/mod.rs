//! The outbound queue of a connection: bounded, appended to by many, written by one at a
//! time.
//!
//! A publisher locks the queue, appends ([`Appender`]) and unlocks; when its batch is done
//! it flushes (`flush`). The flusher takes the bytes, writes without the lock, and checks
//! the queue again before it stops, so that it also writes the bytes appended meanwhile.
//! When the socket is full the rest stays and the connection's own task continues once the
//! socket is writable. No system call happens under the lock.

mod appender;
mod backlog;
mod flush;
mod frozen;
mod in_process;
mod inspection;
mod queue;
mod sealed;
mod state;
mod stats;

use std::{net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::{CloseReason, Kind, budget::Budget, tcp_info};
use crate::telemetry::{
    MonotonicMicros, MonotonicMillis, Traffic,
    latency::{Peak, Worst},
    loss::Loss,
    producers::Producers,
    slow::{SocketStats, SubjectShare},
};
pub use appender::Appender;
pub use backlog::{Backlog, CONGESTED_BYTES};
use queue::Queue;
use state::State;
use stats::OutboundStats;

/// The queue.
pub struct Outbound {
    state: Mutex<State>,
    /// Written under the lock.
    sent: OutboundStats,
}

impl Outbound {
    pub(super) fn new(
        kind: Kind,
        stream: Option<Arc<TcpStream>>,
        max_pending: usize,
        budget: Arc<Budget>,
    ) -> Self {
        let state = State {
            kind,
            stream,
            queue: Queue::default(),
            pending: 0,
            max_pending,
            writing: false,
            blocked: false,
            closed: None,
            budget,
            booked: 0,
            touched_by: 0,
            congested_in: 0,
            loss: Loss::default(),
            discarded: None,
            producers: None,
            worst: Worst::default(),
            last_progress: MonotonicMillis::now(),
            behind_since: None,
        };
        Self {
            state: Mutex::new(state),
            sent: OutboundStats::default(),
        }
    }

    /// What was delivered so far, what of it was written and what was lost; the
    /// other direction is 0.
    pub fn traffic(&self) -> Traffic {
        self.sent.traffic(|| self.state.lock().loss)
    }

    /// Messages delivered so far.
    pub fn delivered_msgs(&self) -> u64 {
        self.sent.own_msgs.value() + self.sent.borrowed_msgs.value()
    }

    /// How far the reader is behind.
    pub fn backlog(&self) -> Backlog {
        let state = self.state.lock();
        Backlog {
            pending: state.pending,
            max_pending: state.max_pending,
            last_progress: state.last_progress,
            behind_since: state.behind_since,
            shared: state.queue.shared_len(),
            held: state.queue.memory().max(state.pending),
            closed: state.closed.is_some(),
        }
    }

    /// The address of our end of the socket.
    pub fn local_ip(&self) -> Option<IpAddr> {
        let stream = self.state.lock().stream.clone()?;
        stream.local_addr().ok().map(|address| address.ip())
    }

    /// The socket, unless the connection has ended.
    pub fn socket(&self) -> Option<Arc<TcpStream>> {
        self.state.lock().stream.clone()
    }

    /// Which publishers fill the queue and which were paused for it, since its reader fell
    /// behind.
    pub fn producers(&self) -> Producers {
        let state = self.state.lock();
        state.producers.as_deref().cloned().unwrap_or_default()
    }

    /// Whether what is known of producers stays when the reader catches up.
    pub fn keep_producers(&self, keep: bool) {
        self.state.lock().producers.get_or_insert_default().watched = keep;
    }

    /// The longest time that messages stayed in about the last minute, the time
    /// that the first one waits now included.
    pub fn latency(&self, now: MonotonicMicros) -> Peak {
        let state = self.state.lock();
        let mut peak = state.worst.peak(now);
        let since = state.queue.since();
        if !since.is_none() && state.behind_since.is_some() {
            peak.micros = peak.micros.max(since.micros_until(now));
            peak.count = peak.count.max(1);
        }
        peak
    }

    /// What waits, or was thrown away at the end, by subject: of a long queue
    /// extrapolated from parts that are spread over it.
    pub fn subjects(&self) -> Vec<SubjectShare> {
        let state = self.state.lock();
        match &state.discarded {
            Some(discarded) => discarded.subjects(state.kind),
            None => state.queue.subjects(state.kind),
        }
    }

    /// The system's statistics of the socket, if it is still open.
    pub fn socket_stats(&self) -> Option<SocketStats> {
        let stream = self.state.lock().stream.clone()?;
        tcp_info::read(&stream)
    }

    /// Notes that the publisher `cid` paused for `time`; `first` is whether the
    /// pause began.
    pub fn note_stall(&self, cid: u64, time: Duration, first: bool) {
        let producers = &mut self.state.lock().producers;
        producers.get_or_insert_default().stall(cid, time, first);
    }

    /// Sets another limit for what may wait; what waits already stays.
    pub fn set_max_pending(&self, max_pending: usize) {
        self.state.lock().max_pending = max_pending;
    }

    /// The peer is let in: from now on so much may wait for it, and what waits is
    /// booked on the budget of all.
    pub fn admit(&self, max_pending: usize, budget: Arc<Budget>) {
        let mut state = self.state.lock();
        state.max_pending = max_pending;
        state.budget.book(state.booked, 0);
        budget.book(0, state.booked);
        state.budget = budget;
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.state.lock().queue.is_empty()
    }

    /// Why the connection ends, if it does.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.state.lock().closed
    }

    /// Drops the socket and what waits for it. The connection has ended.
    pub fn release(&self) {
        let mut state = self.state.lock();
        state.stream = None;
        state.discard(&self.sent);
        let discarded = state.discarded.take();
        drop(state);
        // Memory is freed without the lock.
        drop(discarded);
    }

    /// What the budget has booked for this queue: what waits in it because its
    /// reader is stuck. Nothing of a queue that flows.
    pub fn booked(&self) -> usize {
        self.state.lock().booked
    }

    /// Closes the connection for what is booked for its queue, and returns how much
    /// that was; `None` if it is ending or its reader has caught up meanwhile.
    pub(super) fn close_for_memory(&self) -> Option<usize> {
        let mut state = self.state.lock();
        let booked = state.booked;
        if state.closed.is_some() || booked == 0 {
            return None;
        }
        state.close(CloseReason::SlowConsumerMemory, &self.sent);
        Some(booked)
    }

    /// Notes the reason; `false` if there is one already.
    pub(super) fn close(&self, reason: CloseReason) -> bool {
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return false;
        }
        state.close(reason, &self.sent);
        true
    }
}
