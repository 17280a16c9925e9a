//! The outbound queue of a connection: bounded, appended to by many, written
//! by one at a time.
//!
//! Whoever delivers locks the queue, appends and unlocks; when its batch is
//! done it flushes. The flusher takes the bytes out, writes without the lock,
//! and looks again before it lets go, so that bytes appended meanwhile are
//! written by the one who is at it. When the socket is full the rest stays and
//! the connection's own task goes on once the socket takes more. No system
//! call happens under the lock.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpStream;

use super::{
    BLOCKED, CloseReason, Connection, Kind, STUCK,
    budget::{BOOKED_STEP, Budget},
    buffers::ThreadBuffers,
    outbound_stats::OutboundStats,
    producers::Producers,
    queue::{Queue, Written},
    tcp_info,
};
use crate::telemetry::{
    MonotonicMicros, MonotonicMillis, Traffic,
    latency::{Peak, Worst},
    loss::{Loss, LossReason},
    slow::{SocketStats, SubjectShare},
};

/// Rounds of one flush: whoever flushes for others is not kept at it for ever.
const ROUNDS_MAX: usize = 8;

/// Bytes waiting for a connection that make publishers look whether they should
/// pause.
pub const CONGESTED_BYTES: usize = 2 * 1024 * 1024;

/// The queue.
pub struct Outbound {
    state: Mutex<State>,
    /// Written under the lock.
    sent: OutboundStats,
}

struct State {
    /// What is at the other end.
    kind: Kind,
    /// Gone once the connection has ended, so that the socket closes whoever
    /// still holds the connection.
    stream: Option<Arc<TcpStream>>,
    queue: Queue,
    /// Bytes queued, those that are being written included.
    pending: usize,
    max_pending: usize,
    writing: bool,
    blocked: bool,
    closed: Option<CloseReason>,
    budget: Arc<Budget>,
    /// What the budget has booked for this queue.
    booked: usize,
    /// The batch that appended last; see [`Appender::touch`].
    touched_by: u64,
    /// The turn that noted the queue as long; see [`Appender::note_turn`].
    congested_in: u64,
    /// Counted in [`OutboundStats::losses`].
    loss: Loss,
    /// What the end threw away, until somebody has looked at it.
    discarded: Option<Queue>,
    /// Who feeds it; since its reader was behind for the first time.
    producers: Option<Box<Producers>>,
    /// How long messages stayed lately.
    worst: Worst,
    /// When the socket last took some bytes.
    last_progress: MonotonicMillis,
    /// When the socket was first full since the queue was last empty.
    behind_since: Option<MonotonicMillis>,
}

/// How far a connection's reader is behind.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Bytes waiting.
    pub pending: usize,
    /// Bytes that may wait at most.
    pub max_pending: usize,
    /// When the socket last took some bytes.
    pub last_progress: MonotonicMillis,
    /// When the socket was first full since the queue was last empty; `None`
    /// while the reader keeps up.
    pub behind_since: Option<MonotonicMillis>,
    /// Bytes of it that other queues may share.
    pub shared: usize,
    /// Bytes that it takes: what waits, and the room that its pieces have beyond it.
    pub held: usize,
    /// Whether the connection is ending.
    pub closed: bool,
}

/// The locked queue of a connection that is open.
pub struct Appender<'a> {
    state: MutexGuard<'a, State>,
    connection: &'a Connection,
    /// Bytes that waited before.
    pending_before: usize,
}

