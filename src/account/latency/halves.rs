//! Replies of responders at other brokers. The responder's broker measures from the request's
//! arrival to the reply ([`Tracked`]) and sends that half to the requester's broker, which has
//! measured the whole. The two halves come in any order ([`Halves`]).

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use hashbrown::HashMap;

use super::{MEASURED, Measured};
use crate::telemetry::pool::{Share, allocated};

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

/// What memory a key or a value has besides its slot.
trait Memory {
    fn memory(&self) -> usize;
}

impl Memory for u64 {
    fn memory(&self) -> usize {
        0
    }
}

impl Memory for Arc<[u8]> {
    fn memory(&self) -> usize {
        // Two counters are in front.
        allocated(2 * size_of::<usize>() + self.len())
    }
}

impl Memory for (DateTime<Utc>, Instant) {
    fn memory(&self) -> usize {
        0
    }
}

impl Memory for Half {
    fn memory(&self) -> usize {
        match self {
            Self::Reply(measured, _) => measured.memory(),
            Self::Remote(half) => half.responder.len(),
        }
    }
}

/// A bounded table whose oldest entries end.
struct Kept<K, V> {
    share: Share,
    entries: HashMap<K, (V, Instant)>,
    /// Keys by age; those of entries that were taken stay until they are the oldest.
    order: VecDeque<(K, Instant)>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self {
            share: Share::new(&MEASURED),
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Clone + Eq + std::hash::Hash + Memory, V: Memory> Kept<K, V> {
    /// Bytes of an entry besides the memory of its key and its value, about.
    const ENTRY_LEN: usize = 2 * size_of::<(K, V, Instant)>();

    /// It is not kept if the pool is exhausted.
    fn insert(&mut self, key: K, value: V) {
        let now = Instant::now();
        self.remove_oldest(KEPT_MAX - 1, now);
        self.take(&key);
        if !self
            .share
            .reserve(Self::ENTRY_LEN + key.memory() + value.memory())
        {
            return;
        }
        self.order.push_back((key.clone(), now));
        self.entries.insert(key, (value, now));
    }

    /// Removes the oldest beyond this number, and those that were kept long enough.
    fn remove_oldest(&mut self, max: usize, now: Instant) {
        while let Some((oldest, since)) = self.order.front() {
            let age = now.saturating_duration_since(*since);
            let is_over = self.order.len() > max || age >= KEPT_FOR;
            let entry = self.entries.get(oldest);
            let is_there = entry.is_some_and(|(_, at)| at == since);
            if !is_over && is_there {
                break;
            }
            if is_there && let Some((value, _)) = self.entries.remove(oldest) {
                self.share.shrink(value.memory());
            }
            self.share.release(Self::ENTRY_LEN + oldest.memory());
            self.order.pop_front();
        }
    }

    /// Removes what was kept long enough.
    fn expire(&mut self, now: Instant) {
        self.remove_oldest(KEPT_MAX, now);
        if self.order.is_empty() {
            self.entries = HashMap::new();
            self.order = VecDeque::new();
        }
    }

    fn take<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + std::hash::Hash + ?Sized,
    {
        let (value, _) = self.entries.remove(key)?;
        // The rest stays until it is the oldest.
        self.share.shrink(value.memory());
        Some(value)
    }
}

/// Requests of other brokers that were delivered here, by their reply subject.
#[derive(Default)]
pub(super) struct Tracked(Kept<Arc<[u8]>, (DateTime<Utc>, Instant)>);

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

    /// Forgets those that were kept long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0.expire(now);
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
    /// Forgets those that were kept long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0.expire(now);
    }

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

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let mut halves = Halves::default();
        let half = || RemoteHalf {
            responder: "x".repeat(1024 * 1024),
            service: Duration::ZERO,
        };
        for token in 0..100 {
            halves.half(token, half());
        }
        let bytes = halves.0.share.bytes();
        assert!(bytes > 1024 * 1024 && bytes <= MEASURED.limit(), "{bytes}");
        assert!(halves.0.entries.len() < 100);
        // One of them is taken, the others expire.
        halves.0.take(&0).expect("the first one");
        assert!(halves.0.share.bytes() < bytes - 1024 * 1000);
        halves.expire(Instant::now());
        assert!(!halves.0.entries.is_empty());
        halves.expire(Instant::now() + KEPT_FOR);
        assert!(halves.0.entries.is_empty());
        assert_eq!((halves.0.share.bytes(), halves.0.share.count()), (0, 0));
    }
}
