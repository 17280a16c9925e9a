//! Sums over connections: the open ones, and the totals that the closed ones left.
//!
//! There are two ways to the same numbers. [`Totals`] of `Registry::totals` are kept
//! (`moved_totals`) and cheap: `/varz` and `STATSZ` use them. A [`RegistrySnapshot`] reads each
//! connection once, for answers whose parts must add up to the whole, as in `/metrics`. The tests
//! of `/varz` compare both.

use std::{ops::AddAssign, sync::Arc};

use hashbrown::HashMap;

use crate::{
    connection::{CloseReason, Connection},
    telemetry::{ByKind, Kind, Traffic},
};

/// Totals of closed connections.
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
    /// Of each kind of peer.
    pub of: ByKind<KindTotals>,
    /// Clients accepted so far, refused ones included.
    pub accepted: u64,
    /// Times a publisher waited for a reader.
    pub stalls: u64,
}

/// The totals of the connections of one kind at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct KindTotals {
    /// Open connections.
    pub connections: usize,
    /// Traffic, closed connections included.
    pub traffic: Traffic,
    /// How connections ended in trouble.
    pub troubles: FailureCounts,
}

impl Totals {
    /// Open connections of all kinds.
    pub fn connections(&self) -> usize {
        self.of.values().map(|of| of.connections).sum()
    }

    /// Traffic of the connections of all kinds.
    pub fn traffic(&self) -> Traffic {
        let mut all = Traffic::default();
        self.of.values().for_each(|of| all += of.traffic);
        all
    }

    /// A count of connections that ended in trouble, over all kinds.
    pub fn failed(&self, count: fn(&FailureCounts) -> u64) -> u64 {
        self.of.values().map(|of| count(&of.troubles)).sum()
    }
}

/// The totals of one account's connections at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountTotals {
    /// Open connections of clients.
    pub connections: usize,
    /// The traffic, over leafnode connections too.
    pub traffic: Traffic,
    /// How connections ended in trouble.
    pub troubles: FailureCounts,
}

impl AddAssign for AccountTotals {
    fn add_assign(&mut self, other: Self) {
        let Self {
            connections,
            traffic,
            troubles:
                FailureCounts {
                    slow_consumers,
                    stale_connections,
                    revoked,
                },
        } = other;
        self.connections += connections;
        self.traffic += traffic;
        self.troubles.slow_consumers += slow_consumers;
        self.troubles.stale_connections += stale_connections;
        self.troubles.revoked += revoked;
    }
}

/// The traffic of all connections, each read once, so that sums over parts of it
/// fit to each other.
pub struct RegistrySnapshot {
    /// Of each kind of peer.
    pub of: ByKind<KindSnapshot>,
    pub(super) gone_by_account: HashMap<String, ClosedTotals>,
    pub(super) accepted: u64,
    pub(super) stalls: u64,
}

/// The connections of one kind in a [`RegistrySnapshot`].
pub struct KindSnapshot {
    /// The open ones, in no order.
    pub open: Vec<LiveConnection>,
    /// How many ended so far, by reason.
    pub ended: HashMap<CloseReason, u64>,
    pub(super) gone: ClosedTotals,
}

/// A connection and what it moved.
pub struct LiveConnection {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Its traffic.
    pub traffic: Traffic,
}

impl RegistrySnapshot {
    /// The totals.
    pub fn totals(&self) -> Totals {
        Totals {
            of: ByKind::new(|kind| {
                let of = &self.of[kind];
                let mut traffic = of.gone.traffic;
                of.open.iter().for_each(|known| traffic += known.traffic);
                KindTotals {
                    connections: of.open.len(),
                    traffic,
                    troubles: of.gone.troubles,
                }
            }),
            accepted: self.accepted,
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
        let of_accounts = Kind::ALL.into_iter().filter(|kind| kind.has_account());
        for moving in of_accounts.flat_map(|kind| &self.of[kind].open) {
            let identity = moving.connection.identity.lock();
            let account = totals.entry_ref(&*identity.account).or_default();
            account.connections += usize::from(moving.connection.kind == Kind::Client);
            account.traffic += moving.traffic;
        }
        totals
    }
}
