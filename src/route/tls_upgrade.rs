//! TLS on routes: the handshake precedes the first line, and both sides present a certificate.
//! Routes are closed if their certificate is revoked later.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::cluster::Cluster;
use crate::{
    broker::turned_away,
    connection::Connection,
    security::failure::{Cause, Failure},
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
                secured.adopt(connection, true);
                true
            }
            Err(failure) => {
                turned_away::close_after_handshake(
                    &self.broker.telemetry,
                    connection,
                    &tls,
                    &failure,
                    "TLS route handshake",
                );
                if failure.cause == Cause::Silent {
                    turned_away::count_probe(&self.broker.telemetry, connection.peer.ip());
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
            tls.connect(stream, host).await?.adopt(connection, true);
        }
        Ok(())
    }
}
