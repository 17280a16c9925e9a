//! Routes: the connections to the other brokers of the cluster, a full mesh of
//! midges and nats-servers.
//!
//! The server makes a [`Cluster`], listens ([`accept`]) and lets the configured brokers be
//! dialled ([`dial`]), and those that DNS lists ([`records`]). On a new connection both sides introduce themselves ([`handshake`]),
//! and of two that were made at the same moment one is chosen ([`tie_break`]) and
//! [`register`]ed; then a [`session`] reads the peer's interest ([`interest`]) and delivers
//! its messages to local subscribers; it forwards to another route only messages for a
//! queue group whose last local member has left. Recurring reasons for the end of a route
//! are kept in [`failing`]; a route whose peer has to announce its interest again is ended
//! by [`incomplete_interest`]. News of other brokers spread by [`gossip`], and brokers
//! known only from it are dialled by [`discovered`]; the addresses for clients are
//! collected in [`client_urls`]. During an upgrade there is a route to the other process of this
//! broker ([`sibling`], [`marks`]). The number of an account's connections at the other
//! members is in [`connection_counts`]. The nodes that are connected there are asked for by
//! [`node_lists`]. The expected members and what each member sees are in the [`membership`], for the
//! diagnosis.
//!
//! The other direction needs no task here: the accounts announce their subscriptions to the
//! routes (`interest`), and publishers put messages into the routes' queues
//! (`delivery::remote`).

mod accept;
mod batch;
pub mod client_urls;
mod cluster;
mod connection_counts;
mod dial;
mod discovered;
mod failing;
mod generated_name;
mod gossip;
mod handshake;
mod handshake_error;
mod incomplete_interest;
pub mod interest;
mod introduction;
mod marks;
mod member_addresses;
pub mod membership;
mod message_trace;
mod node_lists;
mod reconfigure;
pub mod records;
mod register;
mod session;
mod sibling;
mod spread;
mod tie_break;
mod tls_upgrade;
mod views;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tracing::debug;

pub use accept::accept_routes;
pub use batch::PAYLOAD_MAX;
pub use cluster::{Cluster, ClusterName, Node, Origin, Route};
pub use dial::dial_configured;
pub use failing::Failed;
pub use sibling::{PeerAddress, Sibling};
pub use spread::Spread;

use crate::{
    connection::{CloseReason, Connection, Identity, Kind, budget::Budget, buffers::with_buffers},
    log,
    peer::{self, End, certificates::close_if_untrusted},
    protocol::{
        error::quoted,
        route::{RouteInfo, TRACING_PROTO},
    },
    telemetry::{MonotonicMillis, event::EventKind, metrics},
};
use handshake::Introduced;
use marks::Marks;
use register::Conflict;
use session::Session;

/// How a connection between brokers ended.
pub(super) enum Ended {
    /// The route was established and then lost.
    Lost {
        /// Why.
        reason: CloseReason,
        /// How long the next one is to wait.
        pause: Duration,
    },
    /// There is a route to that broker already.
    Duplicate(String),
    /// The other side is this very broker.
    Ourselves,
    /// It never became a route, and why; the reason, if a peer was connected.
    Failed(Option<CloseReason>, String),
}

/// Bytes that may be pending for a broker before its login: CONNECT, INFO and some
/// PONG.
const PENDING_BEFORE_LOGIN: usize = 256 * 1024;

impl Cluster {
    /// The shared part of a new connection between brokers. Until it is a route, its
    /// pending bytes are in no shared budget.
    fn connection(&self, stream: &Arc<TcpStream>, peer: std::net::SocketAddr) -> Arc<Connection> {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(ip = %peer.ip(), port = peer.port(), "TCP_NODELAY could not be set: {error}");
        }
        Arc::new(Connection::new(
            Kind::Router,
            self.broker.registry.next_cid(),
            peer,
            stream.clone(),
            PENDING_BEFORE_LOGIN,
            Budget::own(),
        ))
    }
}

