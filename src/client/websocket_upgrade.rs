//! The beginning of a client connection at the port for WebSockets: TLS if it is configured, the
//! HTTP request and its answer, and INFO in the first frame.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    greeting::{Begun, Greeting},
    listener::WebSocketPort,
    tls_upgrade::give_up,
};
use crate::{
    config::options::WebSocketOptions,
    connection::{
        CloseReason,
        buffers::with_buffers,
        reading::read_some,
        tls_listener::TlsListener,
        websocket::{
            Agreed, WebSocket,
            handshake::{self, REQUESTS, Refusal, Request, Status},
        },
    },
    log,
    peer::certificates::close_if_untrusted,
    protocol::connect::Credentials,
    telemetry::{MonotonicMillis, pool::Share},
};

/// Does the handshakes and sends INFO. `None`: the connection is closing. One that is not `admitted`
/// is told so in its first frames.
pub(super) async fn begin(
    greeting: &Greeting,
    stream: &Arc<TcpStream>,
    port: &WebSocketPort,
    tls: Option<&TlsListener>,
    admitted: bool,
) -> Option<Begun> {
    let connection = &greeting.connection;
    let patience = port.options.handshake_timeout();
    let deadline = Instant::now() + patience;
    if let Some(tls) = tls {
        tokio::select! {
            () = connection.closing() => return None,
            secured = secure(greeting, stream, tls, patience) => secured?,
        }
    }
    let upgraded = upgrade(greeting, stream, &port.options, tls.is_some());
    let upgraded = tokio::select! {
        () = connection.closing() => return None,
        upgraded = timeout_at(deadline, upgraded) => upgraded,
    };
    let Ok(upgraded) = upgraded else {
        log::about(connection).debug(format_args!("No websocket handshake within {patience:?}"));
        connection.close(CloseReason::WebSocketHandshakeFailure);
        return None;
    };
    let cookies = upgraded?;
    let nonce = greeting.begin(admitted);
    Some(Begun { nonce, cookies })
}

/// Does the TLS handshake. `None`: it failed, and the connection is closing.
async fn secure(
    greeting: &Greeting,
    stream: &Arc<TcpStream>,
    tls: &TlsListener,
    patience: Duration,
) -> Option<()> {
    let connection = &greeting.connection;
    if !tls.is_within_rate() {
        greeting.close_for_rate();
        return None;
    }
    match tls.accept_within(stream, patience).await {
        Ok(secured) => {
            secured.adopt(connection, false);
            // As at the client port: the files may have been replaced meanwhile.
            close_if_untrusted(&greeting.broker, tls, connection);
            Some(())
        }
        Err(failure) => {
            if failure.is_http {
                connection.send_now(&handshake::answer_without_tls());
            }
            give_up(greeting, tls, &failure);
            None
        }
    }
}

/// Has the connection become a WebSocket. Returns the credentials in the request's cookies; `None`
/// if the connection is closing.
async fn upgrade(
    greeting: &Greeting,
    stream: &Arc<TcpStream>,
    options: &WebSocketOptions,
    has_tls: bool,
) -> Option<Option<Box<Credentials>>> {
    let connection = &greeting.connection;
    let request = match request(greeting, stream, options, has_tls).await? {
        Ok(request) => request,
        Err(refusal) => {
            log_refusal(greeting, &refusal.text);
            connection.send_now(&refusal.answer());
            connection.close(CloseReason::WebSocketHandshakeFailure);
            return None;
        }
    };
    let agreed = Agreed {
        compression: options.compression && request.offers_compression,
        no_masking: request.asks_for_no_masking,
    };
    connection.send_now(&request.answer(agreed, &options.headers));
    // What waits when the frames begin would become a part of them.
    while !connection.outbound().is_empty() {
        if connection.is_closing() || stream.writable().await.is_err() {
            connection.close(CloseReason::WriteError);
            return None;
        }
        with_buffers(|buffers| connection.flush_blocked(buffers));
    }
    let max_payload = greeting.broker.limits.current().max_payload;
    connection.set_websocket(Arc::new(WebSocket::new(agreed, max_payload)));
    Some(credentials(options, &request))
}

/// The request, once it is complete, or why it is refused. `None` if the connection is closing.
async fn request(
    greeting: &Greeting,
    stream: &TcpStream,
    options: &WebSocketOptions,
    has_tls: bool,
) -> Option<Result<Request, Refusal>> {
    let connection = &greeting.connection;
    let held = Share::new(&REQUESTS);
    let mut received = Vec::new();
    loop {
        let begin = received.len();
        if let Err(error) = read_some(connection, stream, &mut received).await {
            let is_end = error.kind() == std::io::ErrorKind::UnexpectedEof;
            connection.close(match is_end {
                true => CloseReason::ClientClosed,
                false => CloseReason::ReadError,
            });
            return None;
        }
        if !held.reserve(received.len() - begin) {
            log_refusal(greeting, "too many unfinished requests");
            connection.close(CloseReason::WebSocketHandshakeFailure);
            return None;
        }
        if !handshake::is_worth_reading(&received, begin) {
            continue;
        }
        let request = match handshake::read(&received) {
            Ok(None) => continue,
            Ok(Some(request)) => request,
            Err(refusal) => return Some(Err(refusal)),
        };
        if request.len < received.len() {
            log_refusal(greeting, "client sent data before handshake is complete");
            connection.close(CloseReason::WebSocketHandshakeFailure);
            return None;
        }
        let checked = options
            .origins
            .check(request.origin.as_deref(), &request.host, has_tls);
        return Some(match checked {
            Ok(()) => Ok(request),
            Err(why) => Err(Refusal::new(Status::Forbidden, why)),
        });
    }
}

/// What cookies say about who it is; `None` if they say nothing.
fn credentials(options: &WebSocketOptions, request: &Request) -> Option<Box<Credentials>> {
    let value = |name: &Option<String>| {
        let name = name.as_deref();
        name.map_or("", |name| request.cookie(name)).to_owned()
    };
    let names = &options.cookies;
    let found = Credentials {
        user: value(&names.user),
        password: value(&names.password),
        token: value(&names.token),
        ..Credentials::default()
    };
    (!found.is_empty()).then(|| Box::new(found))
}

/// Logs why a request was refused; many of them do not flood the log.
fn log_refusal(greeting: &Greeting, text: &str) {
    let throttle = &greeting.broker.telemetry.refused_connections;
    let text = format!("websocket handshake error: {text}");
    if let Some(text) = throttle.throttle(MonotonicMillis::now(), text, "that did not log in") {
        log::about(&greeting.connection).error(format_args!("{text}"));
    }
}
