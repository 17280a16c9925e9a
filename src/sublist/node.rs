//! The subscriptions to one subject or pattern, and the combination of several such nodes in a
//! look-up.
//!
//! Clients choose how many subscriptions and queue groups a node has and in which order they are
//! removed, so the cost of adding and removing one must not depend on their number. A subscription
//! knows its index in the list ([`Slot`]); when one is removed, the last one moves to its index.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::{Entry, names::NameIndex};
use crate::telemetry::pool::allocated;

/// Bytes of a list with one subscription.
pub(super) const FIRST_LEN: usize = allocated(4 * size_of::<usize>());

/// Bytes of each subscription in a list.
const ENTRY_LEN: usize = size_of::<usize>();

/// A subscription's index in its list. Only the sublist changes it. A subscription that is in no
/// list, or in that of another sublist, is recognised as absent.
#[derive(Debug, Default)]
pub struct Slot(AtomicU32);

impl Slot {
    /// Written and read under the sublist's lock.
    fn index(&self) -> usize {
        self.0.load(Ordering::Relaxed) as usize
    }

    /// Memory would be exhausted before an index exceeds 32 bits.
    fn set(&self, index: usize) {
        self.0.store(index as u32, Ordering::Relaxed);
    }
}

/// The subscriptions to one subject or pattern.
pub(super) struct Node<T> {
    plain: Vec<Arc<T>>,
    /// Most subjects have no queue groups.
    queues: Option<Box<Groups<T>>>,
}

/// The queue groups of a node.
struct Groups<T> {
    list: Vec<Group<T>>,
    by_name: NameIndex,
}

/// A queue group with at least one member.
struct Group<T> {
    name: Box<[u8]>,
    members: Vec<Arc<T>>,
}

impl<T: Entry> Node<T> {
    pub(super) fn new() -> Self {
        Self {
            plain: Vec::new(),
            queues: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.queues.is_none()
    }

    /// Adds a subscription, and its memory to `grown`.
    pub(super) fn insert(&mut self, entry: Arc<T>, grown: &mut usize) {
        *grown += ENTRY_LEN;
        if entry.queue().is_none() {
            *grown += if self.plain.is_empty() { FIRST_LEN } else { 0 };
            return push_entry(&mut self.plain, entry);
        }
        let groups = self.queues.get_or_insert_with(|| {
            *grown += Groups::<T>::LEN;
            Box::new(Groups {
                list: Vec::new(),
                by_name: NameIndex::default(),
            })
        });
        groups.insert(entry, grown);
    }

    /// Removes a subscription and adds the freed memory to `shrunk`; `false` if it was not there.
    pub(super) fn remove(&mut self, entry: &Arc<T>, shrunk: &mut usize) -> bool {
        *shrunk += ENTRY_LEN;
        if entry.queue().is_none() {
            let removed = remove_entry(&mut self.plain, entry);
            *shrunk += if self.plain.is_empty() { FIRST_LEN } else { 0 };
            return removed;
        }
        let Some(groups) = &mut self.queues else {
            return false;
        };
        let removed = groups.remove(entry, shrunk);
        if groups.list.is_empty() {
            self.queues = None;
            *shrunk += Groups::<T>::LEN;
        }
        removed
    }

    pub(super) fn for_each(&self, visit: &mut impl FnMut(&Arc<T>)) {
        self.plain.iter().for_each(&mut *visit);
        for group in self.queues.iter().flat_map(|groups| &groups.list) {
            group.members.iter().for_each(&mut *visit);
        }
    }
}

impl<T: Entry> Groups<T> {
    /// Bytes without any group.
    const LEN: usize = allocated(size_of::<Self>());

    fn find(&self, name: &[u8]) -> Option<usize> {
        let list = &self.list;
        self.by_name.find(name, list.len(), |at| &list[at].name)
    }

