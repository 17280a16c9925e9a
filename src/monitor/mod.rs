//! Port 8222: the broker's state over HTTP, for people, tools and tests.
//!
//! `main` calls [`serve`] once the sockets are open. Monitoring has a thread
//! and a runtime of its own, so that a request never takes a broker worker's
//! time; it reads counters and registries and holds their locks briefly. One
//! file per endpoint (see the table in [`service`]); the answers are the types
//! of the package `monitor-client`. Who may ask is the business of [`host`].
//!
//! Paths, parameters, names and error texts are those of nats-server, with
//! these differences, which are deliberate:
//!
//! * No `Access-Control-Allow-Origin: *`: it would let any page on the web
//!   read the port through an operator's browser.
//! * Only GET and HEAD are answered; nats-server takes any method.
//! * A page of `/connz` or `/subsz` has an upper limit, and `limit` in the
//!   answer is the one used; subscriptions listed in one answer have one too.
//! * All times are UTC.
//! * `acc=$G` finds closed connections as well, and an unknown account is
//!   answered with the broker's id and an empty list.
//! * Requests that are refused for their parameters count in
//!   `http_req_stats` like all others.
//!
//! Every size and time that a stranger can use up has a limit by name, most of
//! them in [`listener`].

mod accountz;
mod accstatz;
mod answer;
mod connz;
mod connz_sort;
mod event_stream;
mod eventsz;
mod explainz;
mod gatewayz;
mod healthz;
mod host;
mod index;
mod jsz;
mod leafz;
mod listener;
mod memz;
mod metrics;
mod page;
mod process;
mod query;
mod routez;
mod service;
mod slot;
mod stream;
mod subsz;
mod time_text;
mod varz;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, atomic::AtomicUsize},
    thread,
};

use chrono::Utc;
use tokio::runtime;

use crate::{diagnosis::Diagnosis, server::Server};
use host::HostRule;
use process::CpuMeter;
use service::RequestCounts;

/// Bytes of the monitoring thread's stack. Nothing there recurses.
const STACK_LEN: usize = 256 * 1024;

/// How monitoring is served.
struct Settings {
    /// Prefix of all paths; empty for none.
    base_path: String,
    /// Host of the listener, as configured.
    host: String,
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
    requests: RequestCounts,
    cpu: CpuMeter,
    /// Bytes of answers that are not yet written.
    unwritten: Arc<AtomicUsize>,
    /// Readers that follow the events.
    event_readers: Arc<AtomicUsize>,
}

/// Serves monitoring on `listener`, on a thread of its own that lives as long
/// as the process. `workers` is the number of threads that serve the broker's
/// connections.
///
/// # Errors
///
/// The thread or what it needs cannot be had.
pub fn serve(
    server: Arc<Server>,
    diagnosis: Arc<Diagnosis>,
    listener: TcpListener,
    workers: usize,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let monitor = Arc::new(Monitor::new(server, diagnosis, address, workers));
    thread::Builder::new()
        .name("monitor".into())
        .stack_size(STACK_LEN)
        .spawn(move || runtime.block_on(listener::run(monitor, listener)))?;
    Ok(())
}

impl Monitor {
    fn new(
        server: Arc<Server>,
        diagnosis: Arc<Diagnosis>,
        address: SocketAddr,
        workers: usize,
    ) -> Self {
        let options = server.options();
        let host = match options.http_listen() {
            Some((host, _)) => host.to_owned(),
            None => address.ip().to_string(),
        };
        Self {
            host_rule: HostRule::new(address.ip(), &host),
            settings: Settings {
                base_path: match options.http_base_path.trim_matches('/') {
                    "" => String::new(),
                    path => format!("/{path}"),
                },
                host,
                port: address.port(),
                workers,
            },
            server,
            diagnosis,
            requests: RequestCounts::default(),
            cpu: CpuMeter::new(),
            unwritten: Arc::default(),
            event_readers: Arc::default(),
        }
    }

    /// The time as answers show it.
    fn now_text(&self) -> String {
        time_text::rfc3339(Utc::now())
    }
}
