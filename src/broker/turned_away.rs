//! Reports of peers that were not let in: the same log lines, events and counters for every
//! listener. Events name the host of a peer, so that many attempts from one host are
//! recognized; its port differs each time.

use std::net::IpAddr;

use crate::{
    connection::{CloseReason, Connection, tls_listener::TlsListener},
    log,
    security::failure::{Cause, Failure},
    telemetry::{MonotonicMillis, Telemetry, event::EventKind},
};

/// Records a login that was refused.
pub fn note_login(telemetry: &Telemetry, cid: u64, source: IpAddr, text: &str) {
    note(
        telemetry,
        EventKind::AuthenticationFailed,
        cid,
        source,
        text,
    );
}

/// Records an event about the host of a peer.
pub fn note(telemetry: &Telemetry, kind: EventKind, cid: u64, source: IpAddr, text: &str) {
    let source = source.to_canonical().to_string();
    telemetry.events.record(kind, cid, &source, text);
}

/// Reports a failed handshake, unless it was a probe or there are many of them, and closes
/// the connection. `what` says which handshakes these are. A node that was revoked tries for ever:
/// it has a line an hour, and a finding.
pub fn close_after_handshake(
    telemetry: &Telemetry,
    connection: &Connection,
    tls: &TlsListener,
    failure: &Failure,
    what: &str,
) {
    if failure.cause == Cause::Silent {
        connection.close(CloseReason::ClientClosed);
        return;
    }
    let text = match (failure.cause, &failure.revoked) {
        (Cause::Timeout, _) => failure.text.clone(),
        (_, Some(whose)) => {
            let cid = connection.cid;
            telemetry.refused_as_revoked.count(whose.as_bytes(), 0, cid);
            if !telemetry.revoked_lines.admit(MonotonicMillis::now(), whose) {
                connection.close(CloseReason::TlsHandshakeFailure);
                return;
            }
            format!("{what} error: {failure} (its next attempts are not logged for an hour)")
        }
        _ => format!("{what} error: {failure}"),
    };
    if let Some(text) = tls.throttled(text) {
        log::about(connection)
            .code(EventKind::HandshakeFailed.name())
            .error(format_args!("{text}"));
        let source = connection.peer.ip();
        note(
            telemetry,
            EventKind::HandshakeFailed,
            connection.cid,
            source,
            &text,
        );
    }
    connection.close(CloseReason::TlsHandshakeFailure);
}

/// Counts a connection that ended before it sent anything.
pub fn count_probe(telemetry: &Telemetry, source: IpAddr) {
    telemetry.churn.count_probe(source, MonotonicMillis::now());
}
