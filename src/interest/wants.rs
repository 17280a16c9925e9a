//! The keys that are wanted, each at a place of its own, so that all of them can be gone
//! through in parts while they change.

use std::{
    hash::BuildHasher,
    sync::{Arc, LazyLock},
};

use hashbrown::{DefaultHashBuilder, HashTable};

/// `subject` or `subject queue`, which is how a line ends.
pub(super) type Key = Arc<[u8]>;

/// Keys below which the tables keep their size.
const KEYS_MIN: usize = 1024;

static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// The interest in a key, by its origin.
#[derive(Default)]
pub(super) struct Wanted {
    /// Subscriptions here.
    pub(super) subscriptions: u32,
    /// Permanent interest of the broker itself, independent of subscriptions.
    pub(super) for_good: bool,
    /// Interest of other brokers, and what only leafnodes are told; apart, as most keys have none.
    pub(super) beyond: Option<Box<Beyond>>,
}

/// The interest of other brokers in a key: members of a queue group, or how many have interest. It is
/// counted where there is or was a leafnode. A sum of the 32 bits that each may tell does not overflow.
#[derive(Default)]
pub(super) struct Beyond {
    /// Of leafnodes whose hub this broker is.
    pub(super) spokes: u64,
    /// Origins of those leafnodes: several members of one cluster have one.
    pub(super) origins: u32,
    /// Of hubs of this broker.
    pub(super) hubs: u64,
    /// Of peers of the cluster.
    pub(super) routes: u64,
    /// Permanent interest that only leafnodes are told.
    pub(super) for_good: bool,
}

impl Beyond {
    fn is_nothing(&self) -> bool {
        self.spokes == 0 && self.hubs == 0 && self.routes == 0 && !self.for_good
    }
}

/// Members as a line can say them. What is counted is more exact: a sum of numbers that other brokers
/// tell is taken apart again when they tell others.
pub(super) fn as_told(members: u64) -> u32 {
    u32::try_from(members).unwrap_or(u32::MAX)
}

impl Wanted {
    pub(super) fn is_nothing(&self) -> bool {
        self.subscriptions == 0
            && !self.for_good
            && self
                .beyond
                .as_ref()
                .is_none_or(|beyond| beyond.is_nothing())
    }

    /// The members that peers of the cluster are told; `None`: they are told that there is no
    /// interest.
    pub(super) fn for_routes(&self) -> Option<u32> {
        let spokes = self.beyond.as_ref().map_or(0, |beyond| beyond.spokes);
        let members = as_told(u64::from(self.subscriptions) + spokes);
        (members > 0 || self.for_good).then_some(members)
    }

    /// Changes what other brokers want.
    pub(super) fn change_beyond(&mut self, change: impl FnOnce(&mut Beyond)) {
        let beyond = self.beyond.get_or_insert_default();
        change(beyond);
        if beyond.is_nothing() {
            self.beyond = None;
        }
    }
}

/// All keys with their interest. A new key is appended at the end; the last one is moved to
/// the place of one that is removed. So iteration from the end to the beginning misses only
/// keys that were added meanwhile.
#[derive(Default)]
pub(super) struct Wants {
    list: Vec<(Key, Wanted)>,
    places: HashTable<usize>,
}

impl Wants {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.list.iter().map(|(key, _)| key)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Key, Wanted)> {
        self.list.iter()
    }

    /// The key itself, if it is there.
    pub(super) fn find(&self, key: &[u8]) -> Option<Key> {
        self.list.get(self.place(key)?).map(|(key, _)| key.clone())
    }

    /// The entry at a place.
    pub(super) fn at(&self, place: usize) -> Option<&(Key, Wanted)> {
        self.list.get(place)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Wanted> {
        self.list.get(self.place(key)?).map(|(_, wanted)| wanted)
    }

    /// The mutable entry of a key; a new key has no interest.
    pub(super) fn get_mut(&mut self, key: &[u8]) -> (Key, &mut Wanted) {
        let place = self.place(key).unwrap_or_else(|| {
            let place = self.list.len();
            self.list.push((key.into(), Wanted::default()));
            let list = &self.list;
            self.places
                .insert_unique(hash(key), place, |known| hash(&list[*known].0));
            place
        });
        let (key, wanted) = &mut self.list[place];
        (key.clone(), wanted)
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        let list = &mut self.list;
        let Ok(found) = self
            .places
            .find_entry(hash(key), |known| *list[*known].0 == *key)
        else {
            return;
        };
        let (place, _) = found.remove();
        list.swap_remove(place);
        let len = list.len();
        if let Some((moved, _)) = list.get(place)
            && let Some(known) = self.places.find_mut(hash(moved), |known| *known == len)
        {
            *known = place;
        }
        // Memory of removed keys is freed.
        if list.capacity() > KEYS_MIN && len < list.capacity() / 8 {
            list.shrink_to(len * 2);
            self.places
                .shrink_to(len * 2, |known| hash(&list[*known].0));
        }
    }

    /// Bytes of the tables, without the texts.
    pub(super) fn allocation_size(&self) -> usize {
        self.list.capacity() * size_of::<(Key, Wanted)>() + self.places.allocation_size()
    }

    fn place(&self, key: &[u8]) -> Option<usize> {
        let is_same = |known: &usize| *self.list[*known].0 == *key;
        self.places.find(hash(key), is_same).copied()
    }
}

fn hash(key: &[u8]) -> u64 {
    HASHER.hash_one(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Iteration from the end to the beginning visits every key that exists all the time,
    /// whatever is added and removed meanwhile.
    #[test]
    fn going_through_in_parts_misses_nothing_that_stays() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..50 {
            let mut wants = Wants::default();
            let key = |number: usize| format!("key.{number}").into_bytes();
            for number in 0..1000 {
                wants.get_mut(&key(number)).1.subscriptions = number as u32;
            }
            let (mut left, mut seen) = (wants.len(), Vec::new());
            let (mut next, mut gone) = (1000, 0);
            while left > 0 {
                left = left.min(wants.len());
                for _ in 0..random.usize(..20).min(left) {
                    left -= 1;
                    seen.push(wants.at(left).expect("it is there").0.to_vec());
                }
                for _ in 0..random.usize(..10) {
                    wants.get_mut(&key(next)).1.subscriptions = next as u32;
                    next += 1;
                }
                // Those with an odd number leave.
                for _ in 0..random.usize(..10) {
                    wants.remove(&key(2 * random.usize(..500) + 1));
                    gone += 1;
                }
            }
            assert!(gone > 100);
            seen.sort_unstable();
            for number in (0..1000).step_by(2) {
                assert!(seen.binary_search(&key(number)).is_ok(), "{number}");
                let wanted = wants.get(&key(number)).expect("it stays");
                assert_eq!(wanted.subscriptions, number as u32);
            }
            for number in 0..next {
                wants.remove(&key(number));
            }
            assert!(wants.is_empty() && wants.places.is_empty());
        }
    }
}
