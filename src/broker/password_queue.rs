//! The order in which slow password comparisons are done.
//!
//! The login of a client asks for a [`Turn`], and that of a route at a queue of its own. A
//! source has one comparison at a time, whatever it sends. Sources with a recent successful
//! login come first, those with refused logins last; among equals the one that was served
//! longest ago. Of sources that were never served, the one that waits longest comes first
//! as long as it does not wait long; beyond that the one that came last: clients give up
//! after some seconds and try again, so with more logins than can be compared, the longest
//! waiting one is about to leave. Nothing is refused here: the places before login bound
//! how long a login waits and how many do.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use crate::telemetry::{
    MonotonicMillis,
    logins::{Logins, Standing, network},
};

/// A login that has waited longer than this no longer comes first.
const EARLY: Duration = Duration::from_millis(500);

/// Sources of which it is remembered when they were last served; with more, all
/// are forgotten.
const SERVED_MAX: usize = 4096;

/// Logins that wait for their passwords to be compared.
pub struct PasswordQueue(Arc<Inner>);

struct Inner {
    /// Comparisons that may run simultaneously.
    max: usize,
    /// How logins from a source went lately.
    logins: Arc<Logins>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The sources of the running comparisons.
    running: HashSet<IpAddr>,
    waiting: Vec<Waiting>,
    /// Number of the turn that each source had last.
    served: HashMap<IpAddr, u64>,
    turns: u64,
}

struct Waiting {
    source: IpAddr,
    is_member: bool,
    since: Instant,
    turn: oneshot::Sender<Turn>,
}

/// A turn, which ends when it is dropped: then the next one has its turn.
pub(crate) struct Turn {
    queue: Arc<Inner>,
    source: IpAddr,
}

/// How long the queue is.
#[derive(Clone, Copy, Debug, Default)]
pub struct PasswordQueueState {
    /// Logins that wait.
    pub waiting: usize,
    /// How long the one that waits longest has waited.
    pub longest: Duration,
}

impl PasswordQueue {
    /// At most `max` comparisons run simultaneously; `logins` has the history of the
    /// sources.
    pub fn new(max: usize, logins: Arc<Logins>) -> Self {
        Self(Arc::new(Inner {
            max,
            logins,
            state: Mutex::default(),
        }))
    }

    /// Waits for the turn of a login from `source`. Turns are never refused.
    pub(crate) async fn turn(&self, source: IpAddr) -> Turn {
        self.wait(source, false).await
    }

    /// The same where members of the cluster come from: as if one had logged in lately.
    pub(crate) async fn turn_of_member(&self, source: IpAddr) -> Turn {
        self.wait(source, true).await
    }

    async fn wait(&self, source: IpAddr, is_member: bool) -> Turn {
        let (turn, taken) = oneshot::channel();
        self.0.state.lock().waiting.push(Waiting {
            source: network(source),
            is_member,
            since: Instant::now(),
            turn,
        });
        give(&self.0);
        // Its place in the queue is removed only for its turn, or when this future is gone.
        taken.await.expect("a login that waits has its turn")
    }

    /// How long the queue is now.
    pub fn state(&self) -> PasswordQueueState {
        let state = self.0.state.lock();
        let waiting = state.waiting.iter().filter(|it| !it.turn.is_closed());
        PasswordQueueState {
            waiting: waiting.clone().count(),
            longest: waiting
                .map(|waiting| waiting.since.elapsed())
                .max()
                .unwrap_or_default(),
        }
    }
}

impl PasswordQueueState {
    /// This queue and another one.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            waiting: self.waiting + other.waiting,
            longest: self.longest.max(other.longest),
        }
    }
}

/// Grants turns to the next logins, as long as there are free ones.
fn give(queue: &Arc<Inner>) {
    loop {
        let mut state = queue.state.lock();
        let Some(next) = state.take_next(queue, Instant::now()) else {
            return;
        };
        state.begin(next.source);
        drop(state);
        let turn = Turn {
            queue: queue.clone(),
            source: next.source,
        };
        // If the login is gone, the turn is dropped and thereby free again.
        let _ = next.turn.send(turn);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.state.lock().running.remove(&self.source);
        give(&self.queue);
    }
}

impl State {
    fn begin(&mut self, source: IpAddr) {
        self.running.insert(source);
        self.turns += 1;
        if self.served.len() >= SERVED_MAX {
            self.served.clear();
        }
        self.served.insert(source, self.turns);
    }

