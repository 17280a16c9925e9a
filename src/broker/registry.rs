//! Open connections, recently closed ones, and the traffic totals of both.
//!
//! Totals are not counted a second time: they are the sum over the open connections and
//! what the closed ones left behind. The server registers connections, monitoring reads.

pub mod closed;
mod memory_limit;
mod moved_totals;
#[cfg(test)]
mod tests;
mod totals;
mod view;
mod walk;

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

pub use crate::broker::registry::{
    memory_limit::Cut,
    moved_totals::MovedConnection,
    totals::{
        AccountTotals, FailureCounts, KindSnapshot, KindTotals, LiveConnection, RegistrySnapshot,
        Totals,
    },
    view::{ClosedConnection, ConnectionView, SubscriptionView},
};
use crate::{
    broker::registry::{
        closed::Closed, moved_totals::MovedTotals, totals::ClosedTotals, walk::walk,
    },
    connection::{CloseReason, Connection, Subscription, budget::Budget, moved::MovedList},
    telemetry::{ByKind, Kind, MonotonicMicros, Traffic},
};

/// Readers noted between two ticks of the recorder.
const NOTICED_MAX: usize = 64;

/// Closed connections that are searched for a client's name, the latest first.
const LATELY_CLOSED_MAX: usize = 256;

/// All connections, by the kind of their peers.
pub struct Registry {
    inner: Mutex<Inner>,
    next_cid: AtomicU64,
    accepted: AtomicU64,
    stalls: AtomicU64,
    max_closed: AtomicUsize,
    /// Held while the budget is enforced.
    cutting: Mutex<()>,
    /// Connections that moved something since totals were last added up.
    moved: Arc<MovedList>,
    /// Readers that publishers found behind, until the recorder inspects them.
    noticed: Mutex<Vec<Arc<Connection>>>,
    /// The memory limit of all outbound queues together.
    pub budget: Arc<Budget>,
}

#[derive(Default)]
struct Inner {
    of: ByKind<OfKind>,
    closed: Closed,
    /// Totals of closed connections, by the name of their account as `Identity`
    /// has it.
    gone_by_account: HashMap<String, ClosedTotals>,
    /// Traffic of all connections, as far as it is added up.
    moved: MovedTotals,
}

/// The connections of one kind of peer.
#[derive(Default)]
struct OfKind {
    open: HashMap<u64, Arc<Connection>>,
    /// Totals of the closed ones.
    gone: ClosedTotals,
    /// How many ended, by reason.
    ended: HashMap<CloseReason, u64>,
}

impl Inner {
    /// Removes a connection, and keeps its record; returns its traffic.
    fn leave(&mut self, connection: &Connection, account: &str, end: CloseReason) -> Traffic {
        let of = &mut self.of[connection.kind];
        of.open.remove(&connection.cid);
        let traffic = self.moved.close(connection);
        of.gone.add(traffic, end);
        if connection.kind.has_account() {
            let gone = self.gone_by_account.entry_ref(account).or_default();
            gone.add(traffic, end);
        }
        traffic
    }

    /// The same, and counts the reason.
    fn end(&mut self, connection: &Connection, account: &str, end: CloseReason) -> Traffic {
        *self.of[connection.kind].ended.entry(end).or_default() += 1;
        self.leave(connection, account, end)
    }

