//! Local interest: the subscriptions of this broker, as announced to the peers of the
//! cluster; and what leafnodes are told ([`leafnodes`]), which is more.
//!
//! A subject is announced to a peer once, however many subscribe to it here; of a queue
//! group also the number of its members. The account counts its subscriptions
//! here as soon as there is a route and not before, so that a broker on its own
//! pays nothing. Changes are announced in their order: the lock is held while the
//! lines are put into the routes' queues. It is the only lock that may be held
//! when a queue's is taken.
//!
//! However much there is to announce, little of it is pending in a queue. A new peer gets
//! all of it in parts, and changes that exceed the space of a long queue are noted by their
//! keys; the route's own task announces them while its socket drains
//! ([`LocalInterest::announce_more`]). A part announces the present state, so several
//! changes of a key are announced once. Subscriptions made before the first route are
//! counted in parts, too, before anything is announced: the lock is never held for longer
//! than one part.

mod leafnodes;
mod peer;
mod state;
mod wants;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hashbrown::HashSet;
use parking_lot::Mutex;

pub use peer::QUEUE_SPACE;
use peer::{Peer, owe};
use state::{State, key, may_be_announced};
use wants::Key;

use crate::{
    connection::{Connection, Subscription, buffers::ThreadBuffers},
    protocol::encode::{
        push_interest, push_leaf_interest, push_no_interest, push_no_leaf_interest,
    },
    security::permissions::Permissions,
    sublist::{Entry as _, Sublist},
    telemetry::pool::allocated,
};

/// Keys that are looked at for a peer in one hold of the lock, announced or not.
const EXAMINED_MAX: usize = 16 * 1024;

/// Number of texts sampled to estimate the memory of all.
const SAMPLE: usize = 256;

/// The local interest in one account.
pub struct LocalInterest {
    /// The account's name, as written in the protocol lines.
    account: Box<[u8]>,
    /// Whether subscriptions are counted: there is or was a route or a leafnode.
    counting: AtomicBool,
    /// Whether there is or was a leafnode, so that the interest of peers counts.
    counts_routes: AtomicBool,
    state: Mutex<State>,
}

