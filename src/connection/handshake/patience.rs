//! How long peers wait for their handshake before they give up, learned from those that
//! came before; for [`Waiting`](super::waiting::Waiting) only.
//!
//! A peer does not say how long it will wait. But each one that ends tells something: it
//! gave up at some age, or it was still there at some age. From these counts follows, for
//! each age, which part of the peers is still there after the rest of a handshake (the
//! estimator of Kaplan and Meier). Where too many of them are not, a signature would be
//! wasted.
//!
//! Until peers have shown how long they wait, they are taken to wait for the longest
//! `timeout` of a `tls` block with which the broker listens, by which operators say how
//! long a handshake may take.

use std::time::Duration;

/// Ages below this say nothing: nobody gives up so early because it has to wait, but
/// scanners and health checks leave after a moment. Also the least that peers are taken
/// to wait, whatever strangers do.
pub(super) const SHORTEST: Duration = Duration::from_millis(250);

/// Classes of ages, sixteen for each doubling from [`SHORTEST`] on: the last one begins at
/// 61 s.
const CLASSES: usize = 128;

/// The sixteenth root of two.
const STEP: f64 = 1.044_273_782_427_413_8;

/// The least age of each class. Products alone are the same on all machines.
const BEGINNINGS: [Duration; CLASSES] = {
    let mut beginnings = [SHORTEST; CLASSES];
    let mut nanos = SHORTEST.as_nanos() as f64;
    let mut class = 1;
    while class < CLASSES {
        nanos *= STEP;
        beginnings[class] = Duration::from_nanos(nanos as u64);
        class += 1;
    }
    beginnings
};

/// After so many peers the counts are halved, so that new ones are soon learned.
const REMEMBERED: f32 = 512.0;

/// As many peers, which are taken to have waited for the timeout and left then.
const EXPECTED: f32 = 4.0;

/// The part of the peers that has to be there still at the end of their handshake.
const ENOUGH: f32 = 0.9;

/// What the rest of a handshake is taken to last at least, and at most.
const REST_MIN: Duration = Duration::from_millis(30);
const REST_MAX: Duration = Duration::from_secs(2);

/// What is known about the patience of peers.
#[derive(Debug)]
pub(super) struct Patience {
    /// Peers by the class of the age at which they were done, or had left.
    stayed: [f32; CLASSES],
    left: [f32; CLASSES],
    /// The sum of both.
    known: f32,
    /// When peers are expected to leave.
    expected: Duration,
    rest: Rest,
}

/// How long handshakes last from when they are begun, in seconds: the mean, and the mean
/// deviation from it, as TCP estimates its round trip time (RFC 6298).
#[derive(Debug, Default)]
struct Rest {
    mean: f64,
    deviation: f64,
}

/// Whether peers of each class are likely to stay for the rest of a handshake.
pub(super) struct Stay([bool; CLASSES]);

/// Ages, from the first one to before the second one.
pub(super) type Ages = (Duration, Duration);

impl Default for Patience {
    fn default() -> Self {
        Self {
            stayed: [0.0; CLASSES],
            left: [0.0; CLASSES],
            known: 0.0,
            expected: Duration::MAX,
            rest: Rest::default(),
        }
    }
}

impl Patience {
    /// Sets when peers are expected to leave as long as nothing else is known.
    pub(super) fn expect(&mut self, timeout: Duration) {
        self.expected = timeout;
    }

    /// A peer was done at this age, the last `rest` of it without waiting for its turn.
    pub(super) fn stayed(&mut self, age: Duration, rest: Duration) {
        self.rest.add(rest);
        if age >= SHORTEST {
            self.stayed[class(age)] += 1.0;
            self.known += 1.0;
        }
        self.learn();
    }

    /// A peer left at this age: while it waited for its turn, or after a `rest`.
    pub(super) fn left(&mut self, age: Duration, rest: Option<Duration>) {
        if age < SHORTEST {
            return;
        }
        // Its handshake would have taken longer, nobody knows how much.
        if let Some(rest) = rest {
            self.rest.add(rest * 2);
        }
        self.left[class(age)] += 1.0;
        self.known += 1.0;
        self.learn();
    }

    fn learn(&mut self) {
        if self.known > REMEMBERED {
            for count in self.stayed.iter_mut().chain(&mut self.left) {
                *count /= 2.0;
            }
            self.known /= 2.0;
        }
    }

