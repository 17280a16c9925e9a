//! Calls of the system that may not come back: reading a file on a disk that
//! hangs, opening a pipe, asking a resolver.
//!
//! Whoever makes such a call does it on a thread that serves nobody, and notes it
//! here for as long as it takes. The diagnosis tells of those that take too long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::MonotonicMillis;

/// Calls remembered at a time. Their threads are bounded by who makes them.
const CALLS_MAX: usize = 64;

/// The calls that are under way. Clones are the same.
#[derive(Clone, Default)]
pub struct Calls(Arc<Inner>);

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    open: Mutex<Vec<(u64, Call)>>,
}

/// A call that is under way.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is done, as "reading the configuration".
    pub what: &'static str,
    /// The file or the name that it is about.
    pub subject: String,
    /// Since when.
    pub since: MonotonicMillis,
}

/// Notes the end of a call when it is dropped.
pub struct Pending {
    calls: Calls,
    id: u64,
}

impl Calls {
    /// Notes the begin of a call.
    pub fn begin(&self, what: &'static str, subject: impl Into<String>) -> Pending {
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
        Pending {
            calls: self.clone(),
            id,
        }
    }

    /// Those that have not come back for so long, the oldest first; of several for
    /// one file or name the oldest.
    pub fn older_than(&self, age: Duration) -> Vec<Call> {
        let now = MonotonicMillis::now();
        let open = self.0.open.lock();
        let mut late: Vec<Call> = Vec::new();
        // Each was put behind those before it.
        for (_, call) in open.iter().filter(|(_, it)| it.since.until(now) >= age) {
            if late.iter().all(|known| known.subject != call.subject) {
                late.push(call.clone());
            }
        }
        late
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.calls.0.open.lock().retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_there_until_it_comes_back() {
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
        let more: Vec<Pending> = (0..2 * CALLS_MAX)
            .map(|number| calls.begin("x", name(number)))
            .collect();
        assert_eq!(subjects().len(), CALLS_MAX);
        drop((second, more));
        assert!(subjects().is_empty());
    }
}
