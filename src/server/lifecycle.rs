//! Start, main loop and stop of a broker.

use std::{
    io,
    os::unix::net::UnixListener,
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
    Listening, Server,
    exclusive::ExclusiveGuard,
    lame_duck, listener,
    pid_file::PidFile,
    ports_file::PortsFile,
    reload::Sources,
    signals::{Request, Signals},
    tls,
    unix_socket::{self, SocketFile},
    warnings,
};
use crate::{
    COMPATIBLE_VERSION, GIT_COMMIT, VERSION,
    broker::system_queue::Notice,
    config::{
        HttpPort, Options,
        options::{cluster::ClusterOptions, federation::FederationOptions},
    },
    connection::{CloseReason, Kind, buffers},
    route::{self, Cluster},
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
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(buffers::flush_deferred)
        .build()
}

/// Opens all sockets.
///
///  # Errors
///
/// A socket cannot be opened.
pub fn prepare(options: Options, sources: Sources) -> Result<Prepared, StartError> {
    let bind = |what: &str, host: &str, port: u16| {
        listener::bind(host, port).map_err(|error| StartError {
            what: format!("Error listening on {what}: {}", listener::join(host, port)),
            error,
        })
    };
    let tls = options.tls.as_ref().map(tls::open).transpose()?;
    let of_routes = options.cluster.as_ref().and_then(ClusterOptions::tls);
    let route_tls = of_routes.as_ref().map(tls::open).transpose()?;
    let of_federation = options.federation.as_ref().and_then(FederationOptions::tls);
    let federation_tls = of_federation.as_ref().map(tls::open).transpose()?;
    let (monitor_unix, monitor_file) = match &options.monitor.unix {
        Some(path) => unix_socket::bind(path, options.monitor.unix_mode)
            .map(|(listener, file)| (Some(listener), Some(file)))
            .map_err(|error| StartError {
                what: format!("Error listening on monitor socket: {}", path.display()),
                error: match options.monitor.missing_folder() {
                    Some(missing) => io::Error::new(io::ErrorKind::NotFound, missing),
                    None => error,
                },
            })?,
        None => (None, None),
    };
    let (client_address, clients) = bind("port", &options.host, options.port)?;
    let routes = match &options.cluster {
        Some(cluster) => match cluster.port {
            Some(port) => Some(bind("router port", &cluster.host, port)?),
            None => None,
        },
        None => None,
    };
    // The monitoring port comes last: if it is only a default, it must not take a port that another
    // listener needs.
    let (monitor, monitor_error) = match options.http_listen() {
        None => (None, None),
        Some((host, port)) => match bind(monitor_name(&options, port), host, port) {
            Ok(monitor) => (Some(monitor), None),
            Err(error) if options.http_port == HttpPort::Default => (None, Some(error)),
            Err(error) => return Err(error),
        },
    };
    let listening = Listening {
        clients: client_address,
        monitor: monitor.as_ref().map(|(address, _)| *address),
        monitor_error: monitor_error.map(|error| error.to_string()),
        routes: routes.as_ref().map(|(address, _)| *address),
    };
    Ok(Prepared {
        server: Server::new(options, sources, listening, tls, route_tls, federation_tls),
        clients,
        routes: routes.map(|(_, listener)| listener),
        monitor: monitor.map(|(_, listener)| listener),
        monitor_unix,
        monitor_file,
    })
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

/// Logs the version, the id and warnings about the configuration.
pub fn announce(server: &Server, program: &str) {
    info!("Starting {program}");
    info!("  Version:  {COMPATIBLE_VERSION} (midge {VERSION})");
    if !GIT_COMMIT.is_empty() {
        info!("  Git:      [{GIT_COMMIT}]");
    }
    info!("  Name:     {}", server.name);
    info!("  ID:       {}", server.id);
    let options = server.options();
    if options.host_is_safe_default {
        info!(
            "Serving clients of this host only, because there is no configuration file, no address \
             and no login. To serve other hosts: -a 0.0.0.0"
        );
    }
    match server.guest() {
        Some(guest) if !guest.is_unlimited() => info!(
            "Anybody who can connect to {} {}, without a login",
            server.client_address,
            guest.text()
        ),
        // One without limits gets a warning instead.
        Some(_) | None => {}
    }
    for warning in warnings::active(server) {
        warn!("{warning}");
    }
    if let Some(file) = &options.config_file {
        info!(
            "Using configuration file: {} ({})",
            file.display(),
            options.config_digest
        );
    }
}

/// Runs a prepared server until a signal stops it.
///
///  # Errors
///
/// The pid file cannot be written, or the TLS files cannot be watched.
pub async fn run(
    prepared: Prepared,
    program: &str,
    mut signals: Signals,
) -> Result<(), StartError> {
    let Prepared {
        server,
        clients,
        monitor_file,
        routes,
        ..
    } = prepared;
    log_monitor_address(&server);
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
    if let (Some(cluster), Some(routes)) = (&server.cluster, routes) {
        start_cluster(cluster, routes);
    }
    if let Some(federation) = server.federation() {
        federation.start().map_err(|error| StartError {
            what: "Error starting the thread of the federation".into(),
            error,
        })?;
    }
    info!("Server is ready");
    let accepting = tokio::spawn(listener::accept_clients(server.clone(), clients));
    let mut leaving = None;
    loop {
        let request = tokio::select! {
            request = signals.next() => request,
            () = finished(&mut leaving) => Request::Stop,
        };
        match request {
            Request::Stop => break,
            Request::ReopenLog => reopen_log(&server),
            // Runs on a thread of its own and logs its outcome.
            Request::Reload => server.reload_by_signal(),
            Request::LameDuck if leaving.is_none() => {
                accepting.abort();
                signals.exit_within(server.options().lame_duck_duration);
                let server = server.clone();
                leaving = Some(tokio::spawn(async move { lame_duck::leave(&server).await }));
            }
            Request::LameDuck => {}
        }
    }
    if let Some(leaving) = leaving {
        leaving.abort();
    }
    server.stopping.store(true, Ordering::Release);
    accepting.abort();
    if let Some(federation) = server.federation() {
        federation.leave();
        federation.left().await;
    }
    announce_stop(&server).await;
    if let Some(cluster) = &server.cluster {
        cluster.stop();
    }
    close_connections(&server).await;
    drop(ports_file);
    drop(monitor_file);
    info!("Server Exiting..");
    Ok(())
}

/// Logs where monitoring is served.
fn log_monitor_address(server: &Server) {
    let options = server.options();
    if let Some(path) = &options.monitor.unix {
        info!("Starting http monitor on {}", path.display());
    }
    if let Some(error) = &server.monitor_error {
        warn!(
            "{error}: this is the default port, so the broker continues without monitoring; choose \
             a port with http_port (-m), or 0 for none"
        );
    }
    let Some(address) = server.monitor_address else {
        return;
    };
    let scheme = if options.https { "https" } else { "http" };
    info!("Starting {scheme} monitor on {address}");
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
    let thread = thread::Builder::new().name("log-reopen".into()).spawn(work);
    if let Err(error) = thread {
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
