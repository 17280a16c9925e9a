//! The interest of one leafnode: its entries in its account, changed by its protocol lines and removed
//! when its connection ends.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::{
    account::Account,
    connection::{
        Connection,
        buffers::{ThreadBuffers, give_way, with_buffers},
    },
    delivery::{
        leaf_side::LeafSide,
        remote::{REMOTE_INTEREST, RemoteInterest},
    },
    sublist::Entry,
    telemetry::pool::{Share, allocated},
};

/// Entries removed in one part, so that the end of a leafnode does not block others.
const REMOVED_AT_ONCE: usize = 512;

/// Bytes of an entry besides its subject and its place in the account: its slots in the table here
/// and in the one that counts interest by its origin, both half full to full.
const ENTRY_LEN: usize =
    (size_of::<(Box<[u8]>, Arc<RemoteInterest>)>() + size_of::<(Arc<[u8]>, u32)>() + 2) * 3 / 2;

/// The entries of one leafnode.
pub struct LeafEntries {
    /// By `subject` or `subject queue`.
    entries: Mutex<HashMap<Box<[u8]>, Arc<RemoteInterest>>>,
    /// Its share of the memory for the interest of other brokers.
    share: Share,
}

impl Default for LeafEntries {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            share: Share::new(&REMOTE_INTEREST),
        }
    }
}

impl LeafEntries {
    /// Adds interest of a leafnode; for a queue group, updates its weight. `false`: there is no memory
    /// for it, or it has `max` already.
    pub(super) fn add(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Account,
        (connection, side): (&Arc<Connection>, &Arc<LeafSide>),
        subject: &[u8],
        queue: Option<(&[u8], u32)>,
        max: Option<usize>,
    ) -> bool {
        let key = key(subject, queue.map(|(name, _)| name));
        let weight = queue.map_or(1, |(_, weight)| weight);
        let (entry, before) = {
            let mut entries = self.entries.lock();
            let before = entries.get(&key);
            if before.is_some_and(|before| before.weight == weight) {
                return true;
            }
            let is_new = before.is_none();
            let is_full = max.is_some_and(|max| entries.len() >= max);
            if is_new && (is_full || !self.share.reserve(len(&key))) {
                return false;
            }
            let (connection, side) = (connection.clone(), side.clone());
            let entry = RemoteInterest::of_leafnode(connection, side, subject, queue);
            let entry = Arc::new(entry);
            let before = entries.insert(key, entry.clone());
            (entry, before)
        };
        account.add_leaf_interest(buffers, entry);
        if let Some(before) = before {
            account.remove_leaf_interest(buffers, &[before]);
        }
        true
    }

    /// Removes interest; unknown interest is ignored.
    pub(super) fn remove(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Account,
        subject: &[u8],
        queue: Option<&[u8]>,
    ) {
        let key = key(subject, queue);
        let entry = self.entries.lock().remove(&key);
        if let Some(entry) = entry {
            self.share.release(len(&key));
            account.remove_leaf_interest(buffers, &[entry]);
        }
    }

    /// Removes everything after the end of the connection, in parts between which other tasks can run.
    pub(super) async fn clear(&self, account: &Account) {
        let entries = std::mem::take(&mut *self.entries.lock());
        let entries: Vec<_> = entries.into_values().collect();
        for some in entries.chunks(REMOVED_AT_ONCE) {
            with_buffers(|buffers| {
                account.remove_leaf_interest(buffers, some);
                buffers.flush_touched();
            });
            give_way().await;
        }
        self.share.release_all();
    }

    /// Number of entries.
    pub fn count(&self) -> usize {
        self.entries.lock().len()
    }

    /// The subjects of the first `max` entries, in order.
    pub fn subjects(&self, max: usize) -> Vec<String> {
        let entries = self.entries.lock();
        let text =
            |entry: &Arc<RemoteInterest>| String::from_utf8_lossy(entry.subject()).into_owned();
        let mut subjects: Vec<String> = entries.values().take(max).map(text).collect();
        subjects.sort();
        subjects
    }
}

/// Bytes of the entry with this key, without its place in the account.
fn len(key: &[u8]) -> usize {
    // The entry itself is counted in the account.
    ENTRY_LEN + 2 * allocated(key.len())
}

/// Neither subject nor queue group contains a blank.
fn key(subject: &[u8], queue: Option<&[u8]>) -> Box<[u8]> {
    match queue {
        Some(queue) => [subject, b" ", queue].concat().into(),
        None => subject.into(),
    }
}
