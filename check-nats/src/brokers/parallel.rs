//! Calls that may hang, each on a thread of its own, waited for until a given time: the system's
//! resolver, for example, cannot be interrupted.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::Instant,
};

use crate::status::Failure;

/// Why a call has no result.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Undone {
    /// It has not returned in time. Its thread may go on until the process ends.
    Late,
    /// It panicked, or there was no thread for it.
    Failed(Failure),
}

/// The results of the calls, in their order; those that have not returned at `end` are late.
pub fn run<T, F>(calls: Vec<F>, end: Instant) -> Vec<Result<T, Undone>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let mut results: Vec<Result<T, Undone>> = Vec::new();
    for (number, call) in calls.into_iter().enumerate() {
        let sender = sender.clone();
        let thread = thread::Builder::new().spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(call));
            // Fails if the time is over and the receiver is gone.
            let _ = sender.send((number, result));
        });
        results.push(Err(match thread {
            Ok(_) => Undone::Late,
            Err(error) => Undone::Failed(Failure::unknown(format!(
                "no thread for the check: {error}"
            ))),
        }));
    }
    drop(sender);
    // Ends early when all threads have: none holds a sender then.
    while let Ok((number, result)) =
        receiver.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        results[number] = result.map_err(|panic| Undone::Failed(internal_error(&*panic)));
    }
    results
}

/// The report of a caught panic.
pub fn internal_error(panic: &(dyn Any + Send)) -> Failure {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Failure::unknown(format!("internal error, please report it: {message}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// One that hangs takes nothing from the others, and one that panics neither.
    #[test]
    fn each_call_ends_for_itself() {
        let calls: Vec<Box<dyn FnOnce() -> u32 + Send>> = vec![
            Box::new(|| 1),
            Box::new(|| {
                loop {
                    thread::park();
                }
            }),
            Box::new(|| panic!("boom")),
            Box::new(|| 4),
        ];
        let results = run(calls, Instant::now() + Duration::from_secs(2));
        assert_eq!(results[0], Ok(1));
        assert_eq!(results[1], Err(Undone::Late));
        let failure = Failure::unknown("internal error, please report it: boom");
        assert_eq!(results[2], Err(Undone::Failed(failure)));
        assert_eq!(results[3], Ok(4));
    }
}
