//! Rare problems, counted by the name they concern.
//!
//! Modules count here when something goes wrong, off the path of ordinary messages; the diagnosis
//! takes the counts about once a second.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::pool::MARK;

/// Names that are counted separately between two drains; further ones are counted together under
/// the empty name.
const NAMES_MAX: usize = 256;

/// Limit of a name in bytes; longer ones are shortened.
const NAME_LEN_MAX: usize = 256;

/// Counts by name.
#[derive(Default)]
pub struct Tally(Mutex<HashMap<Box<[u8]>, Count>>);

/// The counts of one name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// How often it happened.
    pub times: u64,
    /// The largest amount.
    pub peak: u64,
    /// The connection that caused it last; 0 for none.
    pub cid: u64,
}

impl Tally {
    /// Counts one occurrence with an `amount`, caused by connection `cid`.
    pub fn count(&self, name: &[u8], amount: u64, cid: u64) {
        self.add(name, 1, amount, cid);
    }

    /// Counts `times` occurrences, caused by connection `cid`.
    pub fn count_times(&self, name: &[u8], times: usize, cid: u64) {
        self.add(name, times as u64, 0, cid);
    }

    fn add(&self, name: &[u8], times: u64, amount: u64, cid: u64) {
        let shortened;
        let name = match name.len() <= NAME_LEN_MAX {
            true => name,
            false => {
                shortened = [&name[..NAME_LEN_MAX - MARK.len()], MARK.as_bytes()].concat();
                &*shortened
            }
        };
        let mut counts = self.0.lock();
        let name = match counts.len() < NAMES_MAX || counts.contains_key(name) {
            true => name,
            false => b"",
        };
        let count = match counts.get_mut(name) {
            Some(count) => count,
            None => counts.entry(name.into()).or_default(),
        };
        count.times += times;
        count.peak = count.peak.max(amount);
        count.cid = cid;
    }

    /// Takes the counts and starts again.
    pub fn drain(&self) -> Vec<(String, Count)> {
        let counts = std::mem::take(&mut *self.0.lock());
        let text = |name: Box<[u8]>| String::from_utf8_lossy(&name).into_owned();
        counts
            .into_iter()
            .map(|(name, count)| (text(name), count))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_limited_without_losing_counts() {
        let tally = Tally::default();
        for round in 0..2 {
            for number in 0..1000_u64 {
                let name = format!("{number}{}", "x".repeat(1000));
                tally.count(name.as_bytes(), number, round + 1);
            }
        }
        let counts = tally.drain();
        assert!(counts.len() <= NAMES_MAX + 1);
        assert!(counts.iter().all(|(name, _)| name.len() <= NAME_LEN_MAX));
        assert_eq!(
            counts.iter().map(|(_, count)| count.times).sum::<u64>(),
            2000
        );
        assert_eq!(counts.iter().map(|(_, count)| count.peak).max(), Some(999));
        assert!(counts.iter().all(|(_, count)| count.cid == 2));
        assert!(tally.drain().is_empty());
    }
}
