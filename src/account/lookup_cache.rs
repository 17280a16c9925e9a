//! A publisher's cache of destinations by subject, including subjects without any.

use std::{hash::BuildHasher, sync::Arc, time::Duration};

use hashbrown::DefaultHashBuilder;
use tokio::time::Instant;

use super::{
    Account, Destinations,
    destinations::{CACHE_MAX, Size},
};
use crate::{
    delivery::leaf_side::Source,
    telemetry::pool::{Pool, Share},
};

/// Slots besides the last subject. The table is direct-mapped: a subject has a single slot and
/// replaces the one that was there.
const SLOTS: usize = 512;

/// Bytes that a publisher who rests may keep until its next ping.
const IDLE_MAX: usize = 4 * 1024;

/// Interval of checking whether a larger cache is out of date.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Memory of all publishers' caches.
pub static POOL: Pool = Pool::new(64 * 1024 * 1024);

/// Memory of the subscriptions that caches refer to, counted once per cache: this much may stay
/// allocated after their clients have disconnected. While they exist they are counted by their
/// sublist.
static PINNED: Pool = Pool::new(64 * 1024 * 1024);

/// The cached destinations.
pub struct LookupCache {
    last: Option<Arc<Destinations>>,
    /// What the last one has reserved while it has no slot.
    last_size: Size,
    /// The last one has neither a slot nor a reservation: it is kept until the end of the turn.
    is_temporary: bool,
    /// Generation of the sublist for all slots. Outdated entries are dropped together, and with
    /// them references to subscriptions that have ended.
    generation: u64,
    /// Empty until a second subject is used.
    slots: Vec<Option<Entry>>,
    hasher: DefaultHashBuilder,
    share: Share,
    pinned: Share,
    /// Cost of the look-ups since [`LookupCache::take_cost`], in subscriptions.
    looked_up: usize,
    /// When a large cache is checked next.
    next_check: Option<Instant>,
}

/// The content of a slot.
#[derive(Clone)]
struct Entry {
    destinations: Arc<Destinations>,
    size: Size,
}

impl Default for LookupCache {
    fn default() -> Self {
        Self {
            last: None,
            last_size: Size::default(),
            is_temporary: false,
            generation: 0,
            slots: Vec::new(),
            hasher: DefaultHashBuilder::default(),
            share: Share::new(&POOL),
            pinned: Share::new(&PINNED),
            looked_up: 0,
            next_check: None,
        }
    }
}

impl LookupCache {
    /// The destinations of a client's messages to `subject`: from the cache if nothing has changed,
    /// otherwise looked up. All calls between two calls of [`LookupCache::clear`] must be for the
    /// same account.
    #[inline]
    pub fn find(&mut self, subject: &[u8], account: &Account) -> Arc<Destinations> {
        self.find_from(subject, account, Source::Here)
    }

    /// The same for messages that come from there, which must be the same in all calls.
    #[inline]
    pub fn find_from(
        &mut self,
        subject: &[u8],
        account: &Account,
        from: Source<'_>,
    ) -> Arc<Destinations> {
        self.find_by(subject, account, |account, subject| {
            let destinations = Destinations::resolve(account, subject);
            // The first message needs them, and they count as part of the entry.
            destinations.resolve_remotes(account, from);
            destinations
        })
    }

    /// The same for messages whose subject is not to be mapped.
    pub fn find_subscribers(&mut self, subject: &[u8], account: &Account) -> Arc<Destinations> {
        self.find_by(subject, account, Destinations::of_subscribers)
    }

    #[inline]
    fn find_by(
        &mut self,
        subject: &[u8],
        account: &Account,
        look_up: impl Fn(&Account, &[u8]) -> Destinations,
    ) -> Arc<Destinations> {
        let generation = account.sublist.generation();
        let is_current = |known: &Arc<Destinations>| known.is_current(subject, generation);
        let is_first = match &self.last {
            Some(last) if is_current(last) => return last.clone(),
            // An outdated entry of the same subject needs no slot of its own.
            Some(last) => *last.matches.subject == *subject,
            None => true,
        };
        if self.generation != generation {
            self.clear_slots();
            self.generation = generation;
        }
        if is_first {
            self.drop_last();
            let found = Arc::new(look_up(account, subject));
            self.looked_up += found.subscribers();
            self.keep_last(&found);
            return found;
        }
        let at = self.hasher.hash_one(subject) as usize % SLOTS;
        if let Some(Some(known)) = self.slots.get(at)
            && is_current(&known.destinations)
        {
            let found = known.destinations.clone();
            self.drop_last();
            self.last = Some(found.clone());
            return found;
        }
        let found = Arc::new(look_up(account, subject));
        self.looked_up += found.subscribers();
        self.store(at, &found);
        found
    }

