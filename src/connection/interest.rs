//! Local interest: what the subscribers of this broker want, as the peers of
//! the cluster are told.
//!
//! A peer is told of a subject once, however many take it here; of a queue
//! group also the number of its members. The account counts its subscriptions
//! here as soon as there is a route and not before, so that a broker on its own
//! pays nothing. Told in the order of the changes: the lock is held while the
//! lines are put into the routes' queues. It is the only lock that may be held
//! when a queue's is taken.
//!
//! However much there is to tell, little of it waits in a queue: of what a new peer
//! is told is noted how far that has come, and changes beyond what a long queue may
//! take ahead are noted by their keys; the route's own task tells them in parts while
//! its socket drains ([`LocalInterest::send_more`]). A part tells how things are then,
//! so what changed meanwhile is told once. What was subscribed before the first route
//! is counted so, too, before anything is told: nobody waits for the lock longer than
//! a part takes.

mod wants;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hashbrown::HashSet;
use parking_lot::Mutex;

use self::wants::{Key, Wanted, Wants};
use super::{Connection, Subscription, buffers::ThreadBuffers};
use crate::{
    security::permissions::Permissions,
    sublist::{Entry as _, Sublist},
    telemetry::pool::allocated,
};

/// Bytes waiting for a peer up to which it is told more.
pub const ROOM: usize = 256 * 1024;

/// Bytes of changes that are told at once while more than [`ROOM`] waits: a
/// subject is to be wanted before a message that names it goes out. What is more
/// is a mass of changes, and waits for room.
const AHEAD_MAX: usize = 4 * 1024 * 1024;

/// A key that is longer may be too long for some peer.
const LONG_KEY: usize = 1024;

/// Keys that are looked at for a peer in one hold of the lock, told or not.
const LOOKED_AT_ONCE: usize = 16 * 1024;

/// Subscriptions of before the first route that are counted in one hold of the lock.
const COUNTED_AT_ONCE: usize = 2048;

/// Texts that are looked at to tell what all of them take.
const SAMPLE: usize = 256;

/// What the subscribers of one account want.
pub struct LocalInterest {
    /// The account's name, as it stands in the lines.
    account: Box<[u8]>,
    /// Whether subscriptions are counted: there is or was a route.
    counting: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wanted: Wants,
    /// Subscriptions of before the first route that are still to be counted.
    uncounted: Vec<Arc<Subscription>>,
    /// Whether none of them is left.
    is_counted: bool,
    /// The keys of `wanted` that are longer than [`LONG_KEY`].
    long: HashSet<Key>,
    /// Who is told.
    peers: Vec<Peer>,
    /// What they may be told of: what can be published to. `None` is everything.
    limits: Option<Arc<Permissions>>,
    /// The account is defined no more: the broker itself wants nothing in it.
    has_left: bool,
}

/// A peer that is told.
struct Peer {
    route: Arc<Connection>,
    /// Of the first so many keys it is still to be told, if there are so many.
    untold: usize,
    /// What is to be told when there is room.
    later: HashSet<Key>,
    /// Bytes told at once since more than [`ROOM`] waits.
    ahead: usize,
}

