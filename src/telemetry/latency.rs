//! How long messages stay in the broker, and how late its threads get to run:
//! since the start and over the last minute.
//!
//! The figures are the threads' own ([`super::metrics`]); the recorder keeps a
//! copy of them every few seconds to know the last minute by.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;

use super::{
    MonotonicMicros,
    histogram::{BUCKETS, Distribution},
    metrics::{self, Series},
};

/// Time between two copies, and how many there are: what is shown as the last
/// minute covers between 50 and 60 seconds.
pub const COPY_EVERY: Duration = Duration::from_secs(10);
const COPIES: usize = 6;

/// The time over which the latest scheduling delay is judged.
const RECENT: Duration = Duration::from_secs(10);

/// Most probes remembered for that.
const PROBES_MAX: usize = 256;

/// Latency over time.
#[derive(Default)]
pub struct Latency(Mutex<State>);

#[derive(Default)]
struct State {
    scheduling: Distribution,
    /// When probes ran, and how late in microseconds.
    probes: VecDeque<(MonotonicMicros, u64)>,
    /// When probes that wait were to run.
    waiting: VecDeque<MonotonicMicros>,
    copies: VecDeque<Copied>,
}

struct Copied {
    series: Vec<Distribution>,
    scheduling: Distribution,
}

/// Times since the start, and those of the last minute.
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

/// What was measured.
pub struct Measured {
    /// From read to written, by series.
    pub series: Vec<(Series, Times)>,
    /// From waking a thread to its running.
    pub scheduling: Times,
}

impl Latency {
    /// Notes that a task is to run from `asked` on. Returns whether it is to be
    /// sent: not if too many wait already.
    pub fn ask_probe(&self, asked: MonotonicMicros) -> bool {
        let waiting = &mut self.0.lock().waiting;
        let has_room = waiting.len() < PROBES_MAX;
        if has_room {
            waiting.push_back(asked);
        }
        has_room
    }

    /// Notes that a task ran at `now`, `micros` after it was to run.
    pub fn note_probe(&self, now: MonotonicMicros, micros: u64) {
        let state = &mut *self.0.lock();
        state
            .waiting
            .retain(|asked| asked.micros_until(now) != micros);
        state.scheduling.record(micros);
        state.probes.push_back((now, micros));
        if state.probes.len() > PROBES_MAX {
            state.probes.pop_front();
        }
    }

    /// The longest scheduling delay of the last seconds before `now`.
    pub fn worst_scheduling(&self, now: MonotonicMicros) -> Duration {
        let state = self.0.lock();
        let recent = RECENT.as_micros() as u64;
        let delays = state.probes.iter();
        let worst = delays
            .filter(|(at, _)| at.micros_until(now) < recent)
            .map(|(_, micros)| *micros)
            .max();
        // One that still waits is late by at least that.
        let waiting = state.waiting.front().map(|asked| asked.micros_until(now));
        Duration::from_micros(worst.max(waiting).unwrap_or(0))
    }

    /// The delay of the last probe that ran; of one that still waits, so far.
    pub fn last_scheduling(&self, now: MonotonicMicros) -> Duration {
        let state = self.0.lock();
        let waiting = state.waiting.front().map(|asked| asked.micros_until(now));
        let last = state.probes.back().map(|(_, micros)| *micros);
        Duration::from_micros(waiting.max(last).unwrap_or(0))
    }

    /// Keeps a copy of all figures. To be called every [`COPY_EVERY`].
    pub fn copy(&self) {
        let series = metrics::latencies();
        let state = &mut *self.0.lock();
        if state.copies.len() == COPIES {
            state.copies.pop_front();
        }
        let scheduling = state.scheduling.clone();
        state.copies.push_back(Copied { series, scheduling });
    }

    /// Bytes that the copies take.
    pub fn memory(&self) -> usize {
        let state = self.0.lock();
        let distributions = state.copies.iter().map(|copy| copy.series.len() + 1);
        distributions.sum::<usize>() * size_of::<[u64; BUCKETS]>()
    }

    /// What was measured so far.
    pub fn measured(&self) -> Measured {
        let all = metrics::latencies();
        let state = self.0.lock();
        // In the first minute of the broker the last minute is all there is.
        let oldest = state
            .copies
            .front()
            .filter(|_| state.copies.len() == COPIES);
        let times = |all: Distribution, before: Option<&Distribution>| Times {
            recent: before.map_or_else(|| all.clone(), |before| all.since(before)),
            all,
        };
        let series = metrics::series().into_iter().zip(all).enumerate();
        Measured {
            series: series
                .map(|(number, (series, all))| {
                    let before = oldest.and_then(|copy| copy.series.get(number));
                    (series, times(all, before))
                })
                .collect(),
            scheduling: times(
                state.scheduling.clone(),
                oldest.map(|copy| &copy.scheduling),
            ),
        }
    }
}

/// The longest latency of one connection in about the last minute.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst {
    /// Number of the half minute that is counted.
    period: u64,
    now: Peak,
    before: Peak,
}

/// The longest of some times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Peak {
    /// Microseconds.
    pub micros: u64,
    /// How many times there were.
    pub count: u64,
}

/// Half of what [`Worst`] remembers, in microseconds.
const PERIOD: u64 = 30_000_000;

impl Worst {
    /// Notes a time that ended at `now`.
    pub fn note(&mut self, now: MonotonicMicros, micros: u64) {
        self.turn(now);
        self.now.micros = self.now.micros.max(micros);
        self.now.count += 1;
    }

    /// The longest time of the last 30 to 60 seconds.
    pub fn peak(mut self, now: MonotonicMicros) -> Peak {
        self.turn(now);
        Peak {
            micros: self.now.micros.max(self.before.micros),
            count: self.now.count + self.before.count,
        }
    }

    fn turn(&mut self, now: MonotonicMicros) {
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
    fn the_worst_is_forgotten_after_a_minute() {
        let mut worst = Worst::default();
        let at = |seconds: u64| MonotonicMicros(seconds * 1_000_000);
        worst.note(at(100), 7);
        worst.note(at(101), 5);
        assert_eq!(worst.peak(at(102)).micros, 7);
        assert_eq!(worst.peak(at(130)).count, 2);
        worst.note(at(130), 3);
        assert_eq!(worst.peak(at(149)).micros, 7);
        assert_eq!(worst.peak(at(151)).micros, 3);
        assert_eq!(worst.peak(at(200)).count, 0);
    }

    #[test]
    fn only_the_latest_delays_are_judged() {
        let latency = Latency::default();
        latency.note_probe(MonotonicMicros(1_000_000), 500);
        latency.note_probe(MonotonicMicros(9_000_000), 40);
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
