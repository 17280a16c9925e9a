//! Closing who was let in and would not be by the certificates, CRLs and pinned
//! keys that are in force now.

use std::sync::Arc;

use tracing::warn;

use super::{Context, log_prefix};
use crate::{
    connection::{CloseReason, Connection, tls_listener::TlsListener},
    telemetry::event::EventKind,
};

/// Closes every client that TLS would not let in now. Returns how many.
pub fn close_untrusted(context: &Context, tls: &TlsListener) -> usize {
    let open = context.registry.open();
    let closed = |connection: &&Arc<Connection>| close_if_untrusted(context, tls, connection);
    open.iter().filter(closed).count()
}

/// Closes a client if TLS would not let it in now; returns whether it would not.
pub(super) fn close_if_untrusted(
    context: &Context,
    tls: &TlsListener,
    connection: &Connection,
) -> bool {
    let Some(untrusted) = tls.find_untrusted(connection) else {
        return false;
    };
    if !connection.close(untrusted.reason) {
        return true;
    }
    warn!("{} - {}", log_prefix(connection), untrusted.text);
    context.telemetry.events.record(
        EventKind::Certificate,
        connection.cid,
        &untrusted.subject,
        &format!("its connection is closed: {}", untrusted.text),
    );
    if untrusted.reason == CloseReason::CertificateRevoked {
        let who = untrusted.counted_as(connection.who());
        let revoked = &context.telemetry.revoked;
        revoked.count(who.as_bytes(), 0, connection.cid);
    }
    true
}
