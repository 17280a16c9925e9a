//! System calls that may block for long: reading a file from a hanging disk, opening a pipe,
//! resolving a name.
//!
//! Such a call runs on a thread that serves no connections and is registered here as long as it
//! lasts. The diagnosis reports those that take too long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::MonotonicMillis;

/// Calls registered at a time. The number of their threads is bounded by the callers.
const CALLS_MAX: usize = 64;

/// The calls in progress. Clones share the same list.
#[derive(Clone, Default)]
pub struct Calls(Arc<Inner>);

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    open: Mutex<Vec<(u64, Call)>>,
}

/// A call in progress.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it does, such as "reading the configuration".
    pub what: &'static str,
    /// The file or name that it concerns.
    pub subject: String,
    /// When it began.
    pub since: MonotonicMillis,
}

/// Removes the call from the list when dropped.
pub struct CallGuard {
    calls: Calls,
    id: u64,
}

impl Calls {
    /// Registers a call.
    pub fn begin(&self, what: &'static str, subject: impl Into<String>) -> CallGuard {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let call = Call {
            what,
            subject: subject.into(),
            since: MonotonicMillis::now(),
        };
        let mut open = self.0.open.lock();
        if open.len() < CALLS_MAX {
            open.push((id, call));
        }
        CallGuard {
            calls: self.clone(),
            id,
        }
    }

    /// The calls that have taken at least `age`, the oldest first; of several for one file or name
    /// only the oldest.
    pub fn older_than(&self, age: Duration) -> Vec<Call> {
        let now = MonotonicMillis::now();
        let open = self.0.open.lock();
        let mut late: Vec<Call> = Vec::new();
        // The list is in order of time.
        for (_, call) in open.iter().filter(|(_, it)| it.since.until(now) >= age) {
            if late.iter().all(|known| known.subject != call.subject) {
                late.push(call.clone());
            }
        }
        late
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.calls.0.open.lock().retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_listed_until_it_returns() {
        let calls = Calls::default();
        let first = calls.begin("reading", "a");
        let second = calls.begin("reading", "b");
        let subjects = || -> Vec<String> {
            let late = calls.older_than(Duration::ZERO);
            late.into_iter().map(|call| call.subject).collect()
        };
        assert_eq!(subjects(), ["a", "b"]);
        assert!(calls.older_than(Duration::from_secs(600)).is_empty());
        drop(first);
        assert_eq!(subjects(), ["b"]);
        let again = calls.begin("reading", "c");
        let later = calls.begin("opening", "c");
        assert_eq!(subjects(), ["b", "c"]);
        assert_eq!(calls.older_than(Duration::ZERO)[1].what, "reading");
        drop(again);
        assert_eq!(calls.older_than(Duration::ZERO)[1].what, "opening");
        drop(later);
        let name = |number: usize| number.to_string();
        let more: Vec<CallGuard> = (0..2 * CALLS_MAX)
            .map(|number| calls.begin("x", name(number)))
            .collect();
        assert_eq!(subjects().len(), CALLS_MAX);
        drop((second, more));
        assert!(subjects().is_empty());
    }
}
