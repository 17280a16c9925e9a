//! A publisher's memory of whom its subjects reach, "nobody" included.

use std::{hash::BuildHasher, sync::Arc};

use hashbrown::DefaultHashBuilder;

use super::{Account, Reach};
use crate::telemetry::held::{Pool, Share};

/// Subjects remembered beside the last one. A direct-mapped table: a subject
/// has one place and takes it from whoever held it.
const PLACES: usize = 512;

/// Bytes that one publisher remembers beside the last subject; what is more is looked
/// up each time.
const REMEMBERED_MAX: usize = 1024 * 1024;

/// Bytes that all publishers remember.
pub static POOL: Pool = Pool::new(64 * 1024 * 1024);

/// Whom the last subjects reached.
pub struct LookupCache {
    last: Option<Arc<Reach>>,
    /// Bytes of the last one while it has no place.
    last_len: usize,
    /// Generation of the sublist that all in places are of: what is out of date is
    /// forgotten at once, and with it those who have left.
    generation: u64,
    /// Empty until a second subject comes up.
    places: Vec<Option<Remembered>>,
    hasher: DefaultHashBuilder,
    share: Share,
}

/// What is in a place.
#[derive(Clone)]
struct Remembered {
    reach: Arc<Reach>,
    /// Bytes that it takes.
    len: usize,
}

impl Default for LookupCache {
    fn default() -> Self {
        Self {
            last: None,
            last_len: 0,
            generation: 0,
            places: Vec::new(),
            hasher: DefaultHashBuilder::default(),
            share: Share::new(&POOL),
        }
    }
}

impl LookupCache {
    /// Where messages of a client to `subject` go now: remembered if nothing
    /// changed since, else looked up. Between two clearings it is asked for one
    /// account.
    pub fn find(&mut self, subject: &[u8], account: &Account) -> Arc<Reach> {
        self.find_by(subject, account, Reach::resolve)
    }

    /// The same for messages that come with their last subject.
    pub fn find_subscribers(&mut self, subject: &[u8], account: &Account) -> Arc<Reach> {
        self.find_by(subject, account, Reach::of_subscribers)
    }

    #[inline]
    fn find_by(
        &mut self,
        subject: &[u8],
        account: &Account,
        look_up: fn(&Account, &[u8]) -> Reach,
    ) -> Arc<Reach> {
        let generation = account.sublist.generation();
        let is_current = |known: &Arc<Reach>| known.is_current(subject, generation);
        let is_first = match &self.last {
            Some(last) if is_current(last) => return last.clone(),
            // The same subject out of date needs no place of its own.
            Some(last) => *last.matches.subject == *subject,
            None => true,
        };
        if self.generation != generation {
            self.forget_places();
            self.generation = generation;
        }
        if is_first {
            let found = Arc::new(look_up(account, subject));
            self.set_last(&found, found.memory());
            return found;
        }
        let at = self.hasher.hash_one(subject) as usize % PLACES;
        if let Some(Some(known)) = self.places.get(at)
            && is_current(&known.reach)
        {
            let found = known.reach.clone();
            self.set_last(&found, 0);
            return found;
        }
        let found = Arc::new(look_up(account, subject));
        self.remember(at, &found);
        found
    }

    /// Puts what was looked up into its place, if there is room.
    fn remember(&mut self, at: usize, found: &Arc<Reach>) {
        if self.places.is_empty() {
            self.places.resize(PLACES, None);
            self.share
                .hold_anyway(PLACES * size_of::<Option<Remembered>>());
        }
        if let Some(before) = self.places[at].take() {
            self.share.give_back(before.len);
        }
        let len = found.memory();
        if self.share.bytes() + len <= REMEMBERED_MAX && self.share.hold(len) {
            let reach = found.clone();
            self.places[at] = Some(Remembered { reach, len });
            self.set_last(found, 0);
        } else {
            self.set_last(found, len);
        }
    }

    /// `len` is nought if it has a place.
    fn set_last(&mut self, found: &Arc<Reach>, len: usize) {
        if self.last_len > 0 {
            self.share.give_back(self.last_len);
        }
        if len > 0 {
            self.share.hold_anyway(len);
        }
        self.last_len = len;
        self.last = Some(found.clone());
    }

    /// Forgets everything, so that an idle publisher keeps no memory.
    pub fn clear(&mut self) {
        self.last = None;
        self.last_len = 0;
        self.places = Vec::new();
        self.share.give_all_back();
    }

    /// Forgets what has a place.
    #[cold]
    fn forget_places(&mut self) {
        for place in &mut self.places {
            if let Some(known) = place.take() {
                self.share.give_back(known.len);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_in_bytes() {
        let account = Account::new("A");
        let mut cache = LookupCache::default();
        for number in 0..4 * PLACES {
            let subject = format!("{number}.{}", "x".repeat(20_000));
            let found = cache.find(subject.as_bytes(), &account);
            assert_eq!(*found.matches.subject, *subject.as_bytes());
            assert!(cache.share.bytes() <= REMEMBERED_MAX + 40_000);
        }
        assert!(cache.share.bytes() > REMEMBERED_MAX / 2);
        let places = cache.places.iter().flatten();
        let held: usize = places.map(|known| known.len).sum();
        let table = PLACES * size_of::<Option<Remembered>>();
        assert_eq!(cache.share.bytes(), held + table + cache.last_len);
        cache.clear();
        assert_eq!(cache.share.bytes(), 0);
    }

    #[test]
    fn few_subjects_are_looked_up_once() {
        let account = Account::new("A");
        let mut cache = LookupCache::default();
        for _ in 0..100 {
            for subject in [&b"a"[..], b"b"] {
                cache.find(subject, &account);
            }
        }
        // The first one has no place when it comes first.
        assert!(account.sublist.stats().lookups <= 3);
    }
}
