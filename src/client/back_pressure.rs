//! Back-pressure: a publisher that outruns readers who do read is paused.
//!
//! A publisher never waits for a reader that takes nothing: such a queue fills
//! up to its limit and its connection is cut. A reader is given time in
//! proportion to how long it has been reading since it fell behind. When most
//! of what the publisher touches is behind, it pauses early; a slow reader
//! among healthy ones does not set their pace until it is half way to its
//! limit.

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
    peer::{Held, Turn},
    telemetry::MonotonicMillis,
};

/// How long a reader may take nothing and is still waited for: the least, the
/// most, and the least once its queue is half full.
const PATIENCE_MIN: Duration = Duration::from_millis(4);
const PATIENCE_MAX: Duration = Duration::from_millis(500);
const PATIENCE_MIN_HALF_FULL: Duration = Duration::from_millis(25);

/// How often the queues are looked at; the timer's own grain.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The longest pause after one batch.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long one batch is held for peers in all. Who has not taken what it makes by
/// then has its queue filled, and is cut when that is full: one slow peer does not set
/// the pace of publishers and of their subscribers here for ever.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(10);

/// Bytes that a batch makes until it is looked at whether it is to be held: less
/// than a peer takes by far, as many publishers may go on at the same moment.
pub(super) const PRODUCED_MAX: usize = 256 * 1024;

/// Whether the rest of a batch is to wait: a peer of the cluster is behind. What one
/// read brings may make more for it than may wait, as each message goes there with
/// the names of the queue groups that are to serve it.
#[cold]
pub(super) fn must_hold(buffers: &mut ThreadBuffers) -> bool {
    let is_behind = |buffers: &ThreadBuffers| buffers.congested.peers().iter().any(is_behind);
    if !is_behind(buffers) {
        return false;
    }
    buffers.flush_touched();
    is_behind(buffers)
}

/// Pauses the session's reading while it should after `turn`, until a reload wants
/// it to look; returns whether it paused. A batch that is held goes on when the peers
/// it was held for have taken what it made, or after a while when they have room for
/// more all the same: others may feed them all the time; after [`HOLD_MAX`] in any
/// case. A peer that takes nothing is cut by its own task soon.
pub(super) async fn pause(active: &mut Active, turn: &Turn) -> bool {
    let most = turn.congested.len() * 2 >= turn.reached;
    let mut waited = Duration::ZERO;
    let mut told: Option<Instant> = None;
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
        let is_without_room = |peer: &&Arc<Connection>| match is_long {
            false => is_behind(peer),
            true => is_half_full(peer),
        };
        let mut peers = turn.congested.peers().iter();
        let reader = match active.is_held_for_peers() {
            true => peers.find(is_without_room),
            false => None,
        };
        let Some(reader) = reader.or_else(|| turn.congested.iter().find(is_slow)) else {
            break;
        };
        let first = waited.is_zero();
        let begin = Instant::now();
        // A long pause is told of again and again.
        if told.is_none_or(|told| begin - told >= PAUSE_MAX) {
            active.base.broker.registry.stall(reader);
            told = Some(begin);
        }
        sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
        if active.base.link.held == Held::ForPeers {
            active.held_for += begin.elapsed();
        }
        reader
            .outbound()
            .note_stall(active.base.connection.cid, begin.elapsed(), first);
        write_own(&active.base.connection);
    }
    !waited.is_zero()
}

/// Whether much waits for a peer of the cluster.
fn is_behind(peer: &Arc<Connection>) -> bool {
    let backlog = peer.outbound().backlog();
    !backlog.closed && backlog.pending > CONGESTED_BYTES
}

/// Whether so much waits for a peer of the cluster that there is no room for what
/// a crowd of publishers may make until they look again.
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
        self.base.link.held == Held::ForPeers && self.held_for < HOLD_MAX
    }
}

/// The session's task is busy waiting here, so it writes what it is asked to.
fn write_own(connection: &Arc<Connection>) {
    if connection.is_blocked() {
        with_buffers(|buffers| connection.flush_blocked(buffers));
    }
}
