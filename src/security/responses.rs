//! The reply subjects that a user may publish to because it got a request.
//!
//! Deliveries grant, publishes use up; both only for users whose permissions
//! say `allow_responses`.

use std::collections::VecDeque;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::permissions::Responses;
use crate::telemetry::Clock;

/// Reply subjects that one connection remembers; with more the oldest is
/// forgotten. Bounds what requests that nobody answers can hold.
const GRANTS_MAX: usize = 32 * 1024;

/// What one connection may respond to.
pub struct Grants {
    rules: Responses,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    grants: HashMap<Box<[u8]>, Grant>,
    /// Reply subjects by the time of their grant; one that was granted anew or
    /// used up stays until its turn comes.
    order: VecDeque<(Box<[u8]>, u64)>,
    last_number: u64,
}

struct Grant {
    number: u64,
    at: Clock,
    left: u32,
}

impl Grants {
    /// No grants yet.
    pub fn new(rules: Responses) -> Self {
        Self {
            rules,
            known: Mutex::default(),
        }
    }

    /// A request with this reply subject was delivered.
    pub fn grant(&self, reply: &[u8], now: Clock) {
        let mut known = self.known.lock();
        known.last_number += 1;
        let number = known.last_number;
        let before = known.grants.get(reply).map_or(0, |grant| grant.left);
        let grant = Grant {
            number,
            at: now,
            left: before.saturating_add(self.rules.max.unwrap_or(u32::MAX)),
        };
        known.grants.insert(reply.into(), grant);
        known.order.push_back((reply.into(), number));
        known.forget(|known, at| known.order.len() > GRANTS_MAX || self.is_over(at, now));
    }

    /// Whether a publish to this subject is a response that is permitted; uses
    /// it up.
    pub fn take(&self, subject: &[u8], now: Clock) -> bool {
        let mut known = self.known.lock();
        let Some(grant) = known.grants.get_mut(subject) else {
            return false;
        };
        let valid = grant.left > 0 && !self.is_over(grant.at, now);
        if self.rules.max.is_some() {
            grant.left = grant.left.saturating_sub(1);
        }
        if !valid || grant.left == 0 {
            known.grants.remove(subject);
        }
        valid
    }

    fn is_over(&self, at: Clock, now: Clock) -> bool {
        self.rules
            .expires
            .is_some_and(|expires| at.until(now) > expires)
    }
}

impl Known {
    /// Forgets the oldest grants as long as `is_over` says so of their time.
    fn forget(&mut self, is_over: impl Fn(&Self, Clock) -> bool) {
        while let Some((reply, number)) = self.order.front() {
            let current = self
                .grants
                .get(reply)
                .filter(|grant| grant.number == *number);
            let at = current.map(|grant| grant.at);
            if at.is_some_and(|at| !is_over(self, at)) {
                return;
            }
            if let Some((reply, _)) = self.order.pop_front()
                && at.is_some()
            {
                self.grants.remove(&reply);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Clock {
        Clock(seconds * 1000)
    }

    #[test]
    fn a_grant_ends_with_its_messages() {
        let grants = Grants::new(Responses {
            max: Some(2),
            expires: None,
        });
        grants.grant(b"r", at(0));
        assert!(!grants.take(b"other", at(0)));
        assert!(grants.take(b"r", at(9999)) && grants.take(b"r", at(9999)));
        assert!(!grants.take(b"r", at(9999)));
        // Two requests with one reply subject may both be answered.
        let once = Grants::new(Responses::default());
        once.grant(b"r", at(0));
        once.grant(b"r", at(0));
        assert!(once.take(b"r", at(0)) && once.take(b"r", at(0)) && !once.take(b"r", at(0)));
    }

    #[test]
    fn a_grant_ends_with_its_time() {
        let grants = Grants::new(Responses {
            max: None,
            expires: Some(Duration::from_secs(10)),
        });
        grants.grant(b"r", at(0));
        assert!((0..100).all(|_| grants.take(b"r", at(10))));
        assert!(!grants.take(b"r", at(11)));
        assert!(!grants.take(b"r", at(1)), "it is over for good");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let grants = Grants::new(Responses::default());
        let many = 2 * GRANTS_MAX as u64;
        for n in 0..many {
            grants.grant(n.to_string().as_bytes(), at(0));
            grants.grant(b"again", at(0));
        }
        let known = grants.known.lock();
        assert!(known.order.len() <= GRANTS_MAX && known.grants.len() <= GRANTS_MAX);
        drop(known);
        assert!(!grants.take(b"0", at(0)));
        assert!(grants.take((many - 1).to_string().as_bytes(), at(0)));
        grants.grant(b"late", at(1000));
        assert_eq!(grants.known.lock().order.len(), 1, "the old ones are over");
    }
}
