//! Time stamps that fit an integer.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use once_cell::sync::Lazy;

static START: Lazy<(Instant, DateTime<Utc>)> = Lazy::new(|| (Instant::now(), Utc::now()));

/// Milliseconds since the process first asked for the time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Clock(pub u64);

impl Clock {
    /// The stamp for now. Monotonic.
    pub fn now() -> Self {
        // A u64 of milliseconds lasts for 500 million years.
        Self(START.0.elapsed().as_millis() as u64)
    }

    /// Time from this stamp to `later`; nought if it is not later.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }

    /// The time of day at the stamp, free of later clock changes.
    pub fn time_of_day(self) -> DateTime<Utc> {
        START.1 + Duration::from_millis(self.0)
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
        Self((START.0.elapsed().as_micros() as u64).max(1))
    }

    /// Whether this is no time.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The same time in milliseconds.
    pub fn clock(self) -> Clock {
        Clock(self.0 / 1000)
    }

    /// Microseconds from this stamp to `later`; nought if it is not later.
    pub fn micros_until(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }
}
