//! The threads that compute handshakes, and their scheduling; for
//! [`Handshakers`](super::Handshakers) only.
//!
//! The system runs them at a lower priority than those that deliver messages. Beside other
//! programs that use all processors they would hardly run: then as many reserve threads,
//! with a higher priority, help.
//!
//! A handshake in progress comes before a new one: the work already spent on it should not
//! be lost to a timeout. Of the new ones, the one that waits longest comes first as long as
//! it does not wait long; beyond that the one that came last, except for every fourth turn.
//! Clients give up after some seconds (most after two) and try again, so with more of them
//! than can be served, the longest waiting one is about to leave: the work for it would be
//! lost, and so on with the next. Patient clients get the fourth turns: with a constant
//! stream of newcomers they would wait indefinitely.

use std::{
    collections::VecDeque,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::UNFINISHED_MAX;

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

/// A job that has waited longer than this no longer comes first: most clients wait for two
/// seconds, and the rest is for the remainder of the handshake. With less, a hundred
/// clients that could all be served in time were served newest first.
const EARLY: Duration = Duration::from_millis(1200);

/// Where a job has waited longer, one turn of this many is for the longest waiting one.
const PATIENT_EVERY: u32 = 4;

/// The threads and what waits for them.
#[derive(Default)]
pub(super) struct Threads {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// For the reserve: a job waits, or the threads make no progress.
    stuck: Condvar,
}

/// When it is a job's turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::connection) enum Turn {
    /// Before new handshakes.
    Next,
    /// A peer begins.
    Beginning,
}

type Work = Box<dyn FnOnce() + Send>;

/// A job whose owner may go away and take it along.
type Job = Weak<Mutex<Option<Work>>>;

#[derive(Default)]
struct Queue {
    next: VecDeque<Job>,
    beginning: VecDeque<(Instant, Job)>,
    /// Turns granted while a job had waited too long.
    late_turns: u32,
    /// When the threads last finished a job, or a job arrived at an empty queue.
    moved: Option<Instant>,
    /// A thread of the reserve watches.
    watched: bool,
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
        let owned = Arc::new(Mutex::new(Some(work)));
        self.add(turn, Arc::downgrade(&owned));
        receiver.await.ok()
    }

    fn add(&self, turn: Turn, job: Job) {
        let mut queue = self.queue.lock();
        let now = Instant::now();
        if queue.is_empty() {
            queue.moved = Some(now);
        }
        match turn {
            Turn::Next => queue.next.push_back(job),
            Turn::Beginning => queue.begin(now, job),
        }
        let watched = std::mem::replace(&mut queue.watched, true);
        drop(queue);
        self.arrived.notify_one();
        if !watched {
            self.stuck.notify_one();
        }
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

    fn begin(&mut self, now: Instant, job: Job) {
        // Jobs without an owner are at most as many as those with one.
        if self.beginning.len() >= 2 * UNFINISHED_MAX {
            self.beginning.retain(|(_, job)| job.strong_count() > 0);
        }
        self.beginning.push_back((now, job));
    }

    /// Takes the work whose turn is next.
    fn take(&mut self, now: Instant) -> Option<Work> {
        while let Some(job) = self.take_job(now) {
            let work = job.upgrade().and_then(|owned| owned.lock().take());
            if work.is_some() {
                return work;
            }
        }
        None
    }

    fn take_job(&mut self, now: Instant) -> Option<Job> {
        if let Some(job) = self.next.pop_front() {
            return Some(job);
        }
        // A job without an owner does not count as waiting.
        while self
            .beginning
            .front()
            .is_some_and(|(_, job)| job.strong_count() == 0)
        {
            self.beginning.pop_front();
        }
        let (since, _) = self.beginning.front()?;
        let is_late = now - *since > EARLY;
        if is_late {
            self.late_turns = self.late_turns.wrapping_add(1);
        }
        let taken = match is_late && !self.late_turns.is_multiple_of(PATIENT_EVERY) {
            false => self.beginning.pop_front(),
            true => self.beginning.pop_back(),
        };
        taken.map(|(_, job)| job)
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

    /// Jobs that record their names, and their owners.
    #[derive(Default)]
    struct Harness {
        queue: Queue,
        owned: Vec<Option<Arc<Mutex<Option<Work>>>>>,
        done: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Harness {
        fn job(&mut self, name: &'static str) -> Job {
            let done = self.done.clone();
            let work: Work = Box::new(move || done.lock().push(name));
            let owned = Arc::new(Mutex::new(Some(work)));
            let job = Arc::downgrade(&owned);
            self.owned.push(Some(owned));
            job
        }

        fn begin(&mut self, at: Instant, name: &'static str) {
            let job = self.job(name);
            self.queue.begin(at, job);
        }

        fn finish(mut self, at: Instant) -> Vec<&'static str> {
            while let Some(work) = self.queue.take(at) {
                work();
            }
            assert!(self.queue.is_empty());
            self.done.lock().clone()
        }
    }

    #[test]
    fn the_longest_waiting_one_comes_first_after_those_in_progress() {
        let (mut harness, start) = (Harness::default(), Instant::now());
        harness.begin(start, "first");
        harness.begin(start, "second");
        let middle = harness.job("middle");
        harness.queue.next.push_back(middle);
        assert_eq!(harness.finish(start + EARLY), ["middle", "first", "second"]);
    }

    #[test]
    fn the_newest_come_first_where_others_wait_too_long() {
        let (mut harness, start) = (Harness::default(), Instant::now());
        harness.begin(start, "about to leave");
        harness.begin(start + EARLY, "new");
        harness.begin(start + EARLY, "newest");
        let order = harness.finish(start + EARLY + Duration::from_millis(1));
        assert_eq!(order, ["newest", "new", "about to leave"]);
    }

    #[test]
    fn the_patient_are_served_however_many_come() {
        let (mut harness, start) = (Harness::default(), Instant::now());
        harness.begin(start, "patient");
        for _ in 0..6 {
            harness.begin(start + EARLY, "new");
        }
        let order = harness.finish(start + EARLY + Duration::from_millis(1));
        assert_eq!(order[..4], ["new", "new", "new", "patient"]);
    }

    #[test]
    fn a_job_without_owner_costs_nothing() {
        let (mut harness, start) = (Harness::default(), Instant::now());
        for _ in 0..2 * UNFINISHED_MAX {
            harness.begin(start, "left");
        }
        harness.owned.clear();
        harness.begin(start, "stays");
        assert_eq!(harness.queue.beginning.len(), 1);
        harness.begin(start, "leaves");
        harness.owned[1] = None;
        assert_eq!(harness.finish(start), ["stays"]);
    }

    #[tokio::test]
    async fn the_reserve_steps_in_when_the_threads_get_nothing_done() {
        let threads = Arc::new(Threads::default());
        // This queue has no threads.
        threads.spawn("reserve".into(), Threads::step_in).unwrap();
        let start = Instant::now();
        let both = tokio::join!(
            threads.compute(Turn::Beginning, || 1),
            threads.compute(Turn::Next, || 2)
        );
        assert_eq!(both, (Some(1), Some(2)));
        assert!(start.elapsed() >= STUCK, "it stood back at first");
        assert_eq!(threads.compute(Turn::Beginning, || 3).await, Some(3));
    }

    #[tokio::test]
    async fn a_panic_fails_one_job_only() {
        let threads = Threads::start().unwrap();
        let first: Option<()> = threads.compute(Turn::Next, || panic!("as a test")).await;
        assert_eq!(first, None);
        assert_eq!(threads.compute(Turn::Next, || 1).await, Some(1));
    }
}
