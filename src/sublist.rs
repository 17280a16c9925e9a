//! The sublist: from a subject to the subscriptions that take it.
//!
//! Made for many readers and few writers. Subscriptions without wildcards,
//! the great majority, sit in one hash map, so a look-up costs the same among
//! a hundred or a hundred thousand; those with wildcards sit in a tree of
//! tokens. Publishers keep what a look-up found ([`Matches`]) and compare its
//! generation with the sublist's before they use it again, so a publish to a
//! known subject takes no lock. The accounts own sublists; connections insert,
//! remove and look up.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hashbrown::{HashMap, hash_map::RawEntryMut};
use parking_lot::RwLock;

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
}

/// Bytes of the list of one subject's first subscription.
const FIRST_LEN: usize = allocated(4 * size_of::<usize>());

/// Bytes of each subscription in such a list.
const ENTRY_LEN: usize = size_of::<usize>();

/// Bytes of a token's place in a tree whose tables are half full to full.
const CHILD_LEN: usize = 240;

/// Bytes of the table of a token's first child besides that child's.
const FIRST_CHILD_LEN: usize = 480;

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

/// The subscriptions to exactly one subject or pattern.
struct Node<T> {
    plain: Vec<Arc<T>>,
    queues: Vec<QueueGroup<T>>,
}

/// A queue group's name and members.
type QueueGroup<T> = (Box<[u8]>, Vec<Arc<T>>);

