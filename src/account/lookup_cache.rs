//! A publisher's memory of whom its subjects reach, "nobody" included.

use std::{hash::BuildHasher, sync::Arc, time::Duration};

use hashbrown::DefaultHashBuilder;
use tokio::time::Instant;

use super::{Account, Destinations, destinations::Size};
use crate::telemetry::pool::{Pool, Share};

/// Subjects remembered beside the last one. A direct-mapped table: a subject
/// has one place and takes it from whoever held it.
const PLACES: usize = 512;

/// Bytes that one publisher remembers, what it keeps from being given back included;
/// what is more is looked up in each turn.
pub(super) const REMEMBERED_MAX: usize = 1024 * 1024;

/// Bytes that a publisher who rests may keep until its next ping.
const RESTING_MAX: usize = 4 * 1024;

/// How often more than that is looked at, whether it is out of date.
const RESTING_TIME: Duration = Duration::from_secs(1);

/// Bytes of the lists that all publishers remember.
pub static POOL: Pool = Pool::new(64 * 1024 * 1024);

/// Bytes of the subscriptions in these lists, counted for each list: so much may be
/// kept from being given back when their clients have left. Those that are there are
/// held by themselves.
static PINNED: Pool = Pool::new(64 * 1024 * 1024);

/// Whom the last subjects reached.
pub struct LookupCache {
    last: Option<Arc<Destinations>>,
    /// What the last one has booked while it has no place.
    last_size: Size,
    /// The last one has no place and nothing booked: it is kept to the turn's end.
    is_for_turn: bool,
    /// Generation of the sublist that all in places are of: what is out of date is
    /// forgotten at once, and with it those who have left.
    generation: u64,
    /// Empty until a second subject comes up.
    places: Vec<Option<Remembered>>,
    hasher: DefaultHashBuilder,
    share: Share,
    pinned: Share,
    /// What was looked up since it was asked for, in subscriptions.
    looked_up: usize,
    /// When what is kept is looked at, if it is much.
    due: Option<Instant>,
}

/// What is in a place.
#[derive(Clone)]
struct Remembered {
    destinations: Arc<Destinations>,
    size: Size,
}

impl Default for LookupCache {
    fn default() -> Self {
        Self {
            last: None,
            last_size: Size::default(),
            is_for_turn: false,
            generation: 0,
            places: Vec::new(),
            hasher: DefaultHashBuilder::default(),
            share: Share::new(&POOL),
            pinned: Share::new(&PINNED),
            looked_up: 0,
            due: None,
        }
    }
}

impl LookupCache {
    /// Where messages of a client to `subject` go now: remembered if nothing
    /// changed since, else looked up. Between two clearings it is asked for one
    /// account.
    pub fn find(&mut self, subject: &[u8], account: &Account) -> Arc<Destinations> {
        self.find_by(subject, account, |account, subject| {
            let destinations = Destinations::resolve(account, subject);
            // Asked for with the first message: it is part of what is remembered.
            destinations.look_for_peers(account);
            destinations
        })
    }

