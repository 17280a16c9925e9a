//! Accepts routes.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::{TcpListener, TcpStream};

use super::{
    cluster::{Cluster, Origin},
    handshake::{Handshake, Introduced},
    refuse, serve,
};
use crate::{
    broker::turned_away,
    connection::{
        CloseReason, Connection,
        accepting::{AcceptFailures, OpenSocket, Port, as_shown},
        admission::{Lost, Place, QUEUE_TIME, Source},
    },
    log,
    peer::End,
    telemetry::{MonotonicMillis, event::EventKind},
};

/// Routes per member address that are accepted even if file descriptors are short: those of a few
/// brokers on one host.
const ROUTES_PER_MEMBER_ADDRESS: usize = 4;

/// Accepts routes until the broker stops.
pub async fn accept_routes(cluster: Arc<Cluster>, listener: TcpListener) {
    let admission = &cluster.broker.admission.routes;
    tokio::spawn(admission.clone().keep_time());
    let mut failures = AcceptFailures::new("the port for routes", admission);
    let gate = &cluster.broker.gate;
    while !cluster.is_stopping()
        && let Some(accepted) = gate.next(|| listener.accept()).await
    {
        match accepted {
            Ok((stream, peer)) => {
                let peer = as_shown(peer);
                failures.end();
                let open = OpenSocket::new();
                let is_member = cluster.member_addresses.contains(peer.ip());
                let is_allowed =
                    is_member && cluster.routes_from(peer.ip()) < ROUTES_PER_MEMBER_ADDRESS;
                if !Port::Routes
                    .has_free_descriptor(&stream, &open, admission)
                    .await
                    && !is_allowed
                {
                    admission.refuse();
                    continue;
                }
                let cluster = cluster.clone();
                tokio::spawn(async move {
                    let _open = open;
                    serve_accepted(cluster, stream, peer, is_member).await;
                });
            }
            Err(error) => failures.pause(&error).await,
        }
    }
}

/// Performs the handshake and serves the route. Until it is logged in, the connection counts as
/// unauthenticated (`connection::admission`).
async fn serve_accepted(
    cluster: Arc<Cluster>,
    stream: TcpStream,
    peer: SocketAddr,
    is_member: bool,
) {
    let stream = Arc::new(stream);
    let connection = cluster.connection(&stream, peer);
    log::about(&connection).debug(format_args!("Route connection accepted"));
    let place = take_place(&cluster, &connection, is_member);
    let introduced = tokio::select! {
        // Its place was given to another connection, or its time is over.
        () = connection.closing() => None,
        introduced = introduce(&cluster, &connection, &stream, place) => introduced,
    };
    match introduced {
        None => {}
        Some(Ok(introduced)) => {
            let origin = Origin::Accepted;
            serve(&cluster, &connection, &stream, introduced, origin, None).await;
        }
        Some(Err(end)) => {
            log_refusal(&cluster, &connection, &end);
            refuse(&connection, &stream, &end).await;
        }
    }
    connection.outbound().release();
}

/// TLS and the route handshake. `None`: TLS failed, which was logged.
async fn introduce(
    cluster: &Cluster,
    connection: &Arc<Connection>,
    stream: &Arc<TcpStream>,
    place: Place,
) -> Option<Result<Introduced, End>> {
    if !cluster.secure_accepted(connection, stream).await {
        return None;
    }
    place.mark_active();
    let handshake = Handshake::new(cluster, connection, stream).with_place(place);
    Some(handshake.accept().await)
}

/// Takes a place for unauthenticated connections, for the time that TLS, login and the broker's own
/// queues may take.
fn take_place(cluster: &Cluster, connection: &Arc<Connection>, is_member: bool) -> Place {
    let weak = Arc::downgrade(connection);
    let cut = move |why| {
        if let Some(connection) = weak.upgrade() {
            connection.close(match why {
                Lost::Silent => CloseReason::TooManyBeforeLogin,
                Lost::Late => CloseReason::AuthenticationTimeout,
            });
        }
    };
    let options = cluster.options();
    let handshake = options.tls.as_ref().map(|tls| tls.timeout);
    let hold = handshake.unwrap_or_default() + options.auth_timeout() + QUEUE_TIME;
    let admission = &cluster.broker.admission.routes;
    let source = Source::of(connection.peer.ip());
    admission.take(source, is_member, hold, cut)
}

/// Logs a refused broker and records it as an event, like a refused client; not if a healthy
/// cluster does that all the time, or if there are too many.
fn log_refusal(cluster: &Cluster, connection: &Connection, end: &End) {
    let reason = end.reason;
    let telemetry = &cluster.broker.telemetry;
    if let Some(why) = end.login {
        telemetry.logins.count_refused(why);
    }
    let is_expected = matches!(
        reason,
        CloseReason::DuplicateRoute | CloseReason::ClientClosed | CloseReason::ServerShutdown
    );
    if is_expected || end.is_usual {
        return;
    }
    let text = end.text();
    let throttle = &telemetry.refused_connections;
    let Some(text) = throttle.throttle(MonotonicMillis::now(), text, "that did not log in") else {
        return;
    };
    let (cid, source) = (connection.cid, connection.peer.ip());
    let code = match end.login {
        Some(_) => EventKind::AuthenticationFailed,
        None => EventKind::Route,
    };
    log::about(connection)
        .code(code.name())
        .error(format_args!("{text}"));
    match end.login {
        Some(_) => turned_away::note_login(telemetry, cid, source, &text),
        None => {
            let text = format!("Route refused: {text}");
            turned_away::note(telemetry, EventKind::Route, cid, source, &text);
        }
    }
}
