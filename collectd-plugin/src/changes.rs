//! Which changes of an instance's condition are worth a log line.
//!
//! A condition that lasts is logged when it begins. One that alternates would cause a line with
//! every poll: two gateways in front of a broker answer 502 and 504 in turn, or a broker comes and
//! goes. So a cause is logged once while the severity stays the same, and after some changes in a
//! short time nothing more is logged until the condition has been the same for a while.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use monitor_client::text::plural;

use crate::daemon::Severity;

/// Lines within [`WINDOW`] before changes are left out.
const LINES_MAX: usize = 6;
const WINDOW: Duration = Duration::from_secs(600);

/// How long the severity must be the same after changes were left out.
const STEADY: Duration = Duration::from_secs(300);

/// Causes that are remembered while the severity stays the same.
const CAUSES_MAX: usize = 8;

/// The changes of one instance's condition; `C` is the cause of a severity.
#[derive(Debug)]
pub(crate) struct Changes<C> {
    current: Option<(Severity, C)>,
    /// When the current severity began.
    since: Option<Instant>,
    /// Causes that were logged with the current severity.
    logged_causes: VecDeque<C>,
    /// When the last lines were logged.
    lines: VecDeque<Instant>,
    /// Changes that were not logged; `None` unless changes are left out.
    left_out: Option<u32>,
}

impl<C: Clone + PartialEq> Changes<C> {
    /// No condition is known yet.
    pub(crate) fn new() -> Self {
        Self {
            current: None,
            since: None,
            logged_causes: VecDeque::new(),
            lines: VecDeque::new(),
            left_out: None,
        }
    }

    /// Takes the condition of a poll. If it is to be logged, returns what to append to the line,
    /// which is usually nothing.
    pub(crate) fn note(&mut self, severity: Severity, cause: C, now: Instant) -> Option<String> {
        let condition = (severity, cause);
        if self.current.as_ref() == Some(&condition) {
            return self.end_of_changes(now);
        }
        let before = self.current.replace(condition.clone());
        if before.is_none_or(|before| before.0 != severity) {
            self.logged_causes.clear();
            self.since = Some(now);
        }
        let (_, cause) = condition;
        if self.logged_causes.contains(&cause) {
            return self.end_of_changes(now);
        }
        if let Some(left_out) = &mut self.left_out {
            *left_out = left_out.saturating_add(1);
            return None;
        }
        keep(&mut self.logged_causes, cause, CAUSES_MAX);
        while self
            .lines
            .front()
            .is_some_and(|line| now.duration_since(*line) > WINDOW)
        {
            self.lines.pop_front();
        }
        keep(&mut self.lines, now, LINES_MAX);
        if self.lines.len() < LINES_MAX {
            return Some(String::new());
        }
        self.left_out = Some(0);
        Some(format!(
            "; this changes all the time, so changes are not logged until it has been the same for \
             {} minutes",
            STEADY.as_secs() / 60
        ))
    }

    /// The severity is the same as in the poll before: the end of changes that were left out?
    fn end_of_changes(&mut self, now: Instant) -> Option<String> {
        let left_out = self.left_out?;
        if self
            .since
            .is_some_and(|since| now.duration_since(since) < STEADY)
        {
            return None;
        }
        self.left_out = None;
        self.lines.clear();
        Some(format!(
            "; the same for {} minutes now, after {} that were not logged",
            STEADY.as_secs() / 60,
            plural(left_out, "change")
        ))
    }
}

/// Adds an item and drops the oldest above the limit.
fn keep<T>(items: &mut VecDeque<T>, item: T, limit: usize) {
    if items.len() == limit {
        items.pop_front();
    }
    items.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use Severity::{Failure, Okay, Warning};

    const INTERVAL: Duration = Duration::from_secs(10);

    /// The remarks of the lines of these conditions, one poll each.
    fn remarks(
        changes: &mut Changes<u16>,
        now: &mut Instant,
        conditions: impl IntoIterator<Item = (Severity, u16)>,
    ) -> Vec<String> {
        let mut remarks = Vec::new();
        for (severity, cause) in conditions {
            *now += INTERVAL;
            remarks.extend(changes.note(severity, cause, *now));
        }
        remarks
    }

    #[test]
    fn a_condition_is_logged_when_it_begins() {
        let (mut changes, mut now) = (Changes::new(), Instant::now());
        let conditions = [(Okay, 0), (Okay, 0), (Failure, 1), (Failure, 1), (Okay, 0)];
        assert_eq!(remarks(&mut changes, &mut now, conditions), ["", "", ""]);
    }

    #[test]
    fn alternating_causes_are_logged_once_each_until_the_severity_changes() {
        let (mut changes, mut now) = (Changes::new(), Instant::now());
        let alternating = [(Failure, 502), (Failure, 504)];
        let many = alternating.into_iter().cycle().take(100);
        assert_eq!(remarks(&mut changes, &mut now, many), ["", ""]);
        let again = [(Warning, 1), (Failure, 502), (Failure, 504)];
        assert_eq!(remarks(&mut changes, &mut now, again), ["", "", ""]);
    }

    #[test]
    fn a_broker_that_comes_and_goes_is_logged_until_it_is_steady() {
        let (mut changes, mut now) = (Changes::new(), Instant::now());
        let many = [(Failure, 1), (Okay, 0)].into_iter().cycle().take(100);
        let seen = remarks(&mut changes, &mut now, many);
        assert_eq!(seen.len(), LINES_MAX, "{seen:?}");
        assert!(
            seen[LINES_MAX - 1].contains("changes all the time"),
            "{seen:?}"
        );
        // It was in this condition in the last poll already.
        let steady = std::iter::repeat_n((Okay, 0), 30);
        let seen = remarks(&mut changes, &mut now, steady);
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(seen[0].contains("after 94 changes"), "{seen:?}");
        let next = [(Failure, 1), (Okay, 0)];
        assert_eq!(remarks(&mut changes, &mut now, next), ["", ""]);
    }

    #[test]
    fn changes_far_apart_are_all_logged() {
        let (mut changes, mut now) = (Changes::new(), Instant::now());
        for index in 0..100 {
            now += WINDOW / 4;
            let severity = if index % 2 == 0 { Failure } else { Okay };
            assert_eq!(
                changes.note(severity, 0, now).as_deref(),
                Some(""),
                "{index}"
            );
        }
    }
}
