//! Finds the index of a name in a list: by comparing while there are few, with a hash table once
//! there are many.
//!
//! Clients choose how many queue groups a subject has, so the cost of finding one must not grow
//! with their number.

use std::{hash::BuildHasher, sync::LazyLock};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::SHRINK_CAPACITY_MIN;

/// Number of names up to which a linear search is as fast as a table.
pub(super) const LINEAR_MAX: usize = 16;

static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

/// The indexes of the names in a list without duplicates. The list belongs to the caller: `at`
/// returns the name at an index.
#[derive(Default)]
pub(super) struct NameIndex(HashTable<usize>);

impl NameIndex {
    /// Upper bound of the memory per name in bytes.
    pub(super) const NAME_LEN: usize = (size_of::<usize>() + 1) * 3 / 2;

    /// The index of a name in a list of `len` names, all of which were [added](NameIndex::update).
    pub(super) fn find<'a>(
        &self,
        name: &[u8],
        len: usize,
        at: impl Fn(usize) -> &'a [u8],
    ) -> Option<usize> {
        match self.0.is_empty() {
            true => (0..len).find(|index| is_same(at(*index), name)),
            false => self
                .0
                .find(hash(name), |index| is_same(at(*index), name))
                .copied(),
        }
    }

    /// Adds the names at the end of a list that has `len` names now.
    pub(super) fn update<'a>(&mut self, len: usize, at: impl Fn(usize) -> &'a [u8]) {
        if len <= LINEAR_MAX && self.0.is_empty() {
            return;
        }
        for index in self.0.len()..len {
            self.0
                .insert_unique(hash(at(index)), index, |known| hash(at(*known)));
        }
    }

    /// Updates the index after `name` was removed from index `index` by `swap_remove`; the list has
    /// `len` names now.
    pub(super) fn swap_remove<'a>(
        &mut self,
        name: &[u8],
        index: usize,
        len: usize,
        at: impl Fn(usize) -> &'a [u8],
    ) {
        if self.0.is_empty() {
            return;
        }
        if len <= LINEAR_MAX / 2 {
            self.0 = HashTable::new();
            return;
        }
        if let Ok(gone) = self.0.find_entry(hash(name), |known| *known == index) {
            gone.remove();
        }
        if index < len
            && let Some(moved) = self.0.find_mut(hash(at(index)), |known| *known == len)
        {
            *moved = index;
        }
        // Shrink when most names have gone.
        if self.0.capacity() > SHRINK_CAPACITY_MIN && len < self.0.capacity() / 8 {
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
