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
    connection::{Subscription, worker::Worker},
    subject::intersect,
    sublist::Entry,
};

/// The shadows of an account's subscriptions, by the address of the
/// subscription, which its shadows keep alive.
#[derive(Default)]
pub(super) struct Shadows {
    by_origin: Mutex<HashMap<usize, Vec<Shadow>>>,
    /// Whether there ever was one: most accounts need not look.
    used: AtomicBool,
}

/// A shadow and where it stands.
struct Shadow {
    account: Arc<Account>,
    subscription: Arc<Subscription>,
}

impl Shadows {
    /// Casts the shadows of a new subscription.
    pub(super) fn cast(
        &self,
        worker: &mut Worker,
        origin: &Arc<Subscription>,
        imports: &[StreamImport],
    ) {
        let shadows: Vec<Shadow> = imports
            .iter()
            .filter_map(|import| Shadow::of(origin, import))
            .collect();
        if shadows.is_empty() {
            return;
        }
        for shadow in &shadows {
            shadow.account.add(worker, shadow.subscription.clone());
        }
        self.used.store(true, Ordering::Relaxed);
        self.by_origin.lock().insert(key(origin), shadows);
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

    /// Takes all shadows away.
    pub(super) fn lift_all(&self, worker: &mut Worker) {
        let all = std::mem::take(&mut *self.by_origin.lock());
        for shadows in all.into_values() {
            remove(worker, shadows);
        }
    }
}

impl Shadow {
    fn of(origin: &Arc<Subscription>, import: &StreamImport) -> Option<Self> {
        let wanted = intersect(origin.subject(), import.subjects.ours.as_bytes())?;
        let theirs = import.subjects.back.applied(&wanted);
        let shadow = Subscription::shadow(origin, &theirs, import.subjects.clone());
        Some(Self {
            account: import.account.clone(),
            subscription: Arc::new(shadow),
        })
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
