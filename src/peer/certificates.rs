//! Closing peers that were let in and would not be by the certificates, CRLs and pinned
//! keys that are in force now.

use std::sync::Arc;

use crate::{
    broker::Broker,
    connection::{CloseReason, Connection, Kind, tls_listener::TlsListener},
    log,
    telemetry::event::EventKind,
};

/// Closes each of these connections that TLS would not let in now. Returns how many.
pub fn close_untrusted<'a>(
    broker: &Broker,
    tls: &TlsListener,
    connections: impl IntoIterator<Item = &'a Arc<Connection>>,
) -> usize {
    let closed = connections
        .into_iter()
        .filter(|connection| close_if_untrusted(broker, tls, connection));
    closed.count()
}

/// Closes a connection if TLS would not let its peer in now; returns whether it would
/// not.
pub fn close_if_untrusted(broker: &Broker, tls: &TlsListener, connection: &Connection) -> bool {
    let Some(unwelcome) = tls.find_untrusted(connection) else {
        return false;
    };
    if !connection.close(unwelcome.reason) {
        return true;
    }
    log::about(connection)
        .code(EventKind::Certificate.name())
        .warn(format_args!("{}", unwelcome.text));
    let (who, what) = match connection.kind {
        Kind::Client => (connection.who(), "connection"),
        Kind::Router => (format!("the route to {}", connection.who()), "route"),
        Kind::Leafnode => (format!("the leafnode {}", connection.who()), "connection"),
    };
    let telemetry = &broker.telemetry;
    telemetry.events.record(
        EventKind::Certificate,
        connection.cid,
        &unwelcome.subject,
        &format!("its {what} is closed: {}", unwelcome.text),
    );
    if unwelcome.reason == CloseReason::CertificateRevoked {
        let who = unwelcome.counted_as(who);
        telemetry.revoked.count(who.as_bytes(), 0, connection.cid);
    }
    true
}
