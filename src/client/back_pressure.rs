//! Back-pressure: a publisher that outruns readers who do read is paused.
//!
//! A publisher never waits for a reader that takes nothing: such a queue fills
//! up to its limit and its connection is cut. Readers that make progress are
//! given time: always when most of what the publisher touches is behind, else
//! only when one of them is half way to its limit, so that a slow one among
//! healthy ones does not set their pace.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Congested, session::Session};
use crate::{
    connection::{
        Connection,
        outbound::{Backlog, CONGESTED_BYTES},
        worker::with_worker,
    },
    telemetry::Clock,
};

/// A reader whose socket took nothing for this long is not waited for.
const STUCK_AFTER: Duration = Duration::from_millis(30);

/// How often the queues are looked at; the timer's own grain.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The longest pause after one batch.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Pauses the session's reading while it should.
pub(super) async fn pause(session: &mut Session, congested: Congested) {
    let most = congested.connections.len() * 2 >= congested.flushed;
    let mut waited = Duration::ZERO;
    while waited < PAUSE_MAX {
        let now = Clock::now();
        let Some(reader) = congested
            .connections
            .iter()
            .find(|reader| is_worth_waiting(&reader.outbound().backlog(), most, now))
        else {
            return;
        };
        if waited.is_zero() {
            session.context.registry.stall(reader);
        }
        sleep(LOOK_EVERY).await;
        waited += LOOK_EVERY;
        write_own(&session.connection);
    }
}

fn is_worth_waiting(backlog: &Backlog, most: bool, now: Clock) -> bool {
    let limit = match most {
        true => CONGESTED_BYTES.min(backlog.max_pending / 4),
        false => backlog.max_pending / 2,
    };
    !backlog.closed && backlog.pending > limit && backlog.last_progress.until(now) < STUCK_AFTER
}

/// The session's task is busy waiting here, so it writes what it is asked to.
fn write_own(connection: &Arc<Connection>) {
    if connection.is_blocked() {
        with_worker(|worker| connection.flush_blocked(worker));
    }
}
