//! The server: shared state, listeners and lifecycle of one broker.
//!
//! `main` creates a [`Server`] from the options and runs it; monitoring reads it. Start, signals
//! and stop are in [`lifecycle`], accepting clients in [`listener`], applying a changed
//! configuration in [`reload`], and handing over to a new process in [`upgrade`].

mod advertised;
pub mod announce;
mod exclusive;
mod federation;
pub mod housekeeping;
mod identity;
pub mod inherited;
mod lame_duck;
mod leafnodes;
pub mod lifecycle;
pub mod listener;
pub mod nodes;
mod pid_file;
mod ports_file;
pub mod prepare;
pub mod rebalance;
pub mod reload;
pub mod signals;
pub mod tls;
mod unix_socket;
pub mod upgrade;
mod warnings;
mod websocket;
mod writable;

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
        Broker, LeafnodeUrls,
        halt::Halt,
        limits::{Limits, LimitsInForce},
        memory,
        password_queue::{PasswordQueue, PasswordQueueState},
        registry::Registry,
        server_info::Description,
        system_queue::SystemQueue,
    },
    client::ClientListener,
    config::{Options, options::MAX_CONNECTIONS},
    connection::{accepting::Port, admission::Admission, gate::Gate, tls_listener::TlsListener},
    federation::Federation,
    leafnode::Leafnodes,
    log::LogState,
    protocol::info::Info,
    route::{self, Cluster},
    security::{authentication::Authentication, guest::Guest},
    service_manager::ServiceManager,
    telemetry::{MonotonicMillis, Telemetry, process::open_files_max},
};
use exclusive::Exclusive;
use reload::{Outcome, Sources};
pub use websocket::WebSocketServer;

/// One running broker.
pub struct Server {
    /// Id, new at each start: 56 characters, begins with `N`.
    pub id: String,
    /// Configured name, otherwise the id.
    pub name: String,
    /// What people call it: the configured name, otherwise one that survives a restart.
    pub called: String,
    options: RwLock<Arc<Options>>,
    /// What a reload needs.
    sources: Sources,
    last_reload: Mutex<Option<Outcome>>,
    /// Held while a reload runs.
    reloading: Exclusive,
    /// Held while the log is reopened.
    reopening: Exclusive,
    /// Held while a dry run of a reload runs.
    trying: Exclusive,
    /// State that clients share.
    pub broker: Arc<Broker>,
    /// What the listener for clients is set to.
    pub client_listener: Arc<ClientListener>,
    /// The port for WebSockets, if there is one.
    pub websocket: Option<WebSocketServer>,
    /// The client port's address.
    pub client_address: SocketAddr,
    /// The monitoring port's address, if there is one.
    pub monitor_address: Option<SocketAddr>,
    /// Why there is no monitoring port although it was not turned off.
    pub monitor_error: Option<String>,
    /// The cluster, if routes are configured.
    pub cluster: Option<Arc<Cluster>>,
    /// The leafnodes, and the hubs whose leafnode this broker is.
    pub leafnodes: Arc<Leafnodes>,
    federation: RwLock<Option<Arc<Federation>>>,
    node_watch: nodes::NodeWatch,
    /// Moves clients to other members.
    pub rebalancing: rebalance::Rebalancing,
    /// Whether new connections are refused because the broker stops.
    pub stopping: AtomicBool,
    /// What housekeeping found out last.
    pub housekeeping: housekeeping::Readings,
    /// Processes of this broker before this one, and after it.
    pub upgrades: upgrade::Upgrades,
}

/// The addresses of the listeners.
pub struct Listening {
    /// For clients.
    pub clients: SocketAddr,
    /// For WebSockets.
    pub websocket: Option<SocketAddr>,
    /// For monitoring.
    pub monitor: Option<SocketAddr>,
    /// Why there is no monitoring port although it was not turned off.
    pub monitor_error: Option<String>,
    /// For routes.
    pub routes: Option<SocketAddr>,
    /// For leafnodes.
    pub leafnodes: Option<SocketAddr>,
}

/// TLS of all that uses it, with the files loaded; `None` for none.
#[derive(Default)]
pub struct OpenedTls {
    /// For clients.
    pub clients: Option<Arc<TlsListener>>,
    /// For routes.
    pub routes: Option<Arc<TlsListener>>,
    /// For leafnodes.
    pub leafnodes: Option<Arc<TlsListener>>,
    /// For the upstream brokers of the federation.
    pub federation: Option<Arc<TlsListener>>,
    /// For WebSockets.
    pub websocket: Option<Arc<TlsListener>>,
    /// For hubs, each with the hub.
    pub remotes: leafnodes::PreparedRemotes,
}

