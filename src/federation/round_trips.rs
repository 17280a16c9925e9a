//! How long the site takes to answer, measured from the traffic itself: from a request that is
//! passed on here to its first reply that comes back here.
//!
//! That contains the time which the nodes take for their work. The shortest of some round trips is
//! the way there and back, and is what must not grow.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::telemetry::{MonotonicMicros, histogram::Distribution, pool::allocated};

/// Requests whose first reply is waited for, and for how long.
const WAITING_MAX: usize = 4096;
const WAITING_MICROS: u64 = 60_000_000;

/// Bytes of the longest id: clients use 32 hexadecimal digits.
const ID_LEN_MAX: usize = 128;

/// Round trips that the shortest is taken of.
const RECENT: usize = 16;

/// How much of what is usual the shortest of [`RECENT`] new ones is.
const WEIGHT: f64 = 1.0 / 16.0;

/// Requests that wait for their first reply, and how long others waited.
#[derive(Default)]
pub struct RoundTrips {
    waiting: HashMap<String, MonotonicMicros>,
    order: VecDeque<(String, MonotonicMicros)>,
    all: Distribution,
    /// Of the last ones, in microseconds.
    recent: VecDeque<u64>,
    last_at: Option<MonotonicMicros>,
    /// Those of `recent` that are new since it was last taken into account.
    new: usize,
    usual: Option<f64>,
}

/// Round trips as values.
#[derive(Clone, Debug, Default)]
pub struct RoundTripsView {
    /// All since the start.
    pub all: Distribution,
    /// The shortest of the last ones; `None` before there are enough.
    pub shortest: Option<Duration>,
    /// What that usually is; `None` before it is known.
    pub usual: Option<Duration>,
    /// When the last one was measured.
    pub last_at: Option<MonotonicMicros>,
}

impl RoundTrips {
    /// A request with this id is passed on.
    pub fn begin(&mut self, id: &str, now: MonotonicMicros) {
        self.forget_old(now);
        if id.is_empty() || id.len() > ID_LEN_MAX || self.waiting.contains_key(id) {
            return;
        }
        if self.order.len() >= WAITING_MAX {
            self.forget_first();
        }
        self.waiting.insert(id.to_owned(), now);
        self.order.push_back((id.to_owned(), now));
    }

    /// A reply to the request with this id has come.
    pub fn end(&mut self, id: &str, now: MonotonicMicros) {
        self.forget_old(now);
        let Some(since) = self.waiting.remove(id) else {
            return;
        };
        let micros = since.micros_until(now);
        self.all.record(micros);
        self.last_at = Some(now);
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(micros);
        self.new += 1;
        if self.new >= RECENT {
            self.new = 0;
            if let Some(shortest) = self.shortest() {
                let shortest = shortest as f64;
                let usual = self.usual.unwrap_or(shortest);
                // What is shorter counts at once, so that a slow beginning is forgotten.
                self.usual = Some(shortest.min(usual + (shortest - usual) * WEIGHT));
            }
        }
    }

    /// The values.
    pub fn view(&self) -> RoundTripsView {
        RoundTripsView {
            all: self.all.clone(),
            shortest: self.shortest().map(Duration::from_micros),
            usual: self
                .usual
                .map(|micros| Duration::from_micros(micros as u64)),
            last_at: self.last_at,
        }
    }

    /// Bytes of the requests that wait.
    pub fn memory(&self) -> usize {
        let entry = size_of::<(String, MonotonicMicros)>();
        let texts = self.order.iter().map(|(id, _)| 2 * allocated(id.len()));
        let places = self.order.capacity() + self.waiting.capacity();
        places * entry + texts.sum::<usize>()
    }

    fn shortest(&self) -> Option<u64> {
        let is_enough = self.recent.len() >= RECENT;
        self.recent.iter().min().copied().filter(|_| is_enough)
    }

    fn forget_old(&mut self, now: MonotonicMicros) {
        while let Some((_, since)) = self.order.front()
            && since.micros_until(now) >= WAITING_MICROS
        {
            self.forget_first();
        }
    }

    /// Forgets the request that has waited longest, or the note of one that was answered.
    fn forget_first(&mut self) {
        if let Some((id, since)) = self.order.pop_front()
            && self.waiting.get(&id) == Some(&since)
        {
            self.waiting.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicMicros {
        MonotonicMicros(millis * 1000)
    }

    fn measure(trips: &mut RoundTrips, from: u64, millis: u64) {
        for n in 0..RECENT as u64 {
            let id = format!("{from}-{n}");
            trips.begin(&id, at(from + n * 1000));
            // One of them is the way there and back; the others had more to do.
            let work = if n == 7 { 0 } else { 500 };
            trips.end(&id, at(from + n * 1000 + millis + work));
        }
    }

    #[test]
    fn the_first_reply_counts_and_the_shortest_is_compared() {
        let mut trips = RoundTrips::default();
        trips.begin("a", at(1000));
        trips.begin("a", at(1500));
        trips.end("b", at(1600));
        trips.end("a", at(2000));
        trips.end("a", at(3000));
        let view = trips.view();
        assert_eq!((view.all.count(), view.shortest), (1, None));
        assert_eq!(view.all.sum(), 1.0);
        measure(&mut trips, 10_000, 20);
        let view = trips.view();
        assert_eq!(view.shortest, Some(Duration::from_millis(20)));
        assert_eq!(view.usual, Some(Duration::from_millis(20)));
        measure(&mut trips, 100_000, 340);
        let view = trips.view();
        assert_eq!(view.shortest, Some(Duration::from_millis(340)));
        assert_eq!(view.usual, Some(Duration::from_millis(40)));
    }

    #[test]
    fn what_is_never_answered_is_forgotten() {
        let mut trips = RoundTrips::default();
        for n in 0..2 * WAITING_MAX {
            trips.begin(&n.to_string(), at(n as u64));
        }
        assert_eq!(
            (trips.waiting.len(), trips.order.len()),
            (WAITING_MAX, WAITING_MAX)
        );
        trips.end("0", at(9000));
        assert_eq!(trips.view().all.count(), 0);
        trips.begin("late", at(1_000_000));
        assert_eq!((trips.waiting.len(), trips.order.len()), (1, 1));
        trips.begin(&"x".repeat(ID_LEN_MAX + 1), at(1_000_000));
        assert_eq!(trips.waiting.len(), 1);
    }
}