impl Outbound {
    pub(super) fn new(
        kind: Kind,
        stream: Arc<TcpStream>,
        max_pending: usize,
        budget: Arc<Budget>,
    ) -> Self {
        let state = State {
            kind,
            stream: Some(stream),
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
    /// other direction is nought.
    pub fn traffic(&self) -> Traffic {
        self.sent.traffic(|| self.state.lock().loss)
    }

    /// Messages delivered so far.
    pub(super) fn delivered_msgs(&self) -> u64 {
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

    /// Who feeds the queue and who was paused for it, since its reader fell
    /// behind.
    pub fn producers(&self) -> Producers {
        let state = self.state.lock();
        state.producers.as_deref().cloned().unwrap_or_default()
    }

    /// Whether what is known of feeders stays when the reader catches up.
    pub fn keep_feeders(&self, keep: bool) {
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

    /// What the system says of the socket, if it is still there.
    pub(super) fn socket_figures(&self) -> Option<SocketStats> {
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
        // Memory is given back without the lock.
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

impl State {
    fn close(&mut self, reason: CloseReason, sent: &OutboundStats) {
        self.closed = Some(reason);
        if reason.is_slow_consumer() {
            self.discard(sent);
        }
    }

    /// Throws away what waits, but for what is being written.
    fn discard(&mut self, sent: &OutboundStats) {
        let queue = std::mem::take(&mut self.queue);
        self.lose(&queue, sent);
        match &mut self.discarded {
            Some(discarded) => discarded.put_back(queue),
            None => self.discarded = Some(queue),
        }
        self.budget.book(self.booked, 0);
        self.booked = 0;
    }

    /// Books the loss of what waits in `queue`.
    fn lose(&mut self, queue: &Queue, sent: &OutboundStats) {
        let reason = match self.closed {
            Some(CloseReason::WriteError) => LossReason::WriteError,
            Some(reason) if reason.is_slow_consumer() => LossReason::SlowConsumer,
            _ => LossReason::Closed,
        };
        let bytes = queue.len();
        sent.written_msgs.add(queue.front_written(self.kind));
        self.loss.add(reason, queue.msgs(self.kind), bytes as u64);
        sent.losses.add(1);
        self.pending = self.pending.saturating_sub(bytes);
    }

    /// The reader falls behind: from now on it is noted who feeds the queue.
    fn notice_feeders(&mut self) {
        let producers = self.producers.get_or_insert_default();
        if !producers.watched {
            **producers = Producers::default();
        }
    }

    /// Books what the queue takes, if it changed much.
    fn book(&mut self) {
        let waiting = match self.blocked && self.closed.is_none() {
            true => self.queue.memory(),
            false => 0,
        };
        if waiting.abs_diff(self.booked) >= BOOKED_STEP || waiting == 0 {
            self.budget.book(self.booked, waiting);
            self.booked = waiting;
        }
    }

    /// Books what was written.
    fn note_written(&mut self, written: &Written, sent: &OutboundStats) {
        self.pending = self.pending.saturating_sub(written.released);
        sent.written_bytes.add(written.released as u64);
        sent.written_msgs.add(written.msgs);
    }
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

    /// Has TLS' own records written, which wait in the transport, and notes the
    /// connection for the batch's flush.
    pub fn send_control(self: &Arc<Self>, buffers: &mut ThreadBuffers) {
        if let Some(mut appender) = self.append() {
            appender.state.queue.sealed.get_or_insert_default();
            if appender.touch(buffers.read_batch) {
                buffers.touched.push(self.clone());
            }
        }
    }

    /// Writes what waits, as far as the socket takes it now.
    pub fn flush(self: &Arc<Self>, buffers: &mut ThreadBuffers) {
        self.write_queue(buffers, false);
    }

    /// The same for the connection's own task when the socket takes bytes
    /// again.
    pub fn flush_blocked(&self, buffers: &mut ThreadBuffers) {
        {
            let mut state = self.outbound.state.lock();
            state.blocked = false;
            self.lower(BLOCKED);
        }
        self.write_queue(buffers, false);
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
            let written = match self.tls() {
                None => taken.write_to(&stream, buffers),
                Some(tls) => taken.seal_to(tls, &stream, buffers),
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
                        self.raise(super::CLOSING);
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

    /// Leaves what waits to the connection's own task.
    fn hand_over(&self, mut state: MutexGuard<'_, State>, buffers: &mut ThreadBuffers) -> usize {
        let pending = state.pending;
        state.blocked = true;
        if state.behind_since.is_none() {
            state.behind_since = Some(MonotonicMillis::now());
            state.notice_feeders();
        }
        state.queue.trim(buffers);
        state.book();
        drop(state);
        self.raise(BLOCKED | STUCK);
        pending
    }
}

impl Appender<'_> {
    /// Asks for room for `len` bytes. `false`: the queue would outgrow its
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
        self.connection.raise(super::CLOSING);
        false
    }

    /// Appends two pieces behind each other; room for them must be reserved.
    #[inline]
    pub fn push(&mut self, buffers: &mut ThreadBuffers, first: &[u8], second: &[u8]) {
        self.state.queue.push(buffers, first, second);
    }

    /// Says that what was pushed ends a message.
    #[inline]
    pub fn end_message(&mut self) {
        self.state.queue.end_message();
    }

    /// Appends the end of a message without copying it; room for it must be
    /// reserved.
    pub fn push_shared(&mut self, piece: Bytes) {
        self.state.queue.push_shared(piece);
    }

    /// Says when the messages that are appended next were read.
    pub fn begin(&mut self, read_at: MonotonicMicros) {
        self.state.queue.begin(read_at);
    }

    /// Notes who fed the queue, if it is behind.
    pub fn note_feeder(&mut self, cid: u64) {
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

    /// Books messages that are not appended, as their control lines are longer
    /// than the peer takes.
    pub fn refuse(&mut self, msgs: u64, bytes: u64) {
        self.state.loss.add(LossReason::TooLong, msgs, bytes);
        self.connection.outbound.sent.losses.add(1);
    }

    /// Bytes that wait.
    pub fn pending(&self) -> usize {
        self.state.pending
    }

    /// Whether publishers should look whether to pause.
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
