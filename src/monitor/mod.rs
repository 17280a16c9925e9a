//! Port 8222: the broker's state over HTTP, for people, tools and tests.
//!
//! `main` makes a [`Monitor`] and calls [`serve`] once the sockets are open. Monitoring has
//! a thread and a runtime of its own, so that a request never uses the time of a thread
//! that serves clients, and a second thread for long answers, so that `/healthz` is
//! answered meanwhile. It reads counters and registries and holds their locks briefly.
//!
//! [`endpoints`] computes the answers, one file per endpoint, with the types of the crate
//! `monitor-client`; [`http`] serves them and decides which requests are permitted;
//! [`metrics`] and [`dashboard`] are other forms of the same values. The module `system`
//! answers requests of the system account with them. A Unix socket serves the same, and
//! only there `endpoints::control` accepts requests that change something.
//!
//! Paths, parameters, names and error texts are those of nats-server, with
//! these differences, which are deliberate:
//!
//! * No `Access-Control-Allow-Origin: *`: it would let any page on the web
//!   read the port through an operator's browser.
//! * Only GET and HEAD are answered, apart from `endpoints::control`; nats-server accepts
//!   any method.
//! * A page of `/connz` or `/subsz` has an upper limit, and `limit` in the
//!   answer is the one used; subscriptions listed in one answer have one too.
//! * All times are UTC.
//! * `acc=$G` finds closed connections as well, and an unknown account is
//!   answered with the broker's id and an empty list.
//! * What shows the insides of a Go program is not there: `/stacksz`,
//!   `/ipqueuesz`, `/raftz`, `/debug/vars`.
//! * `filter_subject` of `/connz`, together with `acc`, selects here too; of
//!   nats-server only the service of the system account does.
//! * Requests that are refused for their parameters count in
//!   `http_req_stats` like all others.
//!
//! Every size and time that a client of the port can use up has a limit by name,
//! most of them in [`http::listener`].

mod cpu;
mod dashboard;
pub mod endpoints;
mod http;
mod metrics;

use std::{
    io,
    net::TcpListener,
    os::unix::net::UnixListener,
    sync::{Arc, atomic::AtomicUsize},
    thread,
    time::Duration,
};

use chrono::Utc;
use rustls::ServerConfig;
use tokio::runtime::{self, Runtime};

use crate::{
    observe::diagnosis::Diagnosis,
    server::Server,
    telemetry::{log_throttle::LogThrottle, threads},
};
use cpu::CpuMeter;
use endpoints::time_text;
use http::{access::RefusedLogins, host::HostRule, listener, service::RequestCounts, turns::Turns};

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
    /// Processors; to ask the system for them costs more than all else of `/varz`.
    cores: usize,
}

/// The data for the endpoints' answers.
pub struct Monitor {
    server: Arc<Server>,
    diagnosis: Arc<Diagnosis>,
    settings: Settings,
    host_rule: HostRule,
    refused_logins: RefusedLogins,
    /// How often connections that were closed early are logged.
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

/// Serves the answers over HTTP on a thread of its own that lives as long as the process.
///
/// # Errors
///
/// The thread or what it needs cannot be had.
pub fn serve(monitor: &Arc<Monitor>, listeners: Listeners) -> io::Result<()> {
    // The runtime would panic without it.
    threads::try_out(LONG_ANSWERS)?;
    let runtime = OwnRuntime::new(
        runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(LONG_ANSWERS)
            .thread_keep_alive(Duration::MAX)
            .thread_name("monitor-long")
            .thread_stack_size(STACK_LEN)
            .build()?,
    );
    let (tcp, unix) = {
        let _entered = runtime.get().enter();
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
    // From here on it is there, also when the system gives no thread any more.
    drop(runtime.get().spawn_blocking(|| ()));
    let monitor = monitor.clone();
    thread::Builder::new()
        .name("monitor".into())
        .stack_size(STACK_LEN)
        .spawn(move || runtime.get().block_on(listener::run(monitor, tcp, unix)))?;
    Ok(())
}

/// The runtime of monitoring. If it cannot be used after all, it is dropped where the broker's own
/// one runs, which waits for nothing.
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new(runtime: Runtime) -> Self {
        Self(Some(runtime))
    }

    fn get(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until the drop")
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Monitor {
    /// The monitoring of this broker; `workers` threads serve its connections.
    pub fn new(server: Arc<Server>, diagnosis: Arc<Diagnosis>, workers: usize) -> Arc<Self> {
        let options = server.options();
        let address = server.monitor_address;
        let host = match options.http_listen() {
            Some((host, _)) => host.to_owned(),
            None => String::new(),
        };
        Arc::new(Self {
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
                cores: thread::available_parallelism().map_or(1, usize::from),
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
        })
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
