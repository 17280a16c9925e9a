//! The cluster from this broker's view: its own identity and the routes to the others.
//!
//! The server creates one [`Cluster`]; the tasks of routes register in it ([`super::register`]);
//! monitoring reads it.

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
    client_urls::{self, ClientUrls},
    connection_counts::{ConnectionCounts, CountRequests},
    discovered::Discovered,
    failing::{Failed, Failing},
    generated_name::generated_name,
    interest::PeerInterest,
    marks::Marks,
    member_addresses::MemberAddresses,
    membership::{Member, Membership, MembershipSnapshot, Target},
    records::Records,
    views,
};
use crate::{
    broker::{Broker, limits::Limits, password_queue::PasswordQueue},
    config::options::cluster::{ClusterOptions, PING_INTERVAL_MAX, RouteUrl},
    connection::{CloseReason, Connection, buffers::with_buffers, tls_listener::TlsListener},
    protocol::route::RouteInfo,
    security::permissions::{Permissions, SubscribeDecision},
    telemetry::MonotonicMillis,
};

/// Minimum of `max_pending` for routes in bytes: the interest of a million subscriptions, which a
/// new route sends at once, must fit.
const ROUTE_PENDING_MIN: usize = 256 * 1024 * 1024;

/// Password comparisons with a hash at a time. How many wait is limited by the admission of
/// unauthenticated connections.
const PASSWORD_CHECKS_MAX: usize = 1;

/// This broker's identity.
pub struct Node {
    /// Id of the broker, new at each start.
    pub server_id: String,
    /// Name of the broker.
    pub server_name: String,
    /// What people call it: that name if it is configured, otherwise one that survives a restart.
    pub called: String,
    /// Address of the route listener.
    pub address: SocketAddr,
}

/// This broker's cluster.
pub struct Cluster {
    /// State shared with clients: accounts, counters, events.
    pub broker: Arc<Broker>,
    options: RwLock<Arc<ClusterOptions>>,
    tls: RwLock<Option<Arc<TlsListener>>>,
    /// Where clients connect to this broker.
    client_urls: RwLock<ClientUrls>,
    /// Which interest is exchanged over routes; `None` permits all.
    permissions: RwLock<Option<Arc<Permissions>>>,
    /// This broker.
    pub node: Node,
    pub(super) name: RwLock<ClusterName>,
    /// The members that are expected and connected, and their views.
    pub(super) membership: Membership,
    /// The subject to which members send their view.
    pub(super) views_subject: String,
    /// Counts the connections of accounts at other members.
    pub(super) connection_counts: ConnectionCounts,
    /// Routes that failed, and what was learned from that.
    pub(super) failing: Failing,
    /// Routes by the id of the other broker.
    pub(super) routes: Mutex<BTreeMap<String, Arc<Route>>>,
    /// Addresses that members connect from.
    pub(super) member_addresses: MemberAddresses,
    pub(super) changes: watch::Sender<()>,
    /// Brokers that are dialled because a peer announced them.
    pub(super) discovered: Discovered,
    /// What SRV records list.
    pub(super) records: Records,
    /// Configured or listed addresses that have a dialling task.
    pub(super) dialled: Mutex<BTreeSet<String>>,
    /// Notified when the settings have changed.
    pub(super) reconfigured: Notify,
    stopping: AtomicBool,
    leaving: AtomicBool,
    /// Client addresses of members whose routes were lost a moment ago.
    pub(super) lost_urls: client_urls::LostUrls,
    /// Held while the list of client addresses is updated.
    pub(super) urls_update: Mutex<()>,
    /// Routes that wait for their password to be compared.
    pub passwords: PasswordQueue,
    /// Notified when INFO for clients has changed.
    pub(super) client_info_changed: Notify,
}

/// The name of the cluster.
#[derive(Clone, Debug)]
pub struct ClusterName {
    /// The name.
    pub text: String,
    /// Whether it was generated, so that another name may replace it.
    pub dynamic: bool,
}

/// How a route was established.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The other broker dialled.
    Accepted,
    /// This broker dialled, because the configuration names the other.
    Configured,
    /// This broker dialled, because a peer announced the other (gossip).
    Discovered,
    /// The other is another process of this broker, during an upgrade.
    Sibling,
}

