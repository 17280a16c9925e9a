//! What one peer wants: its entries in the accounts' remote interest, to be
//! changed by its lines and removed with its route.
//!
//! A peer tells what is wanted once, also in accounts that only its
//! configuration defines yet. That is kept, and counts as soon as a reload
//! defines the account here too; nats-server forgets it until the route is made
//! anew.
//!
//! What found no room is not asked for again by itself: it is counted, and once
//! there is room again the route is made anew, so that the peer tells everything.

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
        buffers::give_way,
        remote::{REMOTE_INTEREST, RemoteInterest},
    },
    sublist::Entry,
    telemetry::pool::{Share, allocated, shorten},
};

/// Entries removed in one hold of a sublist's lock, so that a peer that leaves
/// does not stop publishers.
const REMOVED_AT_ONCE: usize = 512;

/// Once a peer's interest lies in so many accounts, it is kept no more in further
/// ones that this broker has not: after a reload that counts only once the route
/// is made anew.
const ACCOUNTS_MAX: usize = 4096;

/// Bytes of an entry besides its subject and its place in the account: its place in
/// a table that is half full to full.
const ENTRY_LEN: usize = (size_of::<(Box<[u8]>, Arc<RemoteInterest>)>() + 1) * 3 / 2;

/// What was not kept is asked for again once less than one part in so many is taken:
/// the difference keeps routes from coming and going with each subscription.
const ROOM_PART: usize = 2;

/// Bytes of an account besides its name: its place in the table.
const ACCOUNT_LEN: usize = (size_of::<(String, InAccount)>() + 1) * 3 / 2;

/// Names of such accounts that are told.
const NAMES_MAX: usize = 3;

/// Interest in accounts that this broker has not.
#[derive(Default)]
pub struct Unknown {
    /// The first names.
    pub names: Vec<String>,
    /// How many accounts.
    pub accounts: usize,
    /// Entries in all of them.
    pub entries: usize,
    /// Entries that were not kept: they are in too many such accounts.
    pub refused: usize,
}

/// The interest of one peer, by account.
pub struct PeerInterest {
    accounts: Mutex<HashMap<String, InAccount>>,
    /// Its part of what all peers' interest may take.
    share: Share,
    /// Entries that were not kept, as they were in too many unknown accounts.
    refused: AtomicUsize,
    /// Entries that were not kept, as all peers' interest took too much.
    no_room: AtomicUsize,
}

impl Default for PeerInterest {
    fn default() -> Self {
        Self {
            accounts: Mutex::default(),
            share: Share::new(&REMOTE_INTEREST),
            refused: AtomicUsize::new(0),
            no_room: AtomicUsize::new(0),
        }
    }
}

/// What came of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Added {
    /// It counts.
    Known,
    /// It is kept until the account is known.
    Unknown,
    /// There is no room for it.
    NoRoom,
}

struct InAccount {
    /// `None`: there is no such account here.
    account: Option<Arc<Account>>,
    /// By `subject` or `subject queue`.
    entries: HashMap<Box<[u8]>, Arc<RemoteInterest>>,
}

