//! A publisher's memory of whom its subjects reach, "nobody" included.

use std::{hash::BuildHasher, sync::Arc};

use hashbrown::DefaultHashBuilder;
use once_cell::sync::OnceCell;

use super::{
    Subscription,
    remote::{RemoteInterest, Remotes},
};
use crate::sublist::{Matches, Sublist};

/// Subjects remembered beside the last one. A direct-mapped table: a subject
/// has one place and takes it from whoever held it.
const PLACES: usize = 512;

/// Where messages of one subject go.
pub struct Reach {
    /// Who takes the subject.
    pub matches: Matches<Subscription>,
    /// Whether one connection takes it more than once; see
    /// [`Reach::must_interleave`].
    interleave: OnceCell<bool>,
    remotes: OnceCell<Remotes>,
}

impl Reach {
    fn new(matches: Matches<Subscription>) -> Self {
        Self {
            matches,
            interleave: OnceCell::new(),
            remotes: OnceCell::new(),
        }
    }

    /// The peers of the cluster that take the subject; `interest` is what they
    /// announced for the account of the look-up. Looked up once; a change of it
    /// makes the whole reach out of date.
    pub fn remotes(&self, interest: &Sublist<RemoteInterest>) -> &Remotes {
        self.remotes.get_or_init(|| match interest.is_empty() {
            true => Remotes::default(),
            false => Remotes::new(&interest.lookup(&self.matches.subject)),
        })
    }

    /// Whether messages must be delivered one by one: a connection with several
    /// matching subscriptions gets all copies of a message before the next
    /// message, so that its output keeps the order of publishing.
    pub fn must_interleave(&self) -> bool {
        *self.interleave.get_or_init(|| {
            let all = self
                .matches
                .plain
                .iter()
                .chain(self.matches.queues.iter().flatten());
            let mut cids: Vec<u64> = all.map(|known| known.connection.cid).collect();
            let count = cids.len();
            cids.sort_unstable();
            cids.dedup();
            cids.len() < count
        })
    }
}

/// Whom the last subjects reached.
#[derive(Default)]
pub struct LookupCache {
    last: Option<Arc<Reach>>,
    /// Empty until a second subject comes up.
    places: Vec<Option<Arc<Reach>>>,
    hasher: DefaultHashBuilder,
}

impl LookupCache {
    /// Who takes `subject` now: remembered if nothing changed since, else
    /// looked up.
    pub fn find(&mut self, subject: &[u8], sublist: &Sublist<Subscription>) -> Arc<Reach> {
        let generation = sublist.generation();
        let is_current = |known: &Arc<Reach>| {
            known.matches.generation == generation && *known.matches.subject == *subject
        };
        let previous = match &self.last {
            Some(last) if is_current(last) => return last.clone(),
            // The same subject out of date needs no place of its own.
            Some(last) if *last.matches.subject == *subject => None,
            other => other.clone(),
        };
        if previous.is_none() {
            let found = Arc::new(Reach::new(sublist.lookup(subject)));
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
                let found = Arc::new(Reach::new(sublist.lookup(subject)));
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