impl LocalInterest {
    /// Nothing is wanted yet.
    pub fn new(account: &str) -> Self {
        Self {
            account: account.as_bytes().into(),
            counting: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Has a new peer told everything, part by part, and every change from now
    /// on. A peer that is told already is passed over.
    pub fn attach(&self, route: &Arc<Connection>, sublist: &Sublist<Subscription>) {
        let mut state = self.state.lock();
        // Looked at under the lock: a route's end comes after its mark, and takes it
        // out of here.
        if route.is_closing() || state.peers.iter().any(|it| Arc::ptr_eq(&it.route, route)) {
            return;
        }
        self.counting.store(true, Ordering::SeqCst);
        if !state.is_counted && state.uncounted.is_empty() {
            // Who subscribes from now on counts itself; the mark at each
            // subscription keeps it from being counted twice.
            sublist.for_each(|it| state.uncounted.push(it.clone()));
            state.is_counted = state.uncounted.is_empty();
        }
        if !state.wanted.is_empty() || !state.is_counted {
            route.owe_interest();
        }
        state.peers.push(Peer {
            route: route.clone(),
            untold: usize::MAX,
            later: HashSet::new(),
            ahead: 0,
        });
    }

    /// Tells a peer no more.
    pub fn detach(&self, route: &Arc<Connection>) {
        let mut state = self.state.lock();
        let left = state
            .peers
            .extract_if(.., |it| Arc::ptr_eq(&it.route, route));
        let left: Vec<Peer> = left.collect();
        let uncounted = match state.peers.is_empty() {
            true => std::mem::take(&mut state.uncounted),
            false => Vec::new(),
        };
        drop(state);
        // Memory is given back without the lock.
        drop((left, uncounted));
    }

    /// Has a peer told once more of everything that is wanted, beside what it is owed.
    pub fn resend(&self, route: &Arc<Connection>) {
        let mut state = self.state.lock();
        let mut peers = state.peers.iter_mut();
        if let Some(peer) = peers.find(|it| Arc::ptr_eq(&it.route, route)) {
            peer.untold = usize::MAX;
            route.owe_interest();
        }
    }

    /// Whether nothing is wanted and no peer is owed a word about it.
    pub fn is_at_rest(&self) -> bool {
        let state = self.state.lock();
        state.wanted.is_empty()
            && state.uncounted.is_empty()
            && state.peers.iter().all(|peer| peer.later.is_empty())
    }

    /// Tells a peer the next of what it is owed, of at most about `budget`
    /// bytes, which it takes off. Returns whether more is left.
    pub fn send_more(
        &self,
        buffers: &mut ThreadBuffers,
        route: &Arc<Connection>,
        budget: &mut usize,
    ) -> bool {
        let mut state = self.state.lock();
        if state.count_more() {
            return true;
        }
        let State {
            wanted,
            peers,
            limits,
            ..
        } = &mut *state;
        let Some(peer) = peers.iter_mut().find(|it| Arc::ptr_eq(&it.route, route)) else {
            return false;
        };
        let mut lines = Vec::new();
        let push = |lines: &mut Vec<u8>, key: &[u8], wanted| {
            let start = lines.len();
            self.push_line(lines, key, wanted, limits);
            if lines.len() - start > route.line_max() {
                lines.truncate(start);
            }
        };
        peer.untold = peer.untold.min(wanted.len());
        let mut may_look_at = LOOKED_AT_ONCE;
        while lines.len() < *budget
            && may_look_at > 0
            && let Some(next) = peer.untold.checked_sub(1)
        {
            peer.untold = next;
            may_look_at -= 1;
            if let Some((key, wanted)) = wanted.at(next).filter(|it| may_be_told(limits, &it.0)) {
                push(&mut lines, key, Some(wanted));
            }
        }
        let mut owed = peer.later.extract_if(|_| true);
        while lines.len() < *budget
            && let Some(key) = owed.next()
        {
            push(&mut lines, &key, wanted.get(&key));
        }
        drop(owed);
        if peer.later.is_empty() {
            peer.later = HashSet::new();
        }
        *budget = budget.saturating_sub(lines.len());
        if !lines.is_empty() {
            route.send(buffers, &lines);
        }
        peer.untold > 0 || !peer.later.is_empty()
    }

    /// Has a peer told once more of what may have been too long for it.
    pub fn resend_long_entries(&self, route: &Arc<Connection>) {
        let mut state = self.state.lock();
        let State { long, peers, .. } = &mut *state;
        owe(peers, route, long.iter().cloned());
    }

    /// How many subjects and queue groups a peer is not told of because their
    /// lines are too long for it.
    pub fn too_long_for(&self, route: &Connection) -> usize {
        let state = self.state.lock();
        let mut line = Vec::new();
        let is_too_long = |key: &&Key| {
            line.clear();
            self.push_line(&mut line, key, state.wanted.get(key), &state.limits);
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
        let (key, wanted) = state.wanted_mut(&key(subscription));
        let is_new = wanted.is_nothing();
        wanted.subscriptions += 1;
        if is_new || subscription.queue().is_some() {
            self.tell(&mut state, buffers, &key);
        }
    }

    /// Wants a subject for good, without a subscription, if there is or was a
    /// route.
    pub fn want(&self, buffers: &mut ThreadBuffers, subject: &[u8]) {
        if self.counting.load(Ordering::SeqCst) {
            self.want_always(buffers, subject);
        }
    }

    /// Wants a subject for good, without a subscription; routes that come later
    /// are told as well.
    pub fn want_always(&self, buffers: &mut ThreadBuffers, subject: &[u8]) {
        let mut state = self.state.lock();
        if state.has_left {
            return;
        }
        let (key, wanted) = state.wanted_mut(subject);
        let is_new = wanted.is_nothing();
        wanted.for_good = true;
        if is_new {
            self.tell(&mut state, buffers, &key);
        }
    }

    /// No longer wants for good what was.
    pub fn unwant(&self, buffers: &mut ThreadBuffers, subject: &[u8]) {
        let mut state = self.state.lock();
        let key = state.wanted.find(subject);
        self.withdraw(&mut state, buffers, key);
    }

    /// The account is defined no more: nothing is wanted for good in it, also if who
    /// does not know that yet asks for it.
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

    /// Takes back that keys are wanted for good; the peers are told.
    fn withdraw(
        &self,
        state: &mut State,
        buffers: &mut ThreadBuffers,
        keys: impl IntoIterator<Item = Key>,
    ) {
        for key in keys {
            state.wanted_mut(&key).1.for_good = false;
            if state.drop_unwanted(&key) {
                self.tell(state, buffers, &key);
            }
        }
    }

    /// Counts subscriptions out that have left the sublist. Of a queue group that
    /// many leave at once only what is left of it is told.
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
            let (key, wanted) = state.wanted_mut(&key(subscription));
            wanted.subscriptions = wanted.subscriptions.saturating_sub(1);
            if state.drop_unwanted(&key) || subscription.queue().is_some() {
                changed.push(key);
            }
        }
        let mut told = HashSet::new();
        for key in &changed {
            if changed.len() == 1 || told.insert(key) {
                self.tell(&mut state, buffers, key);
            }
        }
    }

    /// Limits what peers are told of; they are told what is different now.
    pub fn limit(&self, buffers: &mut ThreadBuffers, limits: Option<Arc<Permissions>>) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.limits, limits);
        let changed = |key: &&Key| may_be_told(&before, key) != may_be_told(&state.limits, key);
        let changed: Vec<Key> = state.wanted.keys().filter(changed).cloned().collect();
        for key in &changed {
            self.tell_all(&mut state, buffers, key);
        }
    }

    /// Tells all peers of a change of what may be told.
    fn tell(&self, state: &mut State, buffers: &mut ThreadBuffers, key: &Key) {
        if may_be_told(&state.limits, key) {
            self.tell_all(state, buffers, key);
        }
    }

    /// Tells all peers how a key stands: at once where there is room, else soon.
    fn tell_all(&self, state: &mut State, buffers: &mut ThreadBuffers, key: &Key) {
        if state.peers.is_empty() {
            return;
        }
        let mut line = std::mem::take(&mut buffers.scratch);
        line.clear();
        self.push_line(&mut line, key, state.wanted.get(key), &state.limits);
        for peer in &mut state.peers {
            peer.tell(buffers, key, &line);
        }
        buffers.scratch = line;
    }

    /// The line that tells how a key stands.
    fn push_line(
        &self,
        lines: &mut Vec<u8>,
        key: &[u8],
        wanted: Option<&Wanted>,
        limits: &Option<Arc<Permissions>>,
    ) {
        let wanted = wanted.filter(|_| may_be_told(limits, key));
        let verb: &[u8] = match wanted {
            Some(_) => b"RS+ ",
            None => b"RS- ",
        };
        for part in [verb, &self.account, b" ", key] {
            lines.extend_from_slice(part);
        }
        if let Some(wanted) = wanted
            && key.contains(&b' ')
        {
            lines.extend_from_slice(format!(" {}", wanted.subscriptions).as_bytes());
        }
        lines.extend_from_slice(b"\r\n");
    }
}

