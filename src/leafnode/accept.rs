//! Accepts leafnodes, and serves each one until its connection ends.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use super::{Leafnodes, PENDING_BEFORE_LOGIN, handshake::Handshake, session::Session};
use crate::{
    broker::turned_away,
    connection::{
        CloseReason, Connection, Kind,
        accepting::{AcceptFailures, OpenSocket, Port, as_shown},
        admission::{Lost, Place, QUEUE_TIME, Source},
        budget::Budget,
        buffers::with_buffers,
    },
    log,
    peer::{self, End, certificates::close_if_untrusted},
    telemetry::{MonotonicMillis, event::EventKind},
};

/// Accepts leafnodes until the broker stops.
pub async fn accept_leafnodes(leafnodes: Arc<Leafnodes>, listener: TcpListener) {
    let admission = &leafnodes.broker.admission.leafnodes;
    tokio::spawn(admission.clone().keep_time());
    let mut failures = AcceptFailures::new("the port for leafnodes", admission);
    let gate = &leafnodes.broker.gate;
    while !leafnodes.is_stopping()
        && let Some(accepted) = gate.next(|| listener.accept()).await
    {
        match accepted {
            Ok((stream, peer)) => {
                let peer = as_shown(peer);
                failures.end();
                let open = OpenSocket::new();
                let is_free = Port::Routes.has_free_descriptor(&stream, &open, admission);
                if !is_free.await {
                    admission.refuse();
                    continue;
                }
                let leafnodes = leafnodes.clone();
                tokio::spawn(async move {
                    let _open = open;
                    serve(leafnodes, stream, peer).await;
                });
            }
            Err(error) => failures.pause(&error).await,
        }
    }
}

/// Serves one connection. Until it is logged in, it counts as unauthenticated
/// (`connection::admission`).
async fn serve(leafnodes: Arc<Leafnodes>, stream: TcpStream, peer: SocketAddr) {
    let stream = Arc::new(stream);
    if let Err(error) = stream.set_nodelay(true) {
        debug!(ip = %peer.ip(), port = peer.port(), "TCP_NODELAY could not be set: {error}");
    }
    let connection = Arc::new(Connection::new(
        Kind::Leafnode,
        leafnodes.broker.registry.next_cid(),
        peer,
        stream.clone(),
        PENDING_BEFORE_LOGIN,
        // Until it has logged in, its pending bytes are in no shared budget.
        Budget::own(),
    ));
    log::about(&connection).debug(format_args!("Leafnode connection accepted"));
    let place = take_place(&leafnodes, &connection);
    let handshake = Handshake::new(&leafnodes, &connection, &stream, place);
    let introduced = tokio::select! {
        // Its place was given to another connection, or its time is over.
        () = connection.closing() => None,
        introduced = Box::pin(handshake.accept()) => introduced,
    };
    match introduced {
        None => {}
        Some(Ok(introduced)) => match leafnodes.register(&connection, introduced) {
            Ok((leaf, rest)) => {
                let mut session = Session::new(leafnodes.clone(), leaf);
                with_buffers(|buffers| {
                    session.begin(buffers, &rest);
                    buffers.flush_touched();
                });
                drop(rest);
                // The certificate files may have been replaced since the handshake checked them;
                // from here on, a reload of them checks this connection.
                if let Some(tls) = &leafnodes.tls {
                    close_if_untrusted(&leafnodes.broker, tls, &connection);
                }
                peer::drive(&mut session, &stream).await;
                peer::finish(session, &connection, &stream).await;
            }
            Err(end) => refuse(&leafnodes, &connection, &stream, &end).await,
        },
        Some(Err(end)) => refuse(&leafnodes, &connection, &stream, &end).await,
    }
    connection.outbound().release();
}

/// Takes a place for unauthenticated connections, for the time that TLS, login and the broker's own
/// queues may take.
fn take_place(leafnodes: &Leafnodes, connection: &Arc<Connection>) -> Place {
    let weak = Arc::downgrade(connection);
    let cut = move |why| {
        if let Some(connection) = weak.upgrade() {
            connection.close(match why {
                Lost::Silent => CloseReason::TooManyBeforeLogin,
                Lost::Late => CloseReason::AuthenticationTimeout,
            });
        }
    };
    let tls = leafnodes.options.tls.as_ref();
    let handshake = tls.map_or(Duration::ZERO, |tls| tls.timeout);
    let hold = handshake + leafnodes.options.auth_timeout() + QUEUE_TIME;
    let admission = &leafnodes.broker.admission.leafnodes;
    let source = Source::of(connection.peer.ip());
    admission.take(source, false, hold, cut)
}

/// Closes a connection that was not let in, and logs it and records it as an event, like a refused
/// client; not if there are too many.
async fn refuse(
    leafnodes: &Leafnodes,
    connection: &Arc<Connection>,
    stream: &TcpStream,
    end: &End,
) {
    if let Some(line) = end.error_line() {
        connection.send_now(&line);
    }
    connection.close(end.reason);
    connection.drain_and_close(stream).await;
    let telemetry = &leafnodes.broker.telemetry;
    if let Some(why) = end.login {
        telemetry.logins.count_refused(why);
    }
    let is_expected = matches!(
        end.reason,
        CloseReason::ClientClosed | CloseReason::ServerShutdown
    );
    if is_expected {
        return;
    }
    let throttle = &telemetry.refused_connections;
    let text = throttle.throttle(MonotonicMillis::now(), end.text(), "that did not log in");
    let Some(text) = text else { return };
    let (cid, source) = (connection.cid, connection.peer.ip());
    let code = match end.login {
        Some(_) => EventKind::AuthenticationFailed,
        None => EventKind::Leafnode,
    };
    log::about(connection)
        .code(code.name())
        .error(format_args!("{text}"));
    match end.login {
        Some(_) => turned_away::note_login(telemetry, cid, source, &text),
        None => {
            let text = format!("leafnode refused: {text}");
            turned_away::note(telemetry, EventKind::Leafnode, cid, source, &text);
        }
    }
}
