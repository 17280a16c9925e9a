//! Local interest: what the subscribers of this broker want, as the peers of
//! the cluster are told.
//!
//! A peer is told of a subject once, however many take it here; of a queue
//! group also the number of its members. The account counts its subscriptions
//! here as soon as there is a route and not before, so that a broker on its own
//! pays nothing. Told in the order of the changes: the lock is held while the
//! lines are put into the routes' queues. It is the only lock that may be held
//! when a queue's is taken.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{Connection, Subscription, worker::Worker};
use crate::{
    security::permissions::Permissions,
    sublist::{Entry as _, Sublist},
};

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
    /// Subscriptions by `subject` or `subject queue`, which is how a line ends.
    counts: HashMap<Box<[u8]>, u32>,
    /// Who is told.
    routes: Vec<Arc<Connection>>,
    /// What they may be told of: what can be published to. `None` is everything.
    limits: Option<Arc<Permissions>>,
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

    /// Tells a new peer everything, and every change from now on. A peer that
    /// is told already is passed over.
    pub fn attach(
        &self,
        worker: &mut Worker,
        route: &Arc<Connection>,
        sublist: &Sublist<Subscription>,
    ) {
        let mut state = self.state.lock();
        if state.routes.iter().any(|known| Arc::ptr_eq(known, route)) {
            return;
        }
        if !self.counting.swap(true, Ordering::SeqCst) {
            // Who subscribes from now on counts itself; the mark at each
            // subscription keeps it from being counted twice.
            sublist.for_each(|subscription| {
                if !subscription.set_counted(true) {
                    *state.counts.entry(key(subscription)).or_default() += 1;
                }
            });
        }
        let mut lines = Vec::new();
        for (key, count) in &state.counts {
            self.push_interest(&mut lines, &state, key, *count);
        }
        state.routes.push(route.clone());
        route.send(worker, &lines);
    }

    /// Tells a peer no more.
    pub fn detach(&self, route: &Arc<Connection>) {
        let mut state = self.state.lock();
        state.routes.retain(|known| !Arc::ptr_eq(known, route));
    }

    /// Counts a subscription that is in the sublist by now.
    pub fn add(&self, worker: &mut Worker, subscription: &Subscription) {
        if !self.counting.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.state.lock();
        if subscription.set_counted(true) {
            return;
        }
        let key = key(subscription);
        let mut line = Vec::new();
        let count = state.counts.get(&key).copied().unwrap_or(0) + 1;
        if count == 1 || subscription.queue().is_some() {
            self.push_interest(&mut line, &state, &key, count);
        }
        state.counts.insert(key, count);
        state.tell(worker, &line);
    }

    /// Wants a subject for good, without a subscription, if there is or was a
    /// route.
    pub fn want(&self, worker: &mut Worker, subject: &[u8]) {
        if self.counting.load(Ordering::SeqCst) {
            self.want_always(worker, subject);
        }
    }

    /// Wants a subject for good, without a subscription; routes that come later
    /// are told as well.
    pub fn want_always(&self, worker: &mut Worker, subject: &[u8]) {
        let mut state = self.state.lock();
        if state.counts.contains_key(subject) {
            return;
        }
        let mut line = Vec::new();
        self.push_interest(&mut line, &state, subject, 1);
        state.counts.insert(subject.into(), 1);
        state.tell(worker, &line);
    }

    /// Counts subscriptions out that have left the sublist.
    pub fn remove(&self, worker: &mut Worker, subscriptions: &[Arc<Subscription>]) {
        if !self.counting.load(Ordering::SeqCst) {
            return;
        }
        let mut lines = Vec::new();
        let mut state = self.state.lock();
        for subscription in subscriptions {
            if !subscription.set_counted(false) {
                continue;
            }
            let key = key(subscription);
            let Some(count) = state.counts.get_mut(&key) else {
                continue;
            };
            *count -= 1;
            match *count {
                0 => {
                    self.push_line(&mut lines, b"RS- ", &key);
                    lines.extend_from_slice(b"\r\n");
                    state.counts.remove(&key);
                }
                left if subscription.queue().is_some() => {
                    self.push_interest(&mut lines, &state, &key, left);
                }
                _ => {}
            }
        }
        state.tell(worker, &lines);
    }

    /// Limits what peers are told of; they are told what is different now.
    pub fn limit(&self, worker: &mut Worker, limits: Option<Arc<Permissions>>) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.limits, limits);
        let mut lines = Vec::new();
        for (key, count) in &state.counts {
            match (may_be_told(&before, key), may_be_told(&state.limits, key)) {
                (false, true) => self.push_interest(&mut lines, &state, key, *count),
                (true, false) => {
                    self.push_line(&mut lines, b"RS- ", key);
                    lines.extend_from_slice(b"\r\n");
                }
                _ => {}
            }
        }
        state.tell(worker, &lines);
    }

    fn push_interest(&self, lines: &mut Vec<u8>, state: &State, key: &[u8], count: u32) {
        if !may_be_told(&state.limits, key) {
            return;
        }
        self.push_line(lines, b"RS+ ", key);
        if key.contains(&b' ') {
            lines.extend_from_slice(format!(" {count}").as_bytes());
        }
        lines.extend_from_slice(b"\r\n");
    }

    fn push_line(&self, lines: &mut Vec<u8>, verb: &[u8], key: &[u8]) {
        for part in [verb, &self.account, b" ", key] {
            lines.extend_from_slice(part);
        }
    }
}

/// Whether a subject, in front of its queue group, is within the limits.
fn may_be_told(limits: &Option<Arc<Permissions>>, key: &[u8]) -> bool {
    let subject = key.split(|byte| *byte == b' ').next().unwrap_or(key);
    limits
        .as_ref()
        .is_none_or(|limits| limits.may_publish(subject))
}

impl State {
    fn tell(&self, worker: &mut Worker, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        for route in &self.routes {
            route.send(worker, lines);
        }
    }
}

/// Neither subject nor queue group holds a blank.
fn key(subscription: &Subscription) -> Box<[u8]> {
    match subscription.queue() {
        Some(queue) => [subscription.subject(), b" ", queue].concat().into(),
        None => subscription.subject().into(),
    }
}
