//! How long messages stay in the broker and how late its threads are scheduled: since the start and
//! over the last minute.
//!
//! The threads measure ([`super::metrics`]); the recorder takes a snapshot of their histograms
//! every few seconds, from which the last minute is computed.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;

use super::{
    MonotonicMicros,
    histogram::{BUCKETS, Distribution},
    metrics::{self, Series},
};

/// Interval and number of snapshots: "the last minute" covers between 50 and 60 seconds.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(10);
const SNAPSHOTS: usize = 6;

/// The period over which [`Latency::worst_scheduling`] looks for the longest delay.
const RECENT: Duration = Duration::from_secs(10);

/// Number of probes kept for that.
const PROBES_MAX: usize = 256;

/// Latency over time.
#[derive(Default)]
pub struct Latency(Mutex<State>);

#[derive(Default)]
struct State {
    scheduling: Distribution,
    /// When each probe ran, and its delay in microseconds.
    probes: VecDeque<(MonotonicMicros, u64)>,
    /// When the probes that have not run yet were sent.
    waiting: VecDeque<MonotonicMicros>,
    snapshots: VecDeque<Snapshot>,
}

struct Snapshot {
    series: Vec<Distribution>,
    scheduling: Distribution,
}

/// A distribution since the start, and over the last minute.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Since the start.
    pub all: Distribution,
    /// In the last minute.
    pub recent: Distribution,
}

impl Times {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.all.add(&other.all);
        self.recent.add(&other.recent);
    }
}

/// All latencies.
pub struct Measured {
    /// From reading a message to writing it, by series.
    pub series: Vec<(Series, Times)>,
    /// From waking a task to its running.
    pub scheduling: Times,
}

impl Latency {
    /// Registers a probe: a task that is woken at `sent`. Returns whether to send it: not if too
    /// many are waiting already.
    pub fn begin_probe(&self, sent: MonotonicMicros) -> bool {
        let waiting = &mut self.0.lock().waiting;
        let is_allowed = waiting.len() < PROBES_MAX;
        if is_allowed {
            waiting.push_back(sent);
        }
        is_allowed
    }

    /// Records that a probe ran at `now`, `micros` after it was sent.
    pub fn record_probe(&self, now: MonotonicMicros, micros: u64) {
        let state = &mut *self.0.lock();
        state
            .waiting
            .retain(|sent| sent.micros_until(now) != micros);
        state.scheduling.record(micros);
        state.probes.push_back((now, micros));
        if state.probes.len() > PROBES_MAX {
            state.probes.pop_front();
        }
    }

    /// The longest scheduling delay in the last seconds before `now`.
    pub fn worst_scheduling(&self, now: MonotonicMicros) -> Duration {
        let state = self.0.lock();
        let recent = RECENT.as_micros() as u64;
        let delays = state.probes.iter();
        let worst = delays
            .filter(|(at, _)| at.micros_until(now) < recent)
            .map(|(_, micros)| *micros)
            .max();
        // A probe that still waits is late by at least its age.
        let waiting = state.waiting.front().map(|sent| sent.micros_until(now));
        Duration::from_micros(worst.max(waiting).unwrap_or(0))
    }

    /// The delay of the last probe that ran; of one that still waits, so far.
    pub fn last_scheduling(&self, now: MonotonicMicros) -> Duration {
        let state = self.0.lock();
        let waiting = state.waiting.front().map(|asked| asked.micros_until(now));
        let last = state.probes.back().map(|(_, micros)| *micros);
        Duration::from_micros(waiting.max(last).unwrap_or(0))
    }

    /// When the last probe ran.
    pub fn last_run(&self) -> Option<MonotonicMicros> {
        self.0.lock().probes.back().map(|(at, _)| *at)
    }

