//! Timers of a connection: it pings, ends a peer that answers no pings,
//! and cuts one whose socket accepts nothing until the write deadline.

use std::time::Duration;

use monitor_client::text::plural;
use tokio::time::Instant;

use super::{End, Peer};
use crate::{
    connection::{CloseReason, Connection, buffers::ThreadBuffers},
    log,
    peer::keepalive::Due,
    protocol::{PING, error::ClientError},
    telemetry::{MonotonicMillis, event::EventKind},
};

/// Does what is due.
pub(super) fn keep_time<P: Peer>(peer: &mut P, buffers: &mut ThreadBuffers) {
    let now = Instant::now();
    let connection = peer.connection();
    let deadline = peer.write_deadline();
    if connection.is_blocked() && stuck_for(connection) >= deadline {
        if connection.close(CloseReason::SlowConsumerWriteDeadline) {
            // In the words that log watchers match.
            let line = log::about(connection).code(EventKind::SlowConsumer.name());
            line.info(format_args!(
                "Slow Consumer Detected: WriteDeadline of {deadline:?} exceeded with {} total \
                 bytes.",
                connection.outbound().traffic().loss.dropped().bytes
            ));
        }
        return;
    }
    if let Err(end) = peer.when_due(now) {
        return peer.end(buffers, end);
    }
    let keepalive = &mut peer.link_mut().keepalive;
    match keepalive.due(now) {
        Due::Nothing => {}
        Due::Ping => {
            peer.before_ping();
            peer.connection().send(buffers, PING);
        }
        Due::Stale => {
            let detail = format!("{} unanswered", plural(keepalive.ping_max(), "ping"));
            let stale = End::with_error(CloseReason::StaleConnection, ClientError::StaleConnection);
            peer.end(buffers, stale.with(detail));
        }
    }
}

/// When [`keep_time`] is to be called next.
pub(super) fn next_deadline<P: Peer>(peer: &P) -> Instant {
    let mut next = peer.link().keepalive.next();
    if let Some(own) = peer.own_deadline() {
        next = next.min(own);
    }
    let connection = peer.connection();
    if !connection.is_blocked() {
        return next;
    }
    let left = peer.write_deadline().saturating_sub(stuck_for(connection));
    // A millisecond more, so that the deadline has passed when it is checked.
    next.min(Instant::now() + left + Duration::from_millis(1))
}

/// How long the socket has accepted nothing.
fn stuck_for(connection: &Connection) -> Duration {
    let backlog = connection.outbound().backlog();
    backlog.stuck_for(MonotonicMillis::now())
}
