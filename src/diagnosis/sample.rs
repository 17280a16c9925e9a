//! One look at the broker: everything that the ceilings and rules go by, as
//! plain values of one moment.

use std::sync::{Arc, atomic::Ordering};

use super::mesh::Mesh;
use crate::{
    connection::{
        Connection,
        handshake::{HandshakeLook, Handshakers},
        outbound::Backlog,
        registry::FailureCounts,
    },
    server::Server,
    telemetry::{
        MonotonicMillis,
        allocator::{Allocated, Allocator},
        process,
    },
};

/// Connections of each list: those that hold most.
const HOLDERS_MAX: usize = 64;

/// Bytes in a queue from which on a connection may be one of the holders.
const PENDING_OF_NOTE: usize = 64 * 1024;

/// Subscriptions from which on a connection may be one of the holders.
const SUBSCRIPTIONS_OF_NOTE: usize = 64;

/// The broker at one moment.
pub(super) struct Sample {
    pub(super) at: MonotonicMillis,
    /// Open connections.
    pub(super) connections: usize,
    /// Bytes in all outbound queues.
    pub(super) pending: usize,
    /// What these queues take.
    pub(super) queued: usize,
    /// What of them other queues may hold too.
    pub(super) shared: usize,
    /// Bytes of what the connections' peers tell of themselves.
    pub(super) texts: usize,
    /// Bytes of the connections' tables of subscriptions.
    pub(super) subscription_tables: usize,
    /// Outbound queues with something in them.
    pub(super) queues_in_use: usize,
    /// TLS handshakes under way.
    pub(super) handshakes: HandshakeLook,
    /// Connections with TLS.
    pub(super) tls_sessions: usize,
    /// Subscriptions of all accounts.
    pub(super) subscriptions: u64,
    /// Connections with the longest queues, the longest first.
    pub(super) by_pending: Vec<Holder>,
    /// Connections with the most subscriptions, the most first.
    pub(super) by_subscriptions: Vec<Holder>,
    /// Connections that publishers have ever waited for.
    pub(super) waited_for: Vec<Holder>,
    pub(super) troubles: FailureCounts,
    /// The other brokers; nobody without a cluster.
    pub(super) mesh: Mesh,
    /// The memory of the process; `None` if the system does not tell.
    pub(super) process: Option<process::Memory>,
    /// What the allocator says of its part.
    pub(super) allocated: Allocated,
    /// Open file descriptors; `None` if the system does not tell.
    pub(super) files: Option<u64>,
}

/// A connection and what it holds.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) connection: Arc<Connection>,
    pub(super) backlog: Backlog,
    pub(super) subscriptions: usize,
    /// Times publishers have waited for it.
    pub(super) stalls: u64,
}

impl Sample {
    /// Looks at the broker now. Each connection is locked for three short reads.
    pub(super) fn take(server: &Server, allocator: &mut Allocator) -> Self {
        let registry = &server.clients.registry;
        let open = registry.open();
        let process = process::memory().ok();
        let mut sample = Self {
            at: MonotonicMillis::now(),
            connections: open.len(),
            pending: 0,
            queued: 0,
            shared: 0,
            texts: 0,
            subscription_tables: 0,
            queues_in_use: 0,
            handshakes: Handshakers::look(),
            tls_sessions: 0,
            subscriptions: 0,
            by_pending: Vec::new(),
            by_subscriptions: Vec::new(),
            waited_for: Vec::new(),
            troubles: registry.troubles(),
            mesh: server.cluster.as_deref().map(Mesh::of).unwrap_or_default(),
            allocated: allocator.sample(),
            process,
            files: process::open_files().ok(),
        };
        for account in server.clients.accounts.all() {
            sample.subscriptions += account.sublist.stats().subscriptions;
        }
        for connection in open {
            sample.add(connection);
        }
        for route in registry.routes() {
            sample.add_route(route);
        }
        keep_most(&mut sample.by_pending, |holder| holder.backlog.pending);
        keep_most(&mut sample.by_subscriptions, |holder| holder.subscriptions);
        sample
    }

    /// Adds a peer of the cluster, if publishers have waited for it.
    fn add_route(&mut self, connection: Arc<Connection>) {
        let stalls = connection.stalls.load(Ordering::Relaxed);
        if stalls > 0 {
            self.waited_for.push(Holder {
                backlog: connection.outbound().backlog(),
                connection,
                subscriptions: 0,
                stalls,
            });
        }
    }

    fn add(&mut self, connection: Arc<Connection>) {
        let backlog = connection.outbound().backlog();
        let (subscriptions, table) = {
            let table = connection.subscriptions.lock();
            (table.len(), table.memory())
        };
        self.subscription_tables += table;
        self.texts += connection.identity.lock().memory();
        self.shared += backlog.shared;
        let stalls = connection.stalls.load(Ordering::Relaxed);
        self.tls_sessions += usize::from(connection.tls().is_some());
        self.pending += backlog.pending;
        self.queued += backlog.held;
        self.queues_in_use += usize::from(backlog.pending > 0);
        let queue_is_of_note =
            backlog.pending >= PENDING_OF_NOTE.min(backlog.max_pending / 10).max(1);
        if !queue_is_of_note && subscriptions < SUBSCRIPTIONS_OF_NOTE && stalls == 0 {
            return;
        }
        let holder = Holder {
            connection,
            backlog,
            subscriptions,
            stalls,
        };
        if stalls > 0 {
            self.waited_for.push(holder.clone());
        }
        if subscriptions >= SUBSCRIPTIONS_OF_NOTE {
            self.by_subscriptions.push(holder.clone());
        }
        if queue_is_of_note {
            self.by_pending.push(holder);
        }
    }
}

/// Keeps the [`HOLDERS_MAX`] that have most of something, the most first.
fn keep_most(holders: &mut Vec<Holder>, amount: impl Fn(&Holder) -> usize) {
    let descending = |a: &Holder, b: &Holder| amount(b).cmp(&amount(a));
    if holders.len() > HOLDERS_MAX {
        holders.select_nth_unstable_by(HOLDERS_MAX, descending);
        holders.truncate(HOLDERS_MAX);
    }
    holders.sort_by(descending);
}
