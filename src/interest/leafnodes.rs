//! What leafnodes are told, beside what peers of the cluster are: the interest of those peers, of
//! other leafnodes, and of the broker itself in services and mappings of the account.
//!
//! It is counted from the first leafnode of the account on, by its origin. What a leafnode is told of
//! a key depends on who it is ([`LeafSide`]): never what it wants itself, or another member of its
//! cluster. A change is sent to each leafnode for which it makes a difference, in the order of the
//! changes and before any message that may depend on it, as to peers of the cluster.

use std::sync::{Arc, atomic::Ordering};

use hashbrown::HashMap;

use super::{
    LocalInterest,
    peer::Peer,
    state::State,
    wants::{Beyond, Key, as_told},
};
use crate::{
    connection::{Connection, Subscription, buffers::ThreadBuffers},
    delivery::{leaf_side::LeafSide, remote::RemoteInterest},
    protocol::leafnode::LOOP_PREFIX,
    sublist::Sublist,
};

/// Entries of peers that are counted in one hold of the lock.
const COUNTED_AT_ONCE: usize = 2048;

/// What the leafnodes of one origin want: members behind them, by key.
#[derive(Default)]
pub(super) struct Behind {
    spokes: HashMap<Key, u64>,
    hubs: HashMap<Key, u64>,
}

impl Behind {
    fn of(&mut self, side: &LeafSide) -> &mut HashMap<Key, u64> {
        match side.is_hub {
            true => &mut self.hubs,
            false => &mut self.spokes,
        }
    }

    fn is_empty(&self) -> bool {
        self.spokes.is_empty() && self.hubs.is_empty()
    }
}

/// The members that each leafnode is told, in the order of the list of peers.
pub(super) type Told = Vec<Option<u32>>;

impl State {
    /// Counts some of the peers' interest of before the first leafnode, if there is any. Returns
    /// whether there was.
    pub(super) fn count_more_routes(&mut self) -> bool {
        let from = self.uncounted_routes.len().saturating_sub(COUNTED_AT_ONCE);
        let some = self.uncounted_routes.split_off(from);
        for entry in &some {
            // An entry that is removed meanwhile is subtracted, which waits for the lock.
            if !entry.set_counted(true) {
                let wanted = self.wanted_mut(&entry.key()).1;
                wanted.change_beyond(|beyond| beyond.routes += u64::from(entry.weight.max(1)));
            }
        }
        !some.is_empty()
    }

    /// The members of a key that a broker is told; `None` if there is no interest for it. Without
    /// `leaf` it is a peer of the cluster.
    pub(super) fn told(&self, leaf: Option<&LeafSide>, key: &[u8]) -> Option<u32> {
        let wanted = self.wanted.get(key)?;
        let Some(side) = leaf else {
            return wanted
                .for_routes()
                .filter(|_| super::may_be_announced(&self.limits, key));
        };
        if !side.may_be_told(key) {
            return None;
        }
        let nothing = Beyond::default();
        let beyond = wanted.beyond.as_deref().unwrap_or(&nothing);
        let own = self.behind.get(&side.origin);
        let own = |of: fn(&Behind) -> &HashMap<Key, u64>| {
            let members = own.and_then(|behind| of(behind).get(key));
            members.copied().unwrap_or(0)
        };
        let spokes = beyond.spokes.saturating_sub(own(|behind| &behind.spokes));
        let hubs = beyond.hubs.saturating_sub(own(|behind| &behind.hubs));
        // Circles are found by these subjects wherever they are.
        let is_loop = key.starts_with(LOOP_PREFIX);
        let mut members = u64::from(wanted.subscriptions);
        if !side.is_isolated || is_loop {
            members += spokes;
        }
        if !side.is_hub || is_loop {
            members += beyond.routes;
        }
        if !side.is_hub && !side.is_isolated || is_loop {
            members += hubs;
        }
        let is_wanted = members > 0 || wanted.for_good || beyond.for_good;
        is_wanted.then_some(as_told(members.max(1)))
    }

    /// Whether a change of what another broker wants of a key makes no difference to any leafnode, so that
    /// not each one has to be looked at: of a subject, there is a subscription here, or the change is
    /// `of_spoke` and two other origins are left in any case.
    fn is_settled(&self, key: &[u8], of_spoke: bool) -> bool {
        const SETTLED: u32 = 3;
        !key.contains(&b' ')
            && self.wanted.get(key).is_some_and(|wanted| {
                let origins = wanted.beyond.as_ref().map_or(0, |beyond| beyond.origins);
                wanted.subscriptions > 0 || wanted.for_good || of_spoke && origins >= SETTLED
            })
    }

