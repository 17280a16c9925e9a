//! Routes that fail repeatedly for the same reason, and what was learned about peers from that.
//!
//! A route that ends because of an error in the protocol will end again soon after it is
//! established, so the pause before the next one grows each time. The dialling side waits
//! ([`super::dial`]), and the other side delays its answer ([`super::handshake`]). The diagnosis
//! reports such routes until one has lasted for a while.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;

use super::cluster::Route;
use crate::{
    connection::CloseReason,
    protocol::route::{ASSUMED_LINE_MAX, LINE_MAX},
    telemetry::MonotonicMillis,
};

/// A route that lasted this long is stable: a later failure has another cause.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// The pause before the third such route; it doubles with each further one.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The longest pause if the network may be the cause: the cluster should be complete soon after it
/// has recovered.
const PAUSE_MAX_NETWORK: Duration = Duration::from_secs(4);

/// The random part of a pause, as a fraction.
const JITTER: f64 = 0.25;

/// Limit of brokers that are remembered.
const BROKERS_MAX: usize = 256;

/// The shortest limit of control lines that a broker is assumed to have, in bytes.
pub(super) const LINE_MIN: usize = 1024;

/// What is known about brokers, by their ids.
#[derive(Default)]
pub(super) struct Failing(Mutex<BTreeMap<String, Broker>>);

struct Broker {
    name: String,
    updated: MonotonicMillis,
    /// The last failure of a route to it.
    failure: Option<Failure>,
    /// Its limit of control lines in bytes, if it was learned.
    line_max: Option<usize>,
}

#[derive(Clone)]
struct Failure {
    reason: CloseReason,
    why: String,
    /// Number of consecutive failures.
    times: u32,
    at: MonotonicMillis,
    next: MonotonicMillis,
}

/// A broker whose routes fail repeatedly.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Its name.
    pub name: String,
    /// Number of consecutive failures.
    pub times: u32,
    /// The reason of the last one.
    pub why: String,
    /// When the last one happened.
    pub at: MonotonicMillis,
    /// When the next route is permitted.
    pub next: MonotonicMillis,
}

impl Failing {
    /// Records the end of a route that lasted for `lasted`.
    pub(super) fn ended(&self, route: &Route, reason: CloseReason, why: &str, lasted: Duration) {
        let Some(longest) = longest_pause(reason) else {
            return;
        };
        let now = MonotonicMillis::now();
        self.update(&route.remote_id, now, |broker| {
            broker.name.clone_from(&route.remote_name);
            let before = broker.failure.as_ref();
            let again = before.filter(|it| it.reason == reason && lasted < STABLE_AFTER);
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

    /// How long the broker with this id must still wait for a route.
    pub(super) fn pause_left(&self, id: &str) -> Duration {
        let brokers = self.0.lock();
        let failure = brokers.get(id).and_then(|broker| broker.failure.as_ref());
        failure.map_or(Duration::ZERO, |it| MonotonicMillis::now().until(it.next))
    }

    /// Brokers with at least two consecutive failures, the last one recently.
    pub(super) fn failed(&self, now: MonotonicMillis) -> Vec<Failed> {
        let brokers = self.0.lock();
        let is_recent =
            |failure: &&Failure| failure.times > 1 && failure.next.until(now) < STABLE_AFTER;
        let failed = brokers.values().filter_map(|broker| {
            let failure = broker.failure.as_ref().filter(is_recent)?;
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

    /// The limit of control lines of the broker with this id in bytes, as far as it is known;
    /// `announced` is the value in its INFO.
    pub(super) fn line_max(&self, id: &str, announced: usize) -> usize {
        let brokers = self.0.lock();
        let learned = brokers.get(id).and_then(|broker| broker.line_max);
        match announced {
            0 => learned.unwrap_or(ASSUMED_LINE_MAX),
            announced => announced.clamp(LINE_MIN, LINE_MAX),
        }
    }

    /// Records that the broker with this id accepts control lines of at most `bytes`; returns the
    /// value to use.
    pub(super) fn learn_line_max(&self, id: &str, bytes: usize) -> usize {
        let bytes = bytes.clamp(LINE_MIN, LINE_MAX);
        self.update(id, MonotonicMillis::now(), |broker| {
            broker.line_max = Some(bytes)
        });
        bytes
    }

    fn update(&self, id: &str, now: MonotonicMillis, update: impl FnOnce(&mut Broker)) {
        let mut brokers = self.0.lock();
        if !brokers.contains_key(id) && brokers.len() >= BROKERS_MAX {
            let oldest = brokers.iter().min_by_key(|(_, broker)| broker.updated);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                brokers.remove(&oldest);
            }
        }
        let broker = brokers.entry(id.to_owned()).or_insert_with(|| Broker {
            name: String::new(),
            updated: now,
            failure: None,
            line_max: None,
        });
        broker.updated = now;
        update(broker);
    }
}

/// The longest pause after a route that ended for this reason; `None` if it is not a failure.
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

/// How an error from a peer on an active route is counted. Some reasons permit the next route
/// without a pause: those are not accepted from a peer, since one that repeats them would be
/// dialled without end.
pub(super) fn as_fault(announced: CloseReason) -> CloseReason {
    match longest_pause(announced) {
        Some(_) => announced,
        None => CloseReason::ParseError,
    }
}

/// Whether a route that ended for this reason will end again, because of an error in the protocol.
pub(super) fn is_fault(reason: CloseReason) -> bool {
    longest_pause(reason) == Some(PAUSE_MAX)
}

/// The pause after this many consecutive failures; there is none after a single one.
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
    use crate::route::introduction::reason_of_error;

    #[test]
    fn pauses_grow_up_to_a_limit_and_have_a_random_part() {
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
    fn every_error_of_a_peer_counts_as_a_failure() {
        for text in [
            &b"cluster name"[..],
            b"Not possible to have a dedicated route",
            b"Stale Connection",
            b"Authorization Violation",
            b"",
        ] {
            let reason = as_fault(reason_of_error(text));
            assert!(longest_pause(reason).is_some(), "{reason}");
        }
    }

    #[test]
    fn learned_line_limits_are_clamped_and_kept_for_a_limited_number_of_brokers() {
        let failing = Failing::default();
        assert_eq!(failing.line_max("A", 0), ASSUMED_LINE_MAX);
        assert_eq!(failing.line_max("A", 1), LINE_MIN);
        assert_eq!(failing.line_max("A", usize::MAX), LINE_MAX);
        assert_eq!(failing.learn_line_max("A", 5000), 5000);
        assert_eq!(failing.line_max("A", 0), 5000);
        for number in 0..2 * BROKERS_MAX {
            failing.learn_line_max(&number.to_string(), usize::MAX);
        }
        assert_eq!(failing.0.lock().len(), BROKERS_MAX);
    }
}