    fn insert(&mut self, entry: Arc<T>, grown: &mut usize) {
        let name = entry.queue().unwrap_or_default();
        if let Some(at) = self.find(name) {
            return push_entry(&mut self.list[at].members, entry);
        }
        *grown += group_len::<T>(name);
        let mut group = Group {
            name: name.into(),
            members: Vec::with_capacity(1),
        };
        push_entry(&mut group.members, entry);
        self.list.push(group);
        let list = &self.list;
        self.by_name.update(list.len(), |at| &list[at].name);
    }

    fn remove(&mut self, entry: &Arc<T>, shrunk: &mut usize) -> bool {
        let name = entry.queue().unwrap_or_default();
        let Some(at) = self.find(name) else {
            return false;
        };
        let removed = remove_entry(&mut self.list[at].members, entry);
        if self.list[at].members.is_empty() {
            self.list.swap_remove(at);
            shrink(&mut self.list);
            let list = &self.list;
            let name_at = |at: usize| &*list[at].name;
            self.by_name.swap_remove(name, at, list.len(), name_at);
            *shrunk += group_len::<T>(name);
        }
        removed
    }
}

/// Bytes of a queue group without its members.
fn group_len<T>(name: &[u8]) -> usize {
    allocated(name.len()) + FIRST_LEN + size_of::<Group<T>>() + NameIndex::NAME_LEN
}

/// Appends a subscription to its list.
fn push_entry<T: Entry>(entries: &mut Vec<Arc<T>>, entry: Arc<T>) {
    entry.slot().set(entries.len());
    entries.push(entry);
}

/// Removes a subscription from its list; `false` if it is not there.
fn remove_entry<T: Entry>(entries: &mut Vec<Arc<T>>, entry: &Arc<T>) -> bool {
    let index = entry.slot().index();
    if !entries
        .get(index)
        .is_some_and(|known| is_same(known, entry))
    {
        return false;
    }
    entries.swap_remove(index);
    if let Some(moved) = entries.get(index) {
        moved.slot().set(index);
    }
    shrink(entries);
    true
}

/// Shrinks the list when most of it has gone.
fn shrink<V>(list: &mut Vec<V>) {
    if list.len() * 4 < list.capacity() {
        list.shrink_to(list.len() * 2);
    }
}

fn is_same<T>(one: &Arc<T>, other: &Arc<T>) -> bool {
    #[cfg(test)]
    super::tests::count_step();
    Arc::ptr_eq(one, other)
}

/// What a look-up has found so far.
pub(super) struct Found<'a, T> {
    pub(super) plain: Vec<Arc<T>>,
    /// A group is identified by its name alone; its members may have different patterns.
    pub(super) queues: Vec<Vec<Arc<T>>>,
    /// The names of the groups.
    names: Vec<&'a [u8]>,
    by_name: NameIndex,
}

impl<'a, T: Entry> Found<'a, T> {
    pub(super) fn new() -> Self {
        Self {
            plain: Vec::new(),
            queues: Vec::new(),
            names: Vec::new(),
            by_name: NameIndex::default(),
        }
    }

    /// Adds a node's subscriptions.
    pub(super) fn add(&mut self, node: &'a Node<T>) {
        self.plain.extend_from_slice(&node.plain);
        if let Some(groups) = &node.queues {
            self.add_groups(&groups.list);
        }
    }

    fn add_groups(&mut self, groups: &'a [Group<T>]) {
        // Within one node names are unique, so only those found before are compared.
        let before = self.names.len();
        if before == 0 {
            self.queues.reserve(groups.len());
            self.names.reserve(groups.len());
        }
        let names = &self.names;
        self.by_name.update(before, |at| names[at]);
        for group in groups {
            let names = &self.names;
            match self.by_name.find(&group.name, before, |at| names[at]) {
                Some(at) => self.queues[at].extend_from_slice(&group.members),
                None => {
                    self.names.push(&group.name);
                    self.queues.push(group.members.clone());
                }
            }
        }
    }
}
