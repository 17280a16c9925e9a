//! Port 8222: the broker's state over HTTP, for people, tools and tests.
//!
//! `main` calls [`serve`] once the sockets are open. Monitoring has a thread
//! and a runtime of its own, so that a request never takes a broker worker's
//! time, and a second one for answers that may take long, so that health is
//! told meanwhile; it reads counters and registries and holds their locks briefly. One
//! file per endpoint (see the table in [`service`]); the answers are the types
//! of the package `monitor-client`. Who may ask is the business of [`host`] and
//! [`monitor_listener`]. A Unix socket serves the same, and only there [`control`] takes
//! requests that change something.
//!
//! Paths, parameters, names and error texts are those of nats-server, with
//! these differences, which are deliberate:
//!
//! * No `Access-Control-Allow-Origin: *`: it would let any page on the web
//!   read the port through an operator's browser.
//! * Only GET and HEAD are answered, apart from [`control`]; nats-server takes
//!   any method.
//! * A page of `/connz` or `/subsz` has an upper limit, and `limit` in the
//!   answer is the one used; subscriptions listed in one answer have one too.
//! * All times are UTC.
//! * `acc=$G` finds closed connections as well, and an unknown account is
//!   answered with the broker's id and an empty list.
//! * What tells of the insides of a Go program is not there: `/stacksz`,
//!   `/ipqueuesz`, `/raftz`, `/debug/vars`.
//! * `filter_subject` of `/connz`, together with `acc`, selects here too; of
//!   nats-server only the service of the system account does.
//! * Requests that are refused for their parameters count in
//!   `http_req_stats` like all others.
//!
//! Every size and time that a stranger can use up has a limit by name, most of
//! them in [`listener`].

mod accountz;
mod accstatz;
mod answer;
mod clusterz;
mod connz;
mod connz_sort;
mod control;
mod dashboard;
mod event_stream;
mod eventsz;
mod explainz;
mod gatewayz;
mod healthz;
mod host;
mod jsz;
mod latencyz;
mod leafz;
mod lenient;
mod listener;
mod memz;
mod metrics;
mod monitor_listener;
mod page;
mod process;
mod query;
mod routez;
mod service;
mod slot;
mod slowz;
mod stream;
mod subsz;
mod time_text;
mod topz;
mod turns;
pub mod values;
mod varz;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    sync::{Arc, atomic::AtomicUsize},
    thread,
};

use chrono::Utc;
use rustls::ServerConfig;
use tokio::runtime;

use crate::{diagnosis::Diagnosis, server::Server, telemetry::log_throttle::LogThrottle};
use host::HostRule;
use monitor_listener::RefusedLogins;
use process::CpuMeter;
use service::RequestCounts;
use turns::Turns;
use values::Answers;

/// Bytes of the monitoring thread's stack. Nothing there recurses.
const STACK_LEN: usize = 256 * 1024;

/// Long answers that are made at a time.
const LONG_ANSWERS: usize = 1;

/// How monitoring is served.
struct Settings {
    /// Prefix of all paths; empty for none.
    base_path: String,
    /// Host of the listener, as configured.
    host: String,
    /// Its port; 0 for none.
    port: u16,
    /// Threads that serve the broker's connections.
    workers: usize,
}

/// What the endpoints draw their answers from.
struct Monitor {
    server: Arc<Server>,
    diagnosis: Arc<Diagnosis>,
    settings: Settings,
    host_rule: HostRule,
    refused_logins: RefusedLogins,
    /// How often the log tells of connections that were sent away.
    sent_away: LogThrottle,
    requests: RequestCounts,
    /// Turns of making a long answer.
    long_answers: Turns,
    cpu: CpuMeter,
    /// Bytes of answers that are not yet written.
    unwritten: Arc<AtomicUsize>,
    /// Readers that follow the events.
    event_readers: Arc<AtomicUsize>,
}

/// The sockets that monitoring is served on.
pub struct Listeners {
    /// The monitoring port.
    pub tcp: Option<TcpListener>,
    /// The Unix socket.
    pub unix: Option<UnixListener>,
}

/// Serves the answers on a thread of its own that lives as long as the process.
///
/// # Errors
///
/// The thread or what it needs cannot be had.
pub fn serve(answers: &Answers, listeners: Listeners) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(LONG_ANSWERS)
        .thread_name("monitor-long")
        .thread_stack_size(STACK_LEN)
        .build()?;
    let (tcp, unix) = {
        let _entered = runtime.enter();
        let tcp = listeners.tcp.map(|listener| {
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        });
        let unix = listeners.unix.map(|listener| {
            listener.set_nonblocking(true)?;
            tokio::net::UnixListener::from_std(listener)
        });
        (tcp.transpose()?, unix.transpose()?)
    };
    let monitor = answers.0.clone();
    thread::Builder::new()
        .name("monitor".into())
        .stack_size(STACK_LEN)
        .spawn(move || runtime.block_on(listener::run(monitor, tcp, unix)))?;
    Ok(())
}

impl Monitor {
    fn new(
        server: Arc<Server>,
        diagnosis: Arc<Diagnosis>,
        address: Option<SocketAddr>,
        workers: usize,
    ) -> Self {
        let options = server.options();
        let host = match options.http_listen() {
            Some((host, _)) => host.to_owned(),
            None => String::new(),
        };
        Self {
            host_rule: HostRule::new(
                address.map(|address| address.ip()),
                &host,
                &options.monitor.hosts,
            ),
            settings: Settings {
                base_path: match options.http_base_path.trim_matches('/') {
                    "" => String::new(),
                    path => format!("/{path}"),
                },
                host,
                port: address.map_or(0, |address| address.port()),
                workers,
            },
            server,
            refused_logins: RefusedLogins::default(),
            sent_away: LogThrottle::default(),
            diagnosis,
            requests: RequestCounts::default(),
            long_answers: Turns::new(LONG_ANSWERS),
            cpu: CpuMeter::new(),
            unwritten: Arc::default(),
            event_readers: Arc::default(),
        }
    }

    /// TLS of an https port, as its files are now; `None` for plain http.
    fn tls_config(&self) -> Option<Arc<ServerConfig>> {
        if !self.server.options().https {
            return None;
        }
        let tls = self.server.client_listener.tls.read();
        Some(tls.as_ref()?.store.current().monitor.clone())
    }

    /// The time as answers show it.
    fn now_text(&self) -> String {
        time_text::rfc3339(Utc::now())
    }
}
