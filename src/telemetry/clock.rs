//! Time stamps that fit an integer: of the monotonic clock, so that ages and
//! uptimes are right whatever somebody does to the clock of the day.
//!
//! A stamp becomes a time of day only when it is shown, by the clock of then: once
//! a wrong clock is set right, what happened before is dated right as well.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use once_cell::sync::Lazy;

/// When the process first asked for the time.
static START: Lazy<Instant> = Lazy::new(Instant::now);

/// The time of day at [`START`] in microseconds since 1970; [`i64::MIN`] before
/// anybody asked.
static DAY_OF_START: AtomicI64 = AtomicI64::new(i64::MIN);

/// Microseconds by which the clock of the day must be off to count as set. Below,
/// it is only slewed, and a stamp is shown as the same time each time.
const SET_FROM: u64 = 500_000;

/// The time of day at the start, by the clock of the day as it is now.
fn day_of_start() -> DateTime<Utc> {
    let known = DAY_OF_START.load(Ordering::Relaxed);
    let now = Utc::now().timestamp_micros();
    let seen = now.saturating_sub_unsigned(START.elapsed().as_micros() as u64);
    let micros = corrected(known, seen);
    if micros != known {
        DAY_OF_START.store(micros, Ordering::Relaxed);
    }
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// What is known, unless what is seen says that the clock was set.
fn corrected(known: i64, seen: i64) -> i64 {
    match known.abs_diff(seen) < SET_FROM {
        true => known,
        false => seen,
    }
}

/// Milliseconds since the process first asked for the time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Clock(pub u64);

impl Clock {
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
        day_of_start() + Duration::from_millis(self.0)
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
pub struct Stamp(pub u64);

impl Stamp {
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
    pub fn clock(self) -> Clock {
        Clock(self.0 / 1000)
    }

    /// The time of day at the stamp, as the clock of the day has it now.
    pub fn time_of_day(self) -> DateTime<Utc> {
        day_of_start() + Duration::from_micros(self.0)
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
        assert_eq!(corrected(i64::MIN, start), start);
        for seen in [start, start + 400_000, start - 400_000] {
            assert_eq!(corrected(start, seen), start);
        }
        for seen in [start - hour, start + hour, start - 500_000] {
            assert_eq!(corrected(start, seen), seen);
        }
    }

    #[test]
    fn a_stamp_is_shown_as_one_time() {
        let (clock, stamp) = (Clock(1234), Stamp(1_234_000));
        let shown = clock.time_of_day();
        assert_eq!(clock.time_of_day(), shown);
        assert_eq!(stamp.time_of_day(), shown);
        let now = Clock::now().time_of_day();
        assert!((Utc::now() - now).abs() < chrono::TimeDelta::seconds(5));
    }
}
