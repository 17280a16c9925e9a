//! Start, main loop and stop of a broker.

use std::{
    io,
    net::SocketAddr,
    os::{fd::AsFd, unix::net::UnixListener},
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tracing::{error, info, warn};

use super::{
    Listening, Server, announce,
    exclusive::ExclusiveGuard,
    inherited::{Inherited, Role},
    lame_duck, listener,
    pid_file::PidFile,
    ports_file::PortsFile,
    reload::Sources,
    signals::{END_BOUND, Request, Signals},
    tls,
    unix_socket::{self, SocketFile},
    upgrade::{self, HandOver, Handed, take_over::TakeOver},
};
use crate::{
    broker::system_queue::Notice,
    config::{
        HttpPort, Options,
        options::{cluster::ClusterOptions, federation::FederationOptions},
    },
    connection::{CloseReason, Kind, buffers},
    route::{self, Cluster},
    telemetry::threads,
};

/// How long connections may take to send what is queued when the broker stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the announcement of the stop on the system account may take.
const NOTICE_TIMEOUT: Duration = Duration::from_millis(500);

/// A server whose sockets are open and whose tasks do not run yet.
pub struct Prepared {
    /// The server.
    pub server: Arc<Server>,
    /// Listener for clients.
    pub clients: TcpListener,
    /// Listener for monitoring.
    pub monitor: Option<TcpListener>,
    /// Listener for monitoring on a Unix socket.
    pub monitor_unix: Option<UnixListener>,
    monitor_file: Option<SocketFile>,
    /// Listener for routes.
    pub routes: Option<TcpListener>,
    /// More descriptors of all of them, for an upgrade.
    listeners: upgrade::Listeners,
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
    let of_federation = options.federation.as_ref().and_then(FederationOptions::tls);
    let federation_tls = of_federation.as_ref().map(tls::open).transpose()?;
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
    let routes = match &options.cluster {
        Some(cluster) => match cluster.port {
            Some(port) => Some(listen(Role::Cluster, "router port", &cluster.host, port)?),
            None => None,
        },
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
        monitor: monitor.as_ref().map(|(address, _)| *address),
        monitor_error: monitor_error.map(|error| error.to_string()),
        routes: routes.as_ref().map(|(address, _)| *address),
    };
    let monitor = monitor.map(|(_, listener)| listener);
    let routes = routes.map(|(_, listener)| listener);
    let listeners = upgrade::Listeners::default();
    let sockets = [
        (Role::Client, Some(clients.as_fd())),
        (Role::Cluster, routes.as_ref().map(AsFd::as_fd)),
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
        server: Server::new(options, sources, listening, tls, route_tls, federation_tls),
        clients,
        routes,
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

/// Runs a prepared server until a signal stops it, or until another process has taken over.
/// `predecessor` is the process that this one takes over from.
///
///  # Errors
///
/// The pid file cannot be written, or the TLS files cannot be watched.
pub async fn run(
    prepared: Prepared,
    program: &str,
    mut signals: Signals,
    predecessor: &mut Option<TakeOver>,
) -> Result<(), StartError> {
    let Prepared {
        server,
        clients,
        monitor_unix: _,
        mut monitor_file,
        routes,
        listeners,
        ..
    } = prepared;
    // Before anybody can know of this process.
    let requests = upgrade::request::listen();
    announce::monitor_address(&server);
    info!(
        "Listening for client connections on {}",
        server.client_address
    );
    let options = server.options();
    if let Some(path) = &options.pid_file {
        let written = PidFile::write(path).map(PidFile::keep);
        written.map_err(|error| StartError {
            what: format!("Could not write pid file {}", path.display()),
            error,
        })?;
    }
    let ports_file = match &options.ports_file_dir {
        Some(directory) => match PortsFile::write(directory, program, &server) {
            Ok(file) => Some(file),
            Err(error) => {
                // A missing file is noticed by the program that waits for it.
                let directory = directory.display();
                error!("Could not write a ports file in {directory}, continuing without: {error}");
                None
            }
        },
        None => None,
    };
    if options.tls.is_some() {
        info!("TLS required for client connections");
    }
    tls::watch(&server).map_err(|error| StartError {
        what: "Error starting to watch the TLS files".into(),
        error,
    })?;
    if let Some(predecessor) = predecessor {
        let joined = signals.unless_stopped(predecessor.join(&server)).await;
        if joined.is_none() {
            predecessor.stopping();
            return Ok(());
        }
    }
    if let (Some(cluster), Some(routes)) = (&server.cluster, routes) {
        start_cluster(cluster, routes);
    }
    if let Some(federation) = server.federation() {
        federation.start().map_err(|error| StartError {
            what: "Error starting the thread of the federation".into(),
            error,
        })?;
    }
    server.watch_nodes().map_err(|error| StartError {
        what: "Error starting the thread that watches the nodes".into(),
        error,
    })?;
    let mut taken = Vec::new();
    if let Some(predecessor) = predecessor {
        let learnt = signals.unless_stopped(predecessor.learn_interest(&server));
        if learnt.await.is_none() {
            predecessor.stopping();
            return Ok(());
        }
        taken = predecessor.take_clients(&server).await?;
    }
    info!("Server is ready");
    let accepting = tokio::spawn(listener::accept_clients(server.clone(), clients));
    if let Some(predecessor) = predecessor {
        let adopted = predecessor.serve(&server, taken);
        monitor_file = monitor_file.or(adopted);
    }
    let mut handed = HandOver::listen(&server, requests, listeners.clone(), monitor_file.is_some());
    server.service_manager().ready();
    let mut leaving = None;
    loop {
        let request = tokio::select! {
            request = signals.next() => request,
            Some(handed) = handed.recv() => match handed {
                Handed::Stop => Request::Stop,
                Handed::Over { has_unix_socket } => {
                    server.broker.gate.shut();
                    listeners.close();
                    if let Some(file) = monitor_file.take_if(|_| has_unix_socket) {
                        file.leave();
                    }
                    // The new process may be stopped meanwhile, and this one with it.
                    signals.exit_within(server.options().lame_duck_duration, false);
                    leaving = Some(leave(&server, true));
                    continue;
                }
            },
            () = finished(&mut leaving) => Request::Stop,
        };
        match request {
            Request::Stop => break,
            Request::ReopenLog => reopen_log(&server),
            // Runs on a thread of its own and logs its outcome.
            Request::Reload => server.reload_by_signal(),
            Request::LameDuck if leaving.is_none() => {
                accepting.abort();
                listeners.close();
                let duration = server.options().lame_duck_duration;
                signals.exit_within(duration, true);
                server.service_manager().stopping(duration + END_BOUND);
                leaving = Some(leave(&server, false));
            }
            Request::LameDuck => {}
        }
    }
    if let Some(leaving) = leaving {
        leaving.abort();
    }
    server.stopping.store(true, Ordering::Release);
    server.service_manager().stopping(END_BOUND);
    accepting.abort();
    listeners.close();
    if let Some(federation) = server.federation() {
        federation.leave();
        federation.left().await;
    }
    if let Some(predecessor) = predecessor {
        predecessor.stopping();
    }
    announce_stop(&server).await;
    if let Some(cluster) = server.cluster_or_link() {
        cluster.stop();
    }
    close_connections(&server).await;
    drop(ports_file);
    drop(monitor_file);
    // What it has not taken yet, such as which process is the main one now.
    server.service_manager().retry();
    info!("Server Exiting..");
    Ok(())
}

/// Lame duck mode, in a task of its own; `has_successor` is whether another process serves on.
fn leave(server: &Arc<Server>, has_successor: bool) -> JoinHandle<()> {
    let server = server.clone();
    tokio::spawn(async move {
        lame_duck::leave(&server).await;
        if has_successor {
            upgrade::wait_for_replies(&server).await;
        }
    })
}

fn start_cluster(cluster: &Arc<Cluster>, listener: TcpListener) {
    info!("Cluster name is {}", cluster.name().text);
    if cluster.name().dynamic {
        warn!(
            "Cluster name was dynamically generated, consider setting one: cluster {{ name: … }}"
        );
    }
    info!(
        "Listening for route connections on {}",
        cluster.node.address
    );
    if cluster.options().tls.is_some() {
        info!("TLS required for route connections");
    }
    tokio::spawn(route::accept_routes(cluster.clone(), listener));
    tokio::spawn(route::client_urls::send_info_to_clients(cluster.clone()));
    tokio::spawn(route::dial_configured(cluster.clone()));
}

/// Waits until a task has finished; forever if there is none.
async fn finished(task: &mut Option<JoinHandle<()>>) {
    match task {
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}

/// Reopens the log, on a thread of its own because the disk may hang.
fn reopen_log(server: &Arc<Server>) {
    let Ok(guard) = ExclusiveGuard::acquire(server, |server| &server.reopening) else {
        warn!("The log file is already being re-opened and waits for the disk");
        return;
    };
    let work = move || {
        let server = guard.server();
        let log = &server.sources.log;
        let place = log.state().destination.address();
        let calls = &server.broker.telemetry.calls;
        let call = calls.begin("opening the log file", place);
        let reopened = log.reopen();
        drop(call);
        match reopened {
            Ok(true) => info!("File log re-opened"),
            Ok(false) => info!("File log re-open ignored, not a file logger"),
            Err(error) => {
                error!("The log file could not be re-opened, the old one stays in use: {error}");
            }
        }
    };
    if let Err(error) = threads::spawn("log-reopen", threads::STACK_LEN, work) {
        error!("The log file could not be re-opened: no thread could be started: {error}");
    }
}

/// Announces the stop on the system account while its clients are still connected.
async fn announce_stop(server: &Server) {
    let (sent, is_sent) = oneshot::channel();
    if server.broker.system.leave(Notice::Stopping(sent)) {
        // If the system account is busy, the broker stops anyway.
        let _ = timeout(NOTICE_TIMEOUT, is_sent).await;
    }
}

async fn close_connections(server: &Server) {
    let registry = &server.broker.registry;
    for connection in registry.open(Kind::Client) {
        connection.close(CloseReason::ServerShutdown);
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    let open = || -> usize {
        let kinds = Kind::ALL.into_iter();
        kinds.map(|kind| registry.open_count(kind)).sum()
    };
    while open() > 0 && Instant::now() < deadline {
        sleep(Duration::from_millis(2)).await;
    }
}
