//! The cluster as this broker sees it: its own place in it and the routes to
//! the others.
//!
//! The server makes one [`Cluster`] and keeps it; the tasks of the routes
//! register ([`super::register`]), monitoring reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};

use super::{
    client_urls,
    failing::{Failed, Failing},
    headcount::{Asking, Headcount},
    heard_of::HeardOf,
    interest::PeerInterest,
    member_addresses::MemberAddresses,
    membership::{Member, Membership, MembershipSnapshot, Target},
    views,
};
use crate::{
    client::{Context, Limits, PasswordQueue},
    config::options::cluster::{ClusterOptions, PING_INTERVAL_MAX},
    connection::{CloseReason, Connection, buffers::with_buffers, tls_listener::TlsListener},
    protocol::route::RouteInfo,
    security::permissions::{Permissions, SubscribeDecision},
    telemetry::MonotonicMillis,
};

/// Bytes that may at least wait for a peer: the interest of a million
/// subscriptions, which a new route is told at once, must fit.
const ROUTE_PENDING_MIN: usize = 256 * 1024 * 1024;

/// Passwords of routes that are compared with a hash at a time. How many wait is
/// bounded by the places that the port has.
const PASSWORD_CHECKS_MAX: usize = 1;

/// Letters of a made-up cluster name.
const DYNAMIC_NAME_LEN: usize = 22;

/// What the server tells of itself.
pub struct Node {
    /// Id of this run of the broker.
    pub server_id: String,
    /// Its name.
    pub server_name: String,
    /// Where it listens for routes.
    pub address: SocketAddr,
}

/// This broker's cluster.
pub struct Cluster {
    /// What clients share: accounts, counters, events.
    pub context: Arc<Context>,
    options: RwLock<Arc<ClusterOptions>>,
    tls: RwLock<Option<Arc<TlsListener>>>,
    /// `host:port` where our clients connect to.
    client_urls: RwLock<Vec<String>>,
    /// What interest goes over routes; `None` is all.
    permissions: RwLock<Option<Arc<Permissions>>>,
    /// This broker.
    pub node: Node,
    pub(super) name: RwLock<ClusterName>,
    /// Who ought to be there, and what they see.
    pub(super) membership: Membership,
    /// Where members answer to what they see.
    pub(super) views_subject: String,
    /// Whose connections count for the limits of accounts.
    pub(super) headcount: Headcount,
    /// What is remembered of routes that ended by a fault.
    pub(super) failing: Failing,
    /// Routes by the id of the broker behind them.
    pub(super) routes: Mutex<BTreeMap<String, Arc<Route>>>,
    /// Addresses that members come from.
    pub(super) member_addresses: MemberAddresses,
    pub(super) changes: watch::Sender<()>,
    /// Brokers that are dialled because somebody told of them.
    pub(super) heard_of: HeardOf,
    /// Configured addresses that a task cares for.
    pub(super) cared_for: Mutex<BTreeSet<String>>,
    /// The settings are others now.
    pub(super) reconfigured: Notify,
    stopping: AtomicBool,
    leaving: AtomicBool,
    /// Addresses for clients whose members may come back at once.
    pub(super) lost_urls: client_urls::Lost,
    /// Held while the addresses for clients are put together.
    pub(super) gathering_urls: Mutex<()>,
    /// Routes that wait for their passwords to be compared.
    pub passwords: PasswordQueue,
    /// Clients are to be told of a change.
    pub(super) clients_to_be_told: Notify,
}

/// The name of the cluster.
#[derive(Clone, Debug)]
pub struct ClusterName {
    /// The name.
    pub text: String,
    /// Whether it was made up, so that another one may take its place.
    pub dynamic: bool,
}

/// How a route came to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The other broker dialled.
    Accepted,
    /// We dialled, because the configuration names it.
    Configured,
    /// We dialled, because another broker told of it.
    HeardOf,
}

