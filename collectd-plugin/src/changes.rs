//! Which conditions of something are to be reported: the changes of its severity that [`Followed`]
//! reports, and each cause once while that severity stays the same. Two gateways in front of a
//! broker may answer 502 and 504 in turn.

use std::time::Instant;

use crate::{
    daemon::Severity,
    followed::{Change, Followed, QUIET},
};

/// Causes that are reported while the severity stays the same.
const CAUSES_MAX: usize = 8;

/// The changes of one condition; `C` is the cause of a severity.
#[derive(Debug)]
pub(crate) struct Changes<C> {
    /// `None` before the first poll.
    severity: Option<Followed<Severity>>,
    /// Causes that were reported with the present severity.
    causes: Vec<C>,
}

/// Why a condition is to be reported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum News {
    /// It is the first one that is known.
    First,
    /// The severity has changed.
    Changed(Change),
    /// The severity is the same, and the cause a new one.
    Cause,
}

impl News {
    /// What to append to the text about it.
    pub(crate) fn remark(self) -> String {
        match self {
            Self::Changed(Change::Worse { often: true }) => format!(
                "; this comes and goes: that it is better is reported once that has lasted for {} \
                 minutes",
                QUIET.as_secs() / 60
            ),
            _ => String::new(),
        }
    }
}

impl<C: PartialEq> Changes<C> {
    /// No condition is known yet.
    pub(crate) fn new() -> Self {
        Self {
            severity: None,
            causes: Vec::new(),
        }
    }

    /// Takes the condition of a poll. Returns why it is to be reported, if it is.
    pub(crate) fn note(&mut self, severity: Severity, cause: C, now: Instant) -> Option<News> {
        let is_first = self.severity.is_none();
        let followed = self
            .severity
            .get_or_insert_with(|| Followed::new(Severity::Okay));
        let news = match followed.see(severity, now) {
            _ if is_first => News::First,
            Some(change) => News::Changed(change),
            None if severity != followed.reported()
                || self.causes.contains(&cause)
                || self.causes.len() == CAUSES_MAX =>
            {
                return None;
            }
            None => News::Cause,
        };
        if news != News::Cause {
            self.causes.clear();
        }
        self.causes.push(cause);
        Some(news)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use News::{Cause, Changed, First};
    use Severity::{Failure, Okay, Warning};

    const INTERVAL: Duration = Duration::from_secs(10);
    const WORSE: News = Changed(Change::Worse { often: false });
    const BETTER: News = Changed(Change::Better);

    /// What is reported of these conditions, one poll each.
    fn news(
        changes: &mut Changes<u16>,
        now: &mut Instant,
        conditions: impl IntoIterator<Item = (Severity, u16)>,
    ) -> Vec<News> {
        let mut all = Vec::new();
        for (severity, cause) in conditions {
            *now += INTERVAL;
            all.extend(changes.note(severity, cause, *now));
        }
        all
    }

    #[test]
    fn a_condition_is_reported_when_it_begins() {
        let (mut changes, mut now) = (Changes::new(), Instant::now());
        let conditions = [(Okay, 0), (Okay, 0), (Failure, 1), (Failure, 1), (Okay, 0)];
        let expected = [First, WORSE, BETTER];
        assert_eq!(news(&mut changes, &mut now, conditions), expected);
    }

    #[test]
    fn alternating_causes_are_reported_once_each_until_the_severity_changes() {
        let (mut changes, mut now) = (Changes::new(), Instant::now());
        let alternating = [(Failure, 502), (Failure, 504)];
        let many = alternating.into_iter().cycle().take(100);
        assert_eq!(news(&mut changes, &mut now, many), [First, Cause]);
        let again = [(Warning, 1), (Failure, 502), (Failure, 504)];
        let expected = [BETTER, WORSE, Cause];
        assert_eq!(news(&mut changes, &mut now, again), expected);
    }

    /// A cause that is another one in each poll does not fill the log.
    #[test]
    fn causes_are_bounded() {
        let (mut changes, mut now) = (Changes::new(), Instant::now());
        let many = (0..100).map(|cause| (Failure, cause));
        assert_eq!(news(&mut changes, &mut now, many).len(), CAUSES_MAX);
    }

    #[test]
    fn what_comes_and_goes_is_reported_until_it_is_steady() {
        let (mut changes, mut now) = (Changes::new(), Instant::now());
        let many = [(Okay, 0), (Failure, 1)].into_iter().cycle().take(100);
        let often = Changed(Change::Worse { often: true });
        let expected = [First, WORSE, BETTER, WORSE, BETTER, often];
        assert_eq!(news(&mut changes, &mut now, many), expected);
        assert!(often.remark().contains("lasted for 5 minutes"));
        let steady = std::iter::repeat_n((Okay, 0), 40);
        assert_eq!(news(&mut changes, &mut now, steady), [BETTER]);
    }
}
