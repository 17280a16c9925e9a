//! The end of a connection, whatever its kind and state: it leaves everything it was
//! part of, the last bytes are written, its incident as a slow consumer is closed and
//! logged, and what it has moved is counted.

use std::sync::Arc;

use monitor_client::text::plural;
use tokio::net::TcpStream;

use crate::{
    broker::Broker,
    connection::{CloseReason, Connection},
    log,
    telemetry::{MonotonicMillis, Telemetry, event::EventKind, slow::Incident},
};

/// A state of a session in which its connection can end.
pub trait Ends: Sized {
    /// The part of the session that remains after its connection is out of all registries.
    type Left: Send;

    /// Data shared by all peers.
    fn broker(&self) -> &Arc<Broker>;

    /// Removes the connection from everything through which others find it.
    fn leave(self) -> impl Future<Output = Self::Left> + Send;

    /// The connection has ended, and what is counted of it is final: it no longer
    /// counts as open from here on.
    fn ended(left: Self::Left, reason: CloseReason, incident: Option<&Incident>);
}

/// Ends a connection that is closing. Returns why it closed.
pub async fn finish<E: Ends>(
    session: E,
    connection: &Arc<Connection>,
    stream: &TcpStream,
) -> CloseReason {
    let broker = session.broker().clone();
    let left = session.leave().await;
    let reason = connection
        .outbound()
        .close_reason()
        .unwrap_or(CloseReason::ClientClosed);
    let telemetry = &broker.telemetry;
    let incident = connection.end(telemetry, &broker.registry, stream, reason);
    let incident = incident.await;
    if connection.kind.has_account() {
        if let Some(moved) = broker.registry.take_moved_of(connection) {
            moved.add_to(&telemetry.loads);
        }
        telemetry.loads.forget(connection.cid);
    }
    // Log before the connection counts as closed, so that an observer of that count finds
    // the reason in the log.
    if reason.is_slow_consumer() {
        log_slow_consumer(telemetry, connection, reason, incident.as_deref());
    }
    E::ended(left, reason, incident.as_deref());
    reason
}

/// Logs that a slow consumer was closed, and its incident, in the words that log watchers
/// match.
fn log_slow_consumer(
    telemetry: &Telemetry,
    connection: &Connection,
    reason: CloseReason,
    incident: Option<&Incident>,
) {
    let ended = connection.ended(reason);
    let write = |text: String| {
        let text = telemetry
            .sessions
            .throttle(MonotonicMillis::now(), text, "lines");
        let Some(text) = text else { return };
        log::about(connection)
            .code(EventKind::SlowConsumer.name())
            .ended(ended)
            .info(format_args!("{text}"));
    };
    // The other reasons are logged by the code that closed the connection.
    if reason == CloseReason::SlowConsumerPending {
        write(format!(
            "Slow Consumer Detected: MaxPending of {} Exceeded",
            connection.outbound().backlog().max_pending
        ));
    }
    if let Some(incident) = incident {
        write(format!(
            "Slow Consumer: lost {} ({}), most of subject {:?}; cause {}: {}; closed {ended}",
            plural(incident.lost.msgs, "message"),
            plural(incident.lost.bytes, "byte"),
            incident.top_subject().unwrap_or_default(),
            incident.cause.name(),
            incident.evidence
        ));
    }
}
