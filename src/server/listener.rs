//! Accepting clients.

use std::{io, net::SocketAddr, sync::Arc, sync::atomic::Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tracing::{error, warn};

use super::Server;
use crate::{
    client,
    connection::{
        Connection, Kind,
        accepting::{AcceptFailures, Port},
    },
    protocol::error::{ClientError, error_line},
    telemetry::Clock,
};

/// Connections the kernel may hold for us: a fleet comes back at once.
const BACKLOG: i32 = 4096;

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
    let clients = &server.clients;
    tokio::spawn(clients.admission.clients.clone().keep_time());
    let mut failures = AcceptFailures::new("the client port");
    while !server.stopping.load(Ordering::Acquire) {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failures.end();
                if Port::Clients.is_short_of_files(&stream)
                    && !clients.admission.clients.make_room()
                {
                    refuse_for_files(clients, &stream, peer);
                    continue;
                }
                if let Err(error) = stream.set_nodelay(true) {
                    warn!("{peer} - TCP_NODELAY could not be set: {error}");
                }
                let stream = Arc::new(stream);
                let connection = Arc::new(Connection::new(
                    Kind::Client,
                    clients.registry.accept(),
                    peer,
                    stream.clone(),
                    clients.limits.current().max_pending,
                    clients.registry.budget.clone(),
                ));
                tokio::spawn(client::serve(clients.clone(), connection, stream));
            }
            Err(error) => failures.pause(&error).await,
        }
    }
}

/// Sends a client away because the descriptors that are left are for routes and
/// monitoring.
fn refuse_for_files(clients: &client::Context, stream: &TcpStream, peer: SocketAddr) {
    clients.admission.clients.refuse();
    let text = "refused: the file descriptors are used up; raise LimitNOFILE".to_owned();
    let strangers = &clients.telemetry.strangers;
    if let Some(text) = strangers.tell(Clock::now(), text, "that did not log in") {
        error!("{peer} - {text}");
    }
    // As far as the fresh socket takes it at once.
    let _ = stream.try_write(&error_line(&ClientError::MaxConnections));
}
