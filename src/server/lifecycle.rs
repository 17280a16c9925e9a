//! Start, main loop and stop of a broker that is prepared ([`super::prepare`]).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tracing::{error, info, warn};

use super::{
    Server, announce,
    exclusive::ExclusiveGuard,
    lame_duck, listener,
    pid_file::PidFile,
    ports_file::PortsFile,
    prepare::{Prepared, StartError},
    signals::{END_BOUND, Request, Signals},
    tls,
    upgrade::{self, HandOver, Handed, WATCHED_FOR, take_over::TakeOver},
};
use crate::{
    broker::system_queue::Notice,
    connection::{CloseReason, Kind},
    leafnode::{self, Leafnodes},
    route::{self, Cluster},
    telemetry::threads,
};

/// How long connections may take to send what is queued when the broker stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the announcement of the stop on the system account may take.
const NOTICE_TIMEOUT: Duration = Duration::from_millis(500);

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
        websocket,
        monitor_unix: _,
        mut monitor_file,
        routes,
        leafnodes,
        listeners,
        ..
    } = prepared;
    // Before anybody can know of this process.
    let requests = upgrade::request::listen();
    announce::monitor_address(&server);
    server.announce_websocket();
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
    if let Some(listener) = leafnodes {
        start_leafnodes(&server.leafnodes, listener);
    }
    if let Some(federation) = server.federation() {
        federation.start().map_err(|error| StartError {
            what: "Error starting the thread of the federation".into(),
            error,
        })?;
    }
    // Its first round writes the state file, which is a predecessor's until this process serves.
    if predecessor.is_none() {
        server.watch_nodes().map_err(|error| StartError {
            what: "Error starting the thread that watches the nodes".into(),
            error,
        })?;
    }
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
    // Not before: a hub takes two processes of this broker for one that connects again.
    tokio::spawn(leafnode::dial_remotes(server.leafnodes.clone()));
    let accepting = listener::accept(&server, clients, websocket);
    let mut steady = None;
    if let Some(predecessor) = predecessor {
        let adopted = predecessor.serve(&server, taken);
        monitor_file = monitor_file.or(adopted);
        if let Err(error) = server.watch_nodes() {
            error!("The nodes are not watched, no thread could be started: {error}");
        }
        // On the threads that serve connections: it shows that they work.
        steady = Some(tokio::spawn(sleep(WATCHED_FOR)));
    }
    let mut handed = HandOver::listen(&server, requests, listeners.clone(), monitor_file.is_some());
    server.service_manager().ready();
    let mut leaving = None;
    loop {
        let request = tokio::select! {
            request = signals.next() => {
                // Whoever asks this process means the broker.
                match request {
                    Request::Stop => server.upgrades.pending.stop(),
                    Request::LameDuck => server.upgrades.pending.leave(),
                    Request::Reload | Request::ReopenLog => {}
                }
                request
            }
            () = finished(&mut steady) => {
                steady = None;
                if let Some(predecessor) = predecessor {
                    predecessor.steady();
                }
                continue;
            }
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
                    if leaving.is_none() {
                        leaving = Some(leave(&server, true));
                    }
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
                accepting.iter().for_each(JoinHandle::abort);
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
    accepting.iter().for_each(JoinHandle::abort);
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
    server.leafnodes.stop();
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
        // They come back to the process that serves on.
        if has_successor {
            server.leafnodes.stop();
        }
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

fn start_leafnodes(leafnodes: &Arc<Leafnodes>, listener: TcpListener) {
    if let Some(address) = leafnodes.node.address {
        info!("Listening for leafnode connections on {address}");
    }
    if leafnodes.tls.is_some() {
        info!("TLS required for leafnode connections");
    }
    tokio::spawn(leafnode::send_addresses(leafnodes.clone()));
    tokio::spawn(leafnode::accept_leafnodes(leafnodes.clone(), listener));
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
