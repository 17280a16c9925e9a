//! The memory budget that all outbound queues share.
//!
//! Each queue has a limit of its own, but many stuck readers below their limits could
//! still take all memory. What waits in queues that cannot be written now is booked
//! here; when the budget is overdrawn, the connection for which most is booked is
//! closed first. Queues that flow are never booked, so healthy traffic does not touch
//! the shared counter. A connection before its login has a budget of its own
//! ([`Budget::own`]): no client is closed for what unauthenticated connections hold.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Differences smaller than this are not booked.
pub const BOOKED_STEP: usize = 16 * 1024;

/// Bytes that queues may have however much all else holds.
const AVAILABLE_MIN: usize = 8 * 1024 * 1024;

/// Bytes that wait in queues, and how many may.
pub struct Budget {
    used: AtomicUsize,
    limit: AtomicUsize,
    /// Memory that the process has left for queues after all other uses.
    available: AtomicUsize,
}

/// Origin of a budget's limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimitedBy {
    /// The setting.
    MaxMemory,
    /// The memory that the process has left, which is less.
    Process {
        /// The configured limit.
        max_memory: usize,
    },
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            available: AtomicUsize::new(usize::MAX),
        }
    }

    /// That of a connection alone, which its queue's limit bounds.
    pub fn own() -> Arc<Self> {
        Arc::new(Self::new(usize::MAX))
    }

    /// Sets how many bytes of the process's memory remain for queues, after all other uses.
    pub fn set_available(&self, available: usize) {
        self.available
            .store(available.max(AVAILABLE_MIN), Ordering::Relaxed);
    }

    /// Replaces a holder's booking.
    pub fn book(&self, before: usize, now: usize) {
        match now.checked_sub(before) {
            Some(more) => self.used.fetch_add(more, Ordering::Relaxed),
            None => self.used.fetch_sub(before - now, Ordering::Relaxed),
        };
    }

    /// Bytes booked.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be booked.
    pub fn limit(&self) -> usize {
        let limit = self.limit.load(Ordering::Relaxed);
        limit.min(self.available.load(Ordering::Relaxed))
    }

    /// The origin of the limit.
    pub fn limited_by(&self) -> LimitedBy {
        let max_memory = self.limit.load(Ordering::Relaxed);
        match self.available.load(Ordering::Relaxed) < max_memory {
            true => LimitedBy::Process { max_memory },
            false => LimitedBy::MaxMemory,
        }
    }

    /// Sets another limit.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Whether a connection has to be cut.
    pub fn is_overdrawn(&self) -> bool {
        self.used() > self.limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_else_holds_counts_too() {
        let budget = Budget::new(100 << 20);
        assert_eq!(budget.limit(), 100 << 20);
        budget.set_available(50 << 20);
        budget.book(0, 60 << 20);
        assert!(budget.is_overdrawn());
        budget.set_available(0);
        assert_eq!(budget.limit(), AVAILABLE_MIN);
        let max_memory = 100 << 20;
        assert_eq!(budget.limited_by(), LimitedBy::Process { max_memory });
        budget.set_available(usize::MAX);
        assert_eq!(budget.limited_by(), LimitedBy::MaxMemory);
        assert!(!budget.is_overdrawn());
    }
}