    /// Stores a result in its slot, if there is memory.
    fn store(&mut self, at: usize, found: &Arc<Destinations>) {
        self.drop_last();
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
            self.share
                .reserve_unlimited(SLOTS * size_of::<Option<Entry>>());
        }
        if let Some(before) = self.slots[at].take() {
            self.release(before.size);
        }
        match self.reserve(found.size()) {
            Some(size) => {
                let destinations = found.clone();
                self.slots[at] = Some(Entry { destinations, size });
                self.last = Some(found.clone());
            }
            None => self.keep_last(found),
        }
    }

    /// Keeps a result without a slot, beyond the turn if there is memory.
    fn keep_last(&mut self, found: &Arc<Destinations>) {
        let reserved = self.reserve(found.size());
        self.is_temporary = reserved.is_none();
        self.last_size = reserved.unwrap_or_default();
        self.last = Some(found.clone());
    }

    fn drop_last(&mut self) {
        if self.last_size != Size::default() {
            self.release(self.last_size);
            self.last_size = Size::default();
        }
        self.is_temporary = false;
        self.last = None;
    }

    fn reserve(&self, size: Size) -> Option<Size> {
        if self.bytes() + size.own + size.pinned > CACHE_MAX || !self.share.reserve(size.own) {
            return None;
        }
        if !self.pinned.reserve(size.pinned) {
            self.share.release(size.own);
            return None;
        }
        Some(size)
    }

    fn release(&self, size: Size) {
        self.share.release(size.own);
        self.pinned.release(size.pinned);
    }

    fn bytes(&self) -> usize {
        self.share.bytes() + self.pinned.bytes()
    }

    /// Takes the cost of the look-ups since the last call, in deliveries.
    pub fn take_cost(&mut self) -> usize {
        std::mem::take(&mut self.looked_up)
    }

    /// Whether something is kept only until the end of the turn.
    pub fn is_temporary(&self) -> bool {
        self.is_temporary
    }

    /// Ends the publisher's turn: drops what could not be reserved.
    pub fn end_turn(&mut self) {
        if self.is_temporary {
            self.drop_last();
        }
        if self.bytes() > IDLE_MAX {
            self.next_check
                .get_or_insert_with(|| Instant::now() + IDLE_CHECK_INTERVAL);
        }
    }

    /// When to call [`LookupCache::expire`]; `None` while the cache is small.
    pub fn next_check(&self) -> Option<Instant> {
        self.next_check
    }

    /// Drops everything if something is out of date and it is time to check, since an idle
    /// publisher does not notice.
    pub fn expire(&mut self, account: &Account, now: Instant) {
        if self.next_check.is_none_or(|next_check| now < next_check) {
            return;
        }
        let generation = account.sublist.generation();
        let slots = self.slots.iter().flatten().map(|known| &known.destinations);
        let mut all = slots.chain(&self.last);
        if all
            .all(|destinations| destinations.is_current(&destinations.matches.subject, generation))
        {
            self.next_check = Some(now + IDLE_CHECK_INTERVAL);
        } else {
            self.clear();
        }
    }

    /// Drops everything, so that an idle publisher uses no memory.
    pub fn clear(&mut self) {
        self.last = None;
        self.last_size = Size::default();
        self.is_temporary = false;
        self.slots = Vec::new();
        self.share.release_all();
        self.pinned.release_all();
        self.next_check = None;
    }

    /// Drops the content of all slots.
    #[cold]
    fn clear_slots(&mut self) {
        for at in 0..self.slots.len() {
            if let Some(known) = self.slots[at].take() {
                self.release(known.size);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_limited_in_bytes() {
        let account = Account::new("A");
        let mut cache = LookupCache::default();
        for number in 0..4 * SLOTS {
            let subject = format!("{number}.{}", "x".repeat(20_000));
            let found = cache.find(subject.as_bytes(), &account);
            assert_eq!(*found.matches.subject, *subject.as_bytes());
            assert!(cache.share.bytes() <= CACHE_MAX + 40_000);
        }
        assert!(cache.share.bytes() > CACHE_MAX / 2);
        let slots = cache.slots.iter().flatten();
        let reserved: usize = slots.map(|known| known.size.own).sum();
        let table = SLOTS * size_of::<Option<Entry>>();
        assert_eq!(cache.share.bytes(), reserved + table + cache.last_size.own);
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
        // The first subject has no slot at first.
        assert!(account.sublist.stats().lookups <= 3);
    }

    /// An entry without a reservation is dropped at the end of the turn; others are kept until
    /// something changes, and not much longer.
    #[test]
    fn large_entries_are_dropped_with_the_turn_and_others_when_outdated() {
        let account = Account::new("A");
        let mut cache = LookupCache::default();
        let long = vec![b'x'; 2 * CACHE_MAX];
        let first = cache.find(&long, &account);
        assert!(Arc::ptr_eq(&first, &cache.find(&long, &account)));
        assert!(cache.is_temporary());
        cache.end_turn();
        assert!(cache.last.is_none() && cache.bytes() == 0 && cache.next_check().is_none());
        let some = vec![b'x'; 2 * IDLE_MAX];
        let now = Instant::now();
        let later = |cache: &mut LookupCache, seconds: u64| {
            cache.expire(&account, now + Duration::from_secs(seconds));
            cache.bytes() > 0
        };
        cache.find(&some, &account);
        cache.end_turn();
        assert!(later(&mut cache, 0) && cache.next_check().is_some());
        assert!(later(&mut cache, 2) && later(&mut cache, 4));
        account.sublist.invalidate();
        assert!(!later(&mut cache, 6), "out of date");
        assert!(cache.next_check().is_none());
    }
}
