//! The subscriptions to exactly one subject or pattern, and what a look-up gathers
//! of several such nodes.
//!
//! Clients choose how many subscriptions and queue groups a node has, and in which
//! order they leave: each comes and goes at the same cost among many. A subscription
//! knows its place ([`Slot`]); the last one takes the place of one that leaves.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::{Entry, names::Places};
use crate::telemetry::held::allocated;

/// Bytes of the list of one subject's first subscription.
pub(super) const FIRST_LEN: usize = allocated(4 * size_of::<usize>());

/// Bytes of each subscription in such a list.
const ENTRY_LEN: usize = size_of::<usize>();

/// A subscription's place in the list that it stands in; the sublist's alone. One
/// that stands in no list, or in that of another sublist, is not found there.
#[derive(Debug, Default)]
pub struct Slot(AtomicU32);

impl Slot {
    /// Written and read under the sublist's lock.
    fn place(&self) -> usize {
        self.0.load(Ordering::Relaxed) as usize
    }

    /// So many subscriptions that 32 bits do not hold a place take more memory than
    /// there is.
    fn set(&self, place: usize) {
        self.0.store(place as u32, Ordering::Relaxed);
    }
}

/// The subscriptions to exactly one subject or pattern.
pub(super) struct Node<T> {
    plain: Vec<Arc<T>>,
    /// Most subjects have none.
    queues: Option<Box<Groups<T>>>,
}

/// The queue groups of a node.
struct Groups<T> {
    list: Vec<Group<T>>,
    by_name: Places,
}

/// A queue group; there is always a member.
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

    /// The bytes that it takes are added to `grown`.
    pub(super) fn insert(&mut self, entry: Arc<T>, grown: &mut usize) {
        *grown += ENTRY_LEN;
        if entry.queue().is_none() {
            *grown += if self.plain.is_empty() { FIRST_LEN } else { 0 };
            return put_in(&mut self.plain, entry);
        }
        let groups = self.queues.get_or_insert_with(|| {
            *grown += Groups::<T>::LEN;
            Box::new(Groups {
                list: Vec::new(),
                by_name: Places::default(),
            })
        });
        groups.insert(entry, grown);
    }

    /// The bytes of what is removed with it are added to `shrunk`; `false` if it was
    /// not there.
    pub(super) fn remove(&mut self, entry: &Arc<T>, shrunk: &mut usize) -> bool {
        *shrunk += ENTRY_LEN;
        if entry.queue().is_none() {
            let removed = take_out(&mut self.plain, entry);
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
    /// Bytes of it without groups.
    const LEN: usize = allocated(size_of::<Self>());

    fn find(&self, name: &[u8]) -> Option<usize> {
        let list = &self.list;
        self.by_name.find(name, list.len(), |at| &list[at].name)
    }

    fn insert(&mut self, entry: Arc<T>, grown: &mut usize) {
        let name = entry.queue().unwrap_or_default();
        if let Some(at) = self.find(name) {
            return put_in(&mut self.list[at].members, entry);
        }
        *grown += group_len::<T>(name);
        let mut group = Group {
            name: name.into(),
            members: Vec::with_capacity(1),
        };
        put_in(&mut group.members, entry);
        self.list.push(group);
        let list = &self.list;
        self.by_name.note(list.len(), |at| &list[at].name);
    }

    fn remove(&mut self, entry: &Arc<T>, shrunk: &mut usize) -> bool {
        let name = entry.queue().unwrap_or_default();
        let Some(at) = self.find(name) else {
            return false;
        };
        let removed = take_out(&mut self.list[at].members, entry);
        if self.list[at].members.is_empty() {
            self.list.swap_remove(at);
            shrink(&mut self.list);
            let list = &self.list;
            let name_at = |at: usize| &*list[at].name;
            self.by_name.swap_removed(name, at, list.len(), name_at);
            *shrunk += group_len::<T>(name);
        }
        removed
    }
}

/// Bytes of a queue group without its members.
fn group_len<T>(name: &[u8]) -> usize {
    allocated(name.len()) + FIRST_LEN + size_of::<Group<T>>() + Places::NAME_LEN
}

/// Puts a subscription at the end of its list.
fn put_in<T: Entry>(entries: &mut Vec<Arc<T>>, entry: Arc<T>) {
    entry.slot().set(entries.len());
    entries.push(entry);
}

/// Takes a subscription out of its list; `false` if it is not there.
fn take_out<T: Entry>(entries: &mut Vec<Arc<T>>, entry: &Arc<T>) -> bool {
    let place = entry.slot().place();
    if !entries
        .get(place)
        .is_some_and(|known| is_same(known, entry))
    {
        return false;
    }
    entries.swap_remove(place);
    if let Some(moved) = entries.get(place) {
        moved.slot().set(place);
    }
    shrink(entries);
    true
}

/// A crowd that has left gives its memory back.
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
    /// A group is known by its name, whatever its members subscribed to.
    pub(super) queues: Vec<Vec<Arc<T>>>,
    /// The names of those.
    names: Vec<&'a [u8]>,
    by_name: Places,
}

impl<'a, T: Entry> Found<'a, T> {
    pub(super) fn new() -> Self {
        Self {
            plain: Vec::new(),
            queues: Vec::new(),
            names: Vec::new(),
            by_name: Places::default(),
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
        // In one node each name stands once.
        let before = self.names.len();
        if before == 0 {
            self.queues.reserve(groups.len());
            self.names.reserve(groups.len());
        }
        let names = &self.names;
        self.by_name.note(before, |at| names[at]);
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
