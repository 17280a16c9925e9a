//! How long each thread that serves connections has been in its present piece of work.
//!
//! The runtime counts, for each of its threads, how often it has waited for work and how long it
//! was busy; both change whenever a thread comes to the end of some work. A thread whose figures
//! stand still although it does not wait hangs in one piece of work: that of one connection, which
//! takes milliseconds. [`Sample`](super::sample::Sample) has the result.

use std::time::Duration;

use tokio::runtime::RuntimeMetrics;

use crate::telemetry::MonotonicMillis;

/// The threads, as they were seen before.
pub(super) struct Workers {
    metrics: RuntimeMetrics,
    seen: Vec<Option<Seen>>,
}

/// The figures of one thread, and since when they are these.
#[derive(Clone, Copy)]
struct Seen {
    figures: Figures,
    since: MonotonicMillis,
}

#[derive(Clone, Copy, Eq, PartialEq)]
struct Figures {
    busy: Duration,
    /// Waits for work, begun and ended: odd while the thread waits.
    waits: u64,
}

impl Workers {
    pub(super) fn new(metrics: RuntimeMetrics) -> Self {
        Self {
            seen: vec![None; metrics.num_workers()],
            metrics,
        }
    }

    /// For how long each thread has been seen in one piece of work; zero for one that waits for
    /// work.
    pub(super) fn at_work(&mut self, now: MonotonicMillis) -> Vec<Duration> {
        let metrics = &self.metrics;
        let threads = self.seen.iter_mut().enumerate();
        threads
            .map(|(worker, seen)| {
                let figures = Figures {
                    busy: metrics.worker_total_busy_duration(worker),
                    waits: metrics.worker_park_unpark_count(worker),
                };
                Seen::update(seen, figures, now)
            })
            .collect()
    }
}

impl Seen {
    fn update(seen: &mut Option<Self>, figures: Figures, now: MonotonicMillis) -> Duration {
        let same = seen.filter(|seen| seen.figures == figures);
        let Self { since, .. } = *seen.insert(same.unwrap_or(Self {
            figures,
            since: now,
        }));
        let waits_for_work = figures.waits % 2 == 1;
        match waits_for_work {
            true => Duration::ZERO,
            false => since.until(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_busy_thread_whose_figures_stand_still_is_at_work_for_long() {
        let mut seen = None;
        let mut at = |seconds: u64, busy: u64, waits| {
            let figures = Figures {
                busy: Duration::from_secs(busy),
                waits,
            };
            Seen::update(&mut seen, figures, MonotonicMillis(seconds * 1000)).as_secs()
        };
        assert_eq!(at(100, 1, 2), 0);
        assert_eq!(at(103, 1, 2), 3);
        // It does one thing after the other.
        assert_eq!(at(104, 2, 2), 0);
        assert_eq!(at(109, 2, 2), 5);
        // It waits, however long.
        assert_eq!(at(110, 2, 3), 0);
        assert_eq!(at(200, 2, 3), 0);
        assert_eq!(at(201, 2, 4), 0);
    }
}
