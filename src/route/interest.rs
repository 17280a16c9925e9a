//! The interest of one peer: its entries in the accounts, changed by its protocol lines and removed
//! when its route ends.
//!
//! A peer announces its interest once, also in accounts that this broker does not know yet. That is
//! stored and becomes effective as soon as a reload defines the account here; nats-server drops it
//! until the route is established again.
//!
//! Entries that exceeded a limit are dropped and counted. Once there is memory again, the route is
//! renewed ([`super::incomplete_interest`]), so that the peer announces everything.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::{
    account::{Account, Accounts},
    connection::{
        Connection,
        buffers::{ThreadBuffers, give_way, with_buffers},
    },
    delivery::remote::{REMOTE_INTEREST, RemoteInterest},
    sublist::Entry,
    telemetry::pool::{Share, allocated, shorten},
};

/// Entries removed under one lock of a sublist, so that removing a peer's interest does not block
/// publishers.
const REMOVED_PER_LOCK: usize = 512;

/// Limit of accounts per peer: beyond it, interest in further unknown accounts is dropped. If a
/// reload defines such an account, its interest is effective only once the route was renewed.
const ACCOUNTS_MAX: usize = 4096;

/// Bytes of an entry besides its subject and its place in the account: its slot in a table that is
/// half full to full.
const ENTRY_LEN: usize = (size_of::<(Box<[u8]>, Arc<RemoteInterest>)>() + 1) * 3 / 2;

/// The route is renewed once less than 1/2 of the limit is used; the margin prevents renewals after
/// every single subscription.
const USED_RATIO_MAX: usize = 2;

/// Bytes of an account besides its name: its slot in the table.
const ACCOUNT_LEN: usize = (size_of::<(String, AccountInterest)>() + 1) * 3 / 2;

/// Number of unknown accounts that are listed.
const NAMES_MAX: usize = 3;

/// Interest in accounts that this broker does not know.
#[derive(Default)]
pub struct UnknownInterest {
    /// The first names.
    pub names: Vec<String>,
    /// Number of accounts.
    pub accounts: usize,
    /// Number of entries in all of them.
    pub entries: usize,
    /// Entries that were dropped because there are too many such accounts.
    pub refused: usize,
}

/// The interest of one peer, by account.
pub struct PeerInterest {
    accounts: Mutex<HashMap<String, AccountInterest>>,
    /// Its share of the memory for all peers' interest.
    share: Share,
    /// Entries that were dropped because there are too many unknown accounts.
    refused: AtomicUsize,
    /// Entries that were dropped because all peers' interest needs too much memory.
    dropped_for_memory: AtomicUsize,
}

impl Default for PeerInterest {
    fn default() -> Self {
        Self {
            accounts: Mutex::default(),
            share: Share::new(&REMOTE_INTEREST),
            refused: AtomicUsize::new(0),
            dropped_for_memory: AtomicUsize::new(0),
        }
    }
}

/// Interest that a peer announces.
pub(super) struct Announced<'a> {
    /// The cluster of the peer's leafnode whose interest it is; empty for none.
    pub(super) origin: &'a [u8],
    pub(super) subject: &'a [u8],
    /// Queue group and number of its members.
    pub(super) queue: Option<(&'a [u8], u32)>,
}

/// The result of adding an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Added {
    /// It is effective.
    Effective,
    /// It is stored until the account is known.
    UnknownAccount,
    /// A limit is reached; it was dropped.
    Refused,
}

struct AccountInterest {
    /// `None`: the account is unknown here.
    account: Option<Arc<Account>>,
    /// By `subject` or `subject queue`; that of a leafnode of the peer by ` origin subject`.
    entries: HashMap<Box<[u8]>, Arc<RemoteInterest>>,
}

