//! A broker's life: start, signals, stop.

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
    Listening, Server, lame_duck, listener,
    pid_file::PidFile,
    ports_file::PortsFile,
    reload::Sources,
    signals::{Request, Signals},
    tls,
    turn::InTurn,
    unix_socket::{self, SocketFile},
    warnings,
};
use crate::{
    COMPATIBLE_VERSION, GIT_COMMIT, VERSION,
    broker::system_queue::Notice,
    config::{HttpPort, Options, options::cluster::ClusterOptions},
    connection::{CloseReason, Kind, buffers},
    route::{self, Cluster},
};

/// How long connections may take to say their last words when the broker stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long telling the system account that the broker stops may take.
const TELL_TIMEOUT: Duration = Duration::from_millis(500);

/// A server whose sockets are open and whose tasks are not yet running.
pub struct Prepared {
    /// The server.
    pub server: Arc<Server>,
    /// Where clients connect.
    pub clients: TcpListener,
    /// Where monitoring is asked.
    pub monitor: Option<TcpListener>,
    /// The same as a Unix socket.
    pub monitor_unix: Option<UnixListener>,
    monitor_file: Option<SocketFile>,
    /// Where other brokers connect.
    pub routes: Option<TcpListener>,
}

/// Why a broker could not be started.
#[derive(Debug)]
pub struct StartError {
    /// What was tried, with its address or path.
    pub what: String,
    /// What came of it.
    pub error: io::Error,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

impl std::error::Error for StartError {}

/// The threads that serve connections.
///
/// # Errors
///
/// They cannot be had.
pub fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(buffers::flush_deferred)
        .build()
}

/// Opens the sockets.
///
/// # Errors
///
/// An address cannot be had.
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
    // Last, since a port that nobody asked for must take nothing away.
    let (monitor, no_monitor) = match options.http_listen() {
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
        no_monitor: no_monitor.map(|error| error.to_string()),
        routes: routes.as_ref().map(|(address, _)| *address),
    };
    Ok(Prepared {
        server: Server::new(options, sources, listening, tls, route_tls),
        clients,
        routes: routes.map(|(_, listener)| listener),
        monitor: monitor.map(|(_, listener)| listener),
        monitor_unix,
        monitor_file,
    })
}

/// What the monitoring port is called where it cannot be had.
fn monitor_name(options: &Options, port: u16) -> &'static str {
    let cluster = options.cluster.as_ref().and_then(|it| it.port);
    match port {
        0 => "monitor port",
        port if port == options.port => "monitor port, which is the client port as well",
        port if Some(port) == cluster => "monitor port, which is the route port as well",
        _ => "monitor port",
    }
}

/// Logs what is starting.
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
        // Of one without limits is warned.
        Some(_) | None => {}
    }
    for warning in warnings::due(server) {
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

/// Runs a prepared server until a signal ends it.
///
/// # Errors
///
/// The pid or ports file cannot be written.
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
    announce_monitor(&server);
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
                // Whoever waits for it sees that it is missing.
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
    info!("Server is ready");
    let accepting = tokio::spawn(listener::accept_clients(server.clone(), clients));
    let mut leaving = None;
    loop {
        let request = tokio::select! {
            request = signals.next() => request,
            () = ended(&mut leaving) => Request::Stop,
        };
        match request {
            Request::Stop => break,
            Request::ReopenLog => reopen_log(&server),
            // It tells the log itself; nobody waits for it here.
            Request::Reload => server.reload_by_signal(),
            Request::LameDuck if leaving.is_none() => {
                accepting.abort();
                signals.leave_within(server.options().lame_duck_duration);
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
    tell_stopping(&server).await;
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
fn announce_monitor(server: &Server) {
    let options = server.options();
    if let Some(path) = &options.monitor.unix {
        info!("Starting http monitor on {}", path.display());
    }
    if let Some(error) = &server.no_monitor {
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
    tokio::spawn(route::client_urls::tell_clients(cluster.clone()));
    tokio::spawn(route::dial_configured(cluster.clone()));
}

/// When a task has ended; never if there is none.
async fn ended(task: &mut Option<JoinHandle<()>>) {
    match task {
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}

/// Opens the log again, on a thread of its own: the disk may hang.
fn reopen_log(server: &Arc<Server>) {
    let Ok(in_turn) = InTurn::take(server, |server| &server.reopening) else {
        warn!("The log file is already being re-opened and waits for the disk");
        return;
    };
    let work = move || {
        let server = in_turn.server();
        let log = &server.sources.log;
        let place = log.look().place.address();
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

/// Lets the system account know while its readers are still connected.
async fn tell_stopping(server: &Server) {
    let (told, is_told) = oneshot::channel();
    if server.broker.system.leave(Notice::Stopping(told)) {
        // A busy system room does not keep the broker from stopping.
        let _ = timeout(TELL_TIMEOUT, is_told).await;
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
