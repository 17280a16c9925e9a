//! Accepting routes.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, error};

use super::{
    cluster::{Cluster, Origin},
    handshake::{Handshake, Introduced},
    introduction::Refusal,
    log_prefix, refuse, serve,
};
use crate::{
    connection::{
        CloseReason, Connection,
        accepting::{AcceptFailures, OpenSocket, Port, as_shown},
        admission::{Lost, Place, QUEUE_TIME, Source},
        turned_away,
    },
    telemetry::{MonotonicMillis, event::EventKind},
};

/// Routes from one member's address for which descriptors are found even if they are
/// short: those of a few brokers on one host.
const ROUTES_IN_NEED: usize = 4;

/// Accepts routes until the broker stops.
pub async fn accept_routes(cluster: Arc<Cluster>, listener: TcpListener) {
    let places = &cluster.context.admission.routes;
    tokio::spawn(places.clone().keep_time());
    let mut failures = AcceptFailures::new("the port for routes");
    while !cluster.is_stopping() {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let peer = as_shown(peer);
                failures.end();
                let open = OpenSocket::new();
                let is_member = cluster.member_addresses.contains(peer.ip());
                let is_in_need = is_member && cluster.routes_from(peer.ip()) < ROUTES_IN_NEED;
                if !Port::Routes.finds_room(&stream, &open, places).await && !is_in_need {
                    places.refuse();
                    continue;
                }
                let cluster = cluster.clone();
                tokio::spawn(async move {
                    let _open = open;
                    greet(cluster, stream, peer, is_member).await;
                });
            }
            Err(error) => failures.pause(&error).await,
        }
    }
}

/// Lets the other side introduce itself, while it takes one of the places of those
/// who have not logged in, and serves the route.
async fn greet(cluster: Arc<Cluster>, stream: TcpStream, peer: SocketAddr, is_member: bool) {
    let stream = Arc::new(stream);
    let connection = cluster.connection(&stream, peer);
    debug!("{} - Route connection accepted", log_prefix(&connection));
    let place = take_place(&cluster, &connection, is_member);
    let introduced = tokio::select! {
        // Its place is another one's now, or was held for too long.
        () = connection.closing() => None,
        introduced = introduce(&cluster, &connection, &stream, place) => introduced,
    };
    match introduced {
        None => {}
        Some(Ok(introduced)) => {
            let origin = Origin::Accepted;
            serve(&cluster, &connection, &stream, introduced, origin, None).await;
        }
        Some(Err(refusal)) => {
            tell_refused(&cluster, &connection, &refusal);
            refuse(&connection, &stream, &refusal).await;
        }
    }
    connection.outbound().release();
}

/// Shakes hands and hears who it is. `None`: no TLS came about, which was told of.
async fn introduce(
    cluster: &Cluster,
    connection: &Arc<Connection>,
    stream: &Arc<TcpStream>,
    place: Place,
) -> Option<Result<Introduced, Refusal>> {
    if !cluster.secure_accepted(connection, stream).await {
        return None;
    }
    place.heard();
    let handshake = Handshake::new(cluster, connection, stream).holding(place);
    Some(handshake.accept().await)
}

/// Takes one of the places of those who have not logged in. It is held for what
/// the handshake and the login may take, and for the broker's own queues.
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
    let places = &cluster.context.admission.routes;
    let source = Source::of(connection.peer.ip());
    places.take(source, is_member, hold, cut)
}

/// Tells of a broker that was not let in, as of a client, unless that is what a
/// healthy cluster does all the time, or there are many of them.
fn tell_refused(cluster: &Cluster, connection: &Connection, refusal: &Refusal) {
    let reason = refusal.reason;
    let telemetry = &cluster.context.telemetry;
    if let Some(why) = refusal.login {
        telemetry.logins.count_refused(why);
    }
    let is_usual = matches!(
        reason,
        CloseReason::DuplicateRoute | CloseReason::ClientClosed | CloseReason::ServerShutdown
    );
    if is_usual || refusal.is_usual {
        return;
    }
    let text = format!("{reason}: {}", refusal.detail);
    let strangers = &telemetry.refused_connections;
    let Some(text) = strangers.throttle(MonotonicMillis::now(), text, "that did not log in") else {
        return;
    };
    error!("{} - {text}", log_prefix(connection));
    let (cid, source) = (connection.cid, connection.peer.ip());
    match refusal.login {
        Some(_) => turned_away::note_login(telemetry, cid, source, &text),
        None => {
            let text = format!("Route refused: {text}");
            turned_away::note(telemetry, EventKind::Route, cid, source, &text);
        }
    }
}