impl PeerInterest {
    /// Adds interest of the peer; for a queue group, updates its weight.
    pub(super) fn add(
        &self,
        buffers: &mut ThreadBuffers,
        known: &Accounts,
        account: &str,
        connection: &Arc<Connection>,
        announced: &Announced<'_>,
    ) -> Added {
        let Announced {
            origin,
            subject,
            queue,
        } = *announced;
        let mut accounts = self.accounts.lock();
        let is_full = accounts.len() >= ACCOUNTS_MAX;
        if is_full && !accounts.contains_key(account) && known.find(account).is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Added::Refused;
        }
        let is_new = !accounts.contains_key(account);
        if is_new {
            if !self.share.has_capacity_for(name_len(account)) {
                self.dropped_for_memory.fetch_add(1, Ordering::Relaxed);
                return Added::Refused;
            }
            self.share.grow(name_len(account));
        }
        let entry_list = accounts
            .entry_ref(account)
            .or_insert_with(|| AccountInterest {
                account: known.find(account),
                entries: HashMap::new(),
            });
        let key = key(origin, subject, queue.map(|(name, _)| name));
        let before = entry_list.entries.get(&key);
        let weight = queue.map_or(1, |(_, weight)| weight);
        if before.is_none() && !self.share.reserve(len(&key)) {
            if entry_list.entries.is_empty() {
                accounts.remove(account);
                self.share.shrink(name_len(account));
            }
            self.dropped_for_memory.fetch_add(1, Ordering::Relaxed);
            return Added::Refused;
        }
        if before.is_none_or(|before| before.weight != weight) {
            let entry = Arc::new(RemoteInterest::new(connection.clone(), subject, queue));
            let before = entry_list.entries.insert(key, entry.clone());
            if let Some(account) = &entry_list.account {
                account.add_remote(buffers, entry);
                account.remove_remote(buffers, &before);
            }
        }
        match entry_list.account {
            Some(_) => Added::Effective,
            None => Added::UnknownAccount,
        }
    }

    /// Removes interest of the peer; unknown interest is ignored.
    pub(super) fn remove(
        &self,
        buffers: &mut ThreadBuffers,
        account: &str,
        (origin, subject, queue): (&[u8], &[u8], Option<&[u8]>),
    ) {
        let mut accounts = self.accounts.lock();
        let Some(entry_list) = accounts.get_mut(account) else {
            return;
        };
        let key = key(origin, subject, queue);
        let entry = entry_list.entries.remove(&key);
        if entry.is_some() {
            self.share.release(len(&key));
        }
        if let Some(account) = &entry_list.account {
            account.remove_remote(buffers, &entry);
        }
        if entry_list.entries.is_empty() {
            accounts.remove(account);
            self.share.shrink(name_len(account));
        }
    }

    /// Attaches everything to the right accounts after some were added, removed or replaced by
    /// others with the same name.
    pub(super) fn reattach(&self, known: &Accounts) {
        for (name, entry_list) in self.accounts.lock().iter_mut() {
            let account = known.find(name);
            if entry_list.account.as_ref().map(Arc::as_ptr) == account.as_ref().map(Arc::as_ptr) {
                continue;
            }
            entry_list.detach();
            if let Some(account) = &account {
                with_buffers(|buffers| {
                    let entries = entry_list.entries.values();
                    entries.for_each(|entry| account.add_remote(buffers, entry.clone()));
                    buffers.flush_touched();
                });
            }
            entry_list.account = account;
        }
    }

    /// Removes everything after the end of the route, in parts between which other tasks can run.
    pub(super) async fn clear(&self) {
        let accounts = std::mem::take(&mut *self.accounts.lock());
        for entry_list in accounts.into_values() {
            let mut entries = entry_list.entries.into_iter();
            while entries.len() > 0 {
                let some = entries.by_ref().take(REMOVED_PER_LOCK);
                let some: Vec<_> = some.map(|(_, entry)| entry).collect();
                if let Some(account) = &entry_list.account {
                    with_buffers(|buffers| {
                        account.remove_remote(buffers, &some);
                        buffers.flush_touched();
                    });
                }
                drop(some);
                give_way().await;
            }
        }
        self.share.release_all();
    }

    /// Number of effective entries: in known accounts, and exported.
    pub fn count(&self) -> usize {
        let accounts = self.accounts.lock();
        accounts
            .values()
            .map(|entry_list| entry_list.effective().count())
            .sum()
    }

    /// The interest in unknown accounts.
    pub fn in_unknown_accounts(&self) -> UnknownInterest {
        let accounts = self.accounts.lock();
        let mut unknown = UnknownInterest {
            refused: self.refused.load(Ordering::Relaxed),
            ..UnknownInterest::default()
        };
        let mut names: Vec<&String> = Vec::new();
        for (name, entry_list) in accounts
            .iter()
            .filter(|(_, entry_list)| entry_list.account.is_none())
        {
            unknown.accounts += 1;
            unknown.entries += entry_list.entries.len();
            let at = names.partition_point(|known| *known < name);
            if at < NAMES_MAX {
                names.insert(at, name);
                names.truncate(NAMES_MAX);
            }
        }
        unknown.names = names
            .iter()
            .map(|name| shorten(name).into_owned())
            .collect();
        unknown
    }

    /// Number of entries that were dropped because all peers' interest needs too much memory.
    pub fn dropped_for_memory(&self) -> usize {
        self.dropped_for_memory.load(Ordering::Relaxed)
    }

    /// Whether entries were dropped for which there is memory now.
    pub(super) fn must_be_renewed(&self) -> bool {
        let has_memory = REMOTE_INTEREST.used() < REMOTE_INTEREST.limit() / USED_RATIO_MAX;
        match self.refused.load(Ordering::Relaxed) {
            0 => self.dropped_for_memory() > 0 && has_memory,
            _ => has_memory && self.accounts.lock().len() < ACCOUNTS_MAX / USED_RATIO_MAX,
        }
    }

    /// The first `max` effective entries, each with the name of its account.
    pub fn list(&self, max: usize) -> Vec<(String, Arc<RemoteInterest>)> {
        let accounts = self.accounts.lock();
        let all = accounts.iter().flat_map(|(name, entry_list)| {
            let entries = entry_list.effective();
            entries.map(move |entry| (name.clone(), entry.clone()))
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

impl AccountInterest {
    /// The effective entries: the account is known and exports them.
    fn effective(&self) -> impl Iterator<Item = &Arc<RemoteInterest>> {
        let account = self.account.as_ref();
        let is_effective = move |entry: &&Arc<RemoteInterest>| {
            account.is_some_and(|account| account.exports_to(entry))
        };
        self.entries.values().filter(is_effective)
    }

    /// Removes its entries from the account.
    fn detach(&self) {
        let Some(account) = &self.account else {
            return;
        };
        let entries: Vec<_> = self.entries.values().collect();
        for some in entries.chunks(REMOVED_PER_LOCK) {
            with_buffers(|buffers| {
                account.remove_remote(buffers, some.iter().copied());
                buffers.flush_touched();
            });
        }
    }
}

/// Bytes of an account of this name, without its entries.
fn name_len(account: &str) -> usize {
    ACCOUNT_LEN + allocated(account.len())
}

/// Bytes of the entry with this key, without its place in the account.
fn len(key: &[u8]) -> usize {
    // The entry itself is counted in the account.
    ENTRY_LEN + allocated(key.len())
}

/// No part of it contains a blank.
fn key(origin: &[u8], subject: &[u8], queue: Option<&[u8]>) -> Box<[u8]> {
    let of_leafnode: &[&[u8]] = match origin.is_empty() {
        true => &[],
        false => &[b" ", origin, b" "],
    };
    let of_queue: &[&[u8]] = match &queue {
        Some(queue) => &[b" ", queue],
        None => &[],
    };
    [of_leafnode, &[subject], of_queue].concat().concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::budget::Budget;

    /// Interest in unknown accounts is limited, and the number of dropped entries is reported;
    /// known accounts are not affected.
    #[tokio::test]
    async fn interest_in_unknown_accounts_is_limited() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let budget = Arc::new(Budget::new(1 << 20));
        let connection = Connection::new(
            crate::connection::Kind::Router,
            1,
            address,
            Arc::new(stream),
            1 << 20,
            budget,
        );
        let (connection, known) = (Arc::new(connection), Accounts::default());
        let interest = PeerInterest::default();
        let add = |account: &str, subject: &[u8]| {
            let announced = Announced {
                origin: b"",
                subject,
                queue: None,
            };
            with_buffers(|buffers| interest.add(buffers, &known, account, &connection, &announced))
        };
        let remove = |account: &str, subject: &[u8]| {
            with_buffers(|buffers| interest.remove(buffers, account, (b"", subject, None)));
        };
        for number in 0..ACCOUNTS_MAX {
            assert_eq!(add(&format!("A{number}"), b"a"), Added::UnknownAccount);
        }
        let held = interest.share.bytes();
        assert_eq!(add("one more", b"a"), Added::Refused);
        assert_eq!(add("A0", b"b"), Added::UnknownAccount);
        let global = &known.global().name;
        assert_eq!(add(global, b"a"), Added::Effective);
        assert_eq!(interest.count(), 1);
        let unknown = interest.in_unknown_accounts();
        assert_eq!((unknown.accounts, unknown.refused), (ACCOUNTS_MAX, 1));
        assert!(interest.share.bytes() > held);
        remove("A0", b"b");
        remove(global, b"a");
        assert_eq!(interest.share.bytes(), held);
        interest.clear().await;
        assert_eq!(interest.share.bytes(), 0);
    }
}
