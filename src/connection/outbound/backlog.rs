//! How far the reader of a connection is behind, and from when on that has consequences.
//! What makes a consumer slow is defined here and nowhere else; others act on it.
//!
//! | step | from | consequence |
//! |---|---|---|
//! | behind | the socket was full, and the queue has not been empty since | the recorder watches the reader |
//! | congested | [`CONGESTED_BYTES`] wait | publishers check whether to pause (`client::back_pressure`) |
//! | incident | a tenth of `max_pending` waits, or it is behind for a second | an entry in /slowz (`broker::incident`) |
//! | slow | `slow_percent` of `max_pending` wait, or it has taken nothing for two seconds | the finding `slow-consumer`, or `route-slow` |
//! | nearly full | three quarters of `max_pending` wait | the finding is critical |
//! | closed | `max_pending` is exceeded, nothing is taken until `write_deadline`, or all queues exceed `max_memory` | the connection ends, `slow_consumers` counts it |
//!
//! The last step is decided where the bytes are: [`Appender::reserve`](super::Appender::reserve),
//! `peer::timing` and `broker::registry::memory_limit`.

use std::time::Duration;

use crate::telemetry::MonotonicMillis;

/// Pending bytes of a connection from which on publishers check whether they should pause.
pub const CONGESTED_BYTES: usize = 2 * 1024 * 1024;

/// A queue that has more than this part of its limit is worth an incident.
const INCIDENT_PART: usize = 10;

/// The same for a reader that has been behind this long.
const INCIDENT_AFTER: Duration = Duration::from_secs(1);

/// A reader that has taken nothing for this long does not read at all.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// Percent of its limit from which on a queue is nearly full.
const NEARLY_FULL_PERCENT: f64 = 75.0;

/// How far a connection's reader is behind.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Bytes waiting.
    pub pending: usize,
    /// Bytes that may wait at most.
    pub max_pending: usize,
    /// When the socket last took some bytes.
    pub last_progress: MonotonicMillis,
    /// When the socket was first full since the queue was last empty; `None`
    /// while the reader keeps up.
    pub behind_since: Option<MonotonicMillis>,
    /// Bytes of it that other queues may share.
    pub shared: usize,
    /// Memory that it uses: the pending bytes, and the unused capacity of its pieces.
    pub held: usize,
    /// Whether the connection is ending.
    pub closed: bool,
}

impl Backlog {
    /// How long the reader has been behind.
    pub fn behind_for(&self, now: MonotonicMillis) -> Duration {
        self.behind_since
            .map_or(Duration::ZERO, |since| since.until(now))
    }

    /// How long the reader has taken nothing while something waits for it.
    pub fn stuck_for(&self, now: MonotonicMillis) -> Duration {
        match self.behind_since {
            Some(_) => self.last_progress.until(now),
            None => Duration::ZERO,
        }
    }

    /// How full the queue is.
    pub fn percent(&self) -> f64 {
        match self.max_pending {
            0 => 0.0,
            max => self.pending as f64 / max as f64 * 100.0,
        }
    }

    /// Whether publishers should check whether to pause.
    pub fn is_congested(&self) -> bool {
        !self.closed && self.pending > CONGESTED_BYTES
    }

    /// Whether it is worth an incident.
    pub fn is_incident(&self, now: MonotonicMillis) -> bool {
        self.behind_since.is_some()
            && (self.pending > self.max_pending / INCIDENT_PART
                || self.behind_for(now) >= INCIDENT_AFTER)
    }

    /// Whether the reader has stopped reading.
    pub fn is_stuck(&self, now: MonotonicMillis) -> bool {
        self.stuck_for(now) >= STUCK_AFTER
    }

    /// Whether its connection is a slow consumer; `slow_percent` is the option.
    pub fn is_slow(&self, now: MonotonicMillis, slow_percent: u64) -> bool {
        let is_long = self.behind_since.is_some() && self.percent() >= slow_percent as f64;
        is_long || self.is_stuck(now)
    }

    /// Whether a slow consumer is about to be closed.
    pub fn is_nearly_full(&self) -> bool {
        self.percent() >= NEARLY_FULL_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    /// Of a reader that fell behind 10 s after the start of the process.
    fn backlog(pending: usize, max_pending: usize) -> Backlog {
        Backlog {
            pending,
            max_pending,
            last_progress: MonotonicMillis(10_000),
            behind_since: Some(MonotonicMillis(10_000)),
            shared: 0,
            held: pending,
            closed: false,
        }
    }

    /// A queue that grows, and one that is stuck, passes the steps one after the other: an
    /// operator is warned before the connection is closed.
    #[test]
    fn the_steps_come_in_order() {
        let options = Options::default();
        let slow_percent = options.diagnosis.slow_percent;
        let now = MonotonicMillis(10_000);
        let first = |step: &dyn Fn(Backlog) -> bool| {
            let sizes = 0..=options.max_pending / 1024;
            let mut sizes = sizes.map(|kib| kib * 1024);
            sizes.find(|pending| step(backlog(*pending, options.max_pending)))
        };
        let by_size = [
            first(&|it| it.is_congested()),
            first(&|it| it.is_incident(now)),
            first(&|it| it.is_slow(now, slow_percent)),
            first(&|it| it.is_nearly_full()),
        ];
        assert!(by_size.iter().all(Option::is_some), "{by_size:?}");
        assert!(by_size.is_sorted(), "{by_size:?}");

        let first = |step: &dyn Fn(MonotonicMillis) -> bool| {
            let mut times = (10_000..100_000).map(MonotonicMillis);
            times.find(|now| step(*now)).map(|at| now.until(at))
        };
        let small = backlog(1, options.max_pending);
        let by_time = [
            first(&|now| small.is_incident(now)),
            first(&|now| small.is_slow(now, slow_percent)),
            first(&|now| small.stuck_for(now) >= options.write_deadline),
        ];
        assert!(by_time.iter().all(Option::is_some), "{by_time:?}");
        assert!(by_time.is_sorted(), "{by_time:?}");
    }

    #[test]
    fn a_reader_that_keeps_up_is_not_slow() {
        let flowing = Backlog {
            behind_since: None,
            ..backlog(60_000, 64_000)
        };
        let later = MonotonicMillis(50_000);
        assert!(!flowing.is_incident(later) && !flowing.is_slow(later, 25));
        assert_eq!(flowing.stuck_for(later), Duration::ZERO);
    }
}
