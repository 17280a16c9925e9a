//! Replies of responders at other brokers. The responder's broker measures from the request's
//! arrival to the reply ([`Tracked`]) and sends that half to the requester's broker, which has
//! measured the whole. The two halves come in any order ([`Halves`]).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use hashbrown::HashMap;

use super::Measured;

/// Requests and halves that one account keeps; the oldest is dropped for a new one.
const KEPT_MAX: usize = 1024;

/// Bytes of a reply subject; longer ones are not measured.
const REPLY_LEN_MAX: usize = 256;

/// How long they are kept.
const KEPT_FOR: Duration = Duration::from_secs(2 * 60);

/// What the responder's broker has measured.
#[derive(Clone, Debug, Default)]
pub struct RemoteHalf {
    /// The responder, as JSON.
    pub responder: String,
    /// The time of the service without the responder's round trip.
    pub service: Duration,
}

/// A bounded table whose oldest entries end.
struct Kept<K, V> {
    entries: HashMap<K, (V, Instant)>,
    /// Keys by age; those of entries that were taken stay until they are the oldest.
    order: VecDeque<(K, Instant)>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Clone + Eq + std::hash::Hash, V> Kept<K, V> {
    fn insert(&mut self, key: K, value: V) {
        let now = Instant::now();
        while let Some((oldest, since)) = self.order.front() {
            let is_over = self.order.len() >= KEPT_MAX || now - *since >= KEPT_FOR;
            let is_gone = || self.entries.get(oldest).is_none_or(|(_, at)| at != since);
            if !is_over && !is_gone() {
                break;
            }
            if !is_gone() {
                self.entries.remove(oldest);
            }
            self.order.pop_front();
        }
        self.order.push_back((key.clone(), now));
        self.entries.insert(key, (value, now));
    }

    fn take<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + std::hash::Hash + ?Sized,
    {
        self.entries.remove(key).map(|(value, _)| value)
    }
}

/// Requests of other brokers that were delivered here, by their reply subject.
#[derive(Default)]
pub(super) struct Tracked(Kept<Box<[u8]>, (DateTime<Utc>, Instant)>);

impl Tracked {
    /// Notes a request.
    pub(super) fn note(&mut self, reply: &[u8]) {
        if reply.len() <= REPLY_LEN_MAX {
            self.0.insert(reply.into(), (Utc::now(), Instant::now()));
        }
    }

    /// When the request with this reply subject arrived. It ends.
    pub(super) fn take(&mut self, reply: &[u8]) -> Option<(DateTime<Utc>, Instant)> {
        self.0.take(reply)
    }
}

/// What has come of a reply.
enum Half {
    /// The reply, after this time.
    Reply(Measured, Duration),
    /// What the responder's broker has measured.
    Remote(RemoteHalf),
}

/// Replies of which one half has come, by the token of the reply.
#[derive(Default)]
pub(super) struct Halves(Kept<u64, Half>);

impl Halves {
    /// The reply has come; returns the other half, or waits for it.
    pub(super) fn reply(
        &mut self,
        token: u64,
        measured: &Measured,
        took: Duration,
    ) -> Option<RemoteHalf> {
        match self.0.take(&token) {
            Some(Half::Remote(half)) => Some(half),
            _ => {
                self.0.insert(token, Half::Reply(measured.clone(), took));
                None
            }
        }
    }

    /// The other half has come; returns the reply, or waits for it.
    pub(super) fn half(&mut self, token: u64, half: RemoteHalf) -> Option<(Measured, Duration)> {
        match self.0.take(&token) {
            Some(Half::Reply(measured, took)) => Some((measured, took)),
            _ => {
                self.0.insert(token, Half::Remote(half));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_is_kept_and_the_oldest_is_dropped() {
        let mut tracked = Tracked::default();
        for number in 0..2 * KEPT_MAX {
            tracked.note(number.to_string().as_bytes());
        }
        assert_eq!(tracked.0.entries.len(), KEPT_MAX);
        assert!(tracked.take(b"0").is_none());
        let last = (2 * KEPT_MAX - 1).to_string();
        assert!(tracked.take(last.as_bytes()).is_some());
        assert!(tracked.take(last.as_bytes()).is_none(), "only once");
        // What was taken leaves no trace that grows.
        for _ in 0..4 * KEPT_MAX {
            tracked.note(b"again");
            assert!(tracked.take(b"again").is_some());
        }
        assert!(tracked.0.order.len() <= KEPT_MAX);
        tracked.note(&[b'x'; REPLY_LEN_MAX + 1]);
        assert!(tracked.take(&[b'x'; REPLY_LEN_MAX + 1]).is_none());
    }
}
