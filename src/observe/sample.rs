//! One sample of the broker: everything that the recorder and the diagnosis go by, as
//! plain values of one moment.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::mesh::Mesh;
use crate::{
    broker::registry::{FailureCounts, MovedConnection},
    connection::{
        Connection, Kind,
        handshake::{Handshakers, UnfinishedHandshakes},
        outbound::Backlog,
    },
    server::Server,
    telemetry::{MonotonicMicros, MonotonicMillis, allocator::Allocated, process},
};

/// Connections of each list: those that hold most.
const HOLDERS_MAX: usize = 64;

/// Bytes in a queue from which on a connection may be one of the holders.
const PENDING_OF_NOTE: usize = 64 * 1024;

/// Subscriptions from which on a connection may be one of the holders.
const SUBSCRIPTIONS_OF_NOTE: usize = 64;

/// The broker at one moment.
pub(in crate::observe) struct Sample {
    pub(in crate::observe) at: MonotonicMillis,
    /// Open connections.
    pub(in crate::observe) connections: usize,
    /// Bytes in all outbound queues.
    pub(in crate::observe) pending: usize,
    /// Memory of these queues.
    pub(in crate::observe) queued: usize,
    /// The part of it that other queues may share.
    pub(in crate::observe) shared: usize,
    /// Bytes of the texts that the connections' peers stated about themselves.
    pub(in crate::observe) texts: usize,
    /// Bytes of the connections' tables of subscriptions.
    pub(in crate::observe) subscription_tables: usize,
    /// Outbound queues with something in them.
    pub(in crate::observe) queues_in_use: usize,
    /// TLS handshakes under way.
    pub(in crate::observe) handshakes: UnfinishedHandshakes,
    /// Connections with TLS.
    pub(in crate::observe) tls_sessions: usize,
    /// Subscriptions of all accounts.
    pub(in crate::observe) subscriptions: u64,
    /// Connections with the longest queues, the longest first.
    pub(in crate::observe) by_pending: Vec<Holder>,
    /// Connections with the most subscriptions, the most first.
    pub(in crate::observe) by_subscriptions: Vec<Holder>,
    /// Connections that publishers have ever waited for.
    pub(in crate::observe) waited_for: Vec<Holder>,
    /// Connections whose sockets took no more.
    pub(in crate::observe) blocked: Vec<Arc<Connection>>,
    /// Traffic of connections since the previous sample.
    pub(in crate::observe) moved: Vec<MovedConnection>,
    /// How late a task last got to run.
    pub(in crate::observe) scheduling_delay: Duration,
    /// How long each thread that serves connections has been in one piece of work.
    pub(in crate::observe) at_work: Vec<Duration>,
    pub(in crate::observe) troubles: FailureCounts,
    /// The other brokers; empty without a cluster.
    pub(in crate::observe) mesh: Mesh,
    /// The memory of the process; `None` if the system does not report it.
    pub(in crate::observe) process: Option<process::Memory>,
    /// The allocator's last report of its share.
    pub(in crate::observe) allocated: Allocated,
    /// Open file descriptors; `None` if the system does not report it.
    pub(in crate::observe) files: Option<u64>,
}

/// A connection and what it holds.
#[derive(Clone)]
pub(in crate::observe) struct Holder {
    pub(in crate::observe) connection: Arc<Connection>,
    pub(in crate::observe) backlog: Backlog,
    pub(in crate::observe) subscriptions: usize,
    /// Times publishers have waited for it.
    pub(in crate::observe) stalls: u64,
}

impl Sample {
    /// The broker now. Each connection is locked for three short reads.
    pub(in crate::observe) fn take(server: &Server, at_work: Vec<Duration>) -> Self {
        let registry = &server.broker.registry;
        let telemetry = &server.broker.telemetry;
        let open = registry.open(Kind::Client);
        let process = process::memory().ok();
        let planned_absence = server.options().diagnosis.planned_absence;
        let cluster = server.cluster.as_deref();
        let mesh = cluster.map(|cluster| Mesh::of(cluster, planned_absence));
        let mut sample = Self {
            at: MonotonicMillis::now(),
            connections: open.len(),
            pending: 0,
            queued: 0,
            shared: 0,
            texts: 0,
            subscription_tables: 0,
            queues_in_use: 0,
            handshakes: Handshakers::all_unfinished(),
            tls_sessions: 0,
            subscriptions: 0,
            by_pending: Vec::new(),
            by_subscriptions: Vec::new(),
            waited_for: Vec::new(),
            blocked: Vec::new(),
            moved: registry.take_moved(),
            scheduling_delay: telemetry.latency.last_scheduling(MonotonicMicros::now()),
            at_work,
            troubles: registry.troubles(Kind::Client),
            mesh: mesh.unwrap_or_default(),
            allocated: server.housekeeping.allocated(),
            process,
            files: process::open_files().ok(),
        };
        for account in server.broker.accounts.all() {
            sample.subscriptions += account.sublist.stats().subscriptions;
        }
        for connection in open {
            sample.add(connection);
        }
        for kind in [Kind::Router, Kind::Leafnode] {
            for peer in registry.open(kind) {
                sample.add_route(peer);
            }
        }
        keep_most(&mut sample.by_pending, |holder| holder.backlog.pending);
        keep_most(&mut sample.by_subscriptions, |holder| holder.subscriptions);
        sample
    }

    /// Adds a peer of the cluster or a leafnode, if it is blocked or publishers have waited for it.
    fn add_route(&mut self, connection: Arc<Connection>) {
        if connection.is_blocked() {
            self.blocked.push(connection.clone());
        }
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
        if connection.is_blocked() {
            self.blocked.push(connection.clone());
        }
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
