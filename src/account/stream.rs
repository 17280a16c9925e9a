//! Imported streams: a subscription casts a shadow into each account whose
//! messages its own imports under a subject it wants.
//!
//! The shadow stands in the other account's sublist like any subscription, so
//! a publisher there, or a route that carries interest, needs to know nothing
//! of imports.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{Account, REMOVED_AT_ONCE, imports::StreamImport};
use crate::{
    connection::{Subscription, buffers::ThreadBuffers},
    subject::{intersect, is_valid, transform::Renaming},
    sublist::{Entry, Sublist},
};

/// The shadows of an account's subscriptions, by the address of the
/// subscription, which its shadows keep alive.
#[derive(Default)]
pub(super) struct Shadows {
    by_origin: Mutex<HashMap<usize, Vec<Shadow>>>,
    /// Whether there ever was one: most accounts need not look.
    used: AtomicBool,
    /// Bytes of all of them, wherever they stand.
    bytes: AtomicUsize,
}

/// A shadow and where it stands.
struct Shadow {
    account: Arc<Account>,
    subjects: Arc<Renaming>,
    subscription: Arc<Subscription>,
    /// Bytes that it takes, for whose account it counts.
    bytes: usize,
}

/// Bytes that a subscription's place takes besides itself, at most.
pub(super) fn index_len(subject: &[u8]) -> usize {
    Sublist::<Subscription>::index_len(subject)
}

/// Bytes of all shadows that a subscription would cast.
pub(super) fn memory_of_shadows(
    subject: &[u8],
    queue: Option<&[u8]>,
    sid: &[u8],
    imports: &[StreamImport],
) -> usize {
    if imports.is_empty() || !is_valid(subject) {
        return 0;
    }
    let export_subject = imports.iter().filter_map(|it| export_subject(subject, it));
    export_subject
        .map(|export_subject| bytes_of(&export_subject, queue, sid))
        .sum()
}

fn bytes_of(export_subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) -> usize {
    Subscription::shadow_memory_of(export_subject, queue, sid) + index_len(export_subject)
}

/// What of `subject` comes by an import, as the other account calls it.
fn export_subject(subject: &[u8], import: &StreamImport) -> Option<Vec<u8>> {
    let wanted = intersect(subject, import.subjects.local_subject.as_bytes())?;
    Some(import.subjects.to_export.applied(&wanted))
}

impl Shadows {
    /// Bytes of all of them, wherever they stand.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether there ever was one.
    pub(super) fn are_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Casts the shadows of a new subscription.
    pub(super) fn cast(
        &self,
        buffers: &mut ThreadBuffers,
        origin: &Arc<Subscription>,
        imports: &[StreamImport],
    ) {
        let shadows = imports.iter().filter_map(|it| self.shadow(origin, it));
        let shadows: Vec<Shadow> = shadows.collect();
        shadows.iter().for_each(|it| self.begin(buffers, it));
        self.keep(origin, shadows);
    }

    /// Casts the shadows that subscriptions have not yet and takes away those
    /// that they have no more. The others stay: they miss no message.
    pub(super) fn recast(
        &self,
        buffers: &mut ThreadBuffers,
        origins: &[Arc<Subscription>],
        imports: &[StreamImport],
    ) {
        let gone = origins.iter().flat_map(|origin| {
            let gone = self.recast_one(buffers, origin, imports);
            // Whoever ended it meanwhile saw no shadow to take away.
            let too_late = origin.is_closed().then(|| self.take(origin));
            gone.into_iter().chain(too_late.into_iter().flatten())
        });
        let gone: Vec<Shadow> = gone.collect();
        self.remove(buffers, gone);
    }

    /// Returns those that it has no more.
    fn recast_one(
        &self,
        buffers: &mut ThreadBuffers,
        origin: &Arc<Subscription>,
        imports: &[StreamImport],
    ) -> Vec<Shadow> {
        let mut before = self.take(origin);
        let mut shadows = Vec::new();
        for wanted in imports.iter().filter_map(|it| self.shadow(origin, it)) {
            match before.iter().position(|known| known.is_like(&wanted)) {
                Some(at) => shadows.push(before.swap_remove(at)),
                None => {
                    self.begin(buffers, &wanted);
                    shadows.push(wanted);
                }
            }
        }
        self.keep(origin, shadows);
        before
    }

    fn take(&self, origin: &Arc<Subscription>) -> Vec<Shadow> {
        let shadows = self.by_origin.lock().remove(&key(origin));
        shadows.unwrap_or_default()
    }

    fn keep(&self, origin: &Arc<Subscription>, shadows: Vec<Shadow>) {
        if !shadows.is_empty() {
            self.used.store(true, Ordering::Relaxed);
            self.by_origin.lock().insert(key(origin), shadows);
        }
    }

    fn shadow(&self, origin: &Arc<Subscription>, import: &StreamImport) -> Option<Shadow> {
        let export_subject = export_subject(origin.subject(), import)?;
        let bytes = bytes_of(&export_subject, origin.queue(), origin.sid());
        let lent = import.account.lent.clone();
        let shadow = Subscription::shadow(origin, &export_subject, import.subjects.clone(), lent);
        Some(Shadow {
            account: import.account.clone(),
            subjects: import.subjects.clone(),
            subscription: Arc::new(shadow),
            bytes,
        })
    }

    /// Takes the shadows of ended subscriptions away.
    pub(super) fn lift(&self, buffers: &mut ThreadBuffers, origins: &[Arc<Subscription>]) {
        if !self.used.load(Ordering::Relaxed) {
            return;
        }
        for some in origins.chunks(REMOVED_AT_ONCE) {
            let shadows = some.iter().flat_map(|origin| self.take(origin)).collect();
            self.remove(buffers, shadows);
        }
    }

    fn begin(&self, buffers: &mut ThreadBuffers, shadow: &Shadow) {
        self.bytes.fetch_add(shadow.bytes, Ordering::Relaxed);
        let account = &shadow.account;
        account.borne.fetch_add(shadow.bytes, Ordering::Relaxed);
        account.add(buffers, shadow.subscription.clone());
    }

    fn remove(&self, buffers: &mut ThreadBuffers, mut shadows: Vec<Shadow>) {
        // Those of one account together, so that its lock is taken once for many.
        shadows.sort_by_key(|shadow| Arc::as_ptr(&shadow.account).addr());
        let is_like = |one: &Shadow, other: &Shadow| Arc::ptr_eq(&one.account, &other.account);
        for of_one in shadows.chunk_by(is_like) {
            for some in of_one.chunks(REMOVED_AT_ONCE) {
                let account = &some[0].account;
                let gone = some.iter().map(|shadow| shadow.subscription.clone());
                let gone: Vec<_> = gone.collect();
                gone.iter().for_each(|shadow| shadow.close());
                account.take_out(buffers, &gone);
                let bytes = some.iter().map(|shadow| shadow.bytes).sum();
                account.borne.fetch_sub(bytes, Ordering::Relaxed);
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
    }
}

impl Shadow {
    /// Whether messages come the same way, of one subscription.
    fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.account, &other.account)
            && self.subjects == other.subjects
            && self.subscription.subject() == other.subscription.subject()
    }
}

fn key(origin: &Arc<Subscription>) -> usize {
    Arc::as_ptr(origin).addr()
}
