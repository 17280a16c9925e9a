//! Time stamps that fit an integer: of the monotonic clock, so that ages and
//! uptimes are right whatever somebody does to the clock of the day.
//!
//! A stamp becomes a time of day only when it is shown, by the clock of then: once
//! a wrong clock is set right, what happened before is dated right as well.

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

/// The time of day at [`START`] in microseconds since 1970; [`i64::MIN`] before
/// anybody asked.
static DAY_OF_START: AtomicI64 = AtomicI64::new(i64::MIN);

/// Microseconds by which the clock of the day must be off to count as set. Below,
/// it is only slewed, and a stamp is shown as the same time each time.
const SET_FROM: u64 = 500_000;

/// Microseconds that a look at both clocks may take. After a longer one it is not
/// known how much they differ: the thread had to wait between the two.
const LOOK_MAX: u64 = 10_000;

/// Looks at both clocks before the last known difference is taken.
const LOOKS_MAX: usize = 3;

/// The time of day at the start, by the clock of the day as it is now.
fn day_of_start() -> DateTime<Utc> {
    let known = DAY_OF_START.load(Ordering::Relaxed);
    let elapsed = || START.elapsed().as_micros() as u64;
    let look = || ClockReading {
        before: elapsed(),
        day: Utc::now().timestamp_micros(),
        after: elapsed(),
    };
    let mut micros = look().corrected(known);
    for _ in 1..LOOKS_MAX {
        micros = micros.or_else(|| look().corrected(known));
    }
    let micros = micros.unwrap_or(match known {
        i64::MIN => look().start(),
        known => known,
    });
    if micros != known {
        DAY_OF_START.store(micros, Ordering::Relaxed);
    }
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// A look at both clocks, in microseconds.
struct ClockReading {
    /// Since the start, before the time of day was asked for.
    before: u64,
    /// The time of day.
    day: i64,
    /// Since the start, afterwards.
    after: u64,
}

impl ClockReading {
    /// The time of day at the start.
    fn start(&self) -> i64 {
        self.day.saturating_sub_unsigned(self.before)
    }

    /// What is known, unless what is seen says that the clock was set; `None` if the
    /// look took too long to tell.
    fn corrected(&self, known: i64) -> Option<i64> {
        let seen = self.start();
        match known.abs_diff(seen) < SET_FROM {
            true => Some(known),
            false => (self.after - self.before < LOOK_MAX).then_some(seen),
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
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MonotonicMillis(pub u64);

impl MonotonicMillis {
    /// The stamp for now. Monotonic.
    pub fn now() -> Self {
        // A u64 of milliseconds lasts for 500 million years.
        Self(START.elapsed().as_millis() as u64)
    }

    /// Time from this stamp to `later`; nought if it is not later.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }

    /// The time of day at the stamp, as the clock of the day has it now.
    pub fn time_of_day(self) -> DateTime<Utc> {
        WallClock::read().at_millis(self)
    }

    /// Time since the stamp.
    pub fn age(self) -> Duration {
        self.until(Self::now())
    }
}

/// Microseconds since the process first asked for the time; nought is no stamp.
///
/// Taken once per read batch and once per flush, to tell how long messages stay.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct MonotonicMicros(pub u64);

impl MonotonicMicros {
    /// No time.
    pub const NONE: Self = Self(0);

    /// The stamp for now. Monotonic.
    pub fn now() -> Self {
        // A u64 of microseconds lasts for 500 thousand years.
        Self((START.elapsed().as_micros() as u64).max(1))
    }

    /// Whether this is no time.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The same time in milliseconds.
    pub fn clock(self) -> MonotonicMillis {
        MonotonicMillis(self.0 / 1000)
    }

    /// The time of day at the stamp, as the clock of the day has it now.
    pub fn time_of_day(self) -> DateTime<Utc> {
        WallClock::read().at_micros(self)
    }

    /// Microseconds from this stamp to `later`; nought if it is not later.
    pub fn micros_until(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_followed_and_a_slewed_one_is_not() {
        let hour = 3_600_000_000;
        let start = 1_700_000_000_000_000;
        let look = |seen: i64, took: u64| ClockReading {
            before: 7_000_000,
            day: seen + 7_000_000,
            after: 7_000_000 + took,
        };
        assert_eq!(look(start, 1).corrected(i64::MIN), Some(start));
        for seen in [start, start + 400_000, start - 400_000] {
            assert_eq!(look(seen, 1).corrected(start), Some(start));
        }
        for seen in [start - hour, start + hour, start - 500_000] {
            assert_eq!(look(seen, 1).corrected(start), Some(seen));
            // A thread that had to wait for a second between the two clocks.
            assert_eq!(look(seen, 1_000_000).corrected(start), None);
        }
    }

    #[test]
    fn a_stamp_is_shown_as_one_time() {
        let (clock, stamp) = (MonotonicMillis(1234), MonotonicMicros(1_234_000));
        let shown = clock.time_of_day();
        assert_eq!(clock.time_of_day(), shown);
        assert_eq!(stamp.time_of_day(), shown);
        let now = MonotonicMillis::now().time_of_day();
        assert!((Utc::now() - now).abs() < chrono::TimeDelta::seconds(5));
    }
}