/// Whether a subject, in front of its queue group, is within the limits.
fn may_be_told(limits: &Option<Arc<Permissions>>, key: &[u8]) -> bool {
    let subject = key.split(|byte| *byte == b' ').next().unwrap_or(key);
    limits
        .as_ref()
        .is_none_or(|limits| limits.may_publish(subject))
}

/// Has a peer told of these when there is room.
fn owe(peers: &mut [Peer], route: &Arc<Connection>, keys: impl Iterator<Item = Key>) {
    if let Some(peer) = peers.iter_mut().find(|it| Arc::ptr_eq(&it.route, route)) {
        peer.later.extend(keys);
        if !peer.later.is_empty() {
            route.owe_interest();
        }
    }
}

impl State {
    /// By whom a key is wanted, to be changed; a new one is wanted by nobody.
    fn wanted_mut(&mut self, key: &[u8]) -> (Key, &mut Wanted) {
        let (key, wanted) = self.wanted.get_mut(key);
        if key.len() > LONG_KEY && wanted.is_nothing() {
            self.long.insert(key.clone());
        }
        (key, wanted)
    }

    /// Counts some of those that are still to be counted, if there are. Returns
    /// whether there were.
    fn count_more(&mut self) -> bool {
        if self.is_counted {
            return false;
        }
        let from = self.uncounted.len().saturating_sub(COUNTED_AT_ONCE);
        for subscription in self.uncounted.split_off(from) {
            // Who ends is marked before it is counted out, which waits for the lock.
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

    /// Forgets a key that nobody wants any more; whether that is so.
    fn drop_unwanted(&mut self, key: &Key) -> bool {
        let is_unwanted = self.wanted.get(key).is_some_and(|it| it.is_nothing());
        if is_unwanted {
            self.wanted.remove(key);
            self.long.remove(key);
        }
        is_unwanted
    }
}

impl Peer {
    fn tell(&mut self, buffers: &mut ThreadBuffers, key: &Key, line: &[u8]) {
        if line.len() > self.route.line_max() {
            return;
        }
        let Some(mut appender) = self.route.append() else {
            return;
        };
        let has_room = appender.pending() <= ROOM;
        if has_room {
            self.ahead = 0;
        } else if self.ahead + line.len() > AHEAD_MAX {
            drop(appender);
            self.later.insert(key.clone());
            self.route.owe_interest();
            return;
        } else {
            self.ahead += line.len();
        }
        if !appender.reserve(line.len()) {
            return;
        }
        appender.push(buffers, line, b"");
        if appender.touch(buffers.read_batch) {
            buffers.touched.push(self.route.clone());
        }
        buffers.congested.note(&self.route, &mut appender);
    }
}

/// Neither subject nor queue group holds a blank.
fn key(subscription: &Subscription) -> Box<[u8]> {
    match subscription.queue() {
        Some(queue) => [subscription.subject(), b" ", queue].concat().into(),
        None => subscription.subject().into(),
    }
}

impl LocalInterest {
    /// Bytes that counting takes: the table as it is, its texts by a sample of them.
    pub fn memory(&self) -> usize {
        let state = self.state.lock();
        let sample = state.wanted.keys().take(SAMPLE);
        let texts: usize = sample.map(|key| allocated(key.len())).sum();
        let sampled = state.wanted.len().clamp(1, SAMPLE);
        let owed = state.peers.iter().map(|peer| peer.later.allocation_size());
        let uncounted = state.uncounted.capacity() * size_of::<Arc<Subscription>>();
        let tables = state.wanted.allocation_size() + state.long.allocation_size() + uncounted;
        tables + owed.sum::<usize>() + texts * state.wanted.len() / sampled
    }
}