    /// Removes the login that is next, if there is a free turn.
    fn take_next(&mut self, queue: &Inner, now: Instant) -> Option<Waiting> {
        self.waiting.retain(|waiting| !waiting.turn.is_closed());
        if self.running.len() >= queue.max {
            return None;
        }
        let mut standings: HashMap<IpAddr, (Standing, u64)> = HashMap::new();
        let clock = MonotonicMillis::now();
        let mut best: Option<(Standing, u64)> = None;
        for waiting in &self.waiting {
            if self.running.contains(&waiting.source) {
                continue;
            }
            let rank = *standings.entry(waiting.source).or_insert_with(|| {
                let served = self.served.get(&waiting.source).copied();
                let standing = match waiting.is_member {
                    true => Standing::Good,
                    false => queue.logins.standing(waiting.source, clock),
                };
                (standing, served.unwrap_or(0))
            });
            best = Some(best.map_or(rank, |best| best.min(rank)));
        }
        let best = best?;
        // They are in the order of their coming.
        let mut equals = (0..self.waiting.len())
            .filter(|at| standings.get(&self.waiting[*at].source) == Some(&best));
        let first = equals.next()?;
        let at = match now - self.waiting[first].since <= EARLY {
            true => first,
            false => equals.next_back().unwrap_or(first),
        };
        Some(self.waiting.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of logins, identified by number, and the list of those served.
    struct Harness {
        queue: PasswordQueue,
        start: Instant,
        taken: Vec<(u8, oneshot::Receiver<Turn>)>,
    }

    impl Harness {
        fn new() -> Self {
            Self {
                queue: PasswordQueue::new(1, Arc::default()),
                start: Instant::now(),
                taken: Vec::new(),
            }
        }

        fn add(&mut self, source: u8, after: Duration) {
            let (turn, taken) = oneshot::channel();
            self.queue.0.state.lock().waiting.push(Waiting {
                source: ip(source),
                is_member: false,
                since: self.start + after,
                turn,
            });
            self.taken.push((source, taken));
        }

        /// Serves one after the other; each is refused if its source is one of
        /// `wrong`.
        fn serve(&mut self, wrong: &[u8], at: Duration) -> Vec<u8> {
            let mut served = Vec::new();
            loop {
                let mut state = self.queue.0.state.lock();
                let Some(next) = state.take_next(&self.queue.0, self.start + at) else {
                    return served;
                };
                state.begin(next.source);
                state.running.clear();
                let IpAddr::V4(address) = next.source else {
                    panic!("not one of these");
                };
                let source = address.octets()[3];
                served.push(source);
                if wrong.contains(&source) {
                    let logins = &self.queue.0.logins;
                    logins.record_refusal("wrong_password", next.source, MonotonicMillis::now());
                }
            }
        }
    }

    fn ip(source: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, source])
    }

    const LATE: Duration = Duration::from_secs(1);

    #[test]
    fn a_right_login_comes_before_many_guesses_from_many_sources() {
        let mut harness = Harness::new();
        for _ in 0..5 {
            for source in 1..=40 {
                harness.add(source, Duration::ZERO);
            }
        }
        harness.add(99, LATE);
        let guessing: Vec<u8> = (1..=40).collect();
        let served = harness.serve(&guessing, LATE);
        assert_eq!(served.len(), 201);
        assert_eq!(served[0], 99, "{served:?}");
        // Each source is served once before any is served again.
        let mut first: Vec<u8> = served[1..41].to_vec();
        first.sort_unstable();
        assert_eq!(first, guessing);
    }

    #[test]
    fn recent_logins_come_first_and_failed_ones_last() {
        let mut harness = Harness::new();
        let logins = harness.queue.0.logins.clone();
        logins.record_refusal("wrong_password", ip(1), MonotonicMillis::now());
        logins.record_success(ip(3), MonotonicMillis::now());
        for source in [1, 2, 3] {
            harness.add(source, Duration::ZERO);
        }
        assert_eq!(harness.serve(&[], Duration::ZERO), [3, 2, 1]);
    }

    #[test]
    fn of_new_logins_the_first_is_served_first() {
        let mut harness = Harness::new();
        for source in [1, 2, 3] {
            harness.add(source, Duration::ZERO);
        }
        assert_eq!(harness.serve(&[], EARLY), [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_source_has_one_turn_at_a_time_and_a_closed_login_has_none() {
        let queue = PasswordQueue::new(2, Arc::default());
        let first = queue.turn(ip(1)).await;
        let mut second = std::pin::pin!(queue.turn(ip(1)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(second.as_mut().poll(&mut context).is_pending());
        {
            let mut leaves = std::pin::pin!(queue.turn(ip(1)));
            assert!(leaves.as_mut().poll(&mut context).is_pending());
            assert_eq!(queue.state().waiting, 2);
        }
        assert_eq!(queue.state().waiting, 1);
        let other = queue.turn(ip(2)).await;
        drop(first);
        assert!(second.as_mut().poll(&mut context).is_ready());
        drop(other);
        assert_eq!(queue.state().waiting, 0);
        assert!(queue.0.state.lock().running.is_empty());
    }
}
