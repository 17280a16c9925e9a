//! Integer time stamps of the monotonic clock, so that ages and uptimes stay right when the time of
//! day is set.
//!
//! A stamp is converted to a time of day only when it is shown, by the clock of that moment: once a
//! wrong clock is corrected, earlier stamps are shown correctly as well.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

/// When the process first asked for the time.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time of day at [`START`] in microseconds since 1970; [`i64::MIN`] until it is first needed.
static DAY_OF_START: AtomicI64 = AtomicI64::new(i64::MIN);

/// Microseconds of difference from which the time of day counts as set. Smaller differences come
/// from slewing; ignoring them shows a stamp as the same time every time.
const CLOCK_SET_MIN: u64 = 500_000;

/// Longest duration of a reading of both clocks, in microseconds. If it takes longer, the thread
/// was suspended between the two clocks and the difference is unknown.
const READING_MAX: u64 = 10_000;

/// Readings that are tried before the last known difference is used.
const READINGS_MAX: usize = 3;

/// The time of day at the start, by the present time of day.
fn day_of_start() -> DateTime<Utc> {
    let known = DAY_OF_START.load(Ordering::Relaxed);
    let elapsed = || START.elapsed().as_micros() as u64;
    let read = || ClockReading {
        before: elapsed(),
        day: Utc::now().timestamp_micros(),
        after: elapsed(),
    };
    let mut micros = read().corrected(known);
    for _ in 1..READINGS_MAX {
        micros = micros.or_else(|| read().corrected(known));
    }
    let micros = micros.unwrap_or(match known {
        i64::MIN => read().start(),
        known => known,
    });
    if micros != known {
        DAY_OF_START.store(micros, Ordering::Relaxed);
    }
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// A reading of both clocks, in microseconds.
struct ClockReading {
    /// Monotonic time since the start, before the time of day was read.
    before: u64,
    /// The time of day.
    day: i64,
    /// Monotonic time since the start, afterwards.
    after: u64,
}

impl ClockReading {
    /// The time of day at the start, according to this reading.
    fn start(&self) -> i64 {
        self.day.saturating_sub_unsigned(self.before)
    }

    /// `known`, unless this reading shows that the clock was set; `None` if the reading took too
    /// long to decide.
    fn corrected(&self, known: i64) -> Option<i64> {
        let seen = self.start();
        match known.abs_diff(seen) < CLOCK_SET_MIN {
            true => Some(known),
            false => (self.after - self.before < READING_MAX).then_some(seen),
        }
    }
}

/// The time of day at the start, read once for an answer with many times: reading
/// both clocks for each would be a good part of its cost.
#[derive(Clone, Copy, Debug)]
pub struct WallClock(DateTime<Utc>);

impl WallClock {
    /// As the clock of the day has it now.
    pub fn read() -> Self {
        Self(day_of_start())
    }

    /// The time of day at a stamp.
    pub fn at_millis(self, stamp: MonotonicMillis) -> DateTime<Utc> {
        self.0 + Duration::from_millis(stamp.0)
    }

    /// The time of day at a stamp.
    pub fn at_micros(self, stamp: MonotonicMicros) -> DateTime<Utc> {
        self.0 + Duration::from_micros(stamp.0)
    }
}

/// Milliseconds since the process first asked for the time.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct MonotonicMillis(pub u64);

impl MonotonicMillis {
    /// The present time.
    pub fn now() -> Self {
        // A u64 of milliseconds lasts for 500 million years.
        Self(START.elapsed().as_millis() as u64)
    }

    /// Time from this stamp to `later`; zero if `later` is earlier.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }

    /// The time of day at the stamp.
    pub fn time_of_day(self) -> DateTime<Utc> {
        WallClock::read().at_millis(self)
    }

    /// Time since the stamp.
    pub fn age(self) -> Duration {
        self.until(Self::now())
    }
}

/// Microseconds since the process first asked for the time; 0 is no stamp.
///
/// Taken once per read batch and once per flush, to measure how long messages stay in the broker.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct MonotonicMicros(pub u64);

impl MonotonicMicros {
    /// No stamp.
    pub const NONE: Self = Self(0);

    /// The present time.
    pub fn now() -> Self {
        // A u64 of microseconds lasts for 500 thousand years.
        Self((START.elapsed().as_micros() as u64).max(1))
    }

    /// Whether this is no stamp.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The same time in milliseconds.
    pub fn millis(self) -> MonotonicMillis {
        MonotonicMillis(self.0 / 1000)
    }

    /// The time of day at the stamp.
    pub fn time_of_day(self) -> DateTime<Utc> {
        WallClock::read().at_micros(self)
    }

    /// Microseconds from this stamp to `later`; zero if `later` is earlier.
    pub fn micros_until(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_clock_changes_the_shown_time_and_a_slewed_one_does_not() {
        let hour = 3_600_000_000;
        let start = 1_700_000_000_000_000;
        let read = |seen: i64, took: u64| ClockReading {
            before: 7_000_000,
            day: seen + 7_000_000,
            after: 7_000_000 + took,
        };
        assert_eq!(read(start, 1).corrected(i64::MIN), Some(start));
        for seen in [start, start + 400_000, start - 400_000] {
            assert_eq!(read(seen, 1).corrected(start), Some(start));
        }
        for seen in [start - hour, start + hour, start - 500_000] {
            assert_eq!(read(seen, 1).corrected(start), Some(seen));
            // The thread was suspended for a second between the two clocks.
            assert_eq!(read(seen, 1_000_000).corrected(start), None);
        }
    }

    #[test]
    fn a_stamp_is_always_shown_as_the_same_time() {
        let (millis, stamp) = (MonotonicMillis(1234), MonotonicMicros(1_234_000));
        let shown = millis.time_of_day();
        assert_eq!(millis.time_of_day(), shown);
        assert_eq!(stamp.time_of_day(), shown);
        let now = MonotonicMillis::now().time_of_day();
        assert!((Utc::now() - now).abs() < chrono::TimeDelta::seconds(5));
    }
}