    /// The same for messages that come with their last subject.
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
            // The same subject out of date needs no place of its own.
            Some(last) => *last.matches.subject == *subject,
            None => true,
        };
        if self.generation != generation {
            self.forget_places();
            self.generation = generation;
        }
        if is_first {
            self.forget_last();
            let found = Arc::new(look_up(account, subject));
            self.looked_up += found.subscribers();
            self.keep_last(&found);
            return found;
        }
        let at = self.hasher.hash_one(subject) as usize % PLACES;
        if let Some(Some(known)) = self.places.get(at)
            && is_current(&known.destinations)
        {
            let found = known.destinations.clone();
            self.forget_last();
            self.last = Some(found.clone());
            return found;
        }
        let found = Arc::new(look_up(account, subject));
        self.looked_up += found.subscribers();
        self.remember(at, &found);
        found
    }

    /// Puts what was looked up into its place, if there is room.
    fn remember(&mut self, at: usize, found: &Arc<Destinations>) {
        self.forget_last();
        if self.places.is_empty() {
            self.places.resize(PLACES, None);
            self.share
                .reserve_unlimited(PLACES * size_of::<Option<Remembered>>());
        }
        if let Some(before) = self.places[at].take() {
            self.release(before.size);
        }
        match self.reserve(found.size()) {
            Some(size) => {
                let destinations = found.clone();
                self.places[at] = Some(Remembered { destinations, size });
                self.last = Some(found.clone());
            }
            None => self.keep_last(found),
        }
    }

    /// Keeps what has no place: beyond the turn if there is room.
    fn keep_last(&mut self, found: &Arc<Destinations>) {
        let held = self.reserve(found.size());
        self.is_for_turn = held.is_none();
        self.last_size = held.unwrap_or_default();
        self.last = Some(found.clone());
    }

    fn forget_last(&mut self) {
        if self.last_size != Size::default() {
            self.release(self.last_size);
            self.last_size = Size::default();
        }
        self.is_for_turn = false;
        self.last = None;
    }

    fn reserve(&self, size: Size) -> Option<Size> {
        if self.bytes() + size.own + size.pinned > REMEMBERED_MAX || !self.share.reserve(size.own) {
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

    /// What the look-ups since this was last asked cost, in deliveries.
    pub fn take_cost(&mut self) -> usize {
        std::mem::take(&mut self.looked_up)
    }

    /// Whether something is kept to the end of the turn alone.
    pub fn is_for_turn(&self) -> bool {
        self.is_for_turn
    }

    /// The publisher's turn is over: what found no room is forgotten.
    pub fn end_turn(&mut self) {
        if self.is_for_turn {
            self.forget_last();
        }
        if self.bytes() > RESTING_MAX {
            self.due
                .get_or_insert_with(|| Instant::now() + RESTING_TIME);
        }
    }

    /// When [`LookupCache::look`] is to be called; `None` while little is kept.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Forgets what is out of date, if it is time to look: who rests does not see it.
    pub fn look(&mut self, account: &Account, now: Instant) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        let generation = account.sublist.generation();
        let places = self
            .places
            .iter()
            .flatten()
            .map(|known| &known.destinations);
        let mut all = places.chain(&self.last);
        if all
            .all(|destinations| destinations.is_current(&destinations.matches.subject, generation))
        {
            self.due = Some(now + RESTING_TIME);
        } else {
            self.clear();
        }
    }

    /// Forgets everything, so that an idle publisher keeps no memory.
    pub fn clear(&mut self) {
        self.last = None;
        self.last_size = Size::default();
        self.is_for_turn = false;
        self.places = Vec::new();
        self.share.release_all();
        self.pinned.release_all();
        self.due = None;
    }

    /// Forgets what has a place.
    #[cold]
    fn forget_places(&mut self) {
        for at in 0..self.places.len() {
            if let Some(known) = self.places[at].take() {
                self.release(known.size);
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
        let held: usize = places.map(|known| known.size.own).sum();
        let table = PLACES * size_of::<Option<Remembered>>();
        assert_eq!(cache.share.bytes(), held + table + cache.last_size.own);
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

    /// What finds no room serves its turn and is gone with it; what does is kept while
    /// nothing changes, and not long beyond.
    #[test]
    fn what_is_too_much_is_forgotten_with_the_turn_and_the_rest_when_it_is_out_of_date() {
        let account = Account::new("A");
        let mut cache = LookupCache::default();
        let long = vec![b'x'; 2 * REMEMBERED_MAX];
        let first = cache.find(&long, &account);
        assert!(Arc::ptr_eq(&first, &cache.find(&long, &account)));
        assert!(cache.is_for_turn());
        cache.end_turn();
        assert!(cache.last.is_none() && cache.bytes() == 0 && cache.due().is_none());
        let some = vec![b'x'; 2 * RESTING_MAX];
        let now = Instant::now();
        let later = |cache: &mut LookupCache, seconds: u64| {
            cache.look(&account, now + Duration::from_secs(seconds));
            cache.bytes() > 0
        };
        cache.find(&some, &account);
        cache.end_turn();
        assert!(later(&mut cache, 0) && cache.due().is_some());
        assert!(later(&mut cache, 2) && later(&mut cache, 4));
        account.sublist.invalidate();
        assert!(!later(&mut cache, 6), "out of date");
        assert!(cache.due().is_none());
    }
}
