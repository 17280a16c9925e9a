//! Threads that are started while the broker runs, for work that takes long or may hang. The
//! system may refuse one (TasksMax, LimitNPROC, memory): then that work fails with an error, and
//! the diagnosis reports it by [`refused`].

use std::{
    fs, io, thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::MonotonicMillis;

/// Stack of a thread for work of no known depth, in bytes: the resolver of the system, and the
/// configuration's parser, which is recursive.
pub const STACK_LEN: usize = 2 * 1024 * 1024;

const TASKS_FOLDER: &str = "/proc/self/task";

/// How long the system may take to forget threads that have ended, and how often that is looked up.
const END_TIMEOUT: Duration = Duration::from_secs(1);
const END_PAUSE: Duration = Duration::from_micros(200);

/// The threads that the system refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// How many since the start.
    pub times: u64,
    /// When the last one was.
    pub last: MonotonicMillis,
    /// What it was for.
    pub name: &'static str,
    /// The system's error.
    pub error: String,
}

static REFUSED: Mutex<Option<Refused>> = Mutex::new(None);

/// What the system refused since the start; `None` if it did not.
pub fn refused() -> Option<Refused> {
    REFUSED.lock().clone()
}

/// Starts a thread.
///
///  # Errors
///
/// The system refuses; the work was dropped.
pub fn spawn(
    name: &'static str,
    stack_len: usize,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let builder = thread::Builder::new()
        .name(name.into())
        .stack_size(stack_len);
    let started = builder.spawn(work).map(drop);
    started.inspect_err(|error| note(name, error))
}

fn note(name: &'static str, error: &io::Error) {
    let mut refused = REFUSED.lock();
    let times = refused.as_ref().map_or(0, |refused| refused.times);
    *refused = Some(Refused {
        times: times + 1,
        last: MonotonicMillis::now(),
        name,
        error: error.to_string(),
    });
}

/// Waits for work that a thread of its own does. If the caller no longer waits, it is done
/// nevertheless.
///
///  # Errors
///
/// The system refuses the thread, or the work panicked.
pub async fn run<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, result) = oneshot::channel();
    spawn(name, STACK_LEN, move || {
        // Fails if nobody waits any more.
        let _ = sender.send(work());
    })?;
    result
        .await
        .map_err(|_| io::Error::other("the work was not finished"))
}

/// Whether the system gives so many threads now: for code that panics without them. To be called
/// while no other thread starts or ends.
///
///  # Errors
///
/// It does not.
pub fn try_out(count: usize) -> io::Result<()> {
    let before = present();
    let gate = Mutex::new(());
    let given = thread::scope(|scope| {
        // Until all of them are there, none of them ends.
        let _closed = gate.lock();
        (0..count).try_for_each(|_| {
            let thread = thread::Builder::new();
            thread.spawn_scoped(scope, || drop(gate.lock())).map(drop)
        })
    });
    // For a moment after its end, a thread still counts against the limits.
    let deadline = Instant::now() + END_TIMEOUT;
    while present() > before && Instant::now() < deadline {
        thread::sleep(END_PAUSE);
    }
    given
}

/// The threads of this process; 0 if the system does not list them.
fn present() -> usize {
    fs::read_dir(TASKS_FOLDER).map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_thread_is_noted_and_its_work_is_dropped() {
        let (alive, watch) = oneshot::channel::<()>();
        // No machine has memory for this stack.
        let error = spawn("much", 1 << 60, move || drop(alive)).unwrap_err();
        assert!(watch.blocking_recv().is_err());
        let refused = refused().unwrap();
        assert_eq!((refused.name, refused.times), ("much", 1));
        assert_eq!(refused.error, error.to_string());
        assert!(try_out(4).is_ok());
    }
}