/// Serves a connection whose sides have introduced themselves, until it ends.
/// `dialled_as` is the configured address that led to it.
async fn serve(
    cluster: &Arc<Cluster>,
    connection: &Arc<Connection>,
    stream: &TcpStream,
    introduced: Introduced,
    origin: Origin,
    dialled_as: Option<String>,
) -> Ended {
    let Introduced {
        info,
        rest,
        accepts_own_messages,
        options,
    } = introduced;
    let configured_as = match origin {
        Origin::Sibling => None,
        _ => dialled_as.or_else(|| gossip::configured_as(cluster, &info)),
    };
    connection.headers.store(info.headers, Ordering::Relaxed);
    let line_max = cluster.failing.line_max(&info.server_id, info.max_line);
    connection.set_line_max(line_max);
    if info.proto >= TRACING_PROTO {
        connection.set_takes_traces();
    }
    if info.queues_only {
        connection.set_takes_queues_only();
    }
    if info.lnoc {
        connection.set_takes_origins();
    }
    // A route carries all accounts: none of them is named.
    let series = metrics::series_number(Kind::Router, "");
    connection.series.store(series, Ordering::Relaxed);
    let address = membership::address(&info, connection.peer.ip());
    let called = called(cluster, connection, &info, &address);
    *connection.identity.lock() = Identity {
        name: called.clone(),
        version: info.version.clone(),
        ..Identity::default()
    };
    let route = Arc::new(Route {
        connection: connection.clone(),
        remote_id: info.server_id.clone(),
        remote_name: called,
        address,
        origin,
        configured_as: Mutex::new(configured_as),
        line_max_known: AtomicBool::new(info.max_line > 0),
        info: Mutex::new(info),
        interest: Default::default(),
        is_asked_for_nodes: AtomicBool::new(false),
        requests: Default::default(),
        marks: Marks::default(),
        received_at: AtomicU64::new(MonotonicMillis::now().0),
    });
    match tie_break::register_or_replace(cluster, &route, &options).await {
        Ok(()) => {
            let budget = cluster.broker.registry.budget.clone();
            connection.outbound().admit(cluster.max_pending(), budget);
        }
        Err(Conflict::Refused(end)) => return refuse(connection, stream, &end).await,
        Err(Conflict::Duplicate(_)) => {
            let second = End::without_error(CloseReason::DuplicateRoute, "a second route");
            refuse(connection, stream, &second).await;
            return Ended::Duplicate(route.remote_id.clone());
        }
    }
    let name = quoted(route.remote_name.as_bytes());
    log::about(connection)
        .code(EventKind::Route.name())
        .info(format_args!("Route connection created to {name}"));
    let mut session = Session::new(cluster.clone(), route.clone(), accepts_own_messages);
    with_buffers(|buffers| {
        session.begin(buffers, &rest);
        buffers.flush_touched();
    });
    drop(rest);
    session.handle_news();
    gossip::announce(cluster, &route);
    client_urls::refresh(cluster);
    // The certificate files may have been replaced since the handshake checked them; from
    // here on, a reload of them checks this route.
    if let Some(tls) = cluster.tls() {
        close_if_untrusted(&cluster.broker, &tls, connection);
    }
    peer::drive(&mut session, stream).await;
    let reason = peer::finish(session, connection, stream).await;
    Ended::Lost {
        reason,
        pause: cluster.failing.pause_left(&route.remote_id),
    }
}

/// The name of the broker behind a connection: the one it gives itself, else the certname
/// of its certificate or the name that it knows of itself, if no other member has that, else the
/// address of its route port. Those survive a restart; its id does not.
fn called(cluster: &Cluster, connection: &Connection, info: &RouteInfo, address: &str) -> String {
    if let Some(name) = info.configured_name() {
        return name.to_owned();
    }
    let known = match connection.certname() {
        "" => &info.called,
        certname => certname,
    };
    let is_free = !known.is_empty()
        && known != cluster.node.called
        && cluster.membership.is_unique(address, known);
    let name = if is_free { known } else { address };
    name.to_owned()
}

/// Closes a connection that did not become a route.
async fn refuse(connection: &Arc<Connection>, stream: &TcpStream, end: &End) -> Ended {
    if let Some(line) = end.error_line() {
        connection.send_now(&line);
    }
    connection.close(end.reason);
    connection.drain_and_close(stream).await;
    log::about(connection).debug(format_args!("{}", end.text()));
    Ended::Failed(Some(end.reason), end.text())
}
