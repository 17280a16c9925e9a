//! Accepting routes.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tracing::{debug, error};

use super::{
    cluster::{Cluster, Origin},
    handshake::Handshake,
    log_prefix, refuse, serve,
};

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
                    let handshake = Handshake::new(&cluster, &connection, &stream);
                    let introduced = handshake.accept().await;
                    drop(permit);
                    let stream: &TcpStream = &stream;
                    match introduced {
                        Ok(introduced) => {
                            serve(&cluster, &connection, stream, introduced, Origin::Accepted).await
                        }
                        Err(refusal) => refuse(&cluster, &connection, stream, &refusal).await,
                    };
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
