//! The beginning of a client's connection where there is TLS: INFO and the
//! handshake, in the order that the `tls` block says.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use super::{log_prefix, session::Session, untrusted};
use crate::{
    connection::{
        buffers::with_buffers,
        tls_listener::{Secured, TlsListener},
        turned_away,
    },
    security::{failure::Failure, options::HandshakeFirst},
};

/// The first byte of a TLS handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Introduces the broker and shakes hands. Afterwards the connection is ready,
/// or it is closing.
pub(super) async fn begin(session: &mut Session, stream: &Arc<TcpStream>, tls: &TlsListener) {
    let connection = session.connection.clone();
    tokio::select! {
        () = connection.closing() => {}
        () = introduce_and_shake(session, stream, tls) => {}
    }
}

async fn introduce_and_shake(session: &mut Session, stream: &Arc<TcpStream>, tls: &TlsListener) {
    let material = tls.store.current();
    let options = &material.options;
    if !tls.is_within_rate() {
        return refuse_for_rate(session);
    }
    let first = match options.handshake_first {
        HandshakeFirst::No => false,
        HandshakeFirst::Yes => true,
        HandshakeFirst::Within(delay) => begins_tls(stream, delay).await,
    };
    if !first {
        introduce(session);
        let free = session.context.allow_non_tls;
        if free && !begins_tls(stream, options.timeout).await {
            return;
        }
    }
    match tls.accept(stream).await {
        Ok(secured) => {
            secure(session, secured, first);
            // Other files may have come since the handshake looked at them; from
            // here on, who brings them looks at this connection.
            untrusted::close_if_untrusted(&session.context, tls, &session.connection);
            if first {
                introduce(session);
            }
        }
        Err(failure) => give_up(session, tls, &failure),
    }
}

fn introduce(session: &mut Session) {
    with_buffers(|buffers| {
        session.introduce(buffers);
        buffers.flush_touched();
    });
}

fn secure(session: &Session, secured: Secured, first: bool) {
    let connection = &session.connection;
    let mut tls = secured.tls;
    tls.is_first = first;
    connection.set_tls(Arc::new(tls));
    if let Some(certificate) = secured.certificate {
        // Set once: a connection shakes hands once.
        let _ = connection.certificate.set(Box::new(certificate));
    }
}

fn give_up(session: &Session, tls: &TlsListener, failure: &Failure) {
    let connection = &session.connection;
    turned_away::close_after_handshake(
        &session.context.telemetry,
        connection,
        tls,
        failure,
        &log_prefix(connection),
        "TLS handshake",
    );
}

fn refuse_for_rate(session: &mut Session) {
    with_buffers(|buffers| {
        session.introduce(buffers);
        session.refuse_for_rate(buffers);
        buffers.flush_touched();
    });
}

/// Whether the peer begins with TLS within this time.
async fn begins_tls(stream: &TcpStream, patience: Duration) -> bool {
    let mut first = [0];
    let peeked = timeout(patience, stream.peek(&mut first)).await;
    matches!(peeked, Ok(Ok(1)) if first[0] == HANDSHAKE_RECORD)
}