impl Server {
    /// A broker with these options, addresses and TLS.
    pub fn new(
        options: Options,
        sources: Sources,
        listening: Listening,
        tls: OpenedTls,
    ) -> Arc<Self> {
        let OpenedTls {
            clients: tls,
            routes: route_tls,
            leafnodes: leafnode_tls,
            federation: federation_tls,
            websocket: websocket_tls,
            remotes,
        } = tls;
        let client_address = listening.clients;
        // Stamps count from the start of the broker.
        MonotonicMillis::now();
        let id = identity::server_id();
        let name = options.server_name.clone().unwrap_or_else(|| id.clone());
        let called = options.server_name.clone().unwrap_or_else(|| {
            identity::unconfigured_name([route_tls.as_deref(), tls.as_deref()], &id)
        });
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
        let passwords = PasswordQueue::new(password_checks_max(), telemetry.logins.clone());
        let passwords = Arc::new(passwords);
        let websocket = listening.websocket;
        let websocket = WebSocketServer::new(&options, websocket, websocket_tls, passwords.clone());
        let client_listener = Arc::new(ClientListener {
            authentication: RwLock::new(Arc::new(authentication)),
            passwords,
            tls: RwLock::new(tls),
            allow_non_tls: options.allow_non_tls,
            websocket: None,
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
            gate: Gate::default(),
            halt: Halt::default(),
            limits: LimitsInForce::new(limits(&options)),
            nodes: Arc::default(),
            info: RwLock::new(info),
            websocket: RwLock::new(websocket.as_ref().and_then(|it| it.describe(&options))),
            description: RwLock::new(Description::of(&options)),
            leafnode_urls: LeafnodeUrls::default(),
        });
        if let Some(address) = listening.leafnodes {
            *broker.leafnode_urls.list.write() = leafnodes::urls(&options, address);
        }
        let cluster = listening
            .routes
            .zip(options.cluster.clone())
            .map(|(address, settings)| {
                let node = route::Node {
                    server_id: id.clone(),
                    server_name: name.clone(),
                    called: called.clone(),
                    address,
                };
                let client_urls = websocket::client_urls(
                    &options,
                    client_address,
                    listening.websocket,
                    listening.leafnodes,
                );
                Cluster::new(broker.clone(), settings, node, route_tls, client_urls)
            });
        let leafnodes = leafnodes::new(
            &broker,
            &options,
            leafnodes::node(&options, &id, &name, listening.leafnodes),
            leafnode_tls,
            remotes,
        );
        let interval = options.diagnosis.interval;
        let federation = options.federation.clone();
        let federation = federation
            .map(|block| Federation::new(broker.clone(), block, federation_tls, &called, interval))
            .map(Arc::new);
        Arc::new(Self {
            id,
            name,
            called,
            federation: RwLock::new(federation),
            node_watch: nodes::NodeWatch::default(),
            rebalancing: rebalance::Rebalancing::default(),
            options: RwLock::new(Arc::new(options)),
            sources,
            last_reload: Mutex::default(),
            reloading: Exclusive::default(),
            reopening: Exclusive::default(),
            trying: Exclusive::default(),
            broker,
            client_listener,
            websocket,
            client_address,
            monitor_address: listening.monitor,
            monitor_error: listening.monitor_error,
            cluster,
            leafnodes,
            stopping: AtomicBool::new(false),
            housekeeping: housekeeping::Readings::default(),
            upgrades: upgrade::Upgrades::default(),
        })
    }

    /// Time of the start.
    pub fn start(&self) -> DateTime<Utc> {
        MonotonicMillis(0).time_of_day()
    }

    /// The state of the log.
    pub fn log_state(&self) -> LogState {
        self.sources.log.state()
    }

    /// The federation broker of this site, if this broker is one.
    pub fn federation(&self) -> Option<Arc<Federation>> {
        self.federation.read().clone()
    }

    /// Who started the broker and is told how it is.
    pub fn service_manager(&self) -> &Arc<ServiceManager> {
        &self.sources.service_manager
    }

    /// The options in force.
    pub fn options(&self) -> Arc<Options> {
        self.options.read().clone()
    }

    /// What clients on other machines may do without a login and without a certificate on a port
    /// that requires TLS. `None` if there can be no such clients.
    pub fn guest(&self) -> Option<Guest> {
        let options = self.options();
        let wants_certificate = options.tls.as_ref().is_some_and(|tls| tls.verify);
        let is_open = !self.client_address.ip().to_canonical().is_loopback()
            && (!wants_certificate || options.allow_non_tls);
        let guest = self.client_listener.authentication.read().guest();
        guest.filter(|_| is_open)
    }

    /// The address of the monitoring port if other machines may use it without a login.
    pub fn open_monitor_address(&self) -> Option<SocketAddr> {
        let address = self.monitor_address?;
        let is_open = !address.ip().to_canonical().is_loopback()
            && !self.options().monitor_login.is_required();
        is_open.then_some(address)
    }

    /// What is wrong with a configured `max_connections`: the process may not open as many files.
    /// The default is a bound, and no request.
    pub fn unreachable_connections(&self) -> Option<String> {
        let wanted = self.options().max_connections;
        let files = open_files_max().filter(|_| wanted != MAX_CONNECTIONS)?;
        let clients = Port::Clients.share_of(files);
        (u64::try_from(wanted).is_ok_and(|wanted| wanted > clients)).then(|| {
            format!(
                "max_connections is {wanted}, but the process may open {files} files: at most \
                 {clients} of them serve clients"
            )
        })
    }

    /// The outcome of the last reload; `None` if there was none.
    pub fn last_reload(&self) -> Option<Outcome> {
        self.last_reload.lock().clone()
    }
}

fn limits(options: &Options) -> Limits {
    Limits {
        // Zero or less means that no client may connect.
        max_connections: usize::try_from(options.max_connections).unwrap_or(0),
        sources: options.allowed_sources.clone(),
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
    // At least one byte, so that an empty message does not count as large.
    (whole.saturating_mul(percent) / 100).clamp(1, whole.max(1))
}

impl Server {
    /// Logins that wait for their password to be compared, on all ports.
    pub fn password_queue_state(&self) -> PasswordQueueState {
        let routes = self.cluster.as_ref();
        let routes = routes.map_or_else(PasswordQueueState::default, |it| it.passwords.state());
        let leafs = self.leafnodes.passwords.state();
        self.client_listener
            .passwords
            .state()
            .with(routes)
            .with(leafs)
    }
}

/// Half of the processors, so that logins leave CPU time for messages.
fn password_checks_max() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().div_ceil(2))
}
