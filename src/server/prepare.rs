//! Before a broker runs: its runtime, its sockets, its TLS. `main` calls [`runtime`] and [`prepare`];
//! `lifecycle::run` runs what is prepared.

use std::{
    io,
    net::SocketAddr,
    os::{fd::AsFd, unix::net::UnixListener},
    path::Path,
    sync::Arc,
    thread,
};

use tokio::{net::TcpListener, runtime::Runtime};

use super::{
    Listening, OpenedTls, Server,
    inherited::{Inherited, Role},
    leafnodes::PreparedRemotes,
    listener,
    reload::Sources,
    tls,
    unix_socket::{self, SocketFile},
    upgrade,
};
use crate::{
    config::{
        HttpPort, Options,
        options::{WebSocketOptions, cluster::ClusterOptions, federation::FederationOptions},
    },
    connection::buffers,
    telemetry::threads,
};

/// A server whose sockets are open and whose tasks do not run yet.
pub struct Prepared {
    /// The server.
    pub server: Arc<Server>,
    /// Listener for clients.
    pub clients: TcpListener,
    /// Listener for WebSockets.
    pub websocket: Option<TcpListener>,
    /// Listener for monitoring.
    pub monitor: Option<TcpListener>,
    /// Listener for monitoring on a Unix socket.
    pub monitor_unix: Option<UnixListener>,
    pub(super) monitor_file: Option<SocketFile>,
    /// Listener for routes.
    pub routes: Option<TcpListener>,
    /// Listener for leafnodes.
    pub leafnodes: Option<TcpListener>,
    /// More descriptors of all of them, for an upgrade.
    pub(super) listeners: upgrade::Listeners,
}

impl Prepared {
    /// Whether the Unix socket was passed to the process.
    pub(super) fn has_inherited_unix_socket(&self) -> bool {
        self.monitor_unix.is_some() && self.monitor_file.is_none()
    }
}

