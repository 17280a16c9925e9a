//! Routes: the connections to the other brokers of the cluster, a full mesh of
//! midges and nats-servers.
//!
//! The server makes a [`Cluster`], listens ([`accept`]) and lets the configured
//! brokers be dialled ([`dial`]). On a new connection both sides introduce
//! themselves ([`handshake`]), and of two that were made at the same moment one is
//! chosen ([`tie_break`]) and [`register`]ed; then a [`session`] reads what the other wants
//! ([`interest`]) and delivers its messages to the subscribers here, and to another
//! route only what a member of a queue group should have had that is here no more.
//! What ends a route again and again in the same way is kept in
//! [`failing`]; one whose peer is to tell everything again is ended by
//! [`incomplete_interest`]. News of other brokers spread by [`gossip`], and those that were
//! only heard of are dialled by [`discovered`]; the addresses for clients are put
//! together in [`client_urls`]. How many connections an account has at the others
//! is known by [`connection_counts`]. Who ought to be there and what each member sees is on
//! the [`membership`], for the diagnosis.
//!
//! What goes the other way needs no task here: the accounts tell the routes of
//! their subscriptions (`connection::interest`), and publishers put messages
//! into the routes' queues (`connection::remote`).

mod accept;
mod batch;
pub mod client_urls;
mod cluster;
mod connection_counts;
mod dial;
mod discovered;
mod failing;
mod gossip;
mod handshake;
mod handshake_error;
mod incomplete_interest;
pub mod interest;
mod introduction;
mod member_addresses;
pub mod membership;
mod reconfigure;
mod register;
mod resolve;
mod session;
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
use tracing::{debug, info};

pub use accept::accept_routes;
pub use cluster::{Cluster, ClusterName, Node, Origin, Route};
pub use dial::dial_configured;
pub use failing::Failed;
pub use introduction::permissions_json;

use crate::{
    connection::{
        CloseReason, Connection, Identity, Kind, Wake,
        budget::Budget,
        buffers::{ThreadBuffers, give_way, with_buffers},
        reading::{self, Reader},
    },
    protocol::{error::quoted, route::RouteInfo},
    telemetry::{MonotonicMillis, metrics},
};
use handshake::Introduced;
use introduction::Refusal;
use register::Conflict;
use session::Session;

/// How a connection between brokers ended.
pub(super) enum Ended {
    /// The route stood and was lost.
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
    /// It never came to a route, and why; the reason, if anybody was there.
    Failed(Option<CloseReason>, String),
}

/// Bytes that may wait for a broker that is not let in: CONNECT, INFO and some
/// PONG.
const PENDING_BEFORE_LOGIN: usize = 256 * 1024;

