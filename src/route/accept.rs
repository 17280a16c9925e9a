//! Accepting routes.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tracing::{debug, error, warn};

use super::{
    cluster::{Cluster, Origin},
    handshake::Handshake,
    introduction::Refusal,
    log_prefix, refuse, serve,
};
use crate::{
    connection::{CloseReason, Connection},
    telemetry::{Clock, event::EventKind, hush::Hush},
};

/// Connections that may be without login at one time: more brokers than that
/// do not come at once, and each stranger costs memory.
const STRANGERS_MAX: usize = 256;

/// Wait after a failed accept: most likely the descriptors are used up.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts routes until the broker stops.
pub async fn accept_routes(cluster: Arc<Cluster>, listener: TcpListener) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    let crowd = Hush::default();
    let refused = Arc::new(Hush::default());
    while !cluster.is_stopping() {
        if strangers.available_permits() == 0 {
            tell_crowd(&crowd);
        }
        // Never closed, so there is always a permit to wait for.
        let Ok(permit) = strangers.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let cluster = cluster.clone();
                let refused = refused.clone();
                tokio::spawn(async move {
                    let stream = Arc::new(stream);
                    let connection = cluster.connection(&stream, peer);
                    debug!("{} - Route connection accepted", log_prefix(&connection));
                    if cluster.secure_accepted(&connection, &stream).await {
                        introduce(&cluster, &connection, &stream, permit, &refused).await;
                    }
                    connection.outbound().release();
                });
            }
            Err(error) => {
                error!("Error accepting a route: {error}; next try in {ACCEPT_RETRY:?}");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Tells why other brokers may not get through to this one now.
fn tell_crowd(crowd: &Hush) {
    let text = format!(
        "{STRANGERS_MAX} connections to the cluster's port have not logged in yet: others wait until \
         one of them has, or its time is over"
    );
    if let Some(text) = crowd.tell(Clock::now(), text, "such moments") {
        warn!("{text}");
    }
}

/// Lets the other side introduce itself, while it takes a stranger's place, and
/// serves the route.
async fn introduce(
    cluster: &Arc<Cluster>,
    connection: &Arc<Connection>,
    stream: &TcpStream,
    permit: OwnedSemaphorePermit,
    refused: &Hush,
) {
    let handshake = Handshake::new(cluster, connection, stream);
    let introduced = handshake.accept().await;
    drop(permit);
    match introduced {
        Ok(introduced) => {
            let origin = Origin::Accepted;
            serve(cluster, connection, stream, introduced, origin, None).await;
        }
        Err(refusal) => {
            tell_refused(cluster, connection, &refusal, refused);
            refuse(connection, stream, &refusal).await;
        }
    }
}

/// Tells of a broker that was not let in, unless that is what a healthy cluster
/// does all the time, or there are many of them.
fn tell_refused(cluster: &Cluster, connection: &Connection, refusal: &Refusal, refused: &Hush) {
    let reason = refusal.reason;
    if matches!(
        reason,
        CloseReason::DuplicateRoute
            | CloseReason::ClientClosed
            | CloseReason::ParseError
            | CloseReason::ServerShutdown
    ) {
        return;
    }
    let detail = refusal.detail.clone();
    let Some(detail) = refused.tell(Clock::now(), detail, "that were refused") else {
        return;
    };
    error!("{} - {reason}: {detail}", log_prefix(connection));
    cluster.context.telemetry.events.record(
        EventKind::Route,
        connection.cid,
        &connection.peer.to_string(),
        &format!("Route refused: {detail}"),
    );
}
