//! Opens listening sockets and accepts clients.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock, atomic::Ordering},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tracing::{error, warn};

use socket2::{Domain, Protocol, Socket, Type};

use super::Server;
use crate::{
    broker::{Broker, turned_away},
    client::{self, ClientListener},
    connection::{
        Connection, Kind,
        accepting::{AcceptFailures, OpenSocket, Port, as_shown},
    },
    protocol::error::{ClientError, error_line},
    security::refusal::Refusal,
    telemetry::MonotonicMillis,
};

/// Length of the kernel's accept queue: a whole fleet may reconnect at the same time.
const BACKLOG: i32 = 4096;

/// Opens a listening socket at `host:port`; port 0 takes any free one. A wildcard address of either
/// family serves both families if the machine has both. Returns the requested address with the
/// actual port.
///
///  # Errors
///
/// The host does not resolve, or the address cannot be used.
pub fn bind(host: &str, port: u16) -> io::Result<(SocketAddr, TcpListener)> {
    use std::net::ToSocketAddrs;
    let mut last_error = io::Error::new(io::ErrorKind::NotFound, "no address for this host");
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    // A name such as localhost may resolve to both families; most clients try IPv4.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    for address in addresses {
        match bind_address(address) {
            Ok(listener) => {
                let port = listener.local_addr()?.port();
                return Ok((SocketAddr::new(address.ip(), port), listener));
            }
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

/// `host:port`, with brackets around an IPv6 address.
pub fn join(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Whether a single socket can serve both IPv6 and IPv4 on this machine.
pub(super) fn is_dual_stack() -> bool {
    static IS_DUAL_STACK: OnceLock<bool> = OnceLock::new();
    *IS_DUAL_STACK.get_or_init(|| {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        socket(any, true).is_ok()
    })
}

fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let is_wildcard = address.ip().is_unspecified();
    let ip: IpAddr = match is_wildcard {
        false => address.ip(),
        true if is_dual_stack() => Ipv6Addr::UNSPECIFIED.into(),
        true => Ipv4Addr::UNSPECIFIED.into(),
    };
    let address = match address {
        // Keep it as it is: it may have a zone.
        address if address.ip() == ip => address,
        address => SocketAddr::new(ip, address.port()),
    };
    let socket = socket(address, is_wildcard)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn socket(address: SocketAddr, serves_both: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && serves_both {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Begins to accept clients, at the client port and perhaps by WebSocket, until the server stops.
pub(super) fn accept(
    server: &Arc<Server>,
    clients: TcpListener,
    websocket: Option<TcpListener>,
) -> Vec<JoinHandle<()>> {
    tokio::spawn(server.broker.admission.clients.clone().keep_time());
    let plain = (clients, server.client_listener.clone());
    let own = server.websocket.as_ref().map(|it| it.listener.clone());
    let ports = [plain].into_iter().chain(websocket.zip(own));
    let accepting =
        ports.map(|(port, settings)| tokio::spawn(accept_clients(server.clone(), port, settings)));
    accepting.collect()
}

async fn accept_clients(server: Arc<Server>, listener: TcpListener, settings: Arc<ClientListener>) {
    let broker = &server.broker;
    let is_websocket = settings.websocket.is_some();
    let what = match is_websocket {
        true => "the websocket port",
        false => "the client port",
    };
    let mut failures = AcceptFailures::new(what, &broker.admission.clients);
    while !server.stopping.load(Ordering::Acquire)
        && let Some(accepted) = broker.gate.next(|| listener.accept()).await
    {
        match accepted {
            Ok((stream, peer)) => {
                let peer = as_shown(peer);
                failures.end();
                if !broker.limits.current().admits(peer.ip()) {
                    refuse_source(broker, peer);
                    continue;
                }
                let open = OpenSocket::new();
                let admission = &broker.admission.clients;
                if !Port::Clients
                    .has_free_descriptor(&stream, &open, admission)
                    .await
                {
                    refuse_without_descriptor(broker, &stream, peer, is_websocket);
                    continue;
                }
                if let Err(error) = stream.set_nodelay(true) {
                    warn!(ip = %peer.ip(), port = peer.port(), "TCP_NODELAY could not be set: {error}");
                }
                let stream = Arc::new(stream);
                let connection = Connection::new(
                    Kind::Client,
                    broker.registry.accept(),
                    peer,
                    stream.clone(),
                    broker.limits.current().max_pending,
                    broker.registry.budget.clone(),
                );
                let connection = Arc::new(match is_websocket {
                    true => connection.for_websocket(),
                    false => connection,
                });
                let (broker, settings) = (broker.clone(), settings.clone());
                tokio::spawn(async move {
                    let _open = open;
                    client::serve(broker, settings, connection, stream).await;
                });
            }
            Err(error) => failures.pause(&error).await,
        }
    }
}

/// Reports a connection from an address where clients may not connect from. It is closed without a
/// word and without the cost of a handshake.
fn refuse_source(broker: &Broker, peer: SocketAddr) {
    let refusal = Refusal::PortSource;
    let telemetry = &broker.telemetry;
    telemetry.logins.count_refused(refusal.name());
    let throttle = &telemetry.refused_connections;
    let text = format!("refused: {refusal}");
    if let Some(text) = throttle.throttle(MonotonicMillis::now(), text, "that did not log in") {
        error!(ip = %peer.ip(), port = peer.port(), "{text}");
        turned_away::note_login(telemetry, 0, peer.ip(), &text);
    }
}

/// Refuses a client because the remaining file descriptors are reserved for routes and monitoring.
fn refuse_without_descriptor(
    broker: &Broker,
    stream: &TcpStream,
    peer: SocketAddr,
    is_websocket: bool,
) {
    broker.admission.clients.refuse();
    let text = "refused: no file descriptor is left; raise LimitNOFILE".to_owned();
    let throttle = &broker.telemetry.refused_connections;
    if let Some(text) = throttle.throttle(MonotonicMillis::now(), text, "that did not log in") {
        error!(ip = %peer.ip(), port = peer.port(), "{text}");
    }
    if is_websocket {
        // It would not understand it.
        return;
    }
    // As much as the new socket accepts immediately.
    let _ = stream.try_write(&error_line(&ClientError::MaxConnections));
}
