//! An account: one subject space.
//!
//! Connections of one account reach each other, those of different accounts do
//! not. The server owns the accounts; clients publish and subscribe in theirs.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use crate::{
    connection::{Subscription, interest::LocalInterest, remote::RemoteInterest, worker::Worker},
    sublist::Sublist,
};

/// The account of clients that were given no other.
pub const GLOBAL_ACCOUNT: &str = "$G";

/// Most subscriptions removed in one hold of the sublist's lock, so that a
/// crowd that leaves does not stop publishers.
const REMOVED_AT_ONCE: usize = 512;

/// All accounts of a broker, by name. There is always the global one.
pub struct Accounts {
    global: Arc<Account>,
    by_name: RwLock<BTreeMap<String, Arc<Account>>>,
}

impl Default for Accounts {
    fn default() -> Self {
        let global = Arc::new(Account::new(GLOBAL_ACCOUNT));
        Self {
            by_name: RwLock::new(BTreeMap::from([(global.name.clone(), global.clone())])),
            global,
        }
    }
}

impl Accounts {
    /// The account of clients that were given no other.
    pub fn global(&self) -> &Arc<Account> {
        &self.global
    }

    /// The account of that name.
    pub fn find(&self, name: &str) -> Option<Arc<Account>> {
        self.by_name.read().get(name).cloned()
    }

    /// All accounts, by name.
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.by_name.read().values().cloned().collect()
    }
}

/// One subject space.
pub struct Account {
    /// Its name.
    pub name: String,
    /// Who takes which subject.
    pub sublist: Sublist<Subscription>,
    /// What the peers of the cluster take. Changes only through
    /// [`Account::add_remote`] and [`Account::remove_remote`].
    pub remote: Sublist<RemoteInterest>,
    /// What those peers are told of the sublist.
    pub interest: LocalInterest,
}

impl Account {
    /// An account without subscriptions.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            sublist: Sublist::new(),
            remote: Sublist::new(),
            interest: LocalInterest::new(name),
        }
    }

    /// Begins a subscription: every publisher reaches it from now on.
    pub fn subscribe(&self, worker: &mut Worker, subscription: Arc<Subscription>) {
        self.sublist.insert(subscription.clone());
        self.interest.add(worker, &subscription);
    }

    /// Adds what a peer wants.
    pub fn add_remote(&self, interest: Arc<RemoteInterest>) {
        self.remote.insert(interest);
        self.sublist.touch();
    }

    /// Removes what a peer no longer wants.
    pub fn remove_remote<'a>(&self, interest: impl IntoIterator<Item = &'a Arc<RemoteInterest>>) {
        self.remote.remove(interest);
        self.sublist.touch();
    }

    /// Ends subscriptions: no publisher reaches them from now on.
    pub fn unsubscribe(&self, worker: &mut Worker, subscriptions: &[Arc<Subscription>]) {
        subscriptions.iter().for_each(|known| known.close());
        for some in subscriptions.chunks(REMOVED_AT_ONCE) {
            self.sublist.remove(some);
            self.interest.remove(worker, some);
        }
    }
}
