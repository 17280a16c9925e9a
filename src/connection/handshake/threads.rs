//! The threads that compute handshakes, and their scheduling; for
//! [`Handshakers`](super::Handshakers) only.
//!
//! The system runs them at a lower priority than those that deliver messages. Beside other
//! programs that use all processors they would hardly run: then as many reserve threads,
//! with a higher priority, help.
//!
//! A handshake in progress comes before a new one: the work already spent on it should not
//! be lost to a timeout. Which new one comes first is decided by [`Waiting`].

use std::{
    collections::BTreeMap,
    io,
    panic::AssertUnwindSafe,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{
    patience::Patience,
    waiting::{Ticket, Waiting},
};

/// Stack of a thread.
const STACK_LEN: usize = 512 * 1024;

/// How much the threads that deliver messages come first. Measured with Linux
/// 6.18 (EEVDF), with [`STRETCH_NS`]: up to 12, one batch of messages in a hundred
/// waits for milliseconds for a thread like this one, with 15 and 17 none; with
/// 19, in one run of seven, for tens of milliseconds.
const NICE: i32 = 17;

/// The same of the threads that step in.
const RESERVE_NICE: i32 = 10;

/// Time slice in nanoseconds that a thread requests; the longest that Linux accepts. A
/// thread with a shorter one preempts it as soon as it is runnable, where otherwise it
/// would wait for the end of a slice of some milliseconds. Kernels before 6.12 ignore it.
const STRETCH_NS: u64 = 100_000_000;

/// When no job finishes for this long while others wait, the reserve helps. A handshake
/// takes a tenth of it.
const STUCK: Duration = Duration::from_millis(100);

/// The threads and what waits for them.
#[derive(Default)]
pub(super) struct Threads {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// For the reserve: a job waits, or the threads make no progress.
    stuck: Condvar,
}

/// When it is a job's turn.
#[derive(Clone, Copy, Debug)]
pub(in crate::connection) enum Turn {
    /// Before new handshakes.
    Next,
    /// A peer begins, which has waited since then.
    Beginning(Instant),
}

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    /// Steps of handshakes in progress, and their numbers.
    next: BTreeMap<u64, Work>,
    numbers: u64,
    beginning: Waiting<Work>,
    /// When the threads last finished a job, or a job arrived at an empty queue.
    moved: Option<Instant>,
    /// A thread of the reserve watches.
    watched: bool,
}

/// A job in the queue, which is removed when this is dropped before its turn.
struct Queued<'a> {
    threads: &'a Threads,
    at: Place,
}

enum Place {
    Next(u64),
    Beginning(Ticket),
}

impl Threads {
    /// Starts them: one for each processor, and as many in reserve.
    ///
    /// # Errors
    ///
    /// The threads cannot be had.
    pub(super) fn start() -> io::Result<Arc<Self>> {
        let threads = Arc::new(Self::default());
        for number in 0..thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(format!("handshake-{number}"), Self::work)?;
            threads.spawn(format!("reserve-{number}"), Self::step_in)?;
        }
        Ok(threads)
    }

    fn spawn(self: &Arc<Self>, name: String, batch: fn(&Self)) -> io::Result<()> {
        let threads = self.clone();
        let builder = thread::Builder::new().name(name).stack_size(STACK_LEN);
        builder.spawn(move || batch(&threads)).map(drop)
    }

    /// Has something computed; `None` if it panicked. Not computed, if its turn
    /// has not come yet, when the future is dropped.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        turn: Turn,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let work: Work = Box::new(move || {
            // Fails if the connection was closed meanwhile.
            let _ = sender.send(job());
        });
        let _queued = self.add(turn, work);
        receiver.await.ok()
    }

    /// Changes what is known about the patience of peers.
    pub(super) fn learn(&self, tell: impl FnOnce(&mut Patience)) {
        tell(&mut self.queue.lock().beginning.patience);
    }

    fn add(&self, turn: Turn, work: Work) -> Queued<'_> {
        let mut queue = self.queue.lock();
        if queue.is_empty() {
            queue.moved = Some(Instant::now());
        }
        let at = queue.add(turn, work);
        let watched = std::mem::replace(&mut queue.watched, true);
        drop(queue);
        self.arrived.notify_one();
        if !watched {
            self.stuck.notify_one();
        }
        Queued { threads: self, at }
    }

    /// The main loop of a thread.
    fn work(&self) {
        come_last(NICE);
        let mut queue = self.queue.lock();
        loop {
            match queue.take(Instant::now()) {
                None => self.arrived.wait(&mut queue),
                Some(work) => {
                    drop(queue);
                    run(work);
                    queue = self.queue.lock();
                    queue.moved = Some(Instant::now());
                }
            }
        }
    }

    /// The main loop of a reserve thread.
    fn step_in(&self) {
        come_last(RESERVE_NICE);
        let mut queue = self.queue.lock();
        loop {
            if queue.is_empty() {
                queue.watched = false;
                self.stuck.wait(&mut queue);
                continue;
            }
            let now = Instant::now();
            let still = queue.moved.map_or(STUCK, |moved| now - moved);
            if still < STUCK {
                self.stuck.wait_for(&mut queue, STUCK - still);
            } else if let Some(work) = queue.take(now) {
                drop(queue);
                // Another thread watches meanwhile.
                self.stuck.notify_one();
                run(work);
                queue = self.queue.lock();
            }
        }
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.next.is_empty() && self.beginning.is_empty()
    }

    fn add(&mut self, turn: Turn, work: Work) -> Place {
        match turn {
            Turn::Next => {
                self.numbers += 1;
                self.next.insert(self.numbers, work);
                Place::Next(self.numbers)
            }
            Turn::Beginning(since) => Place::Beginning(self.beginning.add(since, work)),
        }
    }

    /// Takes the work whose turn is next.
    fn take(&mut self, now: Instant) -> Option<Work> {
        match self.next.pop_first() {
            Some((_, work)) => Some(work),
            None => self.beginning.take(now),
        }
    }

    fn remove(&mut self, at: &Place) -> Option<Work> {
        match at {
            Place::Next(number) => self.next.remove(number),
            Place::Beginning(ticket) => self.beginning.remove(*ticket),
        }
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let work = self.threads.queue.lock().remove(&self.at);
        // Here the lock is free again: the work holds a TLS session.
        drop(work);
    }
}