/// A route to another broker.
pub struct Route {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Id of the other broker.
    pub remote_id: String,
    /// Its name in this broker's logs and metrics; see also [`Route::announced_name`].
    pub remote_name: String,
    /// `host:port` of its route listener.
    pub(super) address: String,
    /// How the route was established.
    pub origin: Origin,
    /// The address under which the configuration names the other broker, if it does.
    pub(super) configured_as: Mutex<Option<String>>,
    /// The other broker's latest INFO.
    pub info: Mutex<RouteInfo>,
    /// Its interest.
    pub interest: PeerInterest,
    /// When something was received last, as a [`MonotonicMillis`].
    pub(super) received_at: AtomicU64,
    /// Whether the other broker's limit of control lines is known.
    pub(super) line_max_known: AtomicBool,
    /// Whether it was asked for its nodes and has not answered yet.
    pub(super) is_asked_for_nodes: AtomicBool,
    /// Open requests for its connection counts.
    pub(super) requests: Mutex<CountRequests>,
    /// What the two processes of an upgrade know of each other's interest.
    pub(super) marks: Marks,
}

impl Route {
    /// The name it announced; its id if it has no name, as in nats-server.
    pub fn announced_name(&self) -> String {
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
    /// A cluster without routes.
    pub fn new(
        broker: Arc<Broker>,
        options: ClusterOptions,
        node: Node,
        tls: Option<Arc<TlsListener>>,
        client_urls: ClientUrls,
    ) -> Arc<Self> {
        let name = match &options.name {
            Some(name) => ClusterName {
                text: name.clone(),
                dynamic: false,
            },
            None => ClusterName {
                text: generated_name(options.user.as_deref().unwrap_or_default()),
                dynamic: true,
            },
        };
        broker.info.write().cluster = name.text.clone();
        let passwords = PasswordQueue::new(PASSWORD_CHECKS_MAX, broker.telemetry.logins.clone());
        let cluster = Arc::new(Self {
            broker,
            membership: Membership::default(),
            views_subject: views::subject(&node.server_id),
            connection_counts: ConnectionCounts::new(&node.server_id),
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
            discovered: Discovered::default(),
            records: Records::default(),
            dialled: Mutex::default(),
            reconfigured: Notify::new(),
            stopping: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            lost_urls: client_urls::LostUrls::default(),
            urls_update: Mutex::default(),
            passwords,
            client_info_changed: Notify::new(),
        });
        cluster.limit_interest(&cluster.options());
        client_urls::refresh(&cluster);
        cluster
    }

    /// Applies the permissions and the queue policy of these settings, to interest in both
    /// directions. Must be called whenever accounts were redefined and before a client can log in
    /// to them: until then a new account announces all its interest.
    pub fn limit_interest(&self, options: &ClusterOptions) {
        let permissions = options.permissions();
        self.permissions.write().clone_from(&permissions);
        with_buffers(|buffers| {
            for account in self.broker.accounts.all() {
                account.set_queue_policy(options.queue_policy);
                account.limit_routes(buffers, permissions.clone());
            }
            buffers.flush_touched();
        });
    }

    /// Whether a peer's interest in `subject` is accepted.
    pub(super) fn accepts_interest(&self, subject: &[u8]) -> bool {
        let permissions = self.permissions.read();
        permissions
            .as_ref()
            .is_none_or(|it| it.check_subscription(subject, None) != SubscribeDecision::Deny)
    }

    /// The settings in force.
    pub fn options(&self) -> Arc<ClusterOptions> {
        self.options.read().clone()
    }

    /// TLS of routes; `None` for none.
    pub fn tls(&self) -> Option<Arc<TlsListener>> {
        self.tls.read().clone()
    }

    /// Where clients connect to this broker.
    pub(super) fn client_urls(&self) -> ClientUrls {
        self.client_urls.read().clone()
    }

    /// Applies other settings; returns the previous ones, and whether there was TLS.
    pub(super) fn replace_settings(
        &self,
        options: ClusterOptions,
        tls: Option<Arc<TlsListener>>,
        client_urls: ClientUrls,
    ) -> (Arc<ClusterOptions>, bool) {
        *self.client_urls.write() = client_urls;
        let before = std::mem::replace(&mut *self.options.write(), Arc::new(options));
        let had_tls = std::mem::replace(&mut *self.tls.write(), tls).is_some();
        (before, had_tls)
    }

    /// The expected and the connected members, with their views.
    pub fn snapshot(&self) -> MembershipSnapshot {
        let mut snapshot = self.membership.snapshot(&self.wanted_routes());
        let options = self.options();
        for target in &mut snapshot.targets {
            let is_named = |url: &RouteUrl| url.to_string() == target.address;
            if !options.routes.iter().any(is_named) {
                target.record = self.record_of(&target.address);
            }
        }
        snapshot
    }

    /// Removes a member without a route, by its name, id or address, so that it is not expected any
    /// more.
    ///
    ///  # Errors
    ///
    /// Why it cannot be removed, and what to do.
    pub fn forget(&self, which: &str) -> Result<Vec<String>, String> {
        let snapshot = self.snapshot();
        let is_selected = |member: &&Member| {
            [&member.id, &member.name, &member.address].contains(&&which.to_owned())
        };
        let members: Vec<&Member> = snapshot.members.iter().filter(is_selected).collect();
        if members.iter().any(|member| member.connected) {
            return Err(format!(
                "{which} has a route to this broker: it would come back at once"
            ));
        }
        let names = |target: &Target| {
            target.address == which
                || members.iter().any(|member| {
                    member.address == target.address || target.leads_to.as_ref() == Some(&member.id)
                })
        };
        if let Some(target) = snapshot.targets.iter().find(|target| names(target)) {
            return Err(match &target.record {
                Some(record) => format!(
                    "the SRV record {record:?} lists {}: take it out of the DNS",
                    target.address
                ),
                None => format!(
                    "the configuration names {}: take it out of \"routes\" and reload",
                    target.address
                ),
            });
        }
        match self.membership.forget(which) {
            forgotten if forgotten.is_empty() => Err(format!(
                "no missing member is called {which}; see /clusterz"
            )),
            forgotten => {
                let ids = members.iter().map(|member| &member.id);
                ids.for_each(|id| self.forget_counts(id));
                Ok(forgotten)
            }
        }
    }

    /// Brokers whose routes fail repeatedly.
    pub fn failed(&self, now: MonotonicMillis) -> Vec<Failed> {
        self.failing.failed(now)
    }

    /// The present name of the cluster.
    pub fn name(&self) -> ClusterName {
        self.name.read().clone()
    }

    /// All routes, ordered by the id of the other broker.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.routes.lock().values().cloned().collect()
    }

