//! Routes that fail again in the same way, and what was learned of peers from
//! that.
//!
//! A route that ends by a fault of what is said on it will end again as soon as
//! it stands: each time the longer it takes until the next one. Who dials waits
//! that long ([`super::dial`]), and who was dialled lets the other one wait
//! ([`super::handshake`]). The diagnosis tells of them until a route has stood
//! for a while.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;

use super::cluster::Route;
use crate::{
    connection::CloseReason,
    protocol::route::{ASSUMED_LINE_MAX, LINE_MAX},
    telemetry::MonotonicMillis,
};

/// A route that stood for so long is sound: what ends it then is something new.
const SOUND_AFTER: Duration = Duration::from_secs(60);

/// The pause before the third route of the kind; it doubles with each further one.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The longest one where the network may be to blame: the mesh is to be whole
/// soon after that is.
const PAUSE_MAX_NETWORK: Duration = Duration::from_secs(4);

/// The random part of a pause.
const JITTER: f64 = 0.25;

/// Brokers that are remembered.
const REMEMBERED_MAX: usize = 256;

/// Bytes of a control line that every broker is thought to take.
pub(super) const LINE_LEAST: usize = 1024;

/// What is remembered of brokers, by their ids.
#[derive(Default)]
pub(super) struct Failing(Mutex<BTreeMap<String, Broker>>);

struct Broker {
    name: String,
    noted: MonotonicMillis,
    /// The last failure of a route to it.
    failure: Option<Failure>,
    /// Bytes of the longest control line that it takes, if that was learned.
    line_max: Option<usize>,
}

#[derive(Clone)]
struct Failure {
    reason: CloseReason,
    why: String,
    /// In a row.
    times: u32,
    at: MonotonicMillis,
    next: MonotonicMillis,
}

/// A broker whose routes fail again and again.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Its name.
    pub name: String,
    /// How often in a row.
    pub times: u32,
    /// Why, the last time.
    pub why: String,
    /// When that was.
    pub at: MonotonicMillis,
    /// When the next one may be.
    pub next: MonotonicMillis,
}

impl Failing {
    /// Notes that a route has ended which stood for `stood`.
    pub(super) fn ended(&self, route: &Route, reason: CloseReason, why: &str, stood: Duration) {
        let Some(longest) = longest_pause(reason) else {
            return;
        };
        let now = MonotonicMillis::now();
        self.change(&route.remote_id, now, |broker| {
            broker.name.clone_from(&route.remote_name);
            let before = broker.failure.as_ref();
            let again = before.filter(|it| it.reason == reason && stood < SOUND_AFTER);
            let times = again.map_or(0, |it| it.times) + 1;
            broker.failure = Some(Failure {
                reason,
                why: why.to_owned(),
                times,
                at: now,
                next: MonotonicMillis(now.0 + pause(times, longest).as_millis() as u64),
            });
        });
    }

    /// How long the broker of that id is not to be given a route yet.
    pub(super) fn pause_left(&self, id: &str) -> Duration {
        let brokers = self.0.lock();
        let failure = brokers.get(id).and_then(|broker| broker.failure.as_ref());
        failure.map_or(Duration::ZERO, |it| MonotonicMillis::now().until(it.next))
    }

    /// Those that failed at least twice in a row, and not long ago.
    pub(super) fn failed(&self, now: MonotonicMillis) -> Vec<Failed> {
        let brokers = self.0.lock();
        let lately =
            |failure: &&Failure| failure.times > 1 && failure.next.until(now) < SOUND_AFTER;
        let failed = brokers.values().filter_map(|broker| {
            let failure = broker.failure.as_ref().filter(lately)?;
            Some(Failed {
                name: broker.name.clone(),
                times: failure.times,
                why: failure.why.clone(),
                at: failure.at,
                next: failure.next,
            })
        });
        failed.collect()
    }

    /// Bytes of the longest control line that the broker of that id takes, as far
    /// as it is known; `told` is what its INFO says.
    pub(super) fn line_max(&self, id: &str, told: usize) -> usize {
        let brokers = self.0.lock();
        let learned = brokers.get(id).and_then(|broker| broker.line_max);
        match told {
            0 => learned.unwrap_or(ASSUMED_LINE_MAX),
            told => told.clamp(LINE_LEAST, LINE_MAX),
        }
    }

