//! How a number grows: a slope that single jumps do not disturb.

use std::{collections::VecDeque, time::Duration};

use crate::telemetry::MonotonicMillis;

/// Samples kept. The slope is made from each pair of them.
const SAMPLES_MAX: usize = 60;

/// Samples below which no growth is reported.
const SAMPLES_MIN: usize = 8;

/// The recent values of one number.
///
/// Keeps every sample at first and increases their spacing with time, so that the kept
/// samples cover the window once it has passed.
#[derive(Debug)]
pub(super) struct Trend {
    window: Duration,
    step: Duration,
    samples: VecDeque<(MonotonicMillis, f64)>,
}

impl Trend {
    /// A trend over `window`, with a value each `interval`.
    pub(super) fn new(window: Duration, interval: Duration) -> Self {
        Self {
            window,
            step: interval / 2,
            samples: VecDeque::new(),
        }
    }

    /// Adds the value at `now`.
    pub(super) fn add(&mut self, now: MonotonicMillis, value: f64) {
        let last = self.samples.back();
        if last.is_some_and(|(at, _)| at.until(now) < self.step) {
            return;
        }
        self.samples.push_back((now, value));
        while self
            .samples
            .front()
            .is_some_and(|(at, _)| at.until(now) > self.window)
        {
            self.samples.pop_front();
        }
        if self.samples.len() > SAMPLES_MAX {
            let mut number = 0;
            self.samples.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.step = (self.step * 2).max(Duration::from_millis(1));
        }
    }

    /// Growth per second: the median of the slopes between any two samples.
    /// `None` while there are few samples.
    pub(super) fn slope(&self) -> Option<f64> {
        if self.samples.len() < SAMPLES_MIN {
            return None;
        }
        let mut slopes = Vec::with_capacity(SAMPLES_MAX * SAMPLES_MAX / 2);
        for (index, (at, value)) in self.samples.iter().enumerate() {
            for (later, other) in self.samples.iter().skip(index + 1) {
                let seconds = at.until(*later).as_secs_f64();
                if seconds > 0.0 {
                    slopes.push((other - value) / seconds);
                }
            }
        }
        let middle = slopes.len() / 2;
        if slopes.is_empty() {
            return None;
        }
        let (_, median, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
        Some(*median)
    }

    /// How far the last sample is above the lowest one.
    pub(super) fn rise(&self) -> f64 {
        let lowest = self.samples.iter().map(|(_, value)| *value);
        let lowest = lowest.min_by(f64::total_cmp).unwrap_or_default();
        self.samples.back().map_or(0.0, |(_, last)| last - lowest)
    }

    /// Time that the samples cover.
    pub(super) fn span(&self) -> Duration {
        match (self.samples.front(), self.samples.back()) {
            (Some((first, _)), Some((last, _))) => first.until(*last),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The trend of a number with a value each second.
    fn trend(seconds: u64, value: impl Fn(u64) -> f64) -> Trend {
        let mut trend = Trend::new(300 * SECOND, SECOND);
        for second in 0..seconds {
            trend.add(MonotonicMillis(second * 1000), value(second));
        }
        trend
    }

    #[test]
    fn steady_growth_is_seen_soon_and_stays() {
        assert_eq!(trend(5, |s| s as f64 * 100.0).slope(), None);
        for seconds in [10, 60, 61, 200, 5000] {
            let trend = trend(seconds, |second| second as f64 * 100.0);
            let slope = trend.slope().unwrap();
            assert!((slope - 100.0).abs() < 1e-6, "{seconds}: {slope}");
            assert!(trend.samples.len() <= SAMPLES_MAX);
            assert!(trend.span() <= 300 * SECOND);
        }
        assert!(trend(5000, |second| second as f64).span() >= 250 * SECOND);
    }

    #[test]
    fn noise_and_jumps_are_no_growth() {
        let jump = trend(200, |second| if second < 50 { 0.0 } else { 1e6 });
        assert_eq!(jump.slope(), Some(0.0));
        let saw = trend(300, |second| (second % 7) as f64 * 100.0);
        assert!(saw.slope().unwrap().abs() < 5.0, "{:?}", saw.slope());
        let peaks = trend(300, |s| s as f64 + if s % 10 == 0 { 1e6 } else { 0.0 });
        assert!(
            (peaks.slope().unwrap() - 1.0).abs() < 0.2,
            "{:?}",
            peaks.slope()
        );
    }

    #[test]
    fn rise_is_from_the_lowest() {
        assert_eq!(
            trend(3, |second| [5.0, 1.0, 4.0][second as usize]).rise(),
            3.0
        );
    }
}
