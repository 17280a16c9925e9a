//! The server: shared state, listeners and lifecycle of one broker.
//!
//! `main` makes a [`Server`] from the options and lets it run; monitoring
//! reads it. Signals and stopping are in [`lifecycle`], accepting connections
//! in [`listener`], taking over a changed configuration in [`reload`].

mod advertised;
pub mod housekeeping;
mod identity;
mod lame_duck;
pub mod lifecycle;
pub mod listener;
mod pid_file;
mod ports_file;
pub mod reload;
pub mod signals;
pub mod tls;
mod turn;
mod unix_socket;
mod warnings;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
};

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, RwLock};

use crate::{
    COMPATIBLE_VERSION, GIT_COMMIT, VERSION,
    account::Accounts,
    broker::{
        Broker,
        limits::{Limits, LimitsInForce},
        memory,
        password_queue::{PasswordQueue, PasswordQueueState},
        registry::Registry,
        system_queue::SystemQueue,
    },
    client::ClientListener,
    config::Options,
    connection::{admission::Admission, tls_listener::TlsListener},
    log::LogState,
    protocol::info::Info,
    route::{self, Cluster},
    security::{authentication::Authentication, guest::Guest},
    telemetry::{MonotonicMillis, Telemetry},
};
use reload::{Outcome, Sources};
use turn::Turn;

/// One running broker.
pub struct Server {
    /// Id of this run: 56 characters, begins with `N`.
    pub id: String,
    /// Configured name, else the id.
    pub name: String,
    options: RwLock<Arc<Options>>,
    /// Where a reload gets what it needs.
    sources: Sources,
    last_reload: Mutex<Option<Outcome>>,
    /// Held by the reload that is under way.
    reloading: Turn,
    /// Held by who opens the log again.
    reopening: Turn,
    /// Held by what only tries a reload for somebody who asked.
    trying: Turn,
    /// What all connections share.
    pub broker: Arc<Broker>,
    /// What the listener for clients is set to.
    pub client_listener: Arc<ClientListener>,
    /// Where clients connect to.
    pub client_address: SocketAddr,
    /// Where monitoring is served, if it is.
    pub monitor_address: Option<SocketAddr>,
    /// Why there is no monitoring port, though nobody turned it off.
    pub no_monitor: Option<String>,
    /// The other brokers, if there may be some.
    pub cluster: Option<Arc<Cluster>>,
    /// Whether new connections are refused because the end is near.
    pub stopping: AtomicBool,
    /// What housekeeping found out last.
    pub housekeeping: housekeeping::Readings,
}

/// Where a broker listens.
pub struct Listening {
    /// For clients.
    pub clients: SocketAddr,
    /// For monitoring, if it does.
    pub monitor: Option<SocketAddr>,
    /// Why it does not, though nobody turned it off.
    pub no_monitor: Option<String>,
    /// For routes, if it does.
    pub routes: Option<SocketAddr>,
}

impl Server {
    /// A broker with these options, listening at these addresses; the TLS of clients and
    /// that of routes.
    pub fn new(
        options: Options,
        sources: Sources,
        listening: Listening,
        tls: Option<Arc<TlsListener>>,
        route_tls: Option<Arc<TlsListener>>,
    ) -> Arc<Self> {
        let client_address = listening.clients;
        // The clock's zero is the broker's start.
        MonotonicMillis::now();
        let id = identity::server_id();
        let name = options.server_name.clone().unwrap_or_else(|| id.clone());
        let authentication = Authentication::new(&options.authorization);
        let (host, port) = advertised::host(&options, client_address);
        let mut info = Info {
            auth_required: authentication.asks_for_login(),
            server_id: id.clone(),
            server_name: name.clone(),
            version: COMPATIBLE_VERSION.into(),
            midge: VERSION.into(),
            proto: 1,
            git_commit: GIT_COMMIT.into(),
            go: concat!("rust", env!("CARGO_PKG_RUST_VERSION")).into(),
            host,
            port,
            headers: !options.no_header_support,
            max_payload: i64::try_from(options.max_payload).unwrap_or(i64::MAX),
            cluster: options.cluster_name().to_owned(),
            ..Info::default()
        };
        tls::describe(&mut info, &options);
        let telemetry = Telemetry::new(options.diagnosis.storm_rate);
        let client_listener = Arc::new(ClientListener {
            authentication: RwLock::new(Arc::new(authentication)),
            passwords: PasswordQueue::new(password_checks_max(), telemetry.logins.clone()),
            tls: RwLock::new(tls),
            allow_non_tls: options.allow_non_tls,
        });
        let broker = Arc::new(Broker {
            accounts: Accounts::new(&options, options.cluster_name()),
            telemetry,
            system: SystemQueue::default(),
            registry: Registry::new(
                options.max_closed_clients,
                options.max_memory.unwrap_or_else(memory::default_limit),
            ),
            admission: Admission::default(),
            limits: LimitsInForce::new(limits(&options)),
            info: RwLock::new(info),
        });
        let cluster = listening
            .routes
            .zip(options.cluster.clone())
            .map(|(address, settings)| {
                let node = route::Node {
                    server_id: id.clone(),
                    server_name: name.clone(),
                    address,
                };
                let client_urls = advertised::urls(&options, client_address);
                Cluster::new(broker.clone(), settings, node, route_tls, client_urls)
            });
        Arc::new(Self {
            id,
            name,
            options: RwLock::new(Arc::new(options)),
            sources,
            last_reload: Mutex::default(),
            reloading: Turn::default(),
            reopening: Turn::default(),
            trying: Turn::default(),
            broker,
            client_listener,
            client_address,
            monitor_address: listening.monitor,
            no_monitor: listening.no_monitor,
            cluster,
            stopping: AtomicBool::new(false),
            housekeeping: housekeeping::Readings::default(),
        })
    }