    /// The broker of that id takes control lines of at most `bytes`; returns what
    /// that means here.
    pub(super) fn learn_line_max(&self, id: &str, bytes: usize) -> usize {
        let bytes = bytes.clamp(LINE_LEAST, LINE_MAX);
        self.change(id, MonotonicMillis::now(), |broker| {
            broker.line_max = Some(bytes)
        });
        bytes
    }

    fn change(&self, id: &str, now: MonotonicMillis, change: impl FnOnce(&mut Broker)) {
        let mut brokers = self.0.lock();
        if !brokers.contains_key(id) && brokers.len() >= REMEMBERED_MAX {
            let oldest = brokers.iter().min_by_key(|(_, broker)| broker.noted);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                brokers.remove(&oldest);
            }
        }
        let broker = brokers.entry(id.to_owned()).or_insert_with(|| Broker {
            name: String::new(),
            noted: now,
            failure: None,
            line_max: None,
        });
        broker.noted = now;
        change(broker);
    }
}

/// The longest pause after a route ended for this reason; `None` if that is no
/// fault.
fn longest_pause(reason: CloseReason) -> Option<Duration> {
    match reason {
        CloseReason::ServerShutdown
        | CloseReason::RouteRemoved
        | CloseReason::DuplicateRoute
        | CloseReason::ClusterNameConflict => None,
        CloseReason::ClientClosed
        | CloseReason::ReadError
        | CloseReason::WriteError
        | CloseReason::StaleConnection => Some(PAUSE_MAX_NETWORK),
        _ => Some(PAUSE_MAX),
    }
}

/// What a peer's words make of a standing route. For some reasons the next route is
/// made without a pause: those we take from nobody, or a peer that says so each time
/// would be dialled without end.
pub(super) fn as_fault(told: CloseReason) -> CloseReason {
    match longest_pause(told) {
        Some(_) => told,
        None => CloseReason::ParseError,
    }
}

/// Whether a route that ended so will end again: it is what is said on it.
pub(super) fn is_fault(reason: CloseReason) -> bool {
    longest_pause(reason) == Some(PAUSE_MAX)
}

/// The pause after so many failures of the kind in a row. A single one is none.
fn pause(times: u32, longest: Duration) -> Duration {
    if times < 2 {
        return Duration::ZERO;
    }
    let base = PAUSE.saturating_mul(1 << (times - 2).min(10)).min(longest);
    base.mul_f64(1.0 + JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::introduction::reason_told;

    #[test]
    fn pauses_grow_to_their_longest_and_are_never_the_same() {
        let seconds = [0, 0, 1, 2, 4, 8, 16, 30, 30];
        for (times, seconds) in (0..).zip(seconds) {
            let least = Duration::from_secs(seconds);
            for _ in 0..100 {
                let pause = pause(times, PAUSE_MAX);
                assert!((least..=least.mul_f64(1.25)).contains(&pause), "{times}");
            }
        }
        assert!(pause(u32::MAX, PAUSE_MAX_NETWORK) <= PAUSE_MAX_NETWORK.mul_f64(1.25));
    }

    #[test]
    fn whatever_a_peer_says_is_a_fault() {
        for text in [
            &b"cluster name"[..],
            b"Not possible to have a dedicated route",
            b"Stale Connection",
            b"Authorization Violation",
            b"",
        ] {
            let reason = as_fault(reason_told(text));
            assert!(longest_pause(reason).is_some(), "{reason}");
        }
    }

    #[test]
    fn what_was_learned_of_lines_is_kept_within_bounds_and_for_few_brokers() {
        let failing = Failing::default();
        assert_eq!(failing.line_max("A", 0), ASSUMED_LINE_MAX);
        assert_eq!(failing.line_max("A", 1), LINE_LEAST);
        assert_eq!(failing.line_max("A", usize::MAX), LINE_MAX);
        assert_eq!(failing.learn_line_max("A", 5000), 5000);
        assert_eq!(failing.line_max("A", 0), 5000);
        for number in 0..2 * REMEMBERED_MAX {
            failing.learn_line_max(&number.to_string(), usize::MAX);
        }
        assert_eq!(failing.0.lock().len(), REMEMBERED_MAX);
    }
}
