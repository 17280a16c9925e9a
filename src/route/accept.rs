//! Accepting routes.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tracing::{debug, error};

use super::{
    cluster::{Cluster, Origin},
    handshake::Handshake,
    log_prefix, refuse, serve, tell_refused,
};
use crate::connection::Connection;

/// Connections that may be without login at one time: more brokers than that
/// do not come at once, and each stranger costs memory.
const STRANGERS_MAX: usize = 256;

/// Wait after a failed accept: most likely the descriptors are used up.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Accepts routes until the broker stops.
pub async fn accept_routes(cluster: Arc<Cluster>, listener: TcpListener) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    while !cluster.is_stopping() {
        // Never closed, so there is always a permit to wait for.
        let Ok(permit) = strangers.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let cluster = cluster.clone();
                tokio::spawn(async move {
                    let stream = Arc::new(stream);
                    let connection = cluster.connection(&stream, peer);
                    debug!("{} - Route connection accepted", log_prefix(&connection));
                    if cluster.secure_accepted(&connection, &stream).await {
                        introduce(&cluster, &connection, &stream, permit).await;
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

/// Lets the other side introduce itself, while it takes a stranger's place, and
/// serves the route.
async fn introduce(
    cluster: &Arc<Cluster>,
    connection: &Arc<Connection>,
    stream: &TcpStream,
    permit: OwnedSemaphorePermit,
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
            tell_refused(cluster, connection, &refusal);
            refuse(connection, stream, &refusal).await;
        }
    }
}
