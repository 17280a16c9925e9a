//! Accepting clients.

use std::{io, net::SocketAddr, sync::Arc, sync::atomic::Ordering, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, time::sleep};
use tracing::{error, warn};

use super::Server;
use crate::{client, connection::Connection};

/// Connections the kernel may hold for us: a fleet comes back at once.
const BACKLOG: i32 = 4096;

/// Waits after a failed accept: doubled from the first to the last.
const ACCEPT_RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Opens a listening socket at `host:port`; port 0 takes any free one.
///
/// # Errors
///
/// The host does not resolve, or the address cannot be had.
pub fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    use std::net::ToSocketAddrs;
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "no address for this host");
    for address in (host, port).to_socket_addrs()? {
        match bind_address(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts clients until the server stops.
pub async fn accept_clients(server: Arc<Server>, listener: TcpListener) {
    let mut retry = ACCEPT_RETRY.0;
    while !server.stopping.load(Ordering::Acquire) {
        match listener.accept().await {
            Ok((stream, peer)) => {
                retry = ACCEPT_RETRY.0;
                let clients = server.clients.clone();
                if let Err(error) = stream.set_nodelay(true) {
                    warn!("{peer} - TCP_NODELAY could not be set: {error}");
                }
                let stream = Arc::new(stream);
                let connection = Arc::new(Connection::new(
                    clients.registry.accept(),
                    peer,
                    stream.clone(),
                    clients.limits.current().max_pending,
                    clients.registry.budget.clone(),
                ));
                tokio::spawn(client::serve(clients, connection, stream));
            }
            Err(error) => {
                // Most likely the descriptors are used up: wait for some to
                // come free instead of spinning.
                error!("Accept error: {error}; next try in {retry:?}");
                sleep(retry).await;
                retry = (retry * 2).min(ACCEPT_RETRY.1);
            }
        }
    }
}
