//! The counted local interest of an account, under the lock.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::{
    leafnodes::Behind,
    peer::Peer,
    wants::{Key, Wanted, Wants},
};
use crate::{
    connection::Subscription, delivery::remote::RemoteInterest, security::permissions::Permissions,
    sublist::Entry as _,
};

/// A key that is longer may be too long for some peer.
const LONG_KEY: usize = 1024;

/// Subscriptions of before the first route that are counted in one hold of the lock.
const COUNTED_AT_ONCE: usize = 2048;

#[derive(Default)]
pub(super) struct State {
    pub(super) wanted: Wants,
    /// Subscriptions of before the first route that are still to be counted.
    pub(super) uncounted: Vec<Arc<Subscription>>,
    /// Whether none of them is left.
    pub(super) is_counted: bool,
    /// The keys of `wanted` that are longer than [`LONG_KEY`].
    pub(super) long: HashSet<Key>,
    /// The peers it is announced to.
    pub(super) peers: Vec<Peer>,
    /// Permissions for announcing: subjects that can be published to. `None` allows all.
    pub(super) limits: Option<Arc<Permissions>>,
    /// The account is defined no more: the broker itself has no interest in it.
    pub(super) has_left: bool,
    /// Interest of peers of before the first leafnode that is still to be counted.
    pub(super) uncounted_routes: Vec<Arc<RemoteInterest>>,
    /// What leafnodes want, by their origin: what they are not told themselves.
    pub(super) behind: HashMap<Arc<str>, Behind>,
}

impl State {
    /// The mutable entry of a key; a new key has no interest.
    pub(super) fn wanted_mut(&mut self, key: &[u8]) -> (Key, &mut Wanted) {
        let (key, wanted) = self.wanted.get_mut(key);
        if key.len() > LONG_KEY && wanted.is_nothing() {
            self.long.insert(key.clone());
        }
        (key, wanted)
    }

    /// Counts some of the uncounted subscriptions, if there are any. Returns
    /// whether there were.
    pub(super) fn count_more(&mut self) -> bool {
        if self.is_counted {
            return self.count_more_routes();
        }
        let from = self.uncounted.len().saturating_sub(COUNTED_AT_ONCE);
        for subscription in self.uncounted.split_off(from) {
            // A subscription that ends is first marked and then subtracted, which waits for
            // the lock.
            if !subscription.is_closed() && !subscription.set_counted(true) {
                self.wanted_mut(&key(&subscription)).1.subscriptions += 1;
            }
        }
        if self.uncounted.is_empty() {
            self.uncounted = Vec::new();
            self.is_counted = true;
        }
        true
    }

    /// Removes a key without interest; returns whether it did.
    pub(super) fn drop_unwanted(&mut self, key: &Key) -> bool {
        let is_unwanted = self.wanted.get(key).is_some_and(|it| it.is_nothing());
        if is_unwanted {
            self.wanted.remove(key);
            self.long.remove(key);
        }
        is_unwanted
    }
}

/// Neither subject nor queue group holds a blank.
pub(super) fn key(subscription: &Subscription) -> Box<[u8]> {
    match subscription.queue() {
        Some(queue) => [subscription.subject(), b" ", queue].concat().into(),
        None => subscription.subject().into(),
    }
}

/// Whether a subject, in front of its queue group, is within the limits.
pub(super) fn may_be_announced(limits: &Option<Arc<Permissions>>, key: &[u8]) -> bool {
    let subject = key.split(|byte| *byte == b' ').next().unwrap_or(key);
    limits
        .as_ref()
        .is_none_or(|limits| limits.may_publish(subject))
}
