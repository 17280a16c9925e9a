//! Leafnodes: brokers that are no members of the cluster and join one account of it, each by one
//! connection that they dial; and hubs, whose leafnode this broker is.
//!
//! The server makes [`Leafnodes`] and listens ([`accept`]). On a new connection the two sides
//! introduce themselves and the dialling one logs in ([`handshake`], [`login`]); then a [`session`]
//! reads its interest ([`entries`]) and publishes its messages ([`batch`], [`routing`]). A reload may
//! end connections that would not be let in any more ([`recheck`]).
//!
//! Each hub of the configuration is a [`remote`], which is dialled without end ([`dial`]); [`solicit`]
//! is the dialling side of the introduction and [`hub_login`] the login there. The session is the same;
//! [`hub_news`] is what only a hub says in it.
//!
//! # What a leafnode is to its hub
//!
//! A leafnode is like a client of its account that subscribes for others: its interest (`LS+`) is
//! entries of a sublist of the account that is kept apart from subscribers, as that of routes is, so
//! that a leafnode gets a message once however many of its entries match, with the queue groups of
//! which it is to serve one member each. What it sends is published in the account like a client's
//! message, with mappings and imported services, but for queue groups alone that it names: it has
//! served its own members first.
//!
//! - A message of a client, or from a route, goes to subscribers here and to leafnodes; one of a client
//!   to routes as well. Members of a queue group here and in the cluster come first, those behind
//!   leafnodes get what is left.
//! - A message of a leafnode goes to subscribers, routes and all other leafnodes, but never back to its
//!   origin: the connection it came from, or another one of the same cluster
//!   ([`LeafSide`]).
//! - A leafnode is told of all interest in the account but its own (`interest`), so that it sends only
//!   what somebody wants, and of imported services and mapped subjects.
//! - The interest of leafnodes is announced to routes like that of subscribers.
//! - A message that nobody here wants is not answered: the broker of the requester knows that there is
//!   no interest, and answers itself.
//!
//! Permissions of the user that the leafnode logged in as hold for it in both directions. It is told
//! of them, and a message or a subject without wildcards beyond them ends its connection, as with
//! nats-server; what a subject with wildcards matches beyond them is not sent.
//!
//! Circles are found by a subject of the account that only this broker makes up (`$LDS.…`): it is told
//! to each leafnode, and told on like all interest. A leafnode that wants it leads back here, and is
//! refused. That two brokers dial each other is found before ([`mutual`]): one of the two connections
//! stays.

mod accept;
mod batch;
mod dial;
mod entries;
mod handshake;
mod hub_login;
mod hub_news;
mod login;
mod message_trace;
mod mutual;
mod recheck;
pub mod remote;
mod routing;
mod session;
mod solicit;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};

pub use accept::accept_leafnodes;
pub use dial::dial_remotes;

use crate::{
    account::Account,
    broker::{Broker, limits::Limits, password_queue::PasswordQueue},
    config::options::leafnodes::LeafnodesOptions,
    connection::{CloseReason, Connection, buffers::give_way, tls_listener::TlsListener},
    delivery::leaf_side::LeafSide,
    protocol::connect::Credentials,
    security::{authentication::Authentication, permissions::Permissions, users::Authorization},
    telemetry::event::EventKind,
};
use entries::LeafEntries;
use remote::{Remote, Remotes};

/// Leafnode connections at a time.
const LEAFNODES_MAX: usize = 4096;

/// Minimum of `max_pending` for leafnodes in bytes, as for routes: a leafnode carries the messages of
/// many.
const LEAF_PENDING_MIN: usize = 256 * 1024 * 1024;

/// Bytes that may be pending for a leafnode or a hub before the login: INFO, CONNECT and an error.
const PENDING_BEFORE_LOGIN: usize = 256 * 1024;

/// Password comparisons with a hash at a time.
const PASSWORD_CHECKS_MAX: usize = 1;

/// This broker as leafnodes see it.
pub struct Node {
    /// Id of the broker, new at each start.
    pub server_id: String,
    /// Name of the broker.
    pub server_name: String,
    /// Address of the listener for leafnodes; `None` if none are served.
    pub address: Option<SocketAddr>,
    /// `host:port` that leafnodes can dial.
    pub urls: Vec<String>,
}