/// One token's place in the tree of patterns.
struct Level<T> {
    children: HashMap<Box<[u8]>, Level<T>>,
    star: Option<Box<Level<T>>>,
    /// Patterns that end here.
    here: Node<T>,
    /// Patterns that end with `>` after this token.
    rest: Node<T>,
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
        let mut found = Matches {
            subject: subject.into(),
            // Read under the lock: no change can come between it and the result.
            generation: self.generation(),
            plain: Vec::new(),
            queues: Vec::new(),
        };
        let mut names: Vec<&[u8]> = Vec::new();
        if let Some(node) = index.literals.get(subject) {
            node.collect(&mut found, &mut names);
        }
        if !index.wildcards.is_empty() && !subject::has_empty_token(subject) {
            index
                .wildcards
                .collect(Some(subject), &mut found, &mut names);
        }
        found
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
        let mut level = &mut self.wildcards;
        for token in subject::tokens(subject) {
            match token {
                b">" => return &mut level.rest,
                b"*" => {
                    level = level.star.get_or_insert_with(|| {
                        *grown += allocated(size_of::<Level<T>>());
                        Box::new(Level::new())
                    });
                }
                word => {
                    let first = match level.children.is_empty() {
                        true => FIRST_CHILD_LEN,
                        false => 0,
                    };
                    level = find_or_insert(&mut level.children, word, || {
                        *grown += first + CHILD_LEN + allocated(word.len());
                        Level::new()
                    });
                }
            }
        }
        &mut level.here
    }

    /// The bytes of what is removed with it are added to `shrunk`.
    fn remove(&mut self, entry: &Arc<T>, shrunk: &mut usize) -> bool {
        let subject = entry.subject();
        if subject::is_wildcard(subject) {
            return self.wildcards.remove(Some(subject), entry, shrunk);
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

impl<T: Entry> Node<T> {
    fn new() -> Self {
        Self {
            plain: Vec::new(),
            queues: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.queues.is_empty()
    }

    fn insert(&mut self, entry: Arc<T>, grown: &mut usize) {
        *grown += ENTRY_LEN;
        let Some(name) = entry.queue() else {
            *grown += if self.plain.is_empty() { FIRST_LEN } else { 0 };
            self.plain.push(entry);
            return;
        };
        match self.queues.iter().position(|(queue, _)| **queue == *name) {
            Some(at) => self.queues[at].1.push(entry),
            None => {
                *grown += group_len::<T>(name);
                let name = name.into();
                self.queues.push((name, vec![entry]));
            }
        }
    }

    fn remove(&mut self, entry: &Arc<T>, shrunk: &mut usize) -> bool {
        *shrunk += ENTRY_LEN;
        let Some(name) = entry.queue() else {
            let removed = remove_from(&mut self.plain, entry);
            *shrunk += if self.plain.is_empty() { FIRST_LEN } else { 0 };
            return removed;
        };
        let Some(at) = self.queues.iter().position(|(queue, _)| **queue == *name) else {
            return false;
        };
        let removed = remove_from(&mut self.queues[at].1, entry);
        if self.queues[at].1.is_empty() {
            self.queues.swap_remove(at);
            *shrunk += group_len::<T>(name);
        }
        removed
    }

    /// Adds this node's subscriptions to a result; `names` are the names of
    /// the result's queue groups.
    fn collect<'a>(&'a self, found: &mut Matches<T>, names: &mut Vec<&'a [u8]>) {
        found.plain.extend_from_slice(&self.plain);
        for (name, members) in &self.queues {
            match names.iter().position(|known| *known == &**name) {
                Some(at) => found.queues[at].extend_from_slice(members),
                None => {
                    names.push(name);
                    found.queues.push(members.clone());
                }
            }
        }
    }

    fn for_each(&self, visit: &mut impl FnMut(&Arc<T>)) {
        self.plain.iter().for_each(&mut *visit);
        for (_, members) in &self.queues {
            members.iter().for_each(&mut *visit);
        }
    }
}

impl<T: Entry> Level<T> {
    fn new() -> Self {
        Self {
            children: HashMap::new(),
            star: None,
            here: Node::new(),
            rest: Node::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.star.is_none()
            && self.here.is_empty()
            && self.rest.is_empty()
    }

    /// `remaining` are the tokens of the subject below this level; `None` at
    /// its end. The depth is that of the patterns, which the control line's
    /// length bounds.
    fn collect<'a>(
        &'a self,
        remaining: Option<&[u8]>,
        found: &mut Matches<T>,
        names: &mut Vec<&'a [u8]>,
    ) {
        let Some(remaining) = remaining else {
            self.here.collect(found, names);
            return;
        };
        self.rest.collect(found, names);
        let (token, below) = split_token(remaining);
        if let Some(level) = self.children.get(token) {
            level.collect(below, found, names);
        }
        if let Some(level) = &self.star {
            level.collect(below, found, names);
        }
    }

    fn remove(&mut self, remaining: Option<&[u8]>, entry: &Arc<T>, shrunk: &mut usize) -> bool {
        let Some(remaining) = remaining else {
            return self.here.remove(entry, shrunk);
        };
        let (token, below) = split_token(remaining);
        match token {
            b">" => self.rest.remove(entry, shrunk),
            b"*" => {
                let Some(level) = &mut self.star else {
                    return false;
                };
                let removed = level.remove(below, entry, shrunk);
                if level.is_empty() {
                    self.star = None;
                    *shrunk += allocated(size_of::<Self>());
                }
                removed
            }
            word => {
                let Some(level) = self.children.get_mut(word) else {
                    return false;
                };
                let removed = level.remove(below, entry, shrunk);
                if level.is_empty() {
                    self.children.remove(word);
                    *shrunk += CHILD_LEN + allocated(word.len());
                    if self.children.is_empty() {
                        // Its table may be a large one that is empty now.
                        self.children = HashMap::new();
                        *shrunk += FIRST_CHILD_LEN;
                    }
                }
                removed
            }
        }
    }

    fn for_each(&self, visit: &mut impl FnMut(&Arc<T>)) {
        self.here.for_each(visit);
        self.rest.for_each(visit);
        self.children
            .values()
            .for_each(|level| level.for_each(visit));
        if let Some(level) = &self.star {
            level.for_each(visit);
        }
    }
}

/// Bytes of a queue group without its members.
fn group_len<T>(name: &[u8]) -> usize {
    allocated(name.len()) + FIRST_LEN + size_of::<QueueGroup<T>>()
}

fn find_or_insert<'a, V>(
    map: &'a mut HashMap<Box<[u8]>, V>,
    key: &[u8],
    make: impl FnOnce() -> V,
) -> &'a mut V {
    match map.raw_entry_mut().from_key(key) {
        RawEntryMut::Occupied(entry) => entry.into_mut(),
        RawEntryMut::Vacant(entry) => entry.insert(key.into(), make()).1,
    }
}

fn split_token(subject: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'.', subject) {
        Some(dot) => (&subject[..dot], Some(&subject[dot + 1..])),
        None => (subject, None),
    }
}

