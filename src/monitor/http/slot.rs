//! Places that are limited in number.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// One of a number of places, released when dropped.
pub(super) struct Slot(Arc<AtomicUsize>);

impl Slot {
    /// Reserves one of `max` places counted in `taken`, if one is free.
    pub(super) fn take(taken: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        // Only one thread reserves places, so there is no race between the check and the
        // addition.
        if taken.load(Ordering::Relaxed) >= max {
            return None;
        }
        taken.fetch_add(1, Ordering::Relaxed);
        Some(Self(taken.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_come_back() {
        let taken = Arc::default();
        let mut slots: Vec<_> = (0..100).map_while(|_| Slot::take(&taken, 3)).collect();
        assert_eq!(slots.len(), 3);
        assert!(Slot::take(&taken, 3).is_none());
        slots.pop();
        assert!(Slot::take(&taken, 3).is_some());
    }
}