    /// Time of the start.
    pub fn start(&self) -> DateTime<Utc> {
        MonotonicMillis(0).time_of_day()
    }

    /// How the log gets on.
    pub fn log_state(&self) -> LogState {
        self.sources.log.look()
    }

    /// The options in force.
    pub fn options(&self) -> Arc<Options> {
        self.options.read().clone()
    }

    /// What clients of other machines may do that prove nothing: neither by a login
    /// nor by a certificate on a port that takes TLS alone. `None` if there are none.
    pub fn guest(&self) -> Option<Guest> {
        let options = self.options();
        let wants_certificate = options.tls.as_ref().is_some_and(|tls| tls.verify);
        let is_open = !self.client_address.ip().to_canonical().is_loopback()
            && (!wants_certificate || options.allow_non_tls);
        let guest = self.client_listener.authentication.read().guest();
        guest.filter(|_| is_open)
    }

    /// The address of the monitoring port, if other machines may ask there
    /// without a login.
    pub fn monitor_for_strangers(&self) -> Option<SocketAddr> {
        let address = self.monitor_address?;
        let is_open = !address.ip().to_canonical().is_loopback()
            && !self.options().monitor_login.is_required();
        is_open.then_some(address)
    }

    /// What the last reload did; `None` before the first.
    pub fn last_reload(&self) -> Option<Outcome> {
        self.last_reload.lock().clone()
    }
}

fn limits(options: &Options) -> Limits {
    Limits {
        // Nought and less mean that nobody may connect.
        max_connections: usize::try_from(options.max_connections).unwrap_or(0),
        max_control_line: options.max_control_line,
        max_payload: options.max_payload,
        large_payload: percent_of(options.max_payload, options.diagnosis.payload_percent),
        max_pending: options.max_pending,
        max_subscriptions: (options.max_subscriptions > 0).then_some(options.max_subscriptions),
        max_sub_tokens: options.max_sub_tokens,
        ping_interval: options.ping_interval,
        ping_max: options.ping_max,
        write_deadline: options.write_deadline,
        auth_timeout: options.auth_timeout(),
        headers: !options.no_header_support,
        trace: options.trace,
        max_traced_msg_len: options.max_traced_msg_len,
        trace_headers: options.trace_headers,
        pauses_publishers: !options.no_fast_producer_stall,
    }
}

fn percent_of(whole: usize, percent: u64) -> usize {
    let percent = usize::try_from(percent).unwrap_or(100);
    // At least one byte, so that an empty message is not large.
    (whole.saturating_mul(percent) / 100).clamp(1, whole.max(1))
}

impl Server {
    /// Logins that wait for their passwords to be compared, on whatever port.
    pub fn password_look(&self) -> PasswordQueueState {
        let routes = self.cluster.as_ref();
        let routes = routes.map_or_else(PasswordQueueState::default, |it| it.passwords.look());
        self.client_listener.passwords.look().with(routes)
    }
}

/// Half of the processors, so that logins leave time for messages.
fn password_checks_max() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2))
}
