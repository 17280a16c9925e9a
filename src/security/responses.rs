//! The reply subjects that a user may publish to because it received a request (`allow_responses`).
//! Deliveries add them, publishes use them up.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::permissions::Responses;
use crate::telemetry::{
    MonotonicMillis,
    pool::{Pool, Share, allocated},
};

/// Limit of reply subjects per connection; the oldest is dropped for a new one. Bounds the memory
/// of requests that are never answered.
const GRANTS_MAX: usize = 32 * 1024;

/// Limit of their bytes: enough for as many subjects of usual length.
const GRANTED_MAX: usize = 8 * 1024 * 1024;

/// Limit of their bytes over all connections.
pub static POOL: Pool = Pool::new(64 * 1024 * 1024);

/// Bytes of one grant besides its subject: its slots in the map and the queue, which are half full
/// to full.
const GRANT_LEN: usize =
    (size_of::<(Arc<[u8]>, Grant)>() + 1 + size_of::<(Arc<[u8]>, u64)>()) * 3 / 2;

/// The reply subjects that one connection may publish to.
pub struct Grants {
    rules: Responses,
    known: Mutex<Known>,
    share: Share,
}

#[derive(Default)]
struct Known {
    grants: HashMap<Arc<[u8]>, Grant>,
    /// Reply subjects by the time of their grant. One that was granted again or used up stays until
    /// it reaches the front.
    order: VecDeque<(Arc<[u8]>, u64)>,
    last_number: u64,
}

struct Grant {
    number: u64,
    /// Since when it is over; [`NEVER`] if it does not expire.
    until: MonotonicMillis,
    left: u32,
}

/// The end of a grant that does not expire.
const NEVER: MonotonicMillis = MonotonicMillis(u64::MAX);

impl Grants {
    /// No grants yet.
    pub fn new(rules: Responses) -> Self {
        Self {
            rules,
            known: Mutex::default(),
            share: Share::new(&POOL),
        }
    }

    /// Records that a request with this reply subject was delivered.
    pub fn grant(&self, reply: &[u8], now: MonotonicMillis) {
        let left = self.rules.max.unwrap_or(u32::MAX);
        self.insert(reply, left, self.longest(now), now);
    }

    /// The end of a grant that is made now.
    fn longest(&self, now: MonotonicMillis) -> MonotonicMillis {
        self.rules.expires.map_or(NEVER, |expires| {
            let millis = u64::try_from(expires.as_millis()).unwrap_or(u64::MAX);
            MonotonicMillis(now.0.saturating_add(millis))
        })
    }

    fn insert(&self, reply: &[u8], left: u32, until: MonotonicMillis, now: MonotonicMillis) {
        let mut known = self.known.lock();
        known.forget(
            |known, grant| known.order.len() >= GRANTS_MAX || grant.is_expired(now),
            &self.share,
        );
        let len = GRANT_LEN + allocated(2 * size_of::<usize>() + reply.len());
        // Drop the oldest ones to make space.
        while self.share.bytes() + len > GRANTED_MAX || !self.share.reserve(len) {
            if !known.forget_oldest(&self.share) {
                return;
            }
        }
        known.last_number += 1;
        let number = known.last_number;
        let before = known.grants.get(reply).map_or(0, |grant| grant.left);
        let grant = Grant {
            number,
            until,
            left: before.saturating_add(left),
        };
        let reply: Arc<[u8]> = reply.into();
        known.grants.insert(reply.clone(), grant);
        known.order.push_back((reply, number));
    }

    /// Whether a publish to this subject is a permitted response. Uses it up.
    pub fn take(&self, subject: &[u8], now: MonotonicMillis) -> bool {
        let mut known = self.known.lock();
        let Some(grant) = known.grants.get_mut(subject) else {
            return false;
        };
        let valid = grant.left > 0 && !grant.is_expired(now);
        if self.rules.max.is_some() {
            grant.left = grant.left.saturating_sub(1);
        }
        if !valid || grant.left == 0 {
            known.grants.remove(subject);
        }
        valid
    }

