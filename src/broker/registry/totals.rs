//! Sums over connections: of those that are open, and what the closed ones left behind.

use std::{ops::AddAssign, sync::Arc};

use hashbrown::HashMap;

use crate::{
    connection::{CloseReason, Connection},
    telemetry::Traffic,
};

/// What closed connections left behind.
#[derive(Clone, Copy, Default)]
pub(super) struct ClosedTotals {
    pub(super) traffic: Traffic,
    pub(super) troubles: FailureCounts,
}

impl ClosedTotals {
    pub(super) fn add(&mut self, traffic: Traffic, reason: CloseReason) {
        self.traffic += traffic;
        self.troubles.count(reason);
    }
}

/// Connections that ended in trouble, by trouble.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailureCounts {
    /// Cut because they read too slowly.
    pub slow_consumers: u64,
    /// Cut because they answered no ping.
    pub stale_connections: u64,
    /// Closed because their certificate was revoked meanwhile.
    pub revoked: u64,
}

impl FailureCounts {
    fn count(&mut self, reason: CloseReason) {
        if reason.is_slow_consumer() {
            self.slow_consumers += 1;
        }
        if reason == CloseReason::StaleConnection {
            self.stale_connections += 1;
        }
        if reason == CloseReason::CertificateRevoked {
            self.revoked += 1;
        }
    }
}

/// The totals of all connections at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    /// Open connections of clients.
    pub connections: usize,
    /// Clients accepted so far, refused ones included.
    pub accepted: u64,
    /// What went through the clients' connections.
    pub traffic: Traffic,
    /// How clients' connections ended in trouble.
    pub troubles: FailureCounts,
    /// Open routes.
    pub routes: usize,
    /// What went through the routes.
    pub route_traffic: Traffic,
    /// How routes ended in trouble.
    pub route_troubles: FailureCounts,
    /// Times a publisher waited for a reader.
    pub stalls: u64,
}

/// The totals of one account's connections at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountTotals {
    /// Open connections.
    pub connections: usize,
    /// What went through.
    pub traffic: Traffic,
    /// How connections ended in trouble.
    pub troubles: FailureCounts,
}

impl AddAssign for AccountTotals {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.traffic += other.traffic;
        self.troubles.slow_consumers += other.troubles.slow_consumers;
        self.troubles.stale_connections += other.troubles.stale_connections;
        self.troubles.revoked += other.troubles.revoked;
    }
}

/// What all connections moved, each read once, so that sums over parts of it
/// fit to each other.
pub struct RegistrySnapshot {
    /// The open connections of clients, in no order.
    pub open: Vec<LiveConnection>,
    /// The open routes, in no order.
    pub routes: Vec<LiveConnection>,
    pub(super) gone: ClosedTotals,
    pub(super) gone_by_account: HashMap<String, ClosedTotals>,
    pub(super) routes_gone: ClosedTotals,
    pub(super) ended: HashMap<CloseReason, u64>,
    pub(super) accepted: u64,
    pub(super) stalls: u64,
}

/// A connection and what it moved.
pub struct LiveConnection {
    /// The connection.
    pub connection: Arc<Connection>,
    /// What it moved.
    pub traffic: Traffic,
}

impl RegistrySnapshot {
    /// How many connections of clients ended so far, by reason.
    pub fn ended(&self) -> impl Iterator<Item = (CloseReason, u64)> {
        self.ended.iter().map(|(reason, count)| (*reason, *count))
    }

    /// The totals.
    pub fn totals(&self) -> Totals {
        let sum = |mut all: Traffic, moving: &[LiveConnection]| {
            moving.iter().for_each(|known| all += known.traffic);
            all
        };
        Totals {
            connections: self.open.len(),
            accepted: self.accepted,
            traffic: sum(self.gone.traffic, &self.open),
            troubles: self.gone.troubles,
            routes: self.routes.len(),
            route_traffic: sum(self.routes_gone.traffic, &self.routes),
            route_troubles: self.routes_gone.troubles,
            stalls: self.stalls,
        }
    }

    /// The totals of each account that has or had a connection, by its name as
    /// `Identity` has it: empty for connections that are in none yet.
    pub fn totals_by_account(&self) -> HashMap<String, AccountTotals> {
        let gone = self.gone_by_account.iter();
        let mut totals: HashMap<String, AccountTotals> = gone
            .map(|(name, gone)| {
                let totals = AccountTotals {
                    connections: 0,
                    traffic: gone.traffic,
                    troubles: gone.troubles,
                };
                (name.clone(), totals)
            })
            .collect();
        for moving in &self.open {
            let identity = moving.connection.identity.lock();
            let account = totals.entry_ref(&*identity.account).or_default();
            account.connections += 1;
            account.traffic += moving.traffic;
        }
        totals
    }
}
