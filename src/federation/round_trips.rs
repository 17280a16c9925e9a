//! How long the site takes to answer, measured from the traffic itself: from a request that is
//! passed on here to its first reply that comes back here.
//!
//! That contains the time which the nodes take for their work, from nothing to minutes. Only the
//! agent `discovery` has no work to do: what its replies take is the way there and back, and is what
//! must not grow ([`Way`]).

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

/// Moments that the shortest is taken of.
const RECENT: usize = 16;

/// After about this time the present way there and back is the usual one, however often it was
/// measured.
const USUAL_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Requests that wait for their first reply, and how long others waited.
pub struct RoundTrips {
    waiting: HashMap<String, Waiting>,
    order: VecDeque<(String, MonotonicMicros)>,
    all: Distribution,
    last_at: Option<MonotonicMicros>,
    way: Way,
}

/// A request that waits.
struct Waiting {
    since: MonotonicMicros,
    /// Whether it is for the agent `discovery`.
    is_discovery: bool,
}

/// The way to the nodes and back.
struct Way {
    /// Round trips that end within this time of each other are one moment: a burst of requests that
    /// all wait for the same thing says no more than one.
    moment_micros: u64,
    /// When each of the last moments began, and its shortest round trip in microseconds.
    moments: VecDeque<(MonotonicMicros, u64)>,
    /// When the usual one was last brought up to date, and what it is.
    usual: Option<(MonotonicMicros, f64)>,
}

/// Round trips as values.
#[derive(Clone, Debug, Default)]
pub struct RoundTripsView {
    /// All since the start.
    pub all: Distribution,
    /// When the last one was measured.
    pub last_at: Option<MonotonicMicros>,
    /// The shortest of the last ones to the agent `discovery`; `None` before there are enough.
    pub shortest: Option<Duration>,
    /// What that usually is; `None` before it is known.
    pub usual: Option<Duration>,
    /// When the last moment of these began.
    pub shortest_at: Option<MonotonicMicros>,
}

impl RoundTrips {
    /// Those of which all that end within `moment` of each other count as one.
    pub fn new(moment: Duration) -> Self {
        Self {
            waiting: HashMap::default(),
            order: VecDeque::default(),
            all: Distribution::default(),
            last_at: None,
            way: Way {
                moment_micros: u64::try_from(moment.as_micros()).unwrap_or(u64::MAX),
                moments: VecDeque::default(),
                usual: None,
            },
        }
    }

    /// A request with this id is passed on.
    pub fn begin(&mut self, id: &str, is_discovery: bool, now: MonotonicMicros) {
        self.forget_old(now);
        if id.is_empty() || id.len() > ID_LEN_MAX || self.waiting.contains_key(id) {
            return;
        }
        if self.order.len() >= WAITING_MAX {
            self.forget_first();
        }
        let waiting = Waiting {
            since: now,
            is_discovery,
        };
        self.waiting.insert(id.to_owned(), waiting);
        self.order.push_back((id.to_owned(), now));
    }

    /// A reply to the request with this id has come.
    pub fn end(&mut self, id: &str, now: MonotonicMicros) {
        self.forget_old(now);
        let Some(waiting) = self.waiting.remove(id) else {
            return;
        };
        let micros = waiting.since.micros_until(now);
        self.all.record(micros);
        self.last_at = Some(now);
        if waiting.is_discovery {
            self.way.add(micros, now);
        }
    }

    /// The values.
    pub fn view(&self) -> RoundTripsView {
        let usual = self.way.usual.map(|(_, usual)| usual);
        RoundTripsView {
            all: self.all.clone(),
            last_at: self.last_at,
            shortest: self.way.shortest().map(Duration::from_micros),
            usual: usual.map(|micros| Duration::from_micros(micros.round() as u64)),
            shortest_at: self.way.moments.back().map(|(begun, _)| *begun),
        }
    }

    /// Bytes of the requests that wait.
    pub fn memory(&self) -> usize {
        let entry = size_of::<(String, Waiting)>();
        let texts = self.order.iter().map(|(id, _)| 2 * allocated(id.len()));
        let places = self.order.capacity() + self.waiting.capacity();
        places * entry + texts.sum::<usize>()
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
            && self.waiting.get(&id).map(|waiting| waiting.since) == Some(since)
        {
            self.waiting.remove(&id);
        }
    }
}

impl Way {
    fn add(&mut self, micros: u64, now: MonotonicMicros) {
        match self.moments.back_mut() {
            Some((begun, shortest)) if begun.micros_until(now) < self.moment_micros => {
                *shortest = micros.min(*shortest);
            }
            _ => {
                if self.moments.len() >= RECENT {
                    self.moments.pop_front();
                }
                self.moments.push_back((now, micros));
            }
        }
        let Some(shortest) = self.shortest() else {
            return;
        };
        let shortest = shortest as f64;
        let (since, usual) = self.usual.unwrap_or((now, shortest));
        let passed = since.micros_until(now) as f64 / USUAL_AFTER.as_micros() as f64;
        // What is shorter counts at once, so that a slow beginning is forgotten.
        let usual = shortest.min(usual + (shortest - usual) * passed.min(1.0));
        self.usual = Some((now, usual));
    }