    /// What leafnodes are told of a key before the number of its subscriptions here changes by one; empty
    /// if that makes no difference, as there are `enough` of a subject.
    pub(super) fn told_before(&self, key: &[u8], enough: u32) -> Told {
        let has_enough = self
            .wanted
            .get(key)
            .is_some_and(|wanted| wanted.subscriptions >= enough);
        match has_enough && !key.contains(&b' ') {
            true => Told::new(),
            false => self.told_to_leafnodes(key),
        }
    }

    /// What leafnodes are told of a key now; empty if there are none.
    pub(super) fn told_to_leafnodes(&self, key: &[u8]) -> Told {
        let leafs = self.peers.iter().filter_map(|peer| peer.leaf.as_deref());
        leafs.map(|side| self.told(Some(side), key)).collect()
    }

    /// Bytes of the tables of leafnodes' interest.
    pub(super) fn memory_of_leafnodes(&self) -> usize {
        let tables = self.behind.values().map(|behind| {
            let Behind { spokes, hubs } = behind;
            spokes.allocation_size() + hubs.allocation_size()
        });
        // Each key with interest beyond this broker has counts of its own.
        let counts = self
            .behind
            .values()
            .map(|behind| (behind.spokes.len() + behind.hubs.len()) * 2 * size_of::<Beyond>());
        tables.chain(counts).sum::<usize>() + self.behind.allocation_size()
    }
}

impl LocalInterest {
    /// The same as [`LocalInterest::attach`] for a leafnode; `routes` is the interest of the
    /// cluster's peers.
    pub fn attach_leafnode(
        &self,
        leaf: &Arc<Connection>,
        side: &Arc<LeafSide>,
        sublist: &Sublist<Subscription>,
        routes: &Sublist<RemoteInterest>,
    ) {
        let mut state = self.state.lock();
        if leaf.is_closing() {
            return;
        }
        self.counting.store(true, Ordering::SeqCst);
        self.begin_counting(&mut state, sublist);
        // Later entries are counted when they come; the mark at each one keeps it from being counted
        // twice.
        if !self.counts_routes.swap(true, Ordering::SeqCst) {
            routes.for_each(|entry| state.uncounted_routes.push(entry.clone()));
        }
        state.peers.push(Peer::new(leaf, Some(side.clone())));
        leaf.note_pending_interest();
    }

    /// Counts interest of a leafnode, and tells others.
    pub fn add_of_leafnode(&self, buffers: &mut ThreadBuffers, entry: &RemoteInterest) {
        let Some(side) = &entry.leaf else {
            return;
        };
        let (key, members) = (entry.key(), u64::from(entry.weight.max(1)));
        let mut state = self.state.lock();
        if entry.set_counted(true) {
            return;
        }
        self.change(&mut state, buffers, (&key, !side.is_hub), |state, key| {
            let behind = state.behind.entry(side.origin.clone()).or_default();
            let own = behind.of(side).entry(key.clone()).or_default();
            let is_new = *own == 0;
            *own += members;
            let wanted = state.wanted_mut(key).1;
            wanted.change_beyond(|beyond| {
                *of(beyond, side) += members;
                beyond.origins += u32::from(is_new && !side.is_hub);
            });
        });
    }

    /// Subtracts interest of a leafnode, and tells others.
    pub fn remove_of_leafnode(&self, buffers: &mut ThreadBuffers, entry: &RemoteInterest) {
        let Some(side) = &entry.leaf else {
            return;
        };
        let (key, members) = (entry.key(), u64::from(entry.weight.max(1)));
        let mut state = self.state.lock();
        if !entry.set_counted(false) {
            return;
        }
        self.change(&mut state, buffers, (&key, !side.is_hub), |state, key| {
            let mut was_last = false;
            if let Some(behind) = state.behind.get_mut(&side.origin) {
                let own = behind.of(side);
                if let Some(count) = own.get_mut(key) {
                    *count = count.saturating_sub(members);
                    was_last = *count == 0;
                    if was_last {
                        own.remove(key);
                    }
                }
                if behind.is_empty() {
                    state.behind.remove(&side.origin);
                }
            }
            let wanted = state.wanted_mut(key).1;
            wanted.change_beyond(|beyond| {
                let count = of(beyond, side);
                *count = count.saturating_sub(members);
                let ends = u32::from(was_last && !side.is_hub);
                beyond.origins = beyond.origins.saturating_sub(ends);
            });
        });
    }