/// A route to another broker.
pub struct Route {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Id of the other broker.
    pub remote_id: String,
    /// What it is called here; see [`Route::told_name`].
    pub remote_name: String,
    /// `host:port` where it takes routes.
    pub(super) address: String,
    /// How the route came to be.
    pub origin: Origin,
    /// The address by which the configuration names the other broker, if it does.
    pub(super) configured_as: Mutex<Option<String>>,
    /// How the other broker introduced itself, at last.
    pub info: Mutex<RouteInfo>,
    /// What it wants.
    pub interest: PeerInterest,
    /// When something last came from it, as a [`MonotonicMillis`].
    pub(super) heard: AtomicU64,
    /// Whether it is known how long control lines the other broker takes.
    pub(super) line_max_known: AtomicBool,
    /// What it is asked about connections that count here.
    pub(super) asking: Mutex<Asking>,
}

impl Route {
    /// Its name as it tells it, as nats-server shows it: its id, if it has none.
    pub fn told_name(&self) -> String {
        let info = self.info.lock();
        match info.server_name.is_empty() {
            true => self.remote_id.clone(),
            false => info.server_name.clone(),
        }
    }

    /// Whether the configuration names the other broker.
    pub fn is_configured(&self) -> bool {
        self.configured_as.lock().is_some()
    }
}

impl Cluster {
    /// The cluster of a broker that has no routes yet.
    pub fn new(
        context: Arc<Context>,
        options: ClusterOptions,
        node: Node,
        tls: Option<Arc<TlsListener>>,
        client_urls: Vec<String>,
    ) -> Arc<Self> {
        let name = match &options.name {
            Some(name) => ClusterName {
                text: name.clone(),
                dynamic: false,
            },
            None => ClusterName {
                text: std::iter::repeat_with(fastrand::alphanumeric)
                    .take(DYNAMIC_NAME_LEN)
                    .collect(),
                dynamic: true,
            },
        };
        context.info.write().cluster = name.text.clone();
        let passwords = PasswordQueue::new(PASSWORD_CHECKS_MAX, context.telemetry.logins.clone());
        let cluster = Arc::new(Self {
            context,
            membership: Membership::default(),
            views_subject: views::subject(&node.server_id),
            headcount: Headcount::new(&node.server_id),
            failing: Failing::default(),
            options: RwLock::new(Arc::new(options)),
            tls: RwLock::new(tls),
            client_urls: RwLock::new(client_urls),
            permissions: RwLock::default(),
            node,
            name: RwLock::new(name),
            routes: Mutex::default(),
            member_addresses: MemberAddresses::default(),
            changes: watch::Sender::new(()),
            heard_of: HeardOf::default(),
            cared_for: Mutex::default(),
            reconfigured: Notify::new(),
            stopping: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            lost_urls: client_urls::Lost::default(),
            gathering_urls: Mutex::default(),
            passwords,
            clients_to_be_told: Notify::new(),
        });
        cluster.limit_interest(&cluster.options());
        client_urls::refresh(&cluster);
        cluster
    }

    /// Puts the permissions of these settings in force, for what is told to the others
    /// and what is taken from them from now on, and which members of queue groups go
    /// first. To be called whenever accounts were defined anew, before anybody can log
    /// in to them: until then a new account tells everything.
    pub fn limit_interest(&self, options: &ClusterOptions) {
        let permissions = options.permissions();
        self.permissions.write().clone_from(&permissions);
        with_buffers(|buffers| {
            for account in self.context.accounts.all() {
                account.set_queue_policy(options.queue_policy);
                account.limit_routes(buffers, permissions.clone());
            }
            buffers.flush_touched();
        });
    }

    /// Whether a peer's interest in `subject` is taken.
    pub(super) fn takes_interest(&self, subject: &[u8]) -> bool {
        let permissions = self.permissions.read();
        permissions
            .as_ref()
            .is_none_or(|it| it.check_subscription(subject, None) != SubscribeDecision::Deny)
    }

    /// The settings in force.
    pub fn options(&self) -> Arc<ClusterOptions> {
        self.options.read().clone()
    }

    /// TLS on routes; `None` for none.
    pub fn tls(&self) -> Option<Arc<TlsListener>> {
        self.tls.read().clone()
    }

    /// `host:port` where our clients connect to.
    pub(super) fn client_urls(&self) -> Vec<String> {
        self.client_urls.read().clone()
    }

    /// Puts other settings in force; returns those before, and whether there was
    /// TLS.
    pub(super) fn replace_settings(
        &self,
        options: ClusterOptions,
        tls: Option<Arc<TlsListener>>,
        client_urls: Vec<String>,
    ) -> (Arc<ClusterOptions>, bool) {
        *self.client_urls.write() = client_urls;
        let before = std::mem::replace(&mut *self.options.write(), Arc::new(options));
        let had_tls = std::mem::replace(&mut *self.tls.write(), tls).is_some();
        (before, had_tls)
    }

