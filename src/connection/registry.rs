//! Who is connected, who was, and what both moved in total.
//!
//! Totals are not counted a second time: they are the sum over the open
//! connections and what the closed ones left behind. The server registers
//! connections, monitoring reads.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use chrono::{DateTime, Utc};
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{CloseReason, Connection, Identity, Subscription, budget::Budget};
use crate::telemetry::{Clock, Traffic};

/// All connections of the clients.
pub struct Registry {
    inner: Mutex<Inner>,
    next_cid: AtomicU64,
    accepted: AtomicU64,
    stalls: AtomicU64,
    max_closed: AtomicUsize,
    /// What all outbound queues may hold together.
    pub budget: Arc<Budget>,
}

#[derive(Default)]
struct Inner {
    open: HashMap<u64, Arc<Connection>>,
    closed: VecDeque<Arc<ClosedConnection>>,
    /// What the closed connections moved.
    gone: Traffic,
    troubles: Troubles,
    /// How many ended, by reason.
    ended: HashMap<CloseReason, u64>,
}

/// Connections that ended in trouble, by trouble.
#[derive(Clone, Copy, Debug, Default)]
pub struct Troubles {
    /// Cut because they read too slowly.
    pub slow_consumers: u64,
    /// Cut because they answered no ping.
    pub stale_connections: u64,
}

/// What is remembered of a closed connection.
#[derive(Clone, Debug)]
pub struct ClosedConnection {
    /// What it was at its end.
    pub last: ConnectionView,
    /// Its subscriptions at its end.
    pub subscriptions: Vec<SubscriptionView>,
    /// Time of the close.
    pub stop: DateTime<Utc>,
    /// Why.
    pub reason: CloseReason,
}

/// A connection at one moment, as plain values.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// Connection id.
    pub cid: u64,
    /// The peer's address.
    pub peer: std::net::SocketAddr,
    /// Time of the accept.
    pub start: DateTime<Utc>,
    /// Time of the last message or subscription.
    pub last_activity: Clock,
    /// Round trip time, if known.
    pub rtt: Option<std::time::Duration>,
    /// Bytes waiting in the outbound queue.
    pub pending: usize,
    /// What went through.
    pub traffic: Traffic,
    /// Times publishers waited for it.
    pub stalls: u64,
    /// Number of subscriptions.
    pub subscriptions: usize,
    /// Who the peer says it is.
    pub identity: Identity,
    /// Version and cipher suite of TLS, and whether it came before INFO.
    pub tls: Option<(&'static str, &'static str, bool)>,
}

/// A subscription at one moment, as plain values.
#[derive(Clone, Debug)]
pub struct SubscriptionView {
    /// Subject, wildcards included.
    pub subject: String,
    /// Queue group.
    pub queue: Option<String>,
    /// The client's id for it.
    pub sid: String,
    /// Messages delivered.
    pub delivered: u64,
    /// Deliveries after which it ends; 0 is endless.
    pub max: u64,
    /// The subscriber's connection id.
    pub cid: u64,
}

/// The totals of all connections at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    /// Open connections.
    pub connections: usize,
    /// Connections accepted so far, refused ones included.
    pub accepted: u64,
    /// What went through.
    pub traffic: Traffic,
    /// How connections ended in trouble.
    pub troubles: Troubles,
    /// Times a publisher waited for a reader.
    pub stalls: u64,
}

impl Registry {
    /// Remembers at most `max_closed` closed connections; all outbound queues
    /// together may hold `max_memory` bytes.
    pub fn new(max_closed: usize, max_memory: usize) -> Self {
        Self {
            inner: Mutex::default(),
            next_cid: AtomicU64::new(1),
            accepted: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            max_closed: AtomicUsize::new(max_closed),
            budget: Arc::new(Budget::new(max_memory)),
        }
    }

    /// Sets other limits; see [`Registry::new`].
    pub fn set_limits(&self, max_closed: usize, max_memory: usize) {
        self.max_closed.store(max_closed, Ordering::Relaxed);
        self.budget.set_limit(max_memory);
    }

    fn max_closed(&self) -> usize {
        self.max_closed.load(Ordering::Relaxed)
    }