/// Why a broker could not be started.
#[derive(Debug)]
pub struct StartError {
    /// What failed, with its address or path.
    pub what: String,
    /// The system's error.
    pub error: io::Error,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

impl std::error::Error for StartError {}

/// The runtime with the threads that serve connections.
///
///  # Errors
///
/// The threads cannot be started.
pub fn runtime() -> io::Result<Runtime> {
    // It would panic without them.
    threads::try_out(thread::available_parallelism().map_or(1, usize::from))?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(buffers::flush_deferred)
        .build()
}

/// Opens all sockets that were not passed to the process.
///
///  # Errors
///
/// A socket cannot be opened, or one that was passed belongs to no listener.
pub fn prepare(
    options: Options,
    sources: Sources,
    mut inherited: Inherited,
) -> Result<Prepared, StartError> {
    let tls = options.tls.as_ref().map(tls::open).transpose()?;
    let of_routes = options.cluster.as_ref().and_then(ClusterOptions::tls);
    let route_tls = of_routes.as_ref().map(tls::open).transpose()?;
    let of_websocket = options.websocket.as_ref().and_then(|it| it.tls.as_ref());
    let websocket_tls = of_websocket.map(tls::open).transpose()?;
    let of_leafnodes = options.leafnodes.as_ref().and_then(|it| it.tls.as_ref());
    let leafnode_tls = of_leafnodes.map(tls::open).transpose()?;
    tls::expect_patience([
        tls.as_deref(),
        route_tls.as_deref(),
        websocket_tls.as_deref(),
        leafnode_tls.as_deref(),
    ]);
    let of_federation = options.federation.as_ref().and_then(FederationOptions::tls);
    let federation_tls = of_federation.as_ref().map(tls::open).transpose()?;
    let remotes = PreparedRemotes::load(&options, None)?;
    let (monitor_unix, monitor_file) = match &options.monitor.unix {
        Some(path) => {
            listen_unix(&mut inherited, path, options.monitor.unix_mode).map_err(|error| {
                StartError {
                    what: format!("Error listening on monitor socket: {}", path.display()),
                    error: match options.monitor.missing_folder() {
                        Some(missing) => io::Error::new(io::ErrorKind::NotFound, missing),
                        None => error,
                    },
                }
            })?
        }
        None => (None, None),
    };
    let mut listen = |role: Role, what: &str, host: &str, port: u16| {
        listen_tcp(&mut inherited, role, host, port).map_err(|error| StartError {
            what: format!("Error listening on {what}: {}", listener::join(host, port)),
            error,
        })
    };
    let (client_address, clients) = listen(Role::Client, "port", &options.host, options.port)?;
    let websocket = match &options.websocket {
        Some(WebSocketOptions {
            host,
            port: Some(port),
            ..
        }) => Some(listen(Role::WebSocket, "websocket port", host, *port)?),
        _ => None,
    };
    let routes = match &options.cluster {
        Some(cluster) => match cluster.port {
            Some(port) => Some(listen(Role::Cluster, "router port", &cluster.host, port)?),
            None => None,
        },
        None => None,
    };
    let leafnodes = match options
        .leafnodes
        .as_ref()
        .and_then(|it| Some((it, it.port?)))
    {
        Some((block, port)) => {
            let what = "leafnode port";
            Some(listen(Role::Leafnodes, what, &block.host, port)?)
        }
        None => None,
    };
    // The monitoring port comes last: if it is only a default, it must not take a port that another
    // listener needs.
    let (monitor, monitor_error) = match options.http_listen() {
        None => (None, None),
        Some((host, port)) => {
            match listen(Role::Monitor, monitor_name(&options, port), host, port) {
                Ok(monitor) => (Some(monitor), None),
                Err(error) if options.http_port == HttpPort::Default => (None, Some(error)),
                Err(error) => return Err(error),
            }
        }
    };
    inherited.refuse_rest()?;
    let listening = Listening {
        clients: client_address,
        websocket: websocket.as_ref().map(|(address, _)| *address),
        monitor: monitor.as_ref().map(|(address, _)| *address),
        monitor_error: monitor_error.map(|error| error.to_string()),
        routes: routes.as_ref().map(|(address, _)| *address),
        leafnodes: leafnodes.as_ref().map(|(address, _)| *address),
    };
    let monitor = monitor.map(|(_, listener)| listener);
    let routes = routes.map(|(_, listener)| listener);
    let websocket = websocket.map(|(_, listener)| listener);
    let leafnodes = leafnodes.map(|(_, listener)| listener);
    let listeners = upgrade::Listeners::default();
    let sockets = [
        (Role::Client, Some(clients.as_fd())),
        (Role::WebSocket, websocket.as_ref().map(AsFd::as_fd)),
        (Role::Cluster, routes.as_ref().map(AsFd::as_fd)),
        (Role::Leafnodes, leafnodes.as_ref().map(AsFd::as_fd)),
        (Role::Monitor, monitor.as_ref().map(AsFd::as_fd)),
        (Role::Monitor, monitor_unix.as_ref().map(AsFd::as_fd)),
    ];
    for (role, socket) in sockets {
        let Some(socket) = socket else { continue };
        listeners.add(role, &socket).map_err(|error| StartError {
            what: "Error keeping a listening socket for an upgrade".into(),
            error,
        })?;
    }
    Ok(Prepared {
        server: Server::new(
            options,
            sources,
            listening,
            OpenedTls {
                clients: tls,
                routes: route_tls,
                leafnodes: leafnode_tls,
                federation: federation_tls,
                websocket: websocket_tls,
                remotes,
            },
        ),
        clients,
        websocket,
        routes,
        leafnodes,
        monitor,
        monitor_unix,
        monitor_file,
        listeners,
    })
}

/// The listener at `host:port`: the one that was passed, or a new one.
fn listen_tcp(
    inherited: &mut Inherited,
    role: Role,
    host: &str,
    port: u16,
) -> io::Result<(SocketAddr, TcpListener)> {
    match inherited.take_tcp(role, host, port)? {
        Some((address, listener)) => Ok((address, TcpListener::from_std(listener)?)),
        None => listener::bind(host, port).map_err(|error| inherited.explain(error, role, port)),
    }
}

/// The listener at `path`, and its file if it is the broker's own.
fn listen_unix(
    inherited: &mut Inherited,
    path: &Path,
    mode: u32,
) -> io::Result<(Option<UnixListener>, Option<SocketFile>)> {
    match inherited.take_unix(path)? {
        Some(listener) => Ok((Some(listener), None)),
        None => unix_socket::bind(path, mode).map(|(listener, file)| (Some(listener), Some(file))),
    }
}

/// The name of the monitoring port in an error message.
fn monitor_name(options: &Options, port: u16) -> &'static str {
    let cluster = options.cluster.as_ref().and_then(|it| it.port);
    match port {
        0 => "monitor port",
        port if port == options.port => "monitor port, which is the client port as well",
        port if Some(port) == cluster => "monitor port, which is the route port as well",
        _ => "monitor port",
    }
}
