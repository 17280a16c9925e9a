//! Accounts: subject spaces of their own.
//!
//! Connections of one account reach each other, those of different accounts do
//! not, unless one account exports and the other imports. The server makes the
//! [`Accounts`] of the configuration ([`registry`]); clients are members of
//! one ([`membership`]), subscribe in it, and in those it imports streams from
//! ([`stream`]). What goes over an account's border is in [`links`]; where the
//! messages of one subject go in the end is a [`Reach`], and [`spread`] takes
//! them there. Requests to other accounts ([`request`]) come back as
//! [`replies`].

pub mod links;
mod membership;
mod reach;
mod registry;
pub mod replies;
mod request;
pub mod spread;
mod stream;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::RwLock;

pub use crate::config::accounts::{AccountLimits, GLOBAL_ACCOUNT};
use crate::{connection::Subscription, sublist::Sublist};
use links::Links;
pub use membership::Membership;
pub use reach::{Mapped, Reach};
pub use registry::Accounts;
use replies::Replies;
use stream::Shadows;

/// Most subscriptions removed in one hold of the sublist's lock, so that a
/// crowd that leaves does not stop publishers.
const REMOVED_AT_ONCE: usize = 512;

/// One subject space.
pub struct Account {
    /// Its name.
    pub name: String,
    /// Who takes which subject.
    pub sublist: Sublist<Subscription>,
    limits: RwLock<AccountLimits>,
    /// Whether it is the one of the broker's own events and services.
    pub is_system: bool,
    /// Requests from other accounts that wait for their replies here.
    pub replies: Replies,
    connections: AtomicUsize,
    /// Held while a subscription casts its shadows, so that a reload misses
    /// none.
    links: RwLock<Option<Arc<Links>>>,
    shadows: Shadows,
}

impl Account {
    /// An account without subscriptions, limits and links.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            sublist: Sublist::new(),
            limits: RwLock::default(),
            is_system: false,
            replies: Replies::default(),
            connections: AtomicUsize::new(0),
            links: RwLock::default(),
            shadows: Shadows::default(),
        }
    }

    /// What its connections may use.
    pub fn limits(&self) -> AccountLimits {
        *self.limits.read()
    }

    /// What goes over its borders, if anything does.
    pub fn links(&self) -> Option<Arc<Links>> {
        self.links.read().clone()
    }

    /// Client connections in it now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Begins a subscription: publishers reach it from now on, those of
    /// accounts that this one imports from too.
    pub fn subscribe(&self, subscription: Arc<Subscription>) {
        let links = self.links.read();
        if let Some(links) = &*links {
            self.shadows.cast(&subscription, &links.streams);
        }
        self.sublist.insert(subscription);
    }

    /// Puts other limits and links in force; subscriptions reach what is
    /// imported now, and nothing else.
    fn redefine(&self, limits: AccountLimits, links: Option<Links>) {
        *self.limits.write() = limits;
        let mut current = self.links.write();
        *current = links.map(Arc::new);
        self.shadows.lift_all();
        if let Some(links) = &*current {
            let mut own = Vec::new();
            self.sublist.for_each(|known| {
                if !known.is_shadow() {
                    own.push(known.clone());
                }
            });
            for subscription in &own {
                self.shadows.cast(subscription, &links.streams);
                // Whoever ended it meanwhile saw no shadow to take away.
                if subscription.is_closed() {
                    self.shadows.lift(std::slice::from_ref(subscription));
                }
            }
        }
        drop(current);
        self.sublist.touch();
    }

    /// Ends subscriptions: no publisher reaches them from now on.
    pub fn unsubscribe(&self, subscriptions: &[Arc<Subscription>]) {
        subscriptions.iter().for_each(|known| known.close());
        for some in subscriptions.chunks(REMOVED_AT_ONCE) {
            self.sublist.remove(some);
        }
        self.shadows.lift(subscriptions);
    }
}