    /// The id of a connection just accepted.
    pub fn accept(&self) -> u64 {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.next_cid.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a connection unless there are `max_connections` already.
    pub fn insert(&self, connection: &Arc<Connection>, max_connections: usize) -> bool {
        let mut inner = self.inner.lock();
        if inner.open.len() >= max_connections {
            return false;
        }
        inner.open.insert(connection.cid, connection.clone());
        true
    }

    /// Moves a connection to the closed ones, with the subscriptions it had.
    pub fn close(
        &self,
        connection: &Connection,
        subscriptions: &[Arc<Subscription>],
        reason: CloseReason,
    ) {
        let mut last = connection.view();
        last.subscriptions = subscriptions.len();
        let closed = Arc::new(ClosedConnection {
            last,
            subscriptions: subscriptions.iter().map(|sub| sub.view()).collect(),
            stop: Utc::now(),
            reason,
        });
        let mut inner = self.inner.lock();
        inner.open.remove(&connection.cid);
        inner.gone += closed.last.traffic;
        *inner.ended.entry(reason).or_default() += 1;
        if reason.is_slow_consumer() {
            inner.troubles.slow_consumers += 1;
        }
        if reason == CloseReason::StaleConnection {
            inner.troubles.stale_connections += 1;
        }
        inner.closed.push_back(closed);
        let surplus = inner.closed.len().saturating_sub(self.max_closed());
        inner.closed.drain(..surplus);
    }

    /// Drops a connection that nobody will ask for.
    pub fn forget(&self, connection: &Connection) {
        let mut inner = self.inner.lock();
        inner.open.remove(&connection.cid);
        inner.gone += connection.traffic();
    }

    /// Cuts the biggest holders of queued bytes until the budget is kept.
    /// Returns the connections it cut.
    pub fn keep_budget(&self) -> Vec<Arc<Connection>> {
        let mut cut = Vec::new();
        while self.budget.is_overdrawn() {
            let biggest = self
                .open()
                .into_iter()
                .map(|connection| (connection.outbound().backlog(), connection))
                .filter(|(backlog, _)| !backlog.closed && backlog.pending > 0)
                .max_by_key(|(backlog, _)| backlog.pending);
            let Some((_, connection)) = biggest else {
                break;
            };
            connection.close(CloseReason::SlowConsumerPending);
            cut.push(connection);
        }
        cut
    }

    /// Counts a publisher's wait for `reader`.
    pub fn stall(&self, reader: &Connection) {
        reader.stalls.fetch_add(1, Ordering::Relaxed);
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that ended in trouble so far.
    pub fn troubles(&self) -> Troubles {
        self.inner.lock().troubles
    }

    /// The open connections, in no order.
    pub fn open(&self) -> Vec<Arc<Connection>> {
        self.inner.lock().open.values().cloned().collect()
    }

    /// The closed connections that are remembered, the oldest first.
    pub fn closed(&self) -> Vec<Arc<ClosedConnection>> {
        self.inner.lock().closed.iter().cloned().collect()
    }

    /// How many closed connections are remembered.
    pub fn closed_count(&self) -> usize {
        self.inner.lock().closed.len()
    }

    /// How many connections ended so far, by reason.
    pub fn ended(&self) -> Vec<(CloseReason, u64)> {
        let inner = self.inner.lock();
        inner
            .ended
            .iter()
            .map(|(reason, count)| (*reason, *count))
            .collect()
    }

    /// The totals.
    pub fn totals(&self) -> Totals {
        let (open, mut traffic, troubles) = {
            let inner = self.inner.lock();
            let open: Vec<_> = inner.open.values().cloned().collect();
            (open, inner.gone, inner.troubles)
        };
        for connection in &open {
            traffic += connection.traffic();
        }
        Totals {
            connections: open.len(),
            accepted: self.accepted.load(Ordering::Relaxed),
            traffic,
            troubles,
            stalls: self.stalls.load(Ordering::Relaxed),
        }
    }
}

impl ConnectionView {
    /// Who it is, in one word; see [`Connection::who`].
    pub fn who(&self) -> String {
        self.identity.who(self.peer)
    }
}

impl Connection {
    /// The connection at this moment.
    pub fn view(&self) -> ConnectionView {
        ConnectionView {
            cid: self.cid,
            peer: self.peer,
            start: self.start,
            last_activity: self.last_activity(),
            rtt: self.rtt(),
            pending: self.outbound().backlog().pending,
            traffic: self.traffic(),
            stalls: self.stalls.load(Ordering::Relaxed),
            subscriptions: self.subscriptions.lock().len(),
            identity: self.identity.lock().clone(),
            tls: self
                .tls()
                .map(|tls| (tls.version, tls.cipher_suite, tls.is_first)),
        }
    }
}

impl Subscription {
    /// The subscription at this moment.
    pub fn view(&self) -> SubscriptionView {
        use crate::sublist::Entry;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        SubscriptionView {
            subject: text(self.subject()),
            queue: self.queue().map(text),
            sid: text(self.sid()),
            delivered: self.delivered.value(),
            max: self.max(),
            cid: self.connection.cid,
        }
    }
}
