//! An account's requests to measured services whose reply is waited for: when nobody in the account
//! waits for it any more, that is the outcome.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::super::Account;
use crate::telemetry::MonotonicMillis;

/// Requests of one account that are measured at the same time; further ones are not.
const ASKED_MAX: usize = 1024;

/// Milliseconds that a request is left alone, as the subscription for its reply may be under way.
const YOUNG: u64 = 1000;

/// The service's account, and the token of the reply there.
type Service = (Arc<Account>, u64);

/// The requests by their reply subject in the requester's account.
#[derive(Default)]
pub(in crate::account) struct Asked {
    count: AtomicUsize,
    by_reply: Mutex<HashMap<Arc<[u8]>, Waiting>>,
    /// Whether subscriptions have ended since the replies were looked through. Who ends them does
    /// not compare them with the replies: clients choose how many and how long both are.
    left: AtomicBool,
    /// Replies that are still to be looked at.
    unseen: Mutex<Vec<Arc<[u8]>>>,
}

/// The requests with one reply subject.
struct Waiting {
    services: Vec<Service>,
    /// When the last of them was noted.
    since: MonotonicMillis,
}

impl Asked {
    /// Whether one more may be measured.
    pub(in crate::account) fn has_room(&self) -> bool {
        self.count.load(Ordering::Relaxed) < ASKED_MAX
    }

    /// Whether there are any.
    #[inline]
    pub(in crate::account) fn are_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Notes a request to a service of `account` with the reply subject of this token there.
    pub(in crate::account) fn note(&self, reply: &Arc<[u8]>, account: &Arc<Account>, token: u64) {
        let since = MonotonicMillis::now();
        let mut by_reply = self.by_reply.lock();
        let waiting = by_reply.entry(reply.clone()).or_insert_with(|| Waiting {
            services: Vec::new(),
            since,
        });
        waiting.since = since;
        waiting.services.push((account.clone(), token));
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// It has ended.
    pub(in crate::account) fn forget(&self, reply: &[u8], token: u64) {
        let mut by_reply = self.by_reply.lock();
        let Some(Waiting { services, .. }) = by_reply.get_mut(reply) else {
            return;
        };
        let before = services.len();
        services.retain(|(_, known)| *known != token);
        self.count
            .fetch_sub(before - services.len(), Ordering::Relaxed);
        if services.is_empty() {
            by_reply.remove(reply);
        }
    }

    /// Subscriptions of the account have ended.
    #[inline]
    pub(in crate::account) fn note_left(&self) {
        if self.are_any() {
            self.left.store(true, Ordering::Release);
        }
    }

    /// Lists the replies that are to be looked at, unless some are left from the last time.
    fn list_unseen(&self, now: MonotonicMillis) {
        let mut unseen = self.unseen.lock();
        if !unseen.is_empty() || !self.left.swap(false, Ordering::AcqRel) {
            return;
        }
        let by_reply = self.by_reply.lock();
        for (reply, waiting) in &*by_reply {
            match waiting.since.until(now).as_millis() < u128::from(YOUNG) {
                // The next time.
                true => self.left.store(true, Ordering::Release),
                false => unseen.push(reply.clone()),
            }
        }
    }

    fn next_unseen(&self) -> Option<Arc<[u8]>> {
        self.unseen.lock().pop()
    }

    /// The services that were asked with this reply subject.
    fn services(&self, reply: &[u8]) -> Vec<Service> {
        let by_reply = self.by_reply.lock();
        let waiting = by_reply.get(reply);
        waiting.map_or_else(Vec::new, |waiting| waiting.services.clone())
    }
}

impl Account {
    /// Ends requests to measured services whose reply nobody waits for any more. Called from time to
    /// time. No lock is held for longer than one reply takes; after `until` the next call goes on.
    pub fn end_unawaited(&self, now: MonotonicMillis, until: Instant) {
        let asked = self.latency.asked();
        asked.list_unseen(now);
        while let Some(reply) = asked.next_unseen() {
            if self.sublist.lookup(&reply).is_empty() && self.remotes(&reply).is_empty() {
                for (account, token) in asked.services(&reply) {
                    account.replies.abandon(token);
                }
            }
            if Instant::now() >= until {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        account::{
            latency::{LatencyLog, LatencyTerms, Logged, Outcome},
            replies::PendingReply,
        },
        config::accounts::{LatencySampling, ResponseKind, ServiceLatency},
        connection::{
            Subscription,
            budget::Budget,
            buffers::with_buffers,
            test_support::{connection, runtime},
        },
    };

    /// Removing subscriptions only leaves a mark; the replies are looked at later, one at least and
    /// no more than there is time for.
    #[test]
    fn subscriptions_that_end_are_not_compared_with_replies() {
        let log = Arc::new(LatencyLog::default());
        log.open("tok", || ());
        let config = ServiceLatency {
            sampling: LatencySampling::Percent(100),
            subject: "lat".into(),
        };
        let terms = Arc::new(LatencyTerms::new("S", "svc", &config, &log));
        let [service, requester] = ["S", "A"].map(|name| Arc::new(Account::new(name)));
        let count = 100;
        let deep = "a.".repeat(500);
        for number in 0..count {
            let subject: Arc<[u8]> = format!("{deep}{number}").into_bytes().into();
            let pending = PendingReply {
                account: requester.clone(),
                subject: subject.clone(),
                response: ResponseKind::Singleton,
                threshold: Duration::from_secs(60),
                measured: terms.begin(b"", || "{}".into()),
            };
            let reply = service.replies.register(pending).expect("there is room");
            let token = service.replies.token(&reply).expect("a token");
            requester.latency.asked().note(&subject, &service, token);
        }
        let runtime = runtime();
        let (client, _peer) = connection(&runtime, 1, Budget::own());
        let subscribe = |subject: &str| {
            let one = Subscription::new(client.clone(), subject.as_bytes(), None, b"1");
            let one = Arc::new(one);
            with_buffers(|buffers| requester.subscribe(buffers, one.clone()));
            one
        };
        let _kept = subscribe(&format!("{deep}7"));
        let wild = "*.".repeat(500);
        let ended: Vec<_> = (0..50)
            .map(|number| subscribe(&format!("{wild}x.{number}")))
            .chain([subscribe(&format!("{wild}*"))])
            .collect();
        let asked = requester.latency.asked();
        let before = requester.sublist.stats().lookups;
        with_buffers(|buffers| requester.unsubscribe(buffers, &ended));
        assert!(asked.left.load(Ordering::Relaxed) && asked.unseen.lock().is_empty());
        assert_eq!(requester.sublist.stats().lookups, before);
        let sweep = |now, until| requester.end_unawaited(now, until);
        let soon = Instant::now() + Duration::from_secs(60);
        sweep(MonotonicMillis::now(), soon);
        assert_eq!(log.take().len(), 0, "their subscriptions may be under way");
        let later = MonotonicMillis(MonotonicMillis::now().0 + YOUNG);
        for _ in 0..2 {
            sweep(later, Instant::now());
        }
        assert_eq!(asked.unseen.lock().len(), count - 2, "one each time");
        sweep(later, soon);
        let events = log.take();
        assert_eq!(events.len(), count - 1, "one is waited for");
        assert!(events.iter().all(|event| matches!(
            event,
            Logged::Event(event) if matches!(event.outcome, Outcome::RequestorLeft)
        )));
        assert_eq!((service.replies.len(), asked.are_any()), (1, true));
        let lookups = requester.sublist.stats().lookups;
        sweep(later, soon);
        assert_eq!(requester.sublist.stats().lookups, lookups, "nobody left");
    }
}
