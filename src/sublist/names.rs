//! Places of names in a list: found by comparing while there are few, by a table
//! of hashes once there are many.
//!
//! Clients choose how many queue groups a subject has; finding one must not cost
//! more with each.

use std::{hash::BuildHasher, sync::LazyLock};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::PLACES_MIN;

/// Names up to which comparing with each is as fast as a table.
pub(super) const FEW: usize = 16;

static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// The places of the names of a list, none of which stands there twice. The list is
/// its owner's: `at` tells the name at a place.
#[derive(Default)]
pub(super) struct Places(HashTable<usize>);

impl Places {
    /// Bytes that each name takes here, at most.
    pub(super) const NAME_LEN: usize = (size_of::<usize>() + 1) * 3 / 2;

    /// The place of a name in a list of `len` that was [noted](Places::note).
    pub(super) fn find<'a>(
        &self,
        name: &[u8],
        len: usize,
        at: impl Fn(usize) -> &'a [u8],
    ) -> Option<usize> {
        match self.0.is_empty() {
            true => (0..len).find(|place| is_same(at(*place), name)),
            false => self
                .0
                .find(hash(name), |place| is_same(at(*place), name))
                .copied(),
        }
    }

    /// Notes what stands at the end of a list that is `len` long now.
    pub(super) fn note<'a>(&mut self, len: usize, at: impl Fn(usize) -> &'a [u8]) {
        if len <= FEW && self.0.is_empty() {
            return;
        }
        for place in self.0.len()..len {
            self.0
                .insert_unique(hash(at(place)), place, |known| hash(at(*known)));
        }
    }

    /// Notes that `name` has left its place, and the last one has taken it, in a list
    /// that is `len` long now.
    pub(super) fn swap_removed<'a>(
        &mut self,
        name: &[u8],
        place: usize,
        len: usize,
        at: impl Fn(usize) -> &'a [u8],
    ) {
        if self.0.is_empty() {
            return;
        }
        if len <= FEW / 2 {
            self.0 = HashTable::new();
            return;
        }
        if let Ok(gone) = self.0.find_entry(hash(name), |known| *known == place) {
            gone.remove();
        }
        if place < len
            && let Some(moved) = self.0.find_mut(hash(at(place)), |known| *known == len)
        {
            *moved = place;
        }
        // A crowd that has left gives its memory back.
        if self.0.capacity() > PLACES_MIN && len < self.0.capacity() / 8 {
            self.0.shrink_to(len * 2, |known| hash(at(*known)));
        }
    }
}

fn hash(name: &[u8]) -> u64 {
    HASHER.hash_one(name)
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    #[cfg(test)]
    super::tests::count_step();
    one == other
}