impl LocalInterest {
    /// An account without interest.
    pub fn new(account: &str) -> Self {
        Self {
            account: account.as_bytes().into(),
            counting: AtomicBool::new(false),
            counts_routes: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Notes that everything is to be announced to a new peer, part by part, and every change from
    /// now on. A peer that is attached already is passed over.
    pub fn attach(&self, route: &Arc<Connection>, sublist: &Sublist<Subscription>) {
        let mut state = self.state.lock();
        // Checked under the lock: a closing route is first marked and then removed from
        // here.
        if route.is_closing() || state.peers.iter().any(|it| Arc::ptr_eq(&it.route, route)) {
            return;
        }
        self.counting.store(true, Ordering::SeqCst);
        self.begin_counting(&mut state, sublist);
        if !state.wanted.is_empty() || !state.is_counted {
            route.note_pending_interest();
        }
        state.peers.push(Peer::new(route, None));
    }

    /// Has subscriptions counted, if they are not yet.
    fn begin_counting(&self, state: &mut State, sublist: &Sublist<Subscription>) {
        if !state.is_counted && state.uncounted.is_empty() {
            // Later subscribers count themselves; the mark at each subscription keeps it
            // from being counted twice.
            sublist.for_each(|it| state.uncounted.push(it.clone()));
            state.is_counted = state.uncounted.is_empty();
        }
    }

    /// Announces nothing more to a peer.
    pub fn detach(&self, route: &Arc<Connection>) {
        let mut state = self.state.lock();
        let left = state
            .peers
            .extract_if(.., |it| Arc::ptr_eq(&it.route, route));
        let left: Vec<Peer> = left.collect();
        let uncounted = match state.peers.is_empty() {
            // It begins anew with the next peer; counting the interest of peers goes on, since the
            // part that is counted is to be subtracted when it ends.
            true => std::mem::take(&mut state.uncounted),
            false => Vec::new(),
        };
        drop(state);
        // Memory is freed without the lock.
        drop((left, uncounted));
    }

    /// Notes that everything that is wanted is to be announced to a peer once more, beside what
    /// waits for it.
    pub fn announce_again(&self, route: &Arc<Connection>) {
        let mut state = self.state.lock();
        let mut peers = state.peers.iter_mut();
        if let Some(peer) = peers.find(|it| Arc::ptr_eq(&it.route, route)) {
            peer.unannounced = usize::MAX;
            route.note_pending_interest();
        }
    }

    /// Whether nothing is wanted and nothing waits to be announced.
    pub fn is_at_rest(&self) -> bool {
        let state = self.state.lock();
        state.wanted.is_empty()
            && state.uncounted.is_empty()
            && state.peers.iter().all(|peer| peer.waiting.is_empty())
    }

    /// Whether all that is wanted by now has been put into the queue for a peer.
    pub fn is_announced_to(&self, route: &Arc<Connection>) -> bool {
        let state = self.state.lock();
        let mut peers = state.peers.iter();
        let peer = peers.find(|it| Arc::ptr_eq(&it.route, route));
        let has_all =
            |it: &Peer| it.waiting.is_empty() && it.unannounced.min(state.wanted.len()) == 0;
        state.is_counted && peer.is_some_and(has_all)
    }

    /// Announces the next part of the pending changes to a peer, of at most about `budget`
    /// bytes, which it subtracts. Returns whether more is pending.
    pub fn announce_more(
        &self,
        buffers: &mut ThreadBuffers,
        route: &Arc<Connection>,
        budget: &mut usize,
    ) -> bool {
        let mut state = self.state.lock();
        if state.count_more() {
            return true;
        }
        // Out of the list, so that what it is told can be read from the rest of the state.
        let place = state
            .peers
            .iter()
            .position(|it| Arc::ptr_eq(&it.route, route));
        let Some(mut peer) = place.map(|place| state.peers.swap_remove(place)) else {
            return false;
        };
        let mut lines = Vec::new();
        let push = |lines: &mut Vec<u8>, key: &[u8], members| {
            let start = lines.len();
            self.push_line(lines, peer.leaf.is_some(), key, members);
            if lines.len() - start > route.line_max() {
                lines.truncate(start);
            }
        };
        let leaf = peer.leaf.as_deref();
        let wanted = &state.wanted;
        peer.unannounced = peer.unannounced.min(wanted.len());
        let mut may_examine = EXAMINED_MAX;
        while lines.len() < *budget
            && may_examine > 0
            && let Some(next) = peer.unannounced.checked_sub(1)
        {
            peer.unannounced = next;
            may_examine -= 1;
            if let Some((key, _)) = wanted.at(next)
                && let Some(members) = state.told(leaf, key)
            {
                push(&mut lines, key, Some(members));
            }
        }
        let mut waiting = peer.waiting.extract_if(|_| true);
        while lines.len() < *budget
            && let Some(key) = waiting.next()
        {
            push(&mut lines, &key, state.told(leaf, &key));
        }
        drop(waiting);
        if peer.waiting.is_empty() {
            peer.waiting = HashSet::new();
        }
        *budget = budget.saturating_sub(lines.len());
        if !lines.is_empty() {
            route.send(buffers, &lines);
        }
        let has_more = peer.unannounced > 0 || !peer.waiting.is_empty();
        state.peers.push(peer);
        has_more
    }

    /// Notes that what may have been too long for a peer is to be announced to it once more.
    pub fn announce_long_again(&self, route: &Arc<Connection>) {
        let mut state = self.state.lock();
        let State { long, peers, .. } = &mut *state;
        owe(peers, route, long.iter().cloned());
    }

    /// How many subjects and queue groups are not announced to a peer because their
    /// lines are too long for it.
    pub fn too_long_for(&self, route: &Connection) -> usize {
        let state = self.state.lock();
        let mut line = Vec::new();
        let is_too_long = |key: &&Key| {
            line.clear();
            self.push_line(&mut line, false, key, state.told(None, key));
            line.len() > route.line_max()
        };
        state.long.iter().filter(is_too_long).count()
    }

    /// Counts a subscription that is in the sublist by now.
    pub fn add(&self, buffers: &mut ThreadBuffers, subscription: &Subscription) {
        if !self.counting.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.state.lock();
        if subscription.set_counted(true) {
            return;
        }
        let text = key(subscription);
        let before = state.told_before(&text, 1);
        let (key, wanted) = state.wanted_mut(&text);
        let is_new = wanted.for_routes().is_none();
        wanted.subscriptions += 1;
        if is_new || subscription.queue().is_some() {
            self.announce(&mut state, buffers, &key);
        }
        self.tell_leafnodes(&mut state, buffers, &key, &before);
    }

    /// Adds permanent interest in a subject, without a subscription, if there is or was a
    /// route.
    pub fn want(&self, buffers: &mut ThreadBuffers, subject: &[u8]) {
        if self.counting.load(Ordering::SeqCst) {
            self.want_always(buffers, subject);
        }
    }

    /// Adds permanent interest in a subject, without a subscription; it is announced to routes that
    /// come later as well.
    pub fn want_always(&self, buffers: &mut ThreadBuffers, subject: &[u8]) {
        let mut state = self.state.lock();
        if state.has_left {
            return;
        }
        let before = state.told_to_leafnodes(subject);
        let (key, wanted) = state.wanted_mut(subject);
        let is_new = wanted.for_routes().is_none();
        wanted.for_good = true;
        if is_new {
            self.announce(&mut state, buffers, &key);
        }
        self.tell_leafnodes(&mut state, buffers, &key, &before);
    }

    /// Ends permanent interest.
    pub fn unwant(&self, buffers: &mut ThreadBuffers, subject: &[u8]) {
        let mut state = self.state.lock();
        let key = state.wanted.find(subject);
        self.withdraw(&mut state, buffers, key);
    }

    /// The account is no longer defined: it has no permanent interest any more. A peer that
    /// does not know that yet may still ask for it.
    pub fn leave(&self, buffers: &mut ThreadBuffers) {
        let mut state = self.state.lock();
        state.has_left = true;
        let for_good = state.wanted.iter().filter(|(_, wanted)| wanted.for_good);
        let keys: Vec<Key> = for_good.map(|(key, _)| key.clone()).collect();
        self.withdraw(&mut state, buffers, keys);
    }

    /// The account is defined, maybe again.
    pub fn come_back(&self) {
        self.state.lock().has_left = false;
    }

    /// Ends the permanent interest in keys, and announces that.
    fn withdraw(
        &self,
        state: &mut State,
        buffers: &mut ThreadBuffers,
        keys: impl IntoIterator<Item = Key>,
    ) {
        for key in keys {
            let before = state.told_to_leafnodes(&key);
            let wanted = state.wanted_mut(&key).1;
            wanted.for_good = false;
            let is_gone = wanted.for_routes().is_none();
            state.drop_unwanted(&key);
            if is_gone {
                self.announce(state, buffers, &key);
            }
            self.tell_leafnodes(state, buffers, &key, &before);
        }
    }

    /// Subtracts subscriptions that have been removed from the sublist. Of a queue group
    /// that loses many members together only the remaining number is announced.
    pub fn remove(&self, buffers: &mut ThreadBuffers, subscriptions: &[Arc<Subscription>]) {
        if !self.counting.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.state.lock();
        let mut changed: Vec<Key> = Vec::new();
        for subscription in subscriptions {
            if !subscription.set_counted(false) {
                continue;
            }
            let text = key(subscription);
            let before = state.told_before(&text, 2);
            let (key, wanted) = state.wanted_mut(&text);
            wanted.subscriptions = wanted.subscriptions.saturating_sub(1);
            let is_gone = wanted.for_routes().is_none();
            state.drop_unwanted(&key);
            self.tell_leafnodes(&mut state, buffers, &key, &before);
            if is_gone || subscription.queue().is_some() {
                changed.push(key);
            }
        }
        let mut announced = HashSet::new();
        for key in &changed {
            if changed.len() == 1 || announced.insert(key) {
                self.announce(&mut state, buffers, key);
            }
        }
    }

    /// Limits what is announced, and announces what is different now.
    pub fn limit(&self, buffers: &mut ThreadBuffers, limits: Option<Arc<Permissions>>) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.limits, limits);
        let changed =
            |key: &&Key| may_be_announced(&before, key) != may_be_announced(&state.limits, key);
        let changed: Vec<Key> = state.wanted.keys().filter(changed).cloned().collect();
        for key in &changed {
            self.announce_to_all(&mut state, buffers, key);
        }
    }

