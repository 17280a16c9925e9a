//! Limits log lines, so that peers cannot flood the log: per second whoever they are about, and
//! per hour those about one name.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;

use super::{MonotonicMillis, pool::shorten};

/// Lines in one [`PERIOD`].
const LINES_MAX: u32 = 10;

const PERIOD: Duration = Duration::from_secs(1);

/// Decides which lines are written.
pub struct LogThrottle {
    state: Mutex<State>,
    lines_max: u32,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            lines_max: LINES_MAX,
        }
    }
}

#[derive(Default)]
struct State {
    since: Option<MonotonicMillis>,
    lines: u32,
    suppressed: u64,
}

impl LogThrottle {
    /// A throttle that permits this many lines per period.
    pub fn of(lines_max: u32) -> Self {
        Self {
            lines_max,
            ..Self::default()
        }
    }

    /// Whether to write a line now. If so, how many were suppressed before it.
    fn admit(&self, now: MonotonicMillis) -> Option<u64> {
        let mut state = self.state.lock();
        if state.since.is_none_or(|since| since.until(now) >= PERIOD) {
            state.since = Some(now);
            state.lines = 0;
        }
        if state.lines == self.lines_max {
            state.suppressed += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.suppressed))
    }

    /// The line to write now, if any: `text`, and how many `others` were suppressed before it.
    pub fn throttle(&self, now: MonotonicMillis, text: String, others: &str) -> Option<String> {
        match self.admit(now)? {
            0 => Some(text),
            more => Some(format!("{text} ({more} more {others} not shown)")),
        }
    }
}

/// Names whose last line is remembered; of further ones each has its line.
const NAMES_MAX: usize = 1024;

/// Time between two lines about one name.
const NAME_PERIOD: Duration = Duration::from_secs(3600);

/// Decides which lines are written about peers that try again for ever.
#[derive(Default)]
pub struct LogOncePerName(Mutex<Names>);

#[derive(Default)]
struct Names {
    /// When the last line about each name was written.
    lines: HashMap<Box<str>, MonotonicMillis>,
    /// None of these lines is older.
    oldest: MonotonicMillis,
}

impl LogOncePerName {
    /// Whether to write a line about this name now.
    pub fn admit(&self, now: MonotonicMillis, name: &str) -> bool {
        let name = &*shorten(name);
        let is_recent = |at: MonotonicMillis| at.until(now) < NAME_PERIOD;
        let names = &mut *self.0.lock();
        if names.lines.get(name).is_some_and(|at| is_recent(*at)) {
            return false;
        }
        // Each name of a flood comes by here: so the table is looked through only if there is
        // something to remove.
        if names.lines.len() >= NAMES_MAX && !is_recent(names.oldest) {
            names.lines.retain(|_, at| is_recent(*at));
            names.oldest = names.lines.values().min().copied().unwrap_or(now);
        }
        if names.lines.len() < NAMES_MAX {
            names.lines.insert(name.into(), now);
        }
        true
    }

    /// Bytes and number of the names.
    pub fn memory(&self) -> (usize, usize) {
        let lines = &self.0.lock().lines;
        let texts = lines.keys().map(|name| name.len()).sum::<usize>();
        let entry = size_of::<(Box<str>, MonotonicMillis)>();
        (lines.capacity() * entry + texts, lines.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_line_an_hour_and_names_are_limited() {
        let lines = LogOncePerName::default();
        let admit = |minute: u64, name: &str| lines.admit(MonotonicMillis(minute * 60_000), name);
        assert!(admit(0, "a") && admit(0, "b"));
        assert!((0..60).all(|minute| !admit(minute, "a")));
        assert!(admit(60, "a") && !admit(61, "a"));
        for name in 0..2 * NAMES_MAX {
            assert!(admit(61, &name.to_string()));
        }
        let (bytes, names) = lines.memory();
        assert_eq!(names, NAMES_MAX);
        assert!(
            (NAMES_MAX * 24..NAMES_MAX * 256).contains(&bytes),
            "{bytes}"
        );
        assert!(!admit(62, "1") && admit(62, &(2 * NAMES_MAX - 1).to_string()));
        assert!(admit(121, "new"));
        assert_eq!(lines.memory().1, 1);
    }

    /// A full table is looked through once there is an old line, and then again when the next one
    /// is old.
    #[test]
    fn names_have_room_as_soon_as_others_are_old() {
        let lines = LogOncePerName::default();
        let admit = |minute: u64, name: &str| lines.admit(MonotonicMillis(minute * 60_000), name);
        for name in 0..NAMES_MAX as u64 {
            assert!(admit(name % 2, &name.to_string()));
        }
        assert!(admit(59, "new") && admit(59, "new"), "there is no room");
        assert!(admit(60, "new") && !admit(60, "new"));
        assert_eq!(lines.memory().1, NAMES_MAX / 2 + 1);
        assert!((0..NAMES_MAX / 2).all(|name| admit(60, &format!("at 60: {name}"))));
        assert_eq!(lines.memory().1, NAMES_MAX);
        assert!(admit(61, "1") && !admit(61, "1"));
        assert_eq!(lines.memory().1, NAMES_MAX / 2 + 1);
    }

    #[test]
    fn lines_beyond_the_limit_are_suppressed_and_counted() {
        let log_throttle = LogThrottle::default();
        let lines = |now| log_throttle.admit(MonotonicMillis(now));
        assert!((0..10).all(|_| lines(5000) == Some(0)));
        assert!((0..90).all(|_| lines(5500).is_none()));
        assert_eq!(lines(6000), Some(90));
        assert_eq!(lines(6000), Some(0));
        assert_eq!((0..20).filter(|_| lines(6000).is_some()).count(), 8);
        let throttle = || log_throttle.throttle(MonotonicMillis(7000), "one".into(), "others");
        assert_eq!(
            throttle().as_deref(),
            Some("one (12 more others not shown)")
        );
        assert_eq!(throttle().as_deref(), Some("one"));
        let many = LogThrottle::of(100);
        let shown = (0..1000).filter(|_| many.admit(MonotonicMillis(0)).is_some());
        assert_eq!(shown.count(), 100);
        assert_eq!(many.admit(MonotonicMillis(1000)), Some(900));
    }
}