    /// When peers are likely to stay. `waiting` are the ages of some that wait now: they
    /// have stayed so far.
    pub(super) fn judge(&self, waiting: impl Iterator<Item = Duration>) -> Stay {
        let mut stayed = self.stayed;
        let mut known = self.known;
        for class in waiting.filter_map(|age| class(age).checked_sub(1)) {
            stayed[class] += 1.0;
            known += 1.0;
        }
        // The part that is there still at the beginning of each class.
        let mut there = [1.0; CLASSES + 1];
        let expected = class(self.expected);
        for class in 0..CLASSES {
            let before = if class <= expected { EXPECTED } else { 0.0 };
            // The last class has no end.
            let is_then = class == expected && class + 1 < CLASSES;
            let then = if is_then { EXPECTED } else { 0.0 };
            let part = match known + before {
                0.0..0.5 => 1.0,
                all => (1.0 - (self.left[class] + then) / all).max(0.0),
            };
            there[class + 1] = there[class] * part;
            known = (known - self.left[class] - stayed[class]).max(0.0);
        }
        let rest = self.rest.estimate();
        let stays = |at: usize| {
            let end = BEGINNINGS[(at + 1).min(CLASSES - 1)] + rest;
            there[class(end) + 1] >= ENOUGH * there[at]
        };
        Stay(std::array::from_fn(stays))
    }
}

impl Stay {
    /// The age from which on peers may be about to leave.
    pub(super) fn early(&self) -> Duration {
        let first = self.0.iter().position(|stays| !stays);
        first.map_or(Duration::MAX, |class| BEGINNINGS[class])
    }

    /// Greater ages at which peers are likely to stay, the greatest first.
    pub(super) fn late(&self) -> impl Iterator<Item = Ages> {
        let first = self.0.iter().position(|stays| !stays).unwrap_or(CLASSES);
        let classes = (first..CLASSES).rev().filter(|class| self.0[*class]);
        classes.map(|class| {
            let end = BEGINNINGS.get(class + 1);
            (BEGINNINGS[class], end.copied().unwrap_or(Duration::MAX))
        })
    }
}

impl Rest {
    fn add(&mut self, rest: Duration) {
        let rest = rest.min(REST_MAX).as_secs_f64();
        self.deviation += ((rest - self.mean).abs() - self.deviation) / 4.0;
        self.mean += (rest - self.mean) / 8.0;
    }

    fn estimate(&self) -> Duration {
        let likely = self.mean + 4.0 * self.deviation;
        Duration::from_secs_f64(likely).clamp(REST_MIN, REST_MAX)
    }
}

/// The class of an age; the first one has all ages below it, too.
fn class(age: Duration) -> usize {
    let after = BEGINNINGS.partition_point(|beginning| *beginning <= age);
    after.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn early(patience: &Patience) -> Duration {
        patience.judge(std::iter::empty()).early()
    }

    #[test]
    fn classes_begin_at_their_ages() {
        for (number, beginning) in BEGINNINGS.into_iter().enumerate() {
            assert_eq!(class(beginning), number);
            assert_eq!(
                class(beginning - Duration::from_nanos(1)),
                number.saturating_sub(1)
            );
        }
        let doubled = BEGINNINGS[16].as_nanos().abs_diff(2 * SHORTEST.as_nanos());
        assert!(doubled <= 2, "{:?}", BEGINNINGS[16]);
        assert_eq!(class(Duration::ZERO), 0);
        assert_eq!(class(Duration::MAX), CLASSES - 1);
    }

    #[test]
    fn early_ends_before_peers_leave_by_the_rest_of_a_handshake() {
        let mut patience = Patience::default();
        assert_eq!(early(&patience), Duration::MAX);
        for _ in 0..50 {
            patience.left(5 * SECOND, None);
        }
        assert!((4.5..5.0).contains(&early(&patience).as_secs_f64()));
        for _ in 0..50 {
            patience.stayed(2 * SECOND, SECOND);
        }
        assert!((3.0..4.0).contains(&early(&patience).as_secs_f64()));
    }

    #[test]
    fn signatures_that_were_wasted_make_it_end_earlier() {
        let mut patience = Patience::default();
        for _ in 0..50 {
            patience.left(5 * SECOND, Some(Duration::from_millis(200)));
        }
        assert!(early(&patience) < Duration::from_millis(4600));
    }

    #[test]
    fn strangers_that_leave_at_once_teach_nothing_and_others_only_down_to_the_least() {
        let mut patience = Patience::default();
        let before = early(&patience);
        for _ in 0..1000 {
            patience.left(SHORTEST / 2, Some(SHORTEST / 4));
        }
        assert_eq!(early(&patience), before);
        for _ in 0..1000 {
            patience.left(SHORTEST, Some(SHORTEST));
        }
        assert_eq!(early(&patience), SHORTEST);
    }

    #[test]
    fn what_was_learned_is_forgotten_for_something_new() {
        let mut patience = Patience::default();
        for _ in 0..100_000 {
            patience.left(SECOND, None);
        }
        assert!(patience.known <= REMEMBERED);
        for _ in 0..3000 {
            patience.left(8 * SECOND, None);
        }
        assert!(early(&patience) > 7 * SECOND);
    }
}