    fn shortest(&self) -> Option<u64> {
        let is_enough = self.moments.len() >= RECENT;
        let all = self.moments.iter().map(|(_, shortest)| *shortest);
        all.min().filter(|_| is_enough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicMicros {
        MonotonicMicros(millis * 1000)
    }

    fn trips() -> RoundTrips {
        RoundTrips::new(Duration::from_secs(1))
    }

    /// One round trip that begins at this time and takes so long.
    fn measure(trips: &mut RoundTrips, is_discovery: bool, from: u64, millis: u64) {
        let id = from.to_string();
        trips.begin(&id, is_discovery, at(from));
        trips.end(&id, at(from + millis));
    }

    /// So many moments from this time on, one every two seconds, all but one of them longer.
    fn moments(trips: &mut RoundTrips, count: u64, from: u64, millis: u64) {
        for n in 0..count {
            let more = if n % 8 == 7 { 0 } else { 500 };
            measure(trips, true, from + n * 2000, millis + more);
        }
    }

    fn millis(view: &RoundTripsView) -> (Option<u128>, Option<u128>) {
        let millis = |time: Option<Duration>| time.map(|time| time.as_millis());
        (millis(view.shortest), millis(view.usual))
    }

    #[test]
    fn the_first_reply_counts_and_the_shortest_is_compared() {
        let mut trips = trips();
        trips.begin("a", true, at(1000));
        trips.begin("a", true, at(1500));
        trips.end("b", at(1600));
        trips.end("a", at(2000));
        trips.end("a", at(3000));
        let view = trips.view();
        assert_eq!((view.all.count(), view.shortest), (1, None));
        assert_eq!(view.all.sum(), 1.0);
        moments(&mut trips, 15, 10_000, 20);
        assert_eq!(millis(&trips.view()), (Some(20), Some(20)));
        moments(&mut trips, 16, 100_000, 340);
        assert_eq!(millis(&trips.view()), (Some(340), Some(20)));
    }

    /// What an agent works on for long says nothing about the way to it.
    #[test]
    fn the_work_of_agents_is_not_part_of_the_way() {
        let mut trips = trips();
        moments(&mut trips, 16, 10_000, 20);
        for n in 0..100 {
            measure(&mut trips, false, 100_000 + n * 2000, 3000);
        }
        let view = trips.view();
        assert_eq!(millis(&view), (Some(20), Some(20)));
        assert_eq!(view.all.count(), 116);
        assert!(view.shortest_at < view.last_at);
    }

    /// Requests that come together wait for the same thing.
    #[test]
    fn a_burst_is_one_moment() {
        let mut trips = trips();
        moments(&mut trips, 16, 10_000, 20);
        for n in 0..500 {
            measure(&mut trips, true, 100_000 + n, 3000 - n);
        }
        assert_eq!(millis(&trips.view()), (Some(20), Some(20)));
    }

    /// A lasting change is reported for hours, no matter how often it was measured since, and is the
    /// usual state on the next day.
    #[test]
    fn what_lasts_for_a_day_is_usual() {
        const HOUR: u64 = 3_600_000;
        let mut trips = trips();
        moments(&mut trips, 16, 10_000, 20);
        moments(&mut trips, 1800, HOUR, 300);
        let (shortest, usual) = millis(&trips.view());
        assert_eq!(shortest, Some(300));
        assert!(usual < Some(50), "{usual:?}");
        moments(&mut trips, 8, 30 * HOUR, 300);
        assert_eq!(millis(&trips.view()), (Some(300), Some(300)));
        // A faster way is the usual one at once.
        moments(&mut trips, 8, 31 * HOUR, 10);
        assert_eq!(millis(&trips.view()), (Some(10), Some(10)));
    }

    #[test]
    fn what_is_never_answered_is_forgotten() {
        let mut trips = trips();
        for n in 0..2 * WAITING_MAX {
            trips.begin(&n.to_string(), false, at(n as u64));
        }
        assert_eq!(
            (trips.waiting.len(), trips.order.len()),
            (WAITING_MAX, WAITING_MAX)
        );
        trips.end("0", at(9000));
        assert_eq!(trips.view().all.count(), 0);
        trips.begin("late", false, at(1_000_000));
        assert_eq!((trips.waiting.len(), trips.order.len()), (1, 1));
        trips.begin(&"x".repeat(ID_LEN_MAX + 1), false, at(1_000_000));
        assert_eq!(trips.waiting.len(), 1);
    }
}
