//! Distributions of times: log-linear histograms of a fixed size.
//!
//! A bucket is at most an eighth of its value wide. Each [`Histogram`] has a single writer; readers
//! add histograms up to a [`Distribution`].

use super::Counter;

/// Buckets per octave, as a power of two.
const OCTAVE_BITS: u32 = 3;
const OCTAVE: usize = 1 << OCTAVE_BITS;

/// The exponent of the highest octave: 134 seconds. Longer times count in its last bucket.
const EXPONENT_MAX: u32 = 27;

/// Number of buckets.
pub const BUCKETS: usize = (EXPONENT_MAX - OCTAVE_BITS + 2) as usize * OCTAVE;

/// A histogram of times, with one writer and any number of readers.
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    /// Microseconds.
    sum: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Counter::default()),
            sum: Counter::default(),
        }
    }
}

impl Histogram {
    /// Counts a time. Only one writer may do so at a time.
    pub fn record(&self, micros: u64) {
        self.buckets[bucket(micros)].add(1);
        self.sum.add(micros);
    }
}

/// A distribution of times, since the start or over a period, as values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Distribution {
    counts: Box<[u64; BUCKETS]>,
    /// Microseconds.
    sum: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            sum: 0,
        }
    }
}

impl Distribution {
    /// Adds the present counts of a histogram.
    pub fn add_histogram(&mut self, histogram: &Histogram) {
        for (count, bucket) in self.counts.iter_mut().zip(&histogram.buckets) {
            *count += bucket.value();
        }
        self.sum += histogram.sum.value();
    }

    /// Adds another distribution.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&*other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// Counts a time.
    pub fn record(&mut self, micros: u64) {
        self.counts[bucket(micros)] += 1;
        self.sum += micros;
    }

    /// The times counted since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut later = self.clone();
        for (count, before) in later.counts.iter_mut().zip(&*earlier.counts) {
            *count = count.saturating_sub(*before);
        }
        later.sum = later.sum.saturating_sub(earlier.sum);
        later
    }

    /// Number of times.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum in seconds.
    pub fn sum(&self) -> f64 {
        seconds(self.sum)
    }

    /// The time in seconds that the fraction `share` of all times does not exceed, rounded up to
    /// its bucket's bound (by at most an eighth); zero if there are no times.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return seconds(upper_bound(index));
            }
        }
        0.0
    }

    /// Upper bounds in seconds, each twice the one before and always the same, with the number of
    /// times below them. Times above the last bound are not included.
    pub fn octaves(&self) -> Vec<(f64, u64)> {
        let mut seen = self.counts[..OCTAVE].iter().sum();
        let octaves = self.counts[OCTAVE..].chunks(OCTAVE).enumerate();
        let higher = octaves.map(|(octave, counts)| {
            let micros = (OCTAVE as u64) << octave;
            let bound = (seconds(micros), seen);
            seen += counts.iter().sum::<u64>();
            bound
        });
        higher.collect()
    }

    /// Upper bounds in seconds with the number of times up to them, for each bound at which the
    /// number changes.
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut seen = 0;
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(index, count)| {
                seen += count;
                (seconds(upper_bound(index)), seen)
            })
            .collect()
    }
}

fn bucket(micros: u64) -> usize {
    if micros < OCTAVE as u64 {
        return micros as usize;
    }
    let exponent = micros.ilog2();
    if exponent > EXPONENT_MAX {
        return BUCKETS - 1;
    }
    let shift = exponent - OCTAVE_BITS;
    // The leading bit selects the octave, the next ones the bucket in it.
    let within = (micros >> shift) as usize & (OCTAVE - 1);
    (shift as usize + 1) * OCTAVE + within
}

/// The largest time of a bucket, in microseconds.
fn upper_bound(index: usize) -> u64 {
    if index < OCTAVE {
        return index as u64;
    }
    let shift = index / OCTAVE - 1;
    let lowest = (OCTAVE + index % OCTAVE) as u64;
    ((lowest + 1) << shift) - 1
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_bucket() {
        let mut last = 0;
        for micros in (0..20_000).chain((1..34).map(|power| 1 << power)) {
            let index = bucket(micros);
            assert!(index < BUCKETS);
            if micros < 1 << (EXPONENT_MAX + 1) {
                let bound = upper_bound(index);
                assert!(
                    bound >= micros && bound <= micros + micros / 8,
                    "{micros} {bound}"
                );
                assert!(index == 0 || upper_bound(index - 1) < micros);
            }
            last = last.max(index);
        }
        assert_eq!(last, BUCKETS - 1);
    }

    #[test]
    fn octaves_have_fixed_bounds() {
        let mut all = Distribution::default();
        for micros in [0, 7, 8, 15, 16, 1000, 1 << 27, 1 << 30] {
            all.record(micros);
        }
        let octaves = all.octaves();
        let below = |bound: f64| {
            let found = octaves.iter().find(|(known, _)| *known == bound);
            found.map(|(_, count)| *count)
        };
        assert_eq!(octaves.len(), 25);
        for (bound, count) in [
            (8e-6, 2),
            (16e-6, 4),
            (32e-6, 5),
            (512e-6, 5),
            (1024e-6, 6),
            (134.217_728, 6),
        ] {
            assert_eq!(below(bound), Some(count), "{bound}");
        }
        assert_eq!(Distribution::default().octaves().len(), 25);
    }

    #[test]
    fn quantiles_match_the_recorded_times() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|millis| histogram.record(millis * 1000));
        let mut all = Distribution::default();
        assert_eq!(all.quantile(0.5), 0.0);
        all.add_histogram(&histogram);
        for (share, expected) in [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99), (1.0, 1.0)] {
            let found = all.quantile(share);
            assert!(
                (expected..expected * 1.126).contains(&found),
                "{share}: {found}"
            );
        }
        assert_eq!((all.count(), all.sum()), (1000, 500.5));
        let before = all.clone();
        all.record(7);
        let recent = all.since(&before);
        assert_eq!((recent.count(), recent.quantile(0.99)), (1, 7e-6));
        assert_eq!(recent.cumulative(), [(7e-6, 1)]);
    }
}
