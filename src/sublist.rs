//! The sublist: from a subject to the subscriptions that take it.
//!
//! Made for many readers and few writers. Subscriptions without wildcards,
//! the great majority, sit in one hash map, so a look-up costs the same among
//! a hundred or a hundred thousand; those with wildcards sit in a tree of
//! tokens. Publishers keep what a look-up found ([`Matches`]) and compare its
//! generation with the sublist's before they use it again, so a publish to a
//! known subject takes no lock. The accounts own sublists; connections insert,
//! remove and look up.

mod names;
mod node;
mod tree;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hashbrown::{HashMap, hash_map::EntryRef};
use parking_lot::RwLock;

pub use self::node::Slot;
use self::{
    node::{FIRST_LEN, Found, Node},
    tree::Level,
};
use crate::{
    subject,
    telemetry::held::{Pool, Share, allocated},
};

/// What the sublist has to know of a subscription.
pub trait Entry {
    /// The subject, wildcards included.
    fn subject(&self) -> &[u8];
    /// The queue group, if it is a member of one.
    fn queue(&self) -> Option<&[u8]>;
    /// Bytes that it takes by itself.
    fn memory(&self) -> usize;
    /// Where it stands. Each is in one sublist at a time.
    fn slot(&self) -> &Slot;
}

/// Places below which a table keeps its size.
const PLACES_MIN: usize = 1024;

/// Subscriptions by subject.
pub struct Sublist<T> {
    index: RwLock<Index<T>>,
    /// What it holds, but for the table of the subjects without wildcards.
    share: Share,
    generation: AtomicU64,
    lookups: AtomicU64,
}

/// The subscriptions that take one subject, as one look-up found them.
pub struct Matches<T> {
    /// The subject that was looked up.
    pub subject: Box<[u8]>,
    /// The sublist's generation at the look-up; see [`Sublist::generation`].
    pub generation: u64,
    /// Subscriptions outside of queue groups: each takes every message.
    pub plain: Vec<Arc<T>>,
    /// Queue groups: one member of each takes a message. A group is known by
    /// its name, whatever its members subscribed to.
    pub queues: Vec<Vec<Arc<T>>>,
}

impl<T> Matches<T> {
    /// Whether nobody takes the subject.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.queues.is_empty()
    }
}

/// Figures of a sublist for `/subsz`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SublistStats {
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Insertions so far.
    pub inserts: u64,
    /// Removals so far.
    pub removes: u64,
    /// Look-ups so far, those that a publisher answered from its cache left out.
    pub lookups: u64,
}

struct Index<T> {
    literals: HashMap<Box<[u8]>, Node<T>>,
    wildcards: Level<T>,
    inserts: u64,
    removes: u64,
}

impl<T: Entry> Sublist<T> {
    /// An empty sublist, whose bytes are a share of `pool`.
    pub fn new(pool: &'static Pool) -> Self {
        Self {
            share: Share::new(pool),
            index: RwLock::new(Index {
                literals: HashMap::new(),
                wildcards: Level::new(),
                inserts: 0,
                removes: 0,
            }),
            generation: AtomicU64::new(1),
            lookups: AtomicU64::new(0),
        }
    }

    /// A number that grows with every change: a result of an older generation
    /// may be out of date.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes every earlier result out of date.
    pub fn touch(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        let index = self.index.read();
        index.literals.is_empty() && index.wildcards.is_empty()
    }

    /// Whether there is room for so many bytes more, for who has others elsewhere; see
    /// [`Share::has_room_with`].
    pub fn has_room_for(&self, bytes: usize, elsewhere: isize) -> bool {
        self.share.has_room_with(elsewhere, bytes)
    }

    /// Bytes that a subscription's place takes besides itself, at most.
    pub fn place_len(subject: &[u8]) -> usize {
        let place = size_of::<(Box<[u8]>, Node<T>)>() * 3 / 2;
        allocated(subject.len()) + FIRST_LEN + place
    }

