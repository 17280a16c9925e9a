//! Closing who was let in and has been revoked since.

use std::sync::Arc;

use tracing::warn;

use super::{Context, log_prefix};
use crate::{
    connection::{CloseReason, Connection, tls_listener::TlsListener},
    telemetry::event::EventKind,
};

/// Closes every client whose certificate is revoked by the CRLs in force.
/// Returns how many.
pub fn close_revoked(context: &Context, tls: &TlsListener) -> usize {
    let open = context.registry.open();
    let closed = |connection: &&Arc<Connection>| close_if_revoked(context, tls, connection);
    open.iter().filter(closed).count()
}

/// Closes a client if its certificate is revoked; returns whether it is.
pub(super) fn close_if_revoked(
    context: &Context,
    tls: &TlsListener,
    connection: &Connection,
) -> bool {
    let Some(subject) = tls.find_revoked(connection) else {
        return false;
    };
    if !connection.close(CloseReason::CertificateRevoked) {
        return true;
    }
    warn!(
        "{} - Certificate revoked: {subject}",
        log_prefix(connection)
    );
    context.telemetry.events.record(
        EventKind::Certificate,
        connection.cid,
        &subject,
        "the certificate is revoked now: its connection is closed",
    );
    let who = connection.who();
    context
        .telemetry
        .revoked
        .count(who.as_bytes(), 0, connection.cid);
    true
}
