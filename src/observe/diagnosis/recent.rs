//! Single incidents of the recent past, added up by subject: a client, member or table.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::telemetry::{
    MonotonicMillis,
    pool::{allocated, shorten_to},
    tally::Count,
};

/// Incidents remembered; the oldest are dropped for new ones.
const INCIDENTS_MAX: usize = 4096;

/// Bytes of an incident's subject; longer ones are cut.
const SUBJECT_LEN_MAX: usize = 256;

/// Incidents of one kind.
#[derive(Default)]
pub(super) struct Recent(VecDeque<(MonotonicMillis, String, Count)>);

/// Recent counts of one subject.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Sum {
    pub(super) subject: String,
    pub(super) count: Count,
}

impl Recent {
    /// Adds something that happened `count.times` since the last sample.
    pub(super) fn add(&mut self, now: MonotonicMillis, subject: String, count: Count) {
        if self.0.len() == INCIDENTS_MAX {
            self.0.pop_front();
        }
        let subject = match subject.len() <= SUBJECT_LEN_MAX {
            true => subject,
            false => shorten_to(&subject, SUBJECT_LEN_MAX).into_owned(),
        };
        self.0.push_back((now, subject, count));
    }

    /// Bytes that the incidents take.
    pub(super) fn memory(&self) -> usize {
        let texts = self
            .0
            .iter()
            .map(|(_, subject, _)| allocated(subject.len()));
        self.0.capacity() * size_of::<(MonotonicMillis, String, Count)>() + texts.sum::<usize>()
    }

    /// Forgets what is older than `window`.
    pub(super) fn expire(&mut self, now: MonotonicMillis, window: Duration) {
        while self
            .0
            .front()
            .is_some_and(|(at, ..)| at.until(now) >= window)
        {
            self.0.pop_front();
        }
    }

    /// How often it happened in all.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|(.., count)| count.times).sum()
    }

    /// By subject, the most frequent first.
    pub(super) fn by_subject(&self) -> Vec<Sum> {
        let mut sums: HashMap<&str, Count> = HashMap::new();
        for (_, subject, count) in &self.0 {
            let sum = sums.entry(subject).or_default();
            sum.times += count.times;
            sum.peak = sum.peak.max(count.peak);
            sum.cid = count.cid;
        }
        let mut sums: Vec<Sum> = sums
            .into_iter()
            .map(|(subject, count)| Sum {
                subject: subject.to_owned(),
                count,
            })
            .collect();
        sums.sort_by(|a, b| {
            b.count
                .times
                .cmp(&a.count.times)
                .then_with(|| a.subject.cmp(&b.subject))
        });
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_add_up_and_are_forgotten() {
        let mut recent = Recent::default();
        for second in 0..10 {
            let count = Count {
                times: 2,
                peak: second,
                cid: second,
            };
            let subject = if second < 7 { "a" } else { "b" };
            recent.add(MonotonicMillis(second * 1000), subject.into(), count);
        }
        assert_eq!(recent.total(), 20);
        let sums = recent.by_subject();
        assert_eq!((&*sums[0].subject, sums[0].count.times), ("a", 14));
        assert_eq!((sums[0].count.peak, sums[0].count.cid), (6, 6));
        recent.expire(MonotonicMillis(12_000), Duration::from_secs(5));
        assert_eq!(recent.total(), 4);
        for _ in 0..2 * INCIDENTS_MAX {
            recent.add(MonotonicMillis(0), String::new(), Count::default());
        }
        assert_eq!(recent.0.len(), INCIDENTS_MAX);
    }
}