    /// Whether [`Self::take`] would permit it.
    pub fn permits(&self, subject: &[u8], now: MonotonicMillis) -> bool {
        let known = self.known.lock();
        let grant = known.grants.get(subject);
        grant.is_some_and(|grant| grant.left > 0 && !grant.is_expired(now))
    }

    /// The grants that are open, the oldest first, for another process ([`Self::restore`]): a line
    /// for each, with the reply subject, how many messages are left, and for how many milliseconds.
    /// `None` if these are more than `max` bytes.
    pub fn open(&self, now: MonotonicMillis, max: usize) -> Option<Vec<u8>> {
        let known = self.known.lock();
        let mut open = Vec::new();
        for (reply, number) in &known.order {
            let grant = known.grants.get(reply);
            let grant = grant.filter(|grant| grant.number == *number && grant.left > 0);
            let Some(grant) = grant.filter(|grant| !grant.is_expired(now)) else {
                continue;
            };
            let time_left = match grant.until {
                NEVER => NEVER.0,
                until => until.0 - now.0,
            };
            open.extend_from_slice(reply);
            open.extend_from_slice(format!(" {} {time_left}\n", grant.left).as_bytes());
            if open.len() > max {
                return None;
            }
        }
        Some(open)
    }

    /// Adds the grants that another process had, as far as the rules here permit them. A line that
    /// is none is passed over.
    pub fn restore(&self, lines: &[u8], now: MonotonicMillis) {
        for line in lines.split(|byte| *byte == b'\n') {
            let mut words = line.split(|byte| *byte == b' ');
            let reply = words.next().filter(|reply| !reply.is_empty());
            let mut number = || str::from_utf8(words.next()?).ok()?.parse::<u64>().ok();
            let (Some(reply), Some(left), Some(time_left)) = (reply, number(), number()) else {
                continue;
            };
            let left = match (self.rules.max, u32::try_from(left).unwrap_or(u32::MAX)) {
                (Some(max), u32::MAX) => max,
                (Some(_), left) => left,
                (None, _) => u32::MAX,
            };
            let until = MonotonicMillis(now.0.saturating_add(time_left));
            self.insert(reply, left, until.min(self.longest(now)), now);
        }
    }

    /// Drops all grants, when the connection has ended. Publishers may still have its subscriptions
    /// in their caches.
    pub fn clear(&self) {
        let mut known = self.known.lock();
        let forgotten = std::mem::take(&mut *known);
        // Under the lock, so that later grants are counted correctly.
        self.share.release_all();
        drop(known);
        drop(forgotten);
    }
}

impl Grant {
    fn is_expired(&self, now: MonotonicMillis) -> bool {
        self.until != NEVER && now > self.until
    }
}

impl Known {
    /// Drops the oldest grants for which `is_expired` holds.
    fn forget(&mut self, is_expired: impl Fn(&Self, &Grant) -> bool, share: &Share) {
        while let Some((reply, number)) = self.order.front() {
            let current = self.grants.get(reply);
            let current = current.filter(|grant| grant.number == *number);
            if current.is_some_and(|grant| !is_expired(self, grant)) {
                return;
            }
            self.forget_oldest(share);
        }
    }

