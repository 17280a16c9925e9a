//! So many tellings in a second and no more: what strangers can cause must not
//! flood the log.

use std::time::Duration;

use parking_lot::Mutex;

use super::MonotonicMillis;

/// Tellings in one [`PERIOD`].
const TOLD_MAX: u32 = 10;

const PERIOD: Duration = Duration::from_secs(1);

/// Decides what is told.
pub struct LogThrottle {
    state: Mutex<State>,
    told_max: u32,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            told_max: TOLD_MAX,
        }
    }
}

#[derive(Default)]
struct State {
    since: Option<MonotonicMillis>,
    told: u32,
    passed_over: u64,
}

impl LogThrottle {
    /// One that tells once in a period.
    pub fn once() -> Self {
        Self {
            told_max: 1,
            ..Self::default()
        }
    }

    /// Whether to tell now. If so, how many were not told before.
    fn may_tell(&self, now: MonotonicMillis) -> Option<u64> {
        let mut state = self.state.lock();
        if state.since.is_none_or(|since| since.until(now) >= PERIOD) {
            state.since = Some(now);
            state.told = 0;
        }
        if state.told == self.told_max {
            state.passed_over += 1;
            return None;
        }
        state.told += 1;
        Some(std::mem::take(&mut state.passed_over))
    }

    /// What to tell now, if anything: `text`, with how many `others` were not
    /// told of before.
    pub fn tell(&self, now: MonotonicMillis, text: String, others: &str) -> Option<String> {
        match self.may_tell(now)? {
            0 => Some(text),
            more => Some(format!("{text} ({more} more {others} not shown)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_told_in_part_and_counted() {
        let log_throttle = LogThrottle::default();
        let told = |now| log_throttle.may_tell(MonotonicMillis(now));
        assert!((0..10).all(|_| told(5000) == Some(0)));
        assert!((0..90).all(|_| told(5500).is_none()));
        assert_eq!(told(6000), Some(90));
        assert_eq!(told(6000), Some(0));
        assert_eq!((0..20).filter(|_| told(6000).is_some()).count(), 8);
        let tell = || log_throttle.tell(MonotonicMillis(7000), "one".into(), "others");
        assert_eq!(tell().as_deref(), Some("one (12 more others not shown)"));
        assert_eq!(tell().as_deref(), Some("one"));
    }
}