impl Cluster {
    /// The shared part of a new connection between brokers. Until it is a route,
    /// what waits for it is its own matter.
    fn connection(&self, stream: &Arc<TcpStream>, peer: std::net::SocketAddr) -> Arc<Connection> {
        if let Err(error) = stream.set_nodelay(true) {
            debug!("{peer} - TCP_NODELAY could not be set: {error}");
        }
        Arc::new(Connection::new(
            Kind::Router,
            self.context.registry.next_cid(),
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
    let configured_as = dialled_as.or_else(|| gossip::configured_as(cluster, &info));
    connection.headers.store(info.headers, Ordering::Relaxed);
    let line_max = cluster.failing.line_max(&info.server_id, info.max_line);
    connection.set_line_max(line_max);
    // A route carries all accounts: none of them is named.
    let series = metrics::series_number("Router", "");
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
        requests: Default::default(),
        received_at: AtomicU64::new(MonotonicMillis::now().0),
    });
    match tie_break::register_or_replace(cluster, &route, &options).await {
        Ok(()) => {
            let budget = cluster.context.registry.budget.clone();
            connection.outbound().admit(cluster.max_pending(), budget);
        }
        Err(Conflict::Stopping) => {
            let stop = Refusal::without_error(CloseReason::ServerShutdown, "the broker stops");
            return refuse(connection, stream, &stop).await;
        }
        Err(Conflict::OutOfDate(reason, why)) => {
            return refuse(connection, stream, &Refusal::without_error(reason, why)).await;
        }
        Err(Conflict::Name(refusal)) => {
            return refuse(connection, stream, &refusal).await;
        }
        Err(Conflict::Duplicate(_)) => {
            let second = Refusal::without_error(CloseReason::DuplicateRoute, "a second route");
            refuse(connection, stream, &second).await;
            return Ended::Duplicate(route.remote_id.clone());
        }
    }
    info!(
        "{} - Route connection created to {}",
        log_prefix(connection),
        quoted(route.remote_name.as_bytes())
    );
    let mut session = Session::new(cluster.clone(), route.clone(), accepts_own_messages);
    with_buffers(|buffers| {
        session.begin(buffers, &rest);
        buffers.flush_touched();
    });
    drop(rest);
    session.handle_news();
    gossip::announce(cluster, &route);
    client_urls::refresh(cluster);
    // Other files may have come since the handshake looked at them; from here on,
    // who brings them looks at this route.
    if let Some(tls) = cluster.tls() {
        cluster.close_if_untrusted(&tls, connection);
    }
    drive(&mut session, stream).await;
    let reason = finish(&session, stream).await;
    Ended::Lost {
        reason,
        pause: cluster.failing.pause_left(&route.remote_id),
    }
}

/// What the broker behind a connection is called: the name that it gives itself, else
/// the certname of its certificate if no other member shows that, else where it takes
/// routes. Those stay when it is started anew; its id does not.
fn called(cluster: &Cluster, connection: &Connection, info: &RouteInfo, address: &str) -> String {
    if let Some(name) = info.configured_name() {
        return name.to_owned();
    }
    match connection.certname() {
        "" => address.to_owned(),
        certname if cluster.membership.is_unique(address, certname) => certname.to_owned(),
        _ => address.to_owned(),
    }
}

/// Reads, writes and keeps time until the route is to end.
async fn drive(session: &mut Session, stream: &TcpStream) {
    let connection = session.connection().clone();
    let deadline = session.next_deadline();
    let timer = tokio::time::sleep_until(deadline);
    tokio::pin!(timer);
    timer.as_mut().reset(deadline);
    // What came with the end of a handshake is not announced by the socket.
    let mut unread = connection.tls().is_some() || session.is_held;
    loop {
        let wake = connection.wake(stream, timer.as_mut(), &mut unread).await;
        match wake {
            Wake::Closing => return,
            Wake::Changed => session.keep_up_to_date(),
            // Only the time to what is due next is another.
            Wake::Stuck => {}
            Wake::Owing => {
                with_buffers(|buffers| session.tell_owed(buffers));
                give_way().await;
            }
            Wake::Writable => with_buffers(|buffers| {
                connection.flush_blocked(buffers);
                // A socket that is always full must not keep news back.
                if connection.owes_interest() {
                    session.tell_owed(buffers);
                }
            }),
            Wake::Readable => {
                let more = with_buffers(|buffers| read_turn(session, buffers, stream));
                session.handle_news();
                unread |= session.is_held;
                if more || session.is_held {
                    tokio::task::yield_now().await;
                }
            }
            Wake::Timer => {
                with_buffers(|buffers| {
                    session.keep_alive(buffers);
                    buffers.flush_touched();
                });
                session.handle_news();
            }
        }
        let deadline = session.next_deadline();
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
    }
}

/// Reads and handles what the socket has, for one turn, or goes on with what was
/// held. Returns whether there is more.
fn read_turn(session: &mut Session, buffers: &mut ThreadBuffers, stream: &TcpStream) -> bool {
    let more = match session.is_held {
        true => {
            session.resume(buffers);
            true
        }
        false => reading::read_turn(session, buffers, stream),
    };
    session.end_turn();
    // A peer carries the messages of many: it is not paused for a slow reader.
    buffers.congested.clear();
    session.keep_budget();
    more
}

/// Takes the route out of everything and closes it. Returns why.
async fn finish(session: &Session, stream: &TcpStream) -> CloseReason {
    let (cluster, route) = (&session.cluster, &session.route);
    let connection = &route.connection;
    for account in cluster.context.accounts.all_announced() {
        account.interest.detach(connection);
    }
    route.interest.clear().await;
    let reason = connection
        .outbound()
        .close_reason()
        .unwrap_or(CloseReason::ClientClosed);
    let context = &cluster.context;
    let incident = connection.end(&context.telemetry, &context.registry, stream, reason);
    let incident = incident.await;
    let now = MonotonicMillis::now();
    let why = match (&session.fault, incident) {
        (Some(fault), _) => format!("{reason}: {fault}"),
        (None, Some(incident)) => format!("{reason}: {}", incident.evidence),
        (None, None) => reason.to_string(),
    };
    let stood = connection.start.millis().until(now);
    cluster.failing.ended(route, reason, &why, stood);
    client_urls::keep_lost_urls(cluster, route);
    cluster.deregister(route, reason, &why);
    client_urls::refresh(cluster);
    info!(
        "{} - Router connection to {} closed: {reason}",
        log_prefix(connection),
        quoted(route.remote_name.as_bytes())
    );
    reason
}

/// Closes a connection that did not become a route.
async fn refuse(connection: &Arc<Connection>, stream: &TcpStream, refusal: &Refusal) -> Ended {
    if let Some(error) = &refusal.error {
        connection.send_now(format!("-ERR '{error}'\r\n").as_bytes());
    }
    connection.close(refusal.reason);
    connection.drain_and_close(stream).await;
    debug!(
        "{} - {}: {}",
        log_prefix(connection),
        refusal.reason,
        refusal.detail
    );
    Ended::Failed(
        Some(refusal.reason),
        format!("{}: {}", refusal.reason, refusal.detail),
    )
}

/// How log lines name a route.
fn log_prefix(connection: &Connection) -> String {
    format!("{} - rid:{}", connection.peer, connection.cid)
}