/// The leafnodes of this broker.
pub struct Leafnodes {
    /// State shared with clients: accounts, counters, events.
    pub broker: Arc<Broker>,
    /// The settings of the block.
    pub options: LeafnodesOptions,
    /// This broker.
    pub node: Node,
    /// TLS of the port; `None` for none.
    pub tls: Option<Arc<TlsListener>>,
    /// How leafnodes log in: as users of the block, else as users of clients.
    authentication: RwLock<Arc<Authentication>>,
    /// Whether a service of streams may be reached in the cluster.
    is_clustered: bool,
    /// Logins whose password takes long to compare.
    pub passwords: PasswordQueue,
    leafs: Mutex<BTreeMap<u64, Arc<Leafnode>>>,
    /// The hubs whose leafnode this broker is.
    pub remotes: Remotes,
    is_stopping: AtomicBool,
}

/// One leafnode.
pub struct Leafnode {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Name of the broker at the other end.
    pub name: String,
    /// Id of that broker.
    server_id: String,
    /// Whether it is a midge, and no nats-server.
    is_midge: bool,
    /// The account that it has joined.
    pub account: Arc<Account>,
    /// The account at its side.
    pub remote_account: String,
    /// What it is to this broker.
    pub side: Arc<LeafSide>,
    /// Its interest.
    pub interest: LeafEntries,
    /// What it may send, as the rules of a publisher; `None` for everything.
    sends: Option<Arc<Permissions>>,
    /// What it showed to log in, for a reload that checks it again; `None` if this broker dialled.
    shown: Option<Shown>,
    /// The hub that this broker dialled; `None` if the other side dialled.
    pub remote: Option<Arc<Remote>>,
    /// Whether it was sent the INFO that says that it is let in; never if this broker dialled.
    is_introduced: AtomicBool,
}

/// What a leafnode showed to log in.
struct Shown {
    credentials: Credentials,
    nonce: String,
    /// What a login gave it; without the subjects that it refuses itself.
    permissions: Option<Arc<Permissions>>,
}

/// Sends INFO to all leafnodes whenever the addresses in it have changed; several changes while it is
/// at it make one more round.
pub async fn send_addresses(leafnodes: Arc<Leafnodes>) {
    loop {
        leafnodes.broker.leafnode_urls.changed.notified().await;
        for leaf in leafnodes.all() {
            // One that is not gets them together with its account.
            if leaf.is_introduced.load(Ordering::SeqCst) {
                leaf.connection
                    .send_now(&leafnodes.info_on_change(&leaf).line());
            }
            // So that other tasks run as well.
            give_way().await;
        }
    }
}

impl Leafnodes {
    /// Without leafnodes. `clients` is how clients log in.
    pub fn new(
        broker: Arc<Broker>,
        options: LeafnodesOptions,
        node: Node,
        tls: Option<Arc<TlsListener>>,
        clients: &Authorization,
        is_clustered: bool,
    ) -> Arc<Self> {
        let authentication = Authentication::new(&options.authorization(clients));
        let passwords = PasswordQueue::new(PASSWORD_CHECKS_MAX, broker.telemetry.logins.clone());
        Arc::new(Self {
            broker,
            options,
            node,
            tls,
            authentication: RwLock::new(Arc::new(authentication)),
            is_clustered,
            passwords,
            leafs: Mutex::default(),
            remotes: Remotes::default(),
            is_stopping: AtomicBool::new(false),
        })
    }

    /// All leafnodes, by the numbers of their connections.
    pub fn all(&self) -> Vec<Arc<Leafnode>> {
        self.leafs.lock().values().cloned().collect()
    }

    /// Whether this broker stops and accepts no more leafnodes.
    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Closes all leafnodes, for good.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.remotes.stop();
        for leaf in self.all() {
            leaf.connection.close(CloseReason::ServerShutdown);
        }
    }

    /// Limit of bytes queued for a leafnode.
    fn max_pending(&self) -> usize {
        let all = self.broker.registry.budget.limit();
        let clients = self.limits().max_pending;
        clients.max(LEAF_PENDING_MIN.min(all))
    }

    /// How long a leafnode may take nothing while something is queued for it.
    fn write_deadline(&self) -> Duration {
        let own = self.options.write_deadline;
        own.unwrap_or_else(|| self.limits().write_deadline)
    }

    /// The present limits of clients.
    fn limits(&self) -> Arc<Limits> {
        self.broker.limits.current()
    }

    /// Records what happened to a leafnode.
    fn record(&self, connection: &Connection, name: &str, text: &str) {
        let events = &self.broker.telemetry.events;
        events.record(EventKind::Leafnode, connection.cid, name, text);
    }
}
