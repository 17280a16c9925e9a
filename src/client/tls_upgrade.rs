//! The beginning of a client connection with TLS: INFO and the handshake, in the order that
//! the `tls` block configures.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use super::greeting::Greeting;
use crate::{
    broker::turned_away,
    connection::{buffers::with_buffers, tls_listener::TlsListener},
    peer::certificates::close_if_untrusted,
    security::{failure::Failure, options::HandshakeFirst},
};

/// The first byte of a TLS handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Sends INFO and does the handshake. Returns what the client is given to sign; `None`:
/// there was no handshake, and the connection is closing.
pub(super) async fn begin(
    greeting: &Greeting,
    stream: &Arc<TcpStream>,
    tls: &TlsListener,
) -> Option<Box<str>> {
    tokio::select! {
        () = greeting.connection.closing() => None,
        nonce = introduce_and_secure(greeting, stream, tls) => nonce,
    }
}

async fn introduce_and_secure(
    greeting: &Greeting,
    stream: &Arc<TcpStream>,
    tls: &TlsListener,
) -> Option<Box<str>> {
    let material = tls.store.current();
    let options = &material.options;
    if !tls.is_within_rate() {
        refuse_for_rate(greeting);
        return None;
    }
    let is_first = match options.handshake_first {
        HandshakeFirst::No => false,
        HandshakeFirst::Yes => true,
        HandshakeFirst::Within(delay) => begins_tls(stream, delay).await,
    };
    let mut nonce = None;
    if !is_first {
        nonce = Some(introduce(greeting));
        let free = greeting.listener.allow_non_tls;
        if free && !begins_tls(stream, options.timeout).await {
            return nonce;
        }
    }
    let connection = &greeting.connection;
    match tls.accept(stream).await {
        Ok(secured) => {
            secured.adopt(connection, is_first);
            // The certificate files may have been replaced since the handshake checked this
            // connection; from here on, a reload of them checks it.
            close_if_untrusted(&greeting.broker, tls, connection);
            nonce.or_else(|| Some(introduce(greeting)))
        }
        Err(failure) => {
            give_up(greeting, tls, &failure);
            None
        }
    }
}

fn introduce(greeting: &Greeting) -> Box<str> {
    with_buffers(|buffers| {
        let nonce = greeting.introduce(buffers);
        buffers.flush_touched();
        nonce
    })
}

/// Reports a failed handshake, and closes the connection.
pub(super) fn give_up(greeting: &Greeting, tls: &TlsListener, failure: &Failure) {
    let connection = &greeting.connection;
    turned_away::close_after_handshake(
        &greeting.broker.telemetry,
        connection,
        tls,
        failure,
        "TLS handshake",
    );
}

fn refuse_for_rate(greeting: &Greeting) {
    with_buffers(|buffers| {
        greeting.introduce(buffers);
        greeting.refuse_for_rate(buffers);
        buffers.flush_touched();
    });
}

/// Whether the peer begins with TLS within this time.
async fn begins_tls(stream: &TcpStream, patience: Duration) -> bool {
    let mut first = [0];
    let peeked = timeout(patience, stream.peek(&mut first)).await;
    matches!(peeked, Ok(Ok(1)) if first[0] == HANDSHAKE_RECORD)
}