    fn find(&self, cid: u64) -> Option<&Arc<Connection>> {
        self.of.values().find_map(|of| of.open.get(&cid))
    }
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
            cutting: Mutex::default(),
            moved: Arc::default(),
            noticed: Mutex::default(),
            budget: Arc::new(Budget::new(max_memory)),
        }
    }

    /// Sets other limits; see [`Registry::new`].
    pub fn set_limits(&self, max_closed: usize, max_memory: usize) {
        self.max_closed.store(max_closed, Ordering::Relaxed);
        self.budget.set_limit(max_memory);
        let freed = self.inner.lock().closed.keep(max_closed);
        drop(freed);
    }

    fn max_closed(&self) -> usize {
        self.max_closed.load(Ordering::Relaxed)
    }

    /// The id of a client just accepted.
    pub fn accept(&self) -> u64 {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.next_cid()
    }

    /// An id for a connection that is no client's.
    pub fn next_cid(&self) -> u64 {
        self.next_cid.fetch_add(1, Ordering::Relaxed)
    }

    /// The id that comes next.
    pub fn coming_cid(&self) -> u64 {
        self.next_cid.load(Ordering::Relaxed)
    }

    /// Has the next ids begin here, behind those that another process assigns.
    pub fn begin_cids_at(&self, cid: u64) {
        self.next_cid.fetch_max(cid, Ordering::Relaxed);
    }

    /// Adds a connection unless there are `max` of its kind already.
    pub fn insert(&self, connection: &Arc<Connection>, max: usize) -> bool {
        let open = &mut self.inner.lock().of[connection.kind].open;
        if open.len() >= max {
            return false;
        }
        open.insert(connection.cid, connection.clone());
        connection.note_in(&self.moved);
        true
    }

    /// How many connections of a kind are open.
    pub fn open_count(&self, kind: Kind) -> usize {
        self.inner.lock().of[kind].open.len()
    }

    /// Removes a connection that has ended, without a record among the closed ones.
    pub fn remove(&self, connection: &Connection, reason: CloseReason) {
        let account = connection.identity.lock().account.clone();
        self.inner.lock().end(connection, &account, reason);
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
        last.identity = last.identity.remembered();
        let mut listed = 0;
        let views = subscriptions.iter().map(|known| known.remembered());
        let views = views.take_while(|view| {
            listed += closed::listed_len(view);
            listed <= closed::LISTED_MAX
        });
        let mut closed = ClosedConnection {
            last,
            subscriptions: views.collect::<Box<[_]>>().into(),
            stop: MonotonicMicros::now(),
            reason,
        };
        let mut inner = self.inner.lock();
        closed.last.traffic = inner.end(connection, &closed.last.identity.account, reason);
        let freed = inner.closed.push(closed, self.max_closed());
        drop(inner);
        drop(freed);
    }

    /// The same with a connection that left without sending anything, for `reason`.
    pub fn close_bare(&self, connection: &Connection, reason: CloseReason) {
        let mut closed = ClosedConnection {
            last: connection.view(),
            subscriptions: Vec::new(),
            stop: MonotonicMicros::now(),
            reason,
        };
        let mut inner = self.inner.lock();
        closed.last.traffic = inner.end(connection, "", reason);
        let freed = inner.closed.push_bare(closed, self.max_closed());
        drop(inner);
        drop(freed);
    }

    /// Drops a connection that needs no record.
    pub fn forget(&self, connection: &Connection) {
        let mut inner = self.inner.lock();
        inner.leave(connection, "", CloseReason::ClientClosed);
    }

    /// Counts a publisher's wait for `reader`.
    pub fn stall(&self, reader: &Connection) {
        reader.stalls.fetch_add(1, Ordering::Relaxed);
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections of a kind that ended in trouble so far.
    pub fn troubles(&self, kind: Kind) -> FailureCounts {
        self.inner.lock().of[kind].gone.troubles
    }

    /// Notes readers that are behind, for the recorder to inspect.
    pub fn notice<'a>(&self, readers: impl Iterator<Item = &'a Arc<Connection>>) {
        let mut noticed = self.noticed.lock();
        for reader in readers {
            if noticed.len() >= NOTICED_MAX {
                return;
            }
            if !noticed.iter().any(|known| Arc::ptr_eq(known, reader)) {
                noticed.push(reader.clone());
            }
        }
    }

    /// The readers noted since this was last asked.
    pub fn take_noticed(&self) -> Vec<Arc<Connection>> {
        std::mem::take(&mut *self.noticed.lock())
    }

    /// The open connection with this id.
    pub fn find(&self, cid: u64) -> Option<Arc<Connection>> {
        self.inner.lock().find(cid).cloned()
    }

    /// The name of an open or closed connection, in one word; `None` if its record is gone.
    pub fn who(&self, cid: u64) -> Option<String> {
        if let Some(connection) = self.find(cid) {
            return Some(connection.who());
        }
        let inner = self.inner.lock();
        let lately = inner.closed.iter().rev().take(LATELY_CLOSED_MAX);
        let found = lately
            .map(|closed| &closed.last)
            .find(|last| last.cid == cid)?;
        Some(found.identity.who(found.peer))
    }

    /// The same for many, by their ids; those without a record are left out. The closed
    /// connections are searched once and not once for each id.
    pub fn names(&self, cids: impl IntoIterator<Item = u64>) -> HashMap<u64, String> {
        let mut names: HashMap<u64, String> =
            cids.into_iter().map(|cid| (cid, String::new())).collect();
        let inner = self.inner.lock();
        let open: Vec<_> = names
            .keys()
            .filter_map(|cid| inner.find(*cid).cloned())
            .collect();
        let lately = inner.closed.iter().rev().take(LATELY_CLOSED_MAX);
        let closed: Vec<_> = lately
            .filter(|closed| names.contains_key(&closed.last.cid))
            .cloned()
            .collect();
        // The texts are made without the lock.
        drop(inner);
        for closed in closed {
            names.insert(closed.last.cid, closed.last.who());
        }
        for connection in open {
            names.insert(connection.cid, connection.who());
        }
        names.retain(|_, name| !name.is_empty());
        names
    }

    /// The open connections of a kind, in no order.
    pub fn open(&self, kind: Kind) -> Vec<Arc<Connection>> {
        let inner = self.inner.lock();
        let of = &inner.of[kind].open;
        let mut open = Vec::with_capacity(of.len());
        walk(of.values(), |known| open.push(known.clone()));
        open
    }

    /// How many clients are connected, and those on a page of them in the order of
    /// their ids. Others are not read, as many as there are.
    pub fn page(&self, offset: usize, limit: usize) -> (usize, Vec<Arc<Connection>>) {
        let inner = self.inner.lock();
        let open = &inner.of[Kind::Client].open;
        let mut cids: Vec<u64> = open.keys().copied().collect();
        let page = smallest(&mut cids, offset, limit).iter();
        let page = page.filter_map(|cid| open.get(cid).cloned());
        (open.len(), page.collect())
    }

    /// The open connections of all kinds, in no order.
    pub fn all_open(&self) -> Vec<Arc<Connection>> {
        Kind::ALL
            .into_iter()
            .flat_map(|kind| self.open(kind))
            .collect()
    }

    /// The recorded closed connections, in the order in which they ended.
    pub fn closed(&self) -> Vec<Arc<ClosedConnection>> {
        let closed = self.inner.lock().closed.iter().cloned().collect();
        // Without the lock.
        closed::by_end(closed)
    }

    /// How many closed connections are remembered.
    pub fn closed_count(&self) -> usize {
        self.inner.lock().closed.len()
    }

    /// Traffic of all connections at one moment.
    pub fn snapshot(&self) -> RegistrySnapshot {
        let inner = self.inner.lock();
        RegistrySnapshot {
            of: ByKind::new(|kind| {
                let of = &inner.of[kind];
                let mut open = Vec::with_capacity(of.open.len());
                walk(of.open.values(), |known| {
                    open.push(LiveConnection {
                        connection: known.clone(),
                        traffic: known.traffic(),
                    });
                });
                KindSnapshot {
                    open,
                    gone: of.gone,
                    ended: of.ended.clone(),
                }
            }),
            gone_by_account: inner.gone_by_account.clone(),
            accepted: self.accepted.load(Ordering::Relaxed),
            stalls: self.stalls.load(Ordering::Relaxed),
        }
    }

    /// The totals. Unlike [`Registry::snapshot`] this goes through those connections
    /// alone that moved something since totals were last added up.
    pub fn totals(&self) -> Totals {
        let mut inner = self.inner.lock();
        inner.add_up(&self.moved);
        Totals {
            of: ByKind::new(|kind| {
                let of = &inner.of[kind];
                KindTotals {
                    connections: of.open.len(),
                    traffic: inner.moved.of[kind],
                    troubles: of.gone.troubles,
                }
            }),
            accepted: self.accepted.load(Ordering::Relaxed),
            stalls: self.stalls.load(Ordering::Relaxed),
        }
    }

    /// The traffic of each client since the last call, for those that have any
    /// and are open.
    pub fn take_moved(&self) -> Vec<MovedConnection> {
        let mut inner = self.inner.lock();
        inner.add_up(&self.moved);
        inner.take_moved()
    }

    /// The same of one client, which is about to be closed.
    pub fn take_moved_of(&self, connection: &Arc<Connection>) -> Option<MovedConnection> {
        self.inner.lock().moved.take_of(connection)
    }
}

/// Those that would follow the first `offset` if all were in order, at most `limit`, in
/// order.
fn smallest(cids: &mut [u64], offset: usize, limit: usize) -> &[u64] {
    let end = offset.saturating_add(limit);
    let front = match end < cids.len() {
        true => cids.select_nth_unstable(end).0,
        false => cids,
    };
    let begin = offset.min(front.len());
    if (1..front.len()).contains(&begin) {
        front.select_nth_unstable(begin);
    }
    let page = &mut front[begin..];
    page.sort_unstable();
    page
}