    /// Counts interest of a peer of the cluster if leafnodes are to be told, and tells them.
    pub fn add_of_route(&self, buffers: &mut ThreadBuffers, entry: &RemoteInterest) {
        if !self.counts_routes.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.state.lock();
        if entry.set_counted(true) {
            return;
        }
        let members = u64::from(entry.weight.max(1));
        self.change(&mut state, buffers, (&entry.key(), false), |state, key| {
            let wanted = state.wanted_mut(key).1;
            wanted.change_beyond(|beyond| beyond.routes += members);
        });
    }

    /// Subtracts interest of a peer of the cluster, and tells leafnodes.
    pub fn remove_of_route(&self, buffers: &mut ThreadBuffers, entry: &RemoteInterest) {
        if !self.counts_routes.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.state.lock();
        // One that still waits to be counted is not, from now on.
        if !entry.set_counted(!state.uncounted_routes.is_empty()) {
            return;
        }
        let members = u64::from(entry.weight.max(1));
        self.change(&mut state, buffers, (&entry.key(), false), |state, key| {
            let wanted = state.wanted_mut(key).1;
            wanted.change_beyond(|beyond| beyond.routes = beyond.routes.saturating_sub(members));
        });
    }

    /// Sets in which subjects the broker itself has interest that leafnodes alone are told: services
    /// that the account imports, and subjects that it maps.
    pub fn want_for_leafnodes(&self, buffers: &mut ThreadBuffers, subjects: &[String]) {
        let mut state = self.state.lock();
        let is_wanted = |key: &Key| subjects.iter().any(|subject| *subject.as_bytes() == **key);
        let ended = state.wanted.iter().filter(|(key, wanted)| {
            let beyond = wanted.beyond.as_ref();
            beyond.is_some_and(|beyond| beyond.for_good) && !is_wanted(key)
        });
        let ended: Vec<Key> = ended.map(|(key, _)| key.clone()).collect();
        let begun = subjects
            .iter()
            .map(|subject| (Key::from(subject.as_bytes()), true));
        let all = begun.chain(ended.into_iter().map(|key| (key, false)));
        for (key, is_wanted) in all {
            self.change(&mut state, buffers, (&key, false), |state, key| {
                let wanted = state.wanted_mut(key).1;
                wanted.change_beyond(|beyond| beyond.for_good = is_wanted);
            });
        }
    }

    /// Makes a change of what other brokers want of a key, of leafnodes whose hub this broker is alone
    /// if `of_spoke`, and tells all brokers for which it makes a difference.
    fn change(
        &self,
        state: &mut State,
        buffers: &mut ThreadBuffers,
        (key, of_spoke): (&[u8], bool),
        change: impl FnOnce(&mut State, &Key),
    ) {
        let told_routes = state.told(None, key);
        let before = match state.is_settled(key, of_spoke) {
            true => Told::new(),
            false => state.told_to_leafnodes(key),
        };
        let key = state.wanted_mut(key).0;
        change(state, &key);
        state.drop_unwanted(&key);
        if !is_same(&key, told_routes, state.told(None, &key)) {
            self.announce_to_all(state, buffers, &key);
        }
        self.tell_leafnodes(state, buffers, &key, &before);
    }

    /// Tells each leafnode the state of a key that was told something else `before`.
    pub(super) fn tell_leafnodes(
        &self,
        state: &mut State,
        buffers: &mut ThreadBuffers,
        key: &Key,
        before: &Told,
    ) {
        if before.is_empty() {
            return;
        }
        let now = state.told_to_leafnodes(key);
        let mut line = Vec::new();
        let leafs = state.peers.iter_mut().filter(|peer| peer.leaf.is_some());
        for ((leaf, now), before) in leafs.zip(now).zip(before) {
            if is_same(key, *before, now) {
                continue;
            }
            line.clear();
            self.push_line(&mut line, true, key, now);
            leaf.announce(buffers, key, &line);
        }
    }
}

/// Whether a broker that was told the one need not be told the other. Of a subject, without a queue
/// group, the number does not matter.
fn is_same(key: &[u8], before: Option<u32>, now: Option<u32>) -> bool {
    match key.contains(&b' ') {
        true => before == now,
        false => before.is_some() == now.is_some(),
    }
}

fn of<'a>(beyond: &'a mut Beyond, side: &LeafSide) -> &'a mut u64 {
    match side.is_hub {
        true => &mut beyond.hubs,
        false => &mut beyond.spokes,
    }
}