    /// Drops the grant at the front of the queue. Returns whether there was one.
    fn forget_oldest(&mut self, share: &Share) -> bool {
        let Some((reply, number)) = self.order.pop_front() else {
            return false;
        };
        share.release(GRANT_LEN + allocated(2 * size_of::<usize>() + reply.len()));
        let current = self.grants.get(&reply);
        if current.is_some_and(|grant| grant.number == number) {
            self.grants.remove(&reply);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> MonotonicMillis {
        MonotonicMillis(seconds * 1000)
    }

    #[test]
    fn a_grant_permits_a_limited_number_of_messages() {
        let grants = Grants::new(Responses {
            max: Some(2),
            expires: None,
        });
        grants.grant(b"r", at(0));
        assert!(!grants.take(b"other", at(0)));
        assert!(grants.take(b"r", at(9999)) && grants.take(b"r", at(9999)));
        assert!(!grants.take(b"r", at(9999)));
        // Two requests with the same reply subject may both be answered.
        let once = Grants::new(Responses::default());
        once.grant(b"r", at(0));
        once.grant(b"r", at(0));
        assert!(once.take(b"r", at(0)) && once.take(b"r", at(0)) && !once.take(b"r", at(0)));
    }

    #[test]
    fn a_grant_expires() {
        let grants = Grants::new(Responses {
            max: None,
            expires: Some(Duration::from_secs(10)),
        });
        grants.grant(b"r", at(0));
        assert!((0..100).all(|_| grants.take(b"r", at(10))));
        assert!(!grants.take(b"r", at(11)));
        assert!(!grants.take(b"r", at(1)), "it is over for good");
    }

    /// The clock of another process begins at its own start.
    #[test]
    fn another_process_goes_on_with_the_same_grants() {
        let rules = |max, expires: Option<u64>| Responses {
            max,
            expires: expires.map(Duration::from_secs),
        };
        let before = Grants::new(rules(Some(3), Some(10)));
        for reply in [&b"used"[..], b"over", b"old", b"new"] {
            before.grant(reply, at(if reply == b"over" { 90 } else { 95 }));
        }
        before.grant(b"new", at(100));
        assert!((0..3).all(|_| before.take(b"used", at(100))));
        assert!(before.take(b"old", at(100)));
        let open = before.open(at(101), 22).expect("it is short enough");
        assert_eq!(open, b"old 2 4000\nnew 6 9000\n");
        assert_eq!(before.open(at(101), 21), None);

        let after = Grants::new(rules(Some(3), Some(10)));
        after.restore(&open, at(0));
        assert_eq!(after.open(at(0), 22).as_ref(), Some(&open));
        assert!(after.take(b"old", at(4)) && after.take(b"new", at(9)));
        assert!(!after.take(b"old", at(5)) && !after.take(b"new", at(10)));

        // The rules may be others.
        let stricter = Grants::new(rules(Some(3), Some(1)));
        stricter.restore(&open, at(0));
        assert!(!stricter.take(b"old", at(2)));
        let unlimited = Grants::new(rules(None, None));
        unlimited.restore(&open, at(0));
        assert!((0..9).all(|_| unlimited.take(b"old", at(4))));
        let limited = Grants::new(rules(Some(1), None));
        unlimited.grant(b"r", at(0));
        limited.restore(&unlimited.open(at(0), 999).expect("short"), at(0));
        assert!(limited.take(b"r", at(999)) && !limited.take(b"r", at(999)));
        limited.restore(b"\nx\ny 1\nz a b\n \n", at(0));
        assert!(!limited.take(b"x", at(0)) && !limited.take(b"y", at(0)));
    }

    #[test]
    fn grants_are_limited_in_number() {
        let grants = Grants::new(Responses::default());
        let many = 2 * GRANTS_MAX as u64;
        for n in 0..many {
            grants.grant(n.to_string().as_bytes(), at(0));
            grants.grant(b"again", at(0));
        }
        let known = grants.known.lock();
        assert!(known.order.len() <= GRANTS_MAX && known.grants.len() <= GRANTS_MAX);
        assert_eq!(grants.share.bytes(), {
            let lens = known.order.iter().map(|(reply, _)| reply.len());
            lens.map(|len| GRANT_LEN + allocated(16 + len))
                .sum::<usize>()
        });
        drop(known);
        assert!(!grants.take(b"0", at(0)));
        assert!(grants.take((many - 1).to_string().as_bytes(), at(0)));
        grants.grant(b"late", at(1000));
        assert_eq!(grants.known.lock().order.len(), 1, "the old ones are over");
    }
    /// Long reply subjects use no more memory than short ones: fewer are kept.
    #[test]
    fn grants_are_limited_in_bytes() {
        let grants = Grants::new(Responses::default());
        let long = |number: u32| format!("{number}.{}", "x".repeat(30_000));
        for number in 0..1000 {
            grants.grant(long(number).as_bytes(), at(0));
            assert!(grants.share.bytes() <= GRANTED_MAX);
        }
        assert!(!grants.take(long(0).as_bytes(), at(0)));
        assert!(grants.take(long(999).as_bytes(), at(0)));
        assert!(grants.take(long(800).as_bytes(), at(0)));
    }
}
