//! A publisher's memory of whom its subjects reach, "nobody" included.

use std::{hash::BuildHasher, sync::Arc};

use hashbrown::DefaultHashBuilder;

use super::{Account, Reach};

/// Subjects remembered beside the last one. A direct-mapped table: a subject
/// has one place and takes it from whoever held it.
const PLACES: usize = 512;

/// Whom the last subjects reached.
#[derive(Default)]
pub struct LookupCache {
    last: Option<Arc<Reach>>,
    /// Empty until a second subject comes up.
    places: Vec<Option<Arc<Reach>>>,
    hasher: DefaultHashBuilder,
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
        let previous = match &self.last {
            Some(last) if is_current(last) => return last.clone(),
            // The same subject out of date needs no place of its own.
            Some(last) if *last.matches.subject == *subject => None,
            other => other.clone(),
        };
        if previous.is_none() {
            let found = Arc::new(look_up(account, subject));
            self.last = Some(found.clone());
            return found;
        }
        if self.places.is_empty() {
            self.places.resize(PLACES, None);
        }
        let place = &mut self.places[self.hasher.hash_one(subject) as usize % PLACES];
        let found = match place {
            Some(known) if is_current(known) => known.clone(),
            _ => {
                let found = Arc::new(look_up(account, subject));
                *place = Some(found.clone());
                found
            }
        };
        self.last = Some(found.clone());
        found
    }

    /// Forgets everything, so that an idle publisher keeps no memory.
    pub fn clear(&mut self) {
        self.last = None;
        self.places = Vec::new();
    }
}
