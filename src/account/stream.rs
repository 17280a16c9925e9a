//! Imported streams: a subscription casts a shadow into each account whose
//! messages its own imports under a subject it wants.
//!
//! The shadow stands in the other account's sublist like any subscription, so
//! a publisher there, or a route that carries interest, needs to know nothing
//! of imports.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{Account, links::StreamImport};
use crate::{
    connection::{Crossing, Subscription, remote::Moved, worker::Worker},
    subject::{intersect, transform::Renaming},
    sublist::Entry,
};

/// The shadows of an account's subscriptions, by the address of the
/// subscription, which its shadows keep alive.
#[derive(Default)]
pub(super) struct Shadows {
    by_origin: Mutex<HashMap<usize, Vec<Shadow>>>,
    /// Whether there ever was one: most accounts need not look.
    used: AtomicBool,
    /// What they delivered.
    pub(super) borrowed: Arc<Moved>,
}

/// A shadow and where it stands.
struct Shadow {
    account: Arc<Account>,
    subjects: Arc<Renaming>,
    subscription: Arc<Subscription>,
}

impl Shadows {
    /// Whether there ever was one.
    pub(super) fn are_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Casts the shadows of a new subscription.
    pub(super) fn cast(
        &self,
        worker: &mut Worker,
        origin: &Arc<Subscription>,
        imports: &[StreamImport],
    ) {
        let shadows = imports.iter().filter_map(|it| self.shadow(origin, it));
        let shadows: Vec<Shadow> = shadows.collect();
        shadows.iter().for_each(|shadow| shadow.begin(worker));
        self.keep(origin, shadows);
    }

    /// Casts the shadows that a subscription has not yet and takes away those
    /// that it has no more. The others stay: they miss no message.
    pub(super) fn recast(
        &self,
        worker: &mut Worker,
        origin: &Arc<Subscription>,
        imports: &[StreamImport],
    ) {
        let mut before = self
            .by_origin
            .lock()
            .remove(&key(origin))
            .unwrap_or_default();
        let mut shadows = Vec::new();
        for wanted in imports.iter().filter_map(|it| self.shadow(origin, it)) {
            match before.iter().position(|known| known.is_like(&wanted)) {
                Some(at) => shadows.push(before.swap_remove(at)),
                None => {
                    wanted.begin(worker);
                    shadows.push(wanted);
                }
            }
        }
        self.keep(origin, shadows);
        remove(worker, before);
    }

    fn keep(&self, origin: &Arc<Subscription>, shadows: Vec<Shadow>) {
        if !shadows.is_empty() {
            self.used.store(true, Ordering::Relaxed);
            self.by_origin.lock().insert(key(origin), shadows);
        }
    }

    fn shadow(&self, origin: &Arc<Subscription>, import: &StreamImport) -> Option<Shadow> {
        let wanted = intersect(origin.subject(), import.subjects.ours.as_bytes())?;
        let theirs = import.subjects.back.applied(&wanted);
        let counted = Crossing {
            lent: import.account.lent.clone(),
            borrowed: self.borrowed.clone(),
        };
        let shadow = Subscription::shadow(origin, &theirs, import.subjects.clone(), counted);
        Some(Shadow {
            account: import.account.clone(),
            subjects: import.subjects.clone(),
            subscription: Arc::new(shadow),
        })
    }

    /// Takes the shadows of ended subscriptions away.
    pub(super) fn lift(&self, worker: &mut Worker, origins: &[Arc<Subscription>]) {
        if !self.used.load(Ordering::Relaxed) {
            return;
        }
        for origin in origins {
            let shadows = self.by_origin.lock().remove(&key(origin));
            remove(worker, shadows.unwrap_or_default());
        }
    }
}

impl Shadow {
    fn begin(&self, worker: &mut Worker) {
        self.account.add(worker, self.subscription.clone());
    }

    /// Whether messages come the same way, of one subscription.
    fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.account, &other.account)
            && self.subjects == other.subjects
            && self.subscription.subject() == other.subscription.subject()
    }
}

fn remove(worker: &mut Worker, shadows: Vec<Shadow>) {
    for shadow in shadows {
        let gone = std::slice::from_ref(&shadow.subscription);
        shadow.account.take_out(worker, gone);
    }
}

fn key(origin: &Arc<Subscription>) -> usize {
    Arc::as_ptr(origin).addr()
}