    /// Keeps a copy of all figures. To be called every [`SNAPSHOT_INTERVAL`].
    pub fn take_snapshot(&self) {
        let series = metrics::latencies();
        let state = &mut *self.0.lock();
        if state.snapshots.len() == SNAPSHOTS {
            state.snapshots.pop_front();
        }
        let scheduling = state.scheduling.clone();
        state.snapshots.push_back(Snapshot { series, scheduling });
    }

    /// Memory of the snapshots in bytes.
    pub fn memory(&self) -> usize {
        let state = self.0.lock();
        let distributions = state
            .snapshots
            .iter()
            .map(|take_snapshot| take_snapshot.series.len() + 1);
        distributions.sum::<usize>() * size_of::<[u64; BUCKETS]>()
    }

    /// All latencies so far.
    pub fn measured(&self) -> Measured {
        let all = metrics::latencies();
        let state = self.0.lock();
        // In the first minute after the start, the last minute is everything.
        let oldest = state
            .snapshots
            .front()
            .filter(|_| state.snapshots.len() == SNAPSHOTS);
        let times = |all: Distribution, before: Option<&Distribution>| Times {
            recent: before.map_or_else(|| all.clone(), |before| all.since(before)),
            all,
        };
        let series = metrics::series().into_iter().zip(all).enumerate();
        Measured {
            series: series
                .map(|(number, (series, all))| {
                    let before = oldest.and_then(|take_snapshot| take_snapshot.series.get(number));
                    (series, times(all, before))
                })
                .collect(),
            scheduling: times(
                state.scheduling.clone(),
                oldest.map(|take_snapshot| &take_snapshot.scheduling),
            ),
        }
    }
}

/// The longest latency of one connection in about the last minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst {
    /// Number of the current half minute.
    period: u64,
    now: Peak,
    before: Peak,
}

/// The longest of some times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peak {
    /// Microseconds.
    pub micros: u64,
    /// Number of times.
    pub count: u64,
}

/// Half of the time that [`Worst`] covers, in microseconds.
const PERIOD: u64 = 30_000_000;

impl Worst {
    /// Records a time that ended at `now`.
    pub fn record(&mut self, now: MonotonicMicros, micros: u64) {
        self.advance(now);
        self.now.micros = self.now.micros.max(micros);
        self.now.count += 1;
    }

    /// The longest time of the last 30 to 60 seconds.
    pub fn peak(mut self, now: MonotonicMicros) -> Peak {
        self.advance(now);
        Peak {
            micros: self.now.micros.max(self.before.micros),
            count: self.now.count + self.before.count,
        }
    }

    fn advance(&mut self, now: MonotonicMicros) {
        let period = now.0 / PERIOD;
        if period != self.period {
            self.before = match period == self.period + 1 {
                true => self.now,
                false => Peak::default(),
            };
            self.now = Peak::default();
            self.period = period;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_latency_is_forgotten_after_a_minute() {
        let mut worst = Worst::default();
        let at = |seconds: u64| MonotonicMicros(seconds * 1_000_000);
        worst.record(at(100), 7);
        worst.record(at(101), 5);
        assert_eq!(worst.peak(at(102)).micros, 7);
        assert_eq!(worst.peak(at(130)).count, 2);
        worst.record(at(130), 3);
        assert_eq!(worst.peak(at(149)).micros, 7);
        assert_eq!(worst.peak(at(151)).micros, 3);
        assert_eq!(worst.peak(at(200)).count, 0);
    }

    #[test]
    fn only_recent_scheduling_delays_count() {
        let latency = Latency::default();
        latency.record_probe(MonotonicMicros(1_000_000), 500);
        latency.record_probe(MonotonicMicros(9_000_000), 40);
        assert_eq!(
            latency
                .worst_scheduling(MonotonicMicros(10_000_000))
                .as_micros(),
            500
        );
        assert_eq!(
            latency
                .worst_scheduling(MonotonicMicros(12_000_000))
                .as_micros(),
            40
        );
        assert_eq!(latency.measured().scheduling.all.count(), 2);
    }
}