fn remove_from<T>(entries: &mut Vec<Arc<T>>, entry: &Arc<T>) -> bool {
    // The newest subscriptions are the likeliest to go.
    let Some(at) = entries.iter().rposition(|known| Arc::ptr_eq(known, entry)) else {
        return false;
    };
    entries.swap_remove(at);
    // A crowd that has left gives its memory back.
    if entries.len() * 4 < entries.capacity() {
        entries.shrink_to(entries.len() * 2);
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Sub {
        subject: Vec<u8>,
        queue: Option<Vec<u8>>,
    }

    impl Entry for Sub {
        fn subject(&self) -> &[u8] {
            &self.subject
        }
        fn queue(&self) -> Option<&[u8]> {
            self.queue.as_deref()
        }
        fn memory(&self) -> usize {
            100
        }
    }

    static POOL: Pool = Pool::new(1 << 30);

    fn sub(subject: &str, queue: Option<&str>) -> Arc<Sub> {
        Arc::new(Sub {
            subject: subject.into(),
            queue: queue.map(Into::into),
        })
    }

    #[test]
    fn a_queue_group_is_one_group_over_all_patterns() {
        let list = Sublist::new(&POOL);
        for subject in ["a.*", "a.>", "a.b"] {
            list.insert(sub(subject, Some("q")));
        }
        list.insert(sub("a.b", Some("other")));
        let found = list.lookup(b"a.b");
        assert_eq!(found.plain.len(), 0);
        let mut sizes: Vec<_> = found.queues.iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 3]);
    }

    #[test]
    fn nothing_is_left_after_removal() {
        let list = Sublist::new(&POOL);
        let subs: Vec<_> = ["a", "a.*", "a.>", "*.b.>", "x.y.z"]
            .iter()
            .flat_map(|subject| [sub(subject, None), sub(subject, Some("q"))])
            .collect();
        subs.iter().for_each(|entry| list.insert(entry.clone()));
        assert_eq!(list.stats().subscriptions, 10);
        let before = list.generation();
        list.remove(&subs);
        assert!(list.generation() > before);
        let index = list.index.read();
        assert!(index.literals.is_empty() && index.wildcards.is_empty());
        assert_eq!(index.inserts, index.removes);
        assert_eq!((list.share.bytes(), list.share.count()), (0, 0));
    }

    /// What a crowd of subscriptions took is given back with it.
    #[test]
    fn tables_shrink_with_those_that_leave() {
        let list = Sublist::new(&POOL);
        let subs: Vec<_> = (0..50_000)
            .map(|number| match number % 2 {
                0 => sub(&format!("a.{number}"), None),
                _ => sub(&format!("a.{number}.*"), None),
            })
            .collect();
        subs.iter().for_each(|entry| list.insert(entry.clone()));
        let grown = list.share.bytes() + list.table_memory();
        assert!(
            (subs.len() * 300..subs.len() * 1500).contains(&grown),
            "{grown}"
        );
        subs[10..].chunks(512).for_each(|some| list.remove(some));
        let left = list.share.bytes() + list.table_memory();
        assert!(left < grown / 50, "{left} of {grown}");
    }

    fn pattern() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![Just("a"), Just("b"), Just("*"), Just("c*")],
            1..4,
        )
        .prop_flat_map(|tokens| {
            any::<bool>().prop_map(move |open| {
                let mut subject = tokens.join(".");
                if open {
                    subject.push_str(".>");
                }
                subject
            })
        })
    }

    fn published() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![
                Just("a"),
                Just("b"),
                Just("*"),
                Just(">"),
                Just("c*"),
                Just("")
            ],
            1..5,
        )
        .prop_map(|tokens| tokens.join("."))
    }

    proptest! {
        /// The index finds exactly what trying every pattern finds, also
        /// after some subscriptions have gone.
        #[test]
        fn lookup_equals_trying_each(
            patterns in proptest::collection::vec((pattern(), proptest::option::of("[pq]"), any::<bool>()), 0..40),
            subjects in proptest::collection::vec(published(), 1..10),
        ) {
            let list = Sublist::new(&POOL);
            let subs: Vec<_> = patterns
                .iter()
                .map(|(subject, queue, keep)| (sub(subject, queue.as_deref()), *keep))
                .collect();
            subs.iter().for_each(|(entry, _)| list.insert(entry.clone()));
            list.remove(subs.iter().filter(|(_, keep)| !keep).map(|(entry, _)| entry));
            for subject in &subjects {
                let found = list.lookup(subject.as_bytes());
                let mut got: Vec<_> = found
                    .plain
                    .iter()
                    .chain(found.queues.iter().flatten())
                    .map(Arc::as_ptr)
                    .collect();
                let mut expected: Vec<_> = subs
                    .iter()
                    .filter(|(entry, keep)| *keep && subject::matches(&entry.subject, subject.as_bytes()))
                    .map(|(entry, _)| Arc::as_ptr(entry))
                    .collect();
                got.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(got, expected, "{}", subject);
            }
            list.remove(subs.iter().filter(|(_, keep)| *keep).map(|(entry, _)| entry));
            prop_assert_eq!(list.share.bytes(), 0);
        }
    }
}
