//! TLS on routes: the handshake precedes the first line, and both sides present a certificate.
//! Routes are closed if their certificate is revoked later.

use std::sync::Arc;

use tokio::net::TcpStream;
use tracing::warn;

use super::{cluster::Cluster, log_prefix};
use crate::{
    connection::{
        CloseReason, Connection,
        tls_listener::{Secured, TlsListener},
        turned_away,
    },
    security::failure::{Cause, Failure},
    telemetry::event::EventKind,
};

impl Cluster {
    /// The TLS handshake with a broker that dialled, if TLS is used. `false`: it failed and was
    /// logged; the connection is closing.
    pub(super) async fn secure_accepted(
        &self,
        connection: &Connection,
        stream: &Arc<TcpStream>,
    ) -> bool {
        let Some(tls) = self.tls() else {
            return true;
        };
        match tls.accept(stream).await {
            Ok(secured) => {
                secure(connection, secured);
                true
            }
            Err(failure) => {
                turned_away::close_after_handshake(
                    &self.context.telemetry,
                    connection,
                    &tls,
                    &failure,
                    &log_prefix(connection),
                    "TLS route handshake",
                );
                if failure.cause == Cause::Silent {
                    turned_away::count_probe(&self.context.telemetry, connection.peer.ip());
                }
                false
            }
        }
    }

    /// The same with a broker that we dialled as `host`.
    ///
    ///  # Errors
    ///
    /// Why it failed.
    pub(super) async fn secure_dialled(
        &self,
        connection: &Connection,
        stream: &Arc<TcpStream>,
        host: &str,
    ) -> Result<(), Failure> {
        if let Some(tls) = self.tls() {
            secure(connection, tls.connect(stream, host).await?);
        }
        Ok(())
    }

    /// Closes all routes whose peers TLS would not accept now. Returns how many.
    pub fn close_untrusted(&self, tls: &TlsListener) -> usize {
        let routes = self.routes();
        let closed = routes
            .iter()
            .filter(|route| self.close_if_untrusted(tls, &route.connection));
        closed.count()
    }

    /// Closes a route if TLS would not accept its peer now. Returns whether it would not.
    pub(super) fn close_if_untrusted(&self, tls: &TlsListener, connection: &Connection) -> bool {
        let Some(untrusted) = tls.find_untrusted(connection) else {
            return false;
        };
        if !connection.close(untrusted.reason) {
            return true;
        }
        warn!("{} - {}", log_prefix(connection), untrusted.text);
        let telemetry = &self.context.telemetry;
        if untrusted.reason == CloseReason::CertificateRevoked {
            let who = untrusted.counted_as(format!("the route to {}", connection.who()));
            telemetry.revoked.count(who.as_bytes(), 0, connection.cid);
        }
        telemetry.events.record(
            EventKind::Certificate,
            connection.cid,
            &untrusted.subject,
            &format!("its route is closed: {}", untrusted.text),
        );
        true
    }
}

fn secure(connection: &Connection, secured: Secured) {
    let mut tls = secured.tls;
    tls.is_first = true;
    connection.set_tls(Arc::new(tls));
    if let Some(certificate) = secured.certificate {
        // It can only be set once: a connection has one TLS handshake.
        let _ = connection.certificate.set(Box::new(certificate));
    }
}