impl PeerInterest {
    /// Adds what the peer wants; of a queue group it replaces the weight.
    pub(super) fn add(
        &self,
        known: &Accounts,
        account: &str,
        connection: &Arc<Connection>,
        subject: &[u8],
        queue: Option<(&[u8], u32)>,
    ) -> Added {
        let mut accounts = self.accounts.lock();
        let is_full = accounts.len() >= ACCOUNTS_MAX;
        if is_full && !accounts.contains_key(account) && known.find(account).is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Added::NoRoom;
        }
        let is_new = !accounts.contains_key(account);
        if is_new {
            if !self.share.has_capacity_for(name_len(account)) {
                self.no_room.fetch_add(1, Ordering::Relaxed);
                return Added::NoRoom;
            }
            self.share.grow(name_len(account));
        }
        let here = accounts.entry_ref(account).or_insert_with(|| InAccount {
            account: known.find(account),
            entries: HashMap::new(),
        });
        let key = key(subject, queue.map(|(name, _)| name));
        let before = here.entries.get(&key);
        let weight = queue.map_or(1, |(_, weight)| weight);
        if before.is_none() && !self.share.reserve(len(&key)) {
            if here.entries.is_empty() {
                accounts.remove(account);
                self.share.shrink(name_len(account));
            }
            self.no_room.fetch_add(1, Ordering::Relaxed);
            return Added::NoRoom;
        }
        if before.is_none_or(|before| before.weight != weight) {
            let entry = Arc::new(RemoteInterest::new(connection.clone(), subject, queue));
            let before = here.entries.insert(key, entry.clone());
            if let Some(account) = &here.account {
                account.add_remote(entry);
                account.remove_remote(&before);
            }
        }
        match here.account {
            Some(_) => Added::Known,
            None => Added::Unknown,
        }
    }

    /// Removes what the peer no longer wants; what it never wanted is passed
    /// over.
    pub(super) fn remove(&self, account: &str, subject: &[u8], queue: Option<&[u8]>) {
        let mut accounts = self.accounts.lock();
        let Some(here) = accounts.get_mut(account) else {
            return;
        };
        let key = key(subject, queue);
        let entry = here.entries.remove(&key);
        if entry.is_some() {
            self.share.release(len(&key));
        }
        if let Some(account) = &here.account {
            account.remove_remote(&entry);
        }
        if here.entries.is_empty() {
            accounts.remove(account);
            self.share.shrink(name_len(account));
        }
    }

    /// Moves everything to where it belongs after accounts came, went or were
    /// replaced by others of the same name.
    pub(super) fn settle(&self, known: &Accounts) {
        for (name, here) in self.accounts.lock().iter_mut() {
            let account = known.find(name);
            if here.account.as_ref().map(Arc::as_ptr) == account.as_ref().map(Arc::as_ptr) {
                continue;
            }
            here.leave();
            if let Some(account) = &account {
                here.entries
                    .values()
                    .for_each(|entry| account.add_remote(entry.clone()));
            }
            here.account = account;
        }
    }

    /// Removes everything: the route has ended. In parts between which others have
    /// their turn, the memory too.
    pub(super) async fn clear(&self) {
        let accounts = std::mem::take(&mut *self.accounts.lock());
        for here in accounts.into_values() {
            let mut entries = here.entries.into_iter();
            while entries.len() > 0 {
                let some = entries.by_ref().take(REMOVED_AT_ONCE);
                let some: Vec<_> = some.map(|(_, entry)| entry).collect();
                if let Some(account) = &here.account {
                    account.remove_remote(&some);
                }
                drop(some);
                give_way().await;
            }
        }
        self.share.release_all();
    }

    /// How many entries count: those in accounts of this broker, as far as they
    /// are exported.
    pub fn count(&self) -> usize {
        let accounts = self.accounts.lock();
        accounts.values().map(|here| here.counting().count()).sum()
    }

    /// What is wanted in accounts that this broker has not.
    pub fn in_unknown_accounts(&self) -> Unknown {
        let accounts = self.accounts.lock();
        let mut unknown = Unknown {
            refused: self.refused.load(Ordering::Relaxed),
            ..Unknown::default()
        };
        let mut names: Vec<&String> = Vec::new();
        for (name, here) in accounts.iter().filter(|(_, here)| here.account.is_none()) {
            unknown.accounts += 1;
            unknown.entries += here.entries.len();
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

    /// Times that something was not kept, as all peers' interest took too much.
    pub fn no_room(&self) -> usize {
        self.no_room.load(Ordering::Relaxed)
    }

    /// Whether something was not kept for which there is room by now.
    pub(super) fn is_to_be_told_anew(&self) -> bool {
        let has_room = REMOTE_INTEREST.used() < REMOTE_INTEREST.limit() / ROOM_PART;
        match self.refused.load(Ordering::Relaxed) {
            0 => self.no_room() > 0 && has_room,
            _ => has_room && self.accounts.lock().len() < ACCOUNTS_MAX / ROOM_PART,
        }
    }

    /// The first `max` entries that count, each with the name of its account.
    pub fn list(&self, max: usize) -> Vec<(String, Arc<RemoteInterest>)> {
        let accounts = self.accounts.lock();
        let all = accounts.iter().flat_map(|(name, here)| {
            let entries = here.counting();
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

impl InAccount {
    /// The entries that count: there is the account, and it exports them.
    fn counting(&self) -> impl Iterator<Item = &Arc<RemoteInterest>> {
        let account = self.account.as_ref();
        let counts = move |entry: &&Arc<RemoteInterest>| {
            account.is_some_and(|account| account.exports_to(entry))
        };
        self.entries.values().filter(counts)
    }

    /// Takes its entries out of the account.
    fn leave(&self) {
        let Some(account) = &self.account else {
            return;
        };
        let entries: Vec<_> = self.entries.values().collect();
        for some in entries.chunks(REMOVED_AT_ONCE) {
            account.remove_remote(some.iter().copied());
        }
    }
}

/// Bytes of an account of this name, without its entries.
fn name_len(account: &str) -> usize {
    ACCOUNT_LEN + allocated(account.len())
}

/// Bytes of the entry with this key, without its place in the account.
fn len(key: &[u8]) -> usize {
    // The entry itself is counted where it stands in the account.
    ENTRY_LEN + allocated(key.len())
}

/// Neither subject nor queue group holds a blank.
fn key(subject: &[u8], queue: Option<&[u8]>) -> Box<[u8]> {
    match queue {
        Some(queue) => [subject, b" ", queue].concat().into(),
        None => subject.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::budget::Budget;

    /// Of accounts that this broker has not only so many are kept, which is told;
    /// those that it has always count.
    #[tokio::test]
    async fn unknown_accounts_are_bounded() {
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
            interest.add(&known, account, &connection, subject, None)
        };
        for number in 0..ACCOUNTS_MAX {
            assert_eq!(add(&format!("A{number}"), b"a"), Added::Unknown);
        }
        let held = interest.share.bytes();
        assert_eq!(add("one more", b"a"), Added::NoRoom);
        assert_eq!(add("A0", b"b"), Added::Unknown);
        let global = &known.global().name;
        assert_eq!(add(global, b"a"), Added::Known);
        assert_eq!(interest.count(), 1);
        let unknown = interest.in_unknown_accounts();
        assert_eq!((unknown.accounts, unknown.refused), (ACCOUNTS_MAX, 1));
        assert!(interest.share.bytes() > held);
        interest.remove("A0", b"b", None);
        interest.remove(global, b"a", None);
        assert_eq!(interest.share.bytes(), held);
        interest.clear().await;
        assert_eq!(interest.share.bytes(), 0);
    }
}
