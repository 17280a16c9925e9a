//! What one peer wants: its entries in the accounts' remote interest, to be
//! changed by its lines and removed with its route.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::{
    account::Account,
    connection::{Connection, remote::RemoteInterest},
    sublist::Entry,
};

/// Entries removed in one hold of a sublist's lock, so that a peer that leaves
/// does not stop publishers.
const REMOVED_AT_ONCE: usize = 512;

/// The interest of one peer, by account.
#[derive(Default)]
pub struct PeerInterest(Mutex<HashMap<String, InAccount>>);

struct InAccount {
    account: Arc<Account>,
    /// By `subject` or `subject queue`.
    entries: HashMap<Box<[u8]>, Arc<RemoteInterest>>,
}

impl PeerInterest {
    /// Adds what the peer wants; of a queue group it replaces the weight.
    pub(super) fn add(
        &self,
        account: &Arc<Account>,
        connection: &Arc<Connection>,
        subject: &[u8],
        queue: Option<(&[u8], u32)>,
    ) {
        let mut accounts = self.0.lock();
        let here = accounts
            .entry_ref(account.name.as_str())
            .or_insert_with(|| InAccount {
                account: account.clone(),
                entries: HashMap::new(),
            });
        let key = key(subject, queue.map(|(name, _)| name));
        let before = here.entries.get(&key);
        let weight = queue.map_or(1, |(_, weight)| weight);
        if before.is_some_and(|before| before.weight == weight) {
            return;
        }
        let entry = Arc::new(RemoteInterest::new(connection.clone(), subject, queue));
        account.add_remote(entry.clone());
        if let Some(before) = here.entries.insert(key, entry) {
            account.remove_remote([&before]);
        }
    }

    /// Removes what the peer no longer wants; what it never wanted is passed
    /// over.
    pub(super) fn remove(&self, account: &str, subject: &[u8], queue: Option<&[u8]>) {
        let mut accounts = self.0.lock();
        let Some(here) = accounts.get_mut(account) else {
            return;
        };
        if let Some(entry) = here.entries.remove(&key(subject, queue)) {
            here.account.remove_remote([&entry]);
        }
        if here.entries.is_empty() {
            accounts.remove(account);
        }
    }

    /// Removes everything: the route has ended.
    pub(super) fn clear(&self) {
        let accounts = std::mem::take(&mut *self.0.lock());
        for here in accounts.into_values() {
            let entries: Vec<_> = here.entries.into_values().collect();
            for some in entries.chunks(REMOVED_AT_ONCE) {
                here.account.remove_remote(some);
            }
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        let accounts = self.0.lock();
        accounts.values().map(|here| here.entries.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The first `max` entries, each with the name of its account.
    pub fn list(&self, max: usize) -> Vec<(String, Arc<RemoteInterest>)> {
        let accounts = self.0.lock();
        let all = accounts.values().flat_map(|here| {
            let name = &here.account.name;
            here.entries
                .values()
                .map(move |entry| (name.clone(), entry.clone()))
        });
        let mut listed: Vec<_> = all.take(max).collect();
        listed.sort_by(|one, other| {
            let key = |(name, entry): &(String, Arc<RemoteInterest>)| {
                (
                    name.clone(),
                    entry.subject().to_vec(),
                    entry.queue().map(<[u8]>::to_vec),
                )
            };
            key(one).cmp(&key(other))
        });
        listed
    }
}

/// Neither subject nor queue group holds a blank.
fn key(subject: &[u8], queue: Option<&[u8]>) -> Box<[u8]> {
    match queue {
        Some(queue) => [subject, b" ", queue].concat().into(),
        None => subject.into(),
    }
}
