//! Follows something that is better or worse from poll to poll, and says which of its changes are to
//! be reported. What gets worse is reported at once, and so is what gets better; but what gets worse again and
//! again is only reported to be better once that has lasted.

use std::time::{Duration, Instant};

/// How long something that comes and goes must be better before that is reported.
pub(crate) const QUIET: Duration = Duration::from_secs(300);

/// It comes and goes if it got worse this often within twice [`QUIET`].
const OFTEN: usize = 3;

/// Something with a level; a higher one is worse.
#[derive(Debug)]
pub(crate) struct Followed<L> {
    best: L,
    reported: L,
    /// Since when it is better than reported.
    better_since: Option<Instant>,
    /// The last times that it got worse, the oldest first.
    rises: [Option<Instant>; OFTEN],
    /// Whether it comes and goes.
    is_held: bool,
}

/// A change that is to be reported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// It got worse; `often` if it comes and goes, which is reported once.
    Worse { often: bool },
    /// It got better.
    Better,
}

impl<L: Copy + Ord> Followed<L> {
    /// At the best level.
    pub(crate) fn new(best: L) -> Self {
        Self {
            best,
            reported: best,
            better_since: None,
            rises: [None; OFTEN],
            is_held: false,
        }
    }

    /// The level that was reported last.
    pub(crate) fn reported(&self) -> L {
        self.reported
    }

    /// The level of a poll at `now`. Returns what is to be reported.
    pub(crate) fn see(&mut self, level: L, now: Instant) -> Option<Change> {
        if level >= self.reported {
            self.better_since = None;
        }
        if level > self.reported {
            self.reported = level;
            return Some(Change::Worse {
                often: self.rise(now),
            });
        }
        if level < self.reported {
            let since = *self.better_since.get_or_insert(now);
            if !self.is_held || now.duration_since(since) >= QUIET {
                self.reported = level;
                self.better_since = None;
                self.is_held = false;
                return Some(Change::Better);
            }
        }
        None
    }

    /// Whether its past still matters.
    pub(crate) fn is_remembered(&self, now: Instant) -> bool {
        let last = self.rises[OFTEN - 1];
        self.reported != self.best || last.is_some_and(|last| now.duration_since(last) < 2 * QUIET)
    }

    /// Whether it comes and goes from now on.
    fn rise(&mut self, now: Instant) -> bool {
        self.rises.rotate_left(1);
        self.rises[OFTEN - 1] = Some(now);
        let first = self.rises[0];
        let is_often = first.is_some_and(|first| now.duration_since(first) < 2 * QUIET);
        let begins = is_often && !self.is_held;
        self.is_held |= is_often;
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(10);

    /// What is reported of these levels, one for each poll, with the numbers of the polls.
    fn reported(levels: impl IntoIterator<Item = u8>) -> Vec<(usize, Change)> {
        let begin = Instant::now();
        let mut followed = Followed::new(0);
        let polls = levels.into_iter().enumerate();
        polls
            .filter_map(|(poll, level)| {
                let now = begin + POLL * poll as u32;
                Some((poll, followed.see(level, now)?))
            })
            .collect()
    }

    const WORSE: Change = Change::Worse { often: false };

    #[test]
    fn each_change_is_told_at_once() {
        let changes = reported([0, 1, 1, 2, 2, 1, 0, 0]);
        let expected = [
            (1, WORSE),
            (3, WORSE),
            (5, Change::Better),
            (6, Change::Better),
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn what_comes_and_goes_is_told_a_few_times_and_its_end_when_it_lasts() {
        let flaps = (0..200).map(|poll| poll % 2);
        let changes = reported(flaps.chain([0; 60]));
        let often = Change::Worse { often: true };
        let expected = [
            (1, WORSE),
            (2, Change::Better),
            (3, WORSE),
            (4, Change::Better),
            (5, often),
            // Poll 199 is the last bad one.
            (230, Change::Better),
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn what_comes_seldom_is_told_each_time() {
        let seldom = (0..400).map(|poll| u8::from(poll % 40 == 1));
        assert_eq!(reported(seldom).len(), 20);
    }

    #[test]
    fn the_past_is_forgotten_after_a_while() {
        let begin = Instant::now();
        let mut followed = Followed::new(0);
        assert!(!followed.is_remembered(begin));
        followed.see(1, begin);
        assert!(followed.is_remembered(begin + 10 * QUIET));
        followed.see(0, begin + QUIET);
        assert!(followed.is_remembered(begin + QUIET));
        assert!(!followed.is_remembered(begin + 2 * QUIET));
    }
}