    /// Number of routes with this peer address.
    pub(super) fn routes_from(&self, address: IpAddr) -> usize {
        let routes = self.routes.lock();
        let from = routes
            .values()
            .filter(|route| route.connection.peer.ip() == address);
        from.count()
    }

    /// The route to the broker with this id.
    pub fn route(&self, remote_id: &str) -> Option<Arc<Route>> {
        self.routes.lock().get(remote_id).cloned()
    }

    /// Whether this broker is in lame duck mode.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Whether this broker stops and accepts no more routes.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Announces lame duck mode to the other brokers, so that they stop sending clients here. The
    /// routes stay.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        client_urls::refresh(self);
        self.send_info();
    }

    /// Sends an updated INFO to the other brokers.
    pub(super) fn send_info(&self) {
        for route in self.routes() {
            let line = self.info_for(&route.connection, 0).line();
            route.connection.send_now(&line);
        }
    }

    /// Closes all routes for good.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        for route in self.routes() {
            route.connection.close(CloseReason::ServerShutdown);
        }
    }

    /// Limit of bytes queued for a peer.
    pub(super) fn max_pending(&self) -> usize {
        let all = self.broker.registry.budget.limit();
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

    /// Unanswered pings after which a route is stale.
    pub(super) fn ping_max(&self) -> u32 {
        let own = self.options().ping_max;
        own.unwrap_or_else(|| self.limits().ping_max)
    }

    /// How long a peer may accept nothing while something is queued for it.
    pub(super) fn write_deadline(&self) -> Duration {
        self.options()
            .write_deadline
            .unwrap_or_else(|| self.limits().write_deadline)
    }

    /// The present limits of clients.
    fn limits(&self) -> Arc<Limits> {
        self.broker.limits.current()
    }
}