    /// Bytes of the table of the subjects without wildcards. All else is in its share.
    pub fn table_memory(&self) -> usize {
        self.index.read().literals.allocation_size()
    }

    /// Adds a subscription; its subject must be valid.
    pub fn insert(&self, entry: Arc<T>) {
        let mut index = self.index.write();
        index.inserts += 1;
        let mut grown = entry.memory();
        let node = index.node(entry.subject(), &mut grown);
        node.insert(entry, &mut grown);
        self.share.hold_anyway(grown);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Removes these very subscriptions; unknown ones are passed over.
    pub fn remove<'a>(&self, entries: impl IntoIterator<Item = &'a Arc<T>>)
    where
        T: 'a,
    {
        let mut index = self.index.write();
        for entry in entries {
            let mut shrunk = entry.memory();
            if index.remove(entry, &mut shrunk) {
                index.removes += 1;
                self.share.give_back(shrunk);
            }
        }
        // A crowd that has left gives its memory back.
        let literals = &mut index.literals;
        if literals.capacity() > PLACES_MIN && literals.len() < literals.capacity() / 8 {
            literals.shrink_to(literals.len() * 2);
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Finds everybody who takes a message published to `subject`.
    pub fn lookup(&self, subject: &[u8]) -> Matches<T> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let index = self.index.read();
        let mut found = Found::new();
        if let Some(node) = index.literals.get(subject) {
            found.add(node);
        }
        if !index.wildcards.is_empty() && !subject::has_empty_token(subject) {
            index.wildcards.collect(subject, &mut found);
        }
        Matches {
            subject: subject.into(),
            // Read under the lock: no change can come between it and the result.
            generation: self.generation(),
            plain: found.plain,
            queues: found.queues,
        }
    }

    /// Calls `visit` with every subscription.
    pub fn for_each(&self, mut visit: impl FnMut(&Arc<T>)) {
        let index = self.index.read();
        index
            .literals
            .values()
            .for_each(|node| node.for_each(&mut visit));
        index.wildcards.for_each(&mut visit);
    }

    /// The figures.
    pub fn stats(&self) -> SublistStats {
        let index = self.index.read();
        SublistStats {
            subscriptions: index.inserts - index.removes,
            inserts: index.inserts,
            removes: index.removes,
            lookups: self.lookups.load(Ordering::Relaxed),
        }
    }
}

impl<T: Entry> Index<T> {
    /// The node of a subject or pattern, made if need be: its bytes are added to
    /// `grown`.
    fn node(&mut self, subject: &[u8], grown: &mut usize) -> &mut Node<T> {
        if !subject::is_wildcard(subject) {
            return find_or_insert(&mut self.literals, subject, || {
                *grown += allocated(subject.len());
                Node::new()
            });
        }
        self.wildcards.node(subject, grown)
    }

    /// The bytes of what is removed with it are added to `shrunk`.
    fn remove(&mut self, entry: &Arc<T>, shrunk: &mut usize) -> bool {
        let subject = entry.subject();
        if subject::is_wildcard(subject) {
            return self.wildcards.remove(subject, entry, shrunk);
        }
        let Some(node) = self.literals.get_mut(subject) else {
            return false;
        };
        let removed = node.remove(entry, shrunk);
        if node.is_empty() {
            self.literals.remove(subject);
            *shrunk += allocated(subject.len());
        }
        removed
    }
}

fn find_or_insert<'a, V>(
    map: &'a mut HashMap<Box<[u8]>, V>,
    key: &[u8],
    make: impl FnOnce() -> V,
) -> &'a mut V {
    match map.entry_ref(key) {
        EntryRef::Occupied(entry) => entry.into_mut(),
        EntryRef::Vacant(entry) => entry.insert_with_key(key.into(), make()),
    }
}

#[cfg(test)]
mod tests;
