//! Time stamps that fit an atomic integer.

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