    /// Announces a change to all peers if it may be announced.
    fn announce(&self, state: &mut State, buffers: &mut ThreadBuffers, key: &Key) {
        if may_be_announced(&state.limits, key) {
            self.announce_to_all(state, buffers, key);
        }
    }

    /// Announces the state of a key to all peers of the cluster: immediately where the queue is
    /// short, else soon.
    fn announce_to_all(&self, state: &mut State, buffers: &mut ThreadBuffers, key: &Key) {
        if state.peers.is_empty() {
            return;
        }
        let mut line = std::mem::take(&mut buffers.scratch);
        line.clear();
        self.push_line(&mut line, false, key, state.told(None, key));
        let routes = state.peers.iter_mut().filter(|peer| peer.leaf.is_none());
        for peer in routes {
            peer.announce(buffers, key, &line);
        }
        buffers.scratch = line;
    }

    /// The line that tells a peer of the cluster, or a leafnode, so many members; `None`: that there
    /// is no interest.
    fn push_line(&self, lines: &mut Vec<u8>, to_leaf: bool, key: &[u8], members: Option<u32>) {
        match (members, to_leaf) {
            (Some(members), false) => push_interest(lines, &self.account, key, members),
            (None, false) => push_no_interest(lines, &self.account, key),
            (Some(members), true) => push_leaf_interest(lines, key, members),
            (None, true) => push_no_leaf_interest(lines, key),
        }
    }
}

impl LocalInterest {
    /// Bytes used for counting: the table exactly, its texts estimated from a sample.
    pub fn memory(&self) -> usize {
        let state = self.state.lock();
        let sample = state.wanted.keys().take(SAMPLE);
        let texts: usize = sample.map(|key| allocated(key.len())).sum();
        let sampled = state.wanted.len().clamp(1, SAMPLE);
        let pending = state
            .peers
            .iter()
            .map(|peer| peer.waiting.allocation_size());
        let uncounted = state.uncounted.capacity() + state.uncounted_routes.capacity();
        let uncounted = uncounted * size_of::<Arc<Subscription>>();
        let tables = state.wanted.allocation_size() + state.long.allocation_size() + uncounted;
        let tables = tables + state.memory_of_leafnodes();
        tables + pending.sum::<usize>() + texts * state.wanted.len() / sampled
    }
}
