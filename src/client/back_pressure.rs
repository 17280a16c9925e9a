//! Back-pressure: a publisher that is faster than its active readers is paused.
//!
//! A publisher never waits for a reader that has stopped reading: such a queue fills up to
//! its limit and its connection is closed. A reader is given time in proportion to how long
//! it has been reading since it fell behind. When most of the publisher's targets are
//! behind, it pauses early; one slow reader among healthy ones slows the publisher only
//! when its queue is half full.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::active::Active;
use crate::{
    connection::{
        Connection,
        buffers::{ThreadBuffers, with_buffers},
        outbound::{Backlog, CONGESTED_BYTES},
    },
    peer::{HeldFor, Turn},
    telemetry::MonotonicMillis,
};

/// How long a reader may take nothing and is still waited for: the least, the
/// most, and the least once its queue is half full.
const PATIENCE_MIN: Duration = Duration::from_millis(4);
const PATIENCE_MAX: Duration = Duration::from_millis(500);
const PATIENCE_MIN_HALF_FULL: Duration = Duration::from_millis(25);

/// How often the queues are looked at; the timer's own grain.
const CHECK_EVERY: Duration = Duration::from_millis(1);

/// The longest pause after one batch.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Longest time that one batch is held for all peers together. The queue of a peer that has
/// not read the batch's output by then fills up and the peer is cut: one slow peer must not
/// limit publishers and their local subscribers indefinitely.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(10);

/// Bytes that a batch may produce before back-pressure is checked: far less than the queue
/// of a peer holds, as many publishers may continue at the same moment.
pub(super) const PRODUCED_MAX: usize = 256 * 1024;

/// Whether the rest of a batch is to wait: a peer of the cluster is behind. What one
/// read brings may make more for it than may wait, as each message goes there with
/// the names of the queue groups that are to serve it.
#[cold]
pub(super) fn must_hold(buffers: &mut ThreadBuffers) -> bool {
    let is_congested = |buffers: &ThreadBuffers| {
        let mut peers = buffers.congested.peers().iter();
        peers.any(|peer| peer.outbound().backlog().is_congested())
    };
    if !is_congested(buffers) {
        return false;
    }
    buffers.flush_touched();
    is_congested(buffers)
}

/// Pauses reading of the session as needed after `turn`, until a reload notifies it;
/// returns whether it paused. A held batch continues when its peers have read its output.
/// As others may keep their queues filled, it also continues after a while if they have
/// space for more, and in any case after [`HOLD_MAX`]. A peer that has stopped reading is
/// cut by its own task soon.
pub(super) async fn pause(active: &mut Active, turn: &Turn) -> bool {
    let most = turn.congested.len() * 2 >= turn.reached;
    let mut waited = Duration::ZERO;
    let mut logged: Option<Instant> = None;
    while (waited < PAUSE_MAX || active.is_held_for_peers())
        && !active.base.connection.is_closing()
        && !active.base.is_out_of_date()
    {
        let now = MonotonicMillis::now();
        let is_long = waited >= PAUSE_MAX;
        let pauses = active.base.limits.pauses_publishers && !is_long;
        let is_slow = |reader: &&Arc<Connection>| {
            pauses && is_worth_waiting(&reader.outbound().backlog(), most, now)
        };
        let is_without_space = |peer: &&Arc<Connection>| match is_long {
            false => peer.outbound().backlog().is_congested(),
            true => is_half_full(peer),
        };
        let mut peers = turn.congested.peers().iter();
        let reader = match active.is_held_for_peers() {
            true => peers.find(is_without_space),
            false => None,
        };
        let Some(reader) = reader.or_else(|| turn.congested.iter().find(is_slow)) else {
            break;
        };
        let first = waited.is_zero();
        let begin = Instant::now();
        // A long pause is reported repeatedly.
        if logged.is_none_or(|logged| begin - logged >= PAUSE_MAX) {
            active.base.broker.registry.stall(reader);
            logged = Some(begin);
        }
        sleep(CHECK_EVERY).await;
        waited += CHECK_EVERY;
        if active.base.link.held == HeldFor::Peers {
            active.held_time += begin.elapsed();
        }
        reader
            .outbound()
            .note_stall(active.base.connection.cid, begin.elapsed(), first);
        write_own(&active.base.connection);
    }
    !waited.is_zero()
}

/// Whether a peer of the cluster has so much pending that its queue has no space for what
/// many publishers may produce before their next check.
fn is_half_full(peer: &Arc<Connection>) -> bool {
    let backlog = peer.outbound().backlog();
    !backlog.closed && backlog.pending > backlog.max_pending / 2
}

fn is_worth_waiting(backlog: &Backlog, most: bool, now: MonotonicMillis) -> bool {
    let half_full = backlog.pending > backlog.max_pending / 2;
    let early = most && backlog.pending > CONGESTED_BYTES.min(backlog.max_pending / 4);
    let (Some(behind_since), false) = (backlog.behind_since, backlog.closed) else {
        return false;
    };
    let reading_for = behind_since.until(backlog.last_progress);
    let patience = (reading_for * 2).clamp(
        match half_full {
            true => PATIENCE_MIN_HALF_FULL,
            false => PATIENCE_MIN,
        },
        PATIENCE_MAX,
    );
    (early || half_full) && backlog.last_progress.until(now) < patience
}

impl Active {
    /// Whether the batch is held for peers, and may be for longer.
    fn is_held_for_peers(&self) -> bool {
        self.base.link.held == HeldFor::Peers && self.held_time < HOLD_MAX
    }
}

/// The session's task is busy waiting here, so it writes what it is asked to.
fn write_own(connection: &Arc<Connection>) {
    if connection.is_blocked() {
        with_buffers(|buffers| connection.flush_blocked(buffers));
    }
}