    /// Who ought to be there, who is, and what they see.
    pub fn snapshot(&self) -> MembershipSnapshot {
        self.membership.snapshot(&self.options().routes)
    }

    /// Forgets a member without a route, by its name, id or address, that nobody
    /// is to miss any more.
    ///
    /// # Errors
    ///
    /// Why it is not forgotten, and what to do.
    pub fn forget(&self, which: &str) -> Result<Vec<String>, String> {
        let snapshot = self.snapshot();
        let is_meant = |member: &&Member| {
            [&member.id, &member.name, &member.address].contains(&&which.to_owned())
        };
        let members: Vec<&Member> = snapshot.members.iter().filter(is_meant).collect();
        if members.iter().any(|member| member.connected) {
            return Err(format!(
                "there is a route to {which}: it would come back at once"
            ));
        }
        let names = |target: &Target| {
            target.address == which
                || members.iter().any(|member| {
                    member.address == target.address || target.leads_to.as_ref() == Some(&member.id)
                })
        };
        if let Some(target) = snapshot.targets.iter().find(|target| names(target)) {
            return Err(format!(
                "the configuration names {}: take it out of \"routes\" and reload",
                target.address
            ));
        }
        match self.membership.forget(which) {
            forgotten if forgotten.is_empty() => Err(format!(
                "no member is missed that is called {which}; see /clusterz"
            )),
            forgotten => {
                let ids = members.iter().map(|member| &member.id);
                ids.for_each(|id| self.forget_counts(id));
                Ok(forgotten)
            }
        }
    }

    /// Brokers whose routes fail again and again.
    pub fn failed(&self, now: MonotonicMillis) -> Vec<Failed> {
        self.failing.failed(now)
    }

    /// The name of the cluster now.
    pub fn name(&self) -> ClusterName {
        self.name.read().clone()
    }

    /// The routes, by the ids of the brokers behind them.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.routes.lock().values().cloned().collect()
    }

    /// How many routes lead to this address.
    pub(super) fn routes_from(&self, address: IpAddr) -> usize {
        let routes = self.routes.lock();
        let from = routes
            .values()
            .filter(|route| route.connection.peer.ip() == address);
        from.count()
    }

    /// The route to the broker of that id.
    pub fn route(&self, remote_id: &str) -> Option<Arc<Route>> {
        self.routes.lock().get(remote_id).cloned()
    }

    /// Whether the broker is about to leave and no longer wants clients.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Whether no more routes are wanted.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Tells the other brokers that this one leaves, so that they no longer
    /// send clients here. The routes stay.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        client_urls::refresh(self);
        self.tell_routes();
    }

    /// Introduces this broker anew to the others.
    pub(super) fn tell_routes(&self) {
        for route in self.routes() {
            let line = self.info_for(&route.connection, 0).line();
            route.connection.send_now(&line);
        }
    }

    /// Closes all routes, for good.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        for route in self.routes() {
            route.connection.close(CloseReason::ServerShutdown);
        }
    }

    /// Bytes that may wait for a peer.
    pub(super) fn max_pending(&self) -> usize {
        let all = self.context.registry.budget.limit();
        self.limits().max_pending.max(ROUTE_PENDING_MIN.min(all))
    }

    /// Time between the pings of a route.
    pub(super) fn ping_interval(&self) -> Duration {
        let interval = self
            .options()
            .ping_interval
            .unwrap_or_else(|| self.limits().ping_interval);
        interval.min(PING_INTERVAL_MAX)
    }

    /// Pings that a peer may leave unanswered.
    pub(super) fn ping_max(&self) -> u32 {
        let own = self.options().ping_max;
        own.unwrap_or_else(|| self.limits().ping_max)
    }

    /// How long a peer may take nothing while something waits for it.
    pub(super) fn write_deadline(&self) -> Duration {
        self.options()
            .write_deadline
            .unwrap_or_else(|| self.limits().write_deadline)
    }

    /// Those of clients, as they are now.
    fn limits(&self) -> Arc<Limits> {
        self.context.limits.current()
    }
}