/// A job that panics fails its own handshake, not later ones.
fn run(work: Work) {
    if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("A TLS handshake failed because of an error in the broker");
    }
}

/// Has the system run the calling thread after others. Where it refuses, the
/// thread stays as it is.
fn come_last(nice: i32) {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_BATCH as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: STRETCH_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the call reads `size` bytes of `attributes`, which is of that size
    // and lives until it returns; thread 0 is the calling one, there are no flags.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of jobs, in the order in which they are taken at a moment.
    fn order(queue: &mut Queue, done: &Mutex<Vec<&'static str>>, at: Instant) -> Vec<&'static str> {
        while let Some(work) = queue.take(at) {
            work();
        }
        std::mem::take(&mut done.lock())
    }

    #[test]
    fn handshakes_in_progress_come_before_new_ones() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let done = Arc::new(Mutex::new(Vec::new()));
        let job = |name| -> Work {
            let done = done.clone();
            Box::new(move || done.lock().push(name))
        };
        queue.add(Turn::Beginning(now), job("new"));
        queue.add(Turn::Next, job("in progress"));
        let left = queue.add(Turn::Next, job("left"));
        queue.add(Turn::Next, job("in progress, later"));
        assert!(queue.remove(&left).is_some());
        let expected = ["in progress", "in progress, later", "new"];
        assert_eq!(order(&mut queue, &done, now), expected);
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn a_job_leaves_the_queue_with_its_owner() {
        // This queue has no threads.
        let threads = Threads::default();
        for turn in [Turn::Next, Turn::Beginning(Instant::now())] {
            let job = threads.compute(turn, || ());
            assert!(tokio::time::timeout(Duration::ZERO, job).await.is_err());
            assert!(threads.queue.lock().is_empty());
        }
    }

    #[tokio::test]
    async fn the_reserve_steps_in_when_the_threads_get_nothing_done() {
        let threads = Arc::new(Threads::default());
        // This queue has no threads.
        threads.spawn("reserve".into(), Threads::step_in).unwrap();
        let start = Instant::now();
        let both = tokio::join!(
            threads.compute(Turn::Beginning(start), || 1),
            threads.compute(Turn::Next, || 2)
        );
        assert_eq!(both, (Some(1), Some(2)));
        assert!(start.elapsed() >= STUCK, "it stood back at first");
        assert_eq!(threads.compute(Turn::Beginning(start), || 3).await, Some(3));
    }

    #[tokio::test]
    async fn a_panic_fails_one_job_only() {
        let threads = Threads::start().unwrap();
        let first: Option<()> = threads.compute(Turn::Next, || panic!("as a test")).await;
        assert_eq!(first, None);
        assert_eq!(threads.compute(Turn::Next, || 1).await, Some(1));
    }
}
