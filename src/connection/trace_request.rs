//! A request to trace one connection: for a time and a number of lines.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::telemetry::MonotonicMillis;

/// Whether a connection is traced, and for how long. None is the default.
#[derive(Default)]
pub struct TraceRequest {
    /// Lines left.
    lines: AtomicU32,
    /// When it ends, a [`MonotonicMillis`].
    until: AtomicU64,
}

/// The result for a line that was to be traced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TraceLine {
    /// There is no request, or it has ended.
    Unwanted,
    /// It is to be written.
    Wanted,
    /// It is to be written, and it is the last one.
    Last,
}

impl TraceRequest {
    /// Asks for `lines` lines at most, none after `until`; 0 ends a request.
    pub fn give(&self, lines: u32, until: MonotonicMillis) {
        self.until.store(until.0, Ordering::Relaxed);
        self.lines.store(lines, Ordering::Release);
    }

    /// Whether there may be a request: cheap, and asked once a turn.
    pub fn is_given(&self) -> bool {
        self.lines.load(Ordering::Relaxed) > 0
    }

    /// Uses up one line of the request. Called by the connection's own task.
    pub fn take(&self) -> TraceLine {
        let lines = self.lines.load(Ordering::Acquire);
        if lines == 0 {
            return TraceLine::Unwanted;
        }
        if MonotonicMillis::now().0 > self.until.load(Ordering::Relaxed) {
            self.lines.store(0, Ordering::Relaxed);
            return TraceLine::Unwanted;
        }
        // A concurrent new request gets at worst one line more.
        self.lines.fetch_sub(1, Ordering::Relaxed);
        match lines {
            1 => TraceLine::Last,
            _ => TraceLine::Wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_ends_with_its_lines_or_its_time() {
        let order = TraceRequest::default();
        assert_eq!(order.take(), TraceLine::Unwanted);
        order.give(2, MonotonicMillis(u64::MAX));
        assert!(order.is_given());
        assert_eq!(order.take(), TraceLine::Wanted);
        assert_eq!(order.take(), TraceLine::Last);
        assert_eq!(order.take(), TraceLine::Unwanted);
        assert!(!order.is_given());
        MonotonicMillis::now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        order.give(9, MonotonicMillis(0));
        assert_eq!(order.take(), TraceLine::Unwanted);
        assert!(!order.is_given());
    }
}
