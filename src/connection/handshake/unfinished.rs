//! Handshakes under way: how many there may be, and what they hold; for
//! [`Handshakers`](super::Handshakers) only.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{READ_LEN, UNFINISHED_MAX};

/// Bytes that an unfinished handshake holds beside what is beyond [`READ_LEN`]:
/// what has come, the session, the flight to be sent. An estimate.
const UNFINISHED_LEN: usize = 16 * 1024;

/// Handshakes under way.
#[derive(Default)]
pub(super) struct Unfinished {
    count: AtomicUsize,
    /// Memory that they hold beyond [`READ_LEN`] each.
    long: AtomicUsize,
    /// The most that they have held since [`Unfinished::take_most`].
    most: AtomicUsize,
}

impl Unfinished {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The most bytes that they have held since the last call.
    pub(super) fn take_most(&self) -> usize {
        self.most.swap(self.held(), Ordering::Relaxed)
    }

    /// Bytes that they hold.
    pub(super) fn held(&self) -> usize {
        let long = self.long.load(Ordering::Relaxed);
        self.count() * UNFINISHED_LEN + long
    }
}

/// One of [`UNFINISHED_MAX`] places, released when dropped.
pub(super) struct Place {
    of: Arc<Unfinished>,
    /// Memory that it holds beyond [`READ_LEN`].
    long: usize,
}

impl Place {
    /// `None`: there is none left.
    pub(super) fn take(unfinished: &Arc<Unfinished>) -> Option<Self> {
        let place = Self {
            of: unfinished.clone(),
            long: 0,
        };
        let before = unfinished.count.fetch_add(1, Ordering::Relaxed);
        // Dropping gives a place back that was one too many.
        (before < UNFINISHED_MAX).then_some(place)
    }

    /// Books so many bytes.
    pub(super) fn hold(&mut self, len: usize) {
        let before = std::mem::replace(&mut self.long, len.saturating_sub(READ_LEN));
        self.of.long.fetch_sub(before, Ordering::Relaxed);
        self.of.long.fetch_add(self.long, Ordering::Relaxed);
        self.of.most.fetch_max(self.of.held(), Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.long.fetch_sub(self.long, Ordering::Relaxed);
        self.of.count.fetch_sub(1, Ordering::Relaxed);
    }
}
