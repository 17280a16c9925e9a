//! Imported streams: a subscription gets a shadow subscription in each account whose streams its
//! own account imports under a matching subject.
//!
//! A shadow is an ordinary entry of the other account's sublist, so publishers there, and routes
//! that announce interest, need not know about imports.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{Account, REMOVED_PER_LOCK, imports::StreamImport};
use crate::{
    connection::{Subscription, buffers::ThreadBuffers},
    subject::{intersect, is_valid, transform::Renaming},
    sublist::{Entry, Sublist},
};

/// The shadows of an account's subscriptions by the address of the subscription, which its shadows
/// keep alive.
#[derive(Default)]
pub(super) struct Shadows {
    by_origin: Mutex<HashMap<usize, Vec<Shadow>>>,
    /// Whether there ever was a shadow: most accounts have none and skip the look-up.
    used: AtomicBool,
    /// Bytes of all shadows, in all accounts.
    bytes: AtomicUsize,
}

/// A shadow and the account it is in.
struct Shadow {
    account: Arc<Account>,
    subjects: Arc<Renaming>,
    allow_trace: bool,
    subscription: Arc<Subscription>,
    /// Its memory, which counts for the account of its subscription.
    bytes: usize,
}

/// Upper bound of the memory that the index needs for a subscription.
pub(super) fn index_len(subject: &[u8]) -> usize {
    Sublist::<Subscription>::index_len(subject)
}

/// Bytes of all shadows that a subscription would get.
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

/// The part of `subject` that an import covers, as a subject of the exporting account.
fn export_subject(subject: &[u8], import: &StreamImport) -> Option<Vec<u8>> {
    let wanted = intersect(subject, import.subjects.local_subject.as_bytes())?;
    Some(import.subjects.to_export.applied(&wanted))
}

impl Shadows {
    /// Bytes of all shadows, in all accounts.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether there ever was one.
    pub(super) fn are_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Creates the shadows of a new subscription.
    pub(super) fn create(
        &self,
        buffers: &mut ThreadBuffers,
        origin: &Arc<Subscription>,
        imports: &[StreamImport],
    ) {
        let shadows = imports.iter().filter_map(|it| self.shadow(origin, it));
        let shadows: Vec<Shadow> = shadows.collect();
        shadows.iter().for_each(|it| self.add(buffers, it));
        self.keep(origin, shadows);
    }

    /// Creates missing shadows and removes those that are no longer imported. The others remain and
    /// miss no message.
    pub(super) fn update(
        &self,
        buffers: &mut ThreadBuffers,
        origins: &[Arc<Subscription>],
        imports: &[StreamImport],
    ) {
        let outdated = origins.iter().flat_map(|origin| {
            let outdated = self.update_one(buffers, origin, imports);
            // If it was removed meanwhile, its new shadows were not found.
            let closed = origin.is_closed().then(|| self.take(origin));
            outdated.into_iter().chain(closed.into_iter().flatten())
        });
        let outdated: Vec<Shadow> = outdated.collect();
        self.remove(buffers, outdated);
    }

    /// Updates one subscription; returns the shadows to remove.
    fn update_one(
        &self,
        buffers: &mut ThreadBuffers,
        origin: &Arc<Subscription>,
        imports: &[StreamImport],
    ) -> Vec<Shadow> {
        let mut before = self.take(origin);
        let mut shadows = Vec::new();
        for wanted in imports.iter().filter_map(|it| self.shadow(origin, it)) {
            match before
                .iter()
                .position(|known| known.is_same_import(&wanted))
            {
                Some(at) => shadows.push(before.swap_remove(at)),
                None => {
                    self.add(buffers, &wanted);
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
        let exported_traffic = import.account.exported_traffic.clone();
        let shadow = Subscription::shadow(
            origin,
            &export_subject,
            import.subjects.clone(),
            exported_traffic,
            import.allow_trace,
        );
        Some(Shadow {
            account: import.account.clone(),
            subjects: import.subjects.clone(),
            allow_trace: import.allow_trace,
            subscription: Arc::new(shadow),
            bytes,
        })
    }

    /// Removes the shadows of removed subscriptions.
    pub(super) fn remove_for(&self, buffers: &mut ThreadBuffers, origins: &[Arc<Subscription>]) {
        if !self.used.load(Ordering::Relaxed) {
            return;
        }
        for some in origins.chunks(REMOVED_PER_LOCK) {
            let shadows = some.iter().flat_map(|origin| self.take(origin)).collect();
            self.remove(buffers, shadows);
        }
    }

    fn add(&self, buffers: &mut ThreadBuffers, shadow: &Shadow) {
        self.bytes.fetch_add(shadow.bytes, Ordering::Relaxed);
        let account = &shadow.account;
        account
            .foreign_shadow_bytes
            .fetch_add(shadow.bytes, Ordering::Relaxed);
        account.add(buffers, shadow.subscription.clone());
    }

    fn remove(&self, buffers: &mut ThreadBuffers, mut shadows: Vec<Shadow>) {
        // Grouped by account, so that its lock is taken once for many.
        shadows.sort_by_key(|shadow| Arc::as_ptr(&shadow.account).addr());
        let is_same_import =
            |one: &Shadow, other: &Shadow| Arc::ptr_eq(&one.account, &other.account);
        for of_one in shadows.chunk_by(is_same_import) {
            for some in of_one.chunks(REMOVED_PER_LOCK) {
                let account = &some[0].account;
                let outdated = some.iter().map(|shadow| shadow.subscription.clone());
                let outdated: Vec<_> = outdated.collect();
                outdated.iter().for_each(|shadow| shadow.close());
                account.remove(buffers, &outdated);
                let bytes = some.iter().map(|shadow| shadow.bytes).sum();
                account
                    .foreign_shadow_bytes
                    .fetch_sub(bytes, Ordering::Relaxed);
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
    }
}

impl Shadow {
    /// Whether both import the same subjects in the same way.
    fn is_same_import(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.account, &other.account)
            && self.subjects == other.subjects
            && self.allow_trace == other.allow_trace
            && self.subscription.subject() == other.subscription.subject()
    }
}

fn key(origin: &Arc<Subscription>) -> usize {
    Arc::as_ptr(origin).addr()
}
