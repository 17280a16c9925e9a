//! What is under the lock of an outbound queue, and what is booked with it.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::{
    queue::{Queue, Written},
    stats::OutboundStats,
};
use crate::{
    connection::{
        CloseReason, Kind,
        budget::{BOOKED_STEP, Budget},
    },
    telemetry::{
        MonotonicMillis,
        latency::Worst,
        loss::{Loss, LossReason},
        producers::Producers,
    },
};

pub(super) struct State {
    /// The kind of the peer.
    pub(super) kind: Kind,
    /// Gone once the connection has ended, so that the socket closes even if
    /// others still hold the connection.
    pub(super) stream: Option<Arc<TcpStream>>,
    pub(super) queue: Queue,
    /// Bytes queued, those that are being written included.
    pub(super) pending: usize,
    pub(super) max_pending: usize,
    pub(super) writing: bool,
    pub(super) blocked: bool,
    pub(super) closed: Option<CloseReason>,
    pub(super) budget: Arc<Budget>,
    /// The bytes that the budget has booked for this queue.
    pub(super) booked: usize,
    /// The batch that appended last; see [`Appender::touch`](super::Appender::touch).
    pub(super) touched_by: u64,
    /// The turn that noted the queue as long; see [`Appender::note_turn`](super::Appender::note_turn).
    pub(super) congested_in: u64,
    /// Counted in [`OutboundStats::losses`].
    pub(super) loss: Loss,
    /// Bytes discarded at the end, until the incident has been concluded.
    pub(super) discarded: Option<Queue>,
    /// Which publishers fill it; since its reader was behind for the first time.
    pub(super) producers: Option<Box<Producers>>,
    /// How long messages stayed lately.
    pub(super) worst: Worst,
    /// When the socket last took some bytes.
    pub(super) last_progress: MonotonicMillis,
    /// When the socket was first full since the queue was last empty.
    pub(super) behind_since: Option<MonotonicMillis>,
}

impl State {
    pub(super) fn close(&mut self, reason: CloseReason, sent: &OutboundStats) {
        self.closed = Some(reason);
        if reason.is_slow_consumer() {
            self.discard(sent);
        }
    }

    /// Throws away what waits, but for what is being written.
    pub(super) fn discard(&mut self, sent: &OutboundStats) {
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
    pub(super) fn lose(&mut self, queue: &Queue, sent: &OutboundStats) {
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

    /// The reader falls behind: from now on the publishers that fill the queue are noted.
    pub(super) fn begin_noting_producers(&mut self) {
        let producers = self.producers.get_or_insert_default();
        if !producers.watched {
            **producers = Producers::default();
        }
    }

    /// Books the memory of the queue, if it changed much.
    pub(super) fn book(&mut self) {
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
    pub(super) fn note_written(&mut self, written: &Written, sent: &OutboundStats) {
        self.pending = self.pending.saturating_sub(written.released);
        sent.written_bytes.add(written.released as u64);
        sent.written_msgs.add(written.msgs);
    }
}
