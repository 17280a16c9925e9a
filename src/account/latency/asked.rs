//! An account's requests to measured services whose reply is waited for: when nobody in the account
//! waits for it any more, that is the outcome.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::super::Account;
use crate::{
    connection::Subscription,
    subject::{is_wildcard, matches},
    sublist::Entry,
};

/// Requests of one account that are measured at the same time; further ones are not. Each removed
/// subscription with wildcards is compared with all of them.
const ASKED_MAX: usize = 1024;

/// The service's account, and the token of the reply there.
type Service = (Arc<Account>, u64);

/// The requests by their reply subject in the requester's account.
#[derive(Default)]
pub(in crate::account) struct Asked {
    count: AtomicUsize,
    by_reply: Mutex<HashMap<Arc<[u8]>, Vec<Service>>>,
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
        let mut by_reply = self.by_reply.lock();
        let services = by_reply.entry(reply.clone()).or_default();
        services.push((account.clone(), token));
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// It has ended.
    pub(in crate::account) fn forget(&self, reply: &[u8], token: u64) {
        let mut by_reply = self.by_reply.lock();
        let Some(services) = by_reply.get_mut(reply) else {
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

    /// The reply subjects that one of these subscriptions waited for.
    pub(in crate::account) fn replies_of(
        &self,
        subscriptions: &[Arc<Subscription>],
    ) -> Vec<Arc<[u8]>> {
        let by_reply = self.by_reply.lock();
        let mut replies = Vec::new();
        for subscription in subscriptions {
            let subject = subscription.subject();
            match is_wildcard(subject) {
                false => {
                    replies.extend(by_reply.get_key_value(subject).map(|(key, _)| key.clone()))
                }
                true => {
                    let keys = by_reply.keys().filter(|reply| matches(subject, reply));
                    replies.extend(keys.cloned());
                }
            }
        }
        replies
    }

    /// The services that were asked with this reply subject.
    pub(in crate::account) fn services(&self, reply: &[u8]) -> Vec<Service> {
        self.by_reply.lock().get(reply).cloned().unwrap_or_default()
    }
}

impl Account {
    /// Ends requests to measured services whose reply nobody waits for any more, as these
    /// subscriptions have ended.
    #[cold]
    pub(in crate::account) fn end_unawaited(&self, subscriptions: &[Arc<Subscription>]) {
        for reply in self.latency.asked().replies_of(subscriptions) {
            if !self.sublist.lookup(&reply).is_empty() || !self.remotes(&reply).is_empty() {
                continue;
            }
            for (account, token) in self.latency.asked().services(&reply) {
                account.replies.abandon(token);
            }
        }
    }
}
