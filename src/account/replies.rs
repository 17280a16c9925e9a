//! Replies from another account: a request that leaves its account gets a reply subject of the
//! other account, `_R_.…`; what is published there goes to the requester's own reply subject.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{
    Account,
    latency::{Measured, Outcome, TRACKED_END},
};
use crate::{
    config::accounts::ResponseKind,
    telemetry::{
        MonotonicMillis,
        pool::{Pool, allocated},
    },
};

/// Prefix of all such subjects. Clients cannot use them as a reply subject.
pub const REPLY_PREFIX: &[u8] = b"_R_.";

/// Memory of all outstanding replies. The requester's account has a share, whichever services it
/// uses: a flood of requests without answers exhausts that share, and requests of other accounts
/// are not affected.
pub static POOL: Pool = Pool::new(64 * 1024 * 1024);

/// Bytes of an outstanding reply besides its subject: its slot in a table that is half full to
/// full.
const ENTRY_LEN: usize = (size_of::<(u64, Waiting)>() + 1) * 3 / 2;

/// Expired replies that one request removes, so that its cost does not depend on their number.
const EXPIRED_PER_REQUEST: usize = 8;

/// The same per lock when all expired replies are removed.
const EXPIRED_PER_LOCK: usize = 512;

/// Capacity below which the table is not shrunk.
const SHRINK_CAPACITY_MIN: usize = 1024;

/// No token.
const NONE: u64 = 0;

/// Where a reply goes.
#[derive(Clone)]
pub struct PendingReply {
    /// The requester's account.
    pub account: Arc<Account>,
    /// The requester's reply subject.
    pub subject: Arc<[u8]>,
    /// How many replies are permitted.
    pub response: ResponseKind,
    /// How long a reply may take.
    pub threshold: Duration,
    /// The request, if its latency is measured; then one reply is permitted.
    pub measured: Option<Box<Measured>>,
}

/// The outstanding replies of an account's responders.
pub struct Replies {
    /// The second token of its reply subjects, which differs between the brokers of a cluster.
    prefix: String,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By token.
    waiting: HashMap<u64, Waiting>,
    /// One queue per threshold, so that the oldest reply of a queue is the first to expire.
    by_threshold: BTreeMap<Duration, TokenQueue>,
}

/// An outstanding reply, and its neighbours in its queue.
struct Waiting {
    pending: PendingReply,
    since: MonotonicMillis,
    older: u64,
    newer: u64,
}

/// The ends of a queue of replies, as tokens.
#[derive(Default)]
struct TokenQueue {
    oldest: u64,
    newest: u64,
}

impl Default for Replies {
    fn default() -> Self {
        Self {
            prefix: std::iter::repeat_with(fastrand::alphanumeric)
                .take(6)
                .collect(),
            inner: Mutex::default(),
        }
    }
}

impl Replies {
    /// The pattern of all its reply subjects, for which a broker announces interest to its peers.
    pub fn pattern(&self) -> String {
        format!("_R_.{}.>", self.prefix)
    }

    /// Registers an outstanding reply and returns its subject. `None` if the requester's account
    /// has too many.
    pub fn register(&self, pending: PendingReply) -> Option<Vec<u8>> {
        let mut inner = self.inner.lock();
        let now = MonotonicMillis::now();
        inner.remove_expired(pending.threshold, now, EXPIRED_PER_REQUEST);
        if !pending.account.reply_memory.reserve(len(&pending)) {
            return None;
        }
        let token = fastrand::u64(NONE + 1..);
        let end = pending.measured.as_ref().map(|it| it.reply_end());
        let end = end.unwrap_or_default();
        inner.insert(token, pending, now);
        Some(format!("_R_.{}.{token:016x}{end}", self.prefix).into_bytes())
    }

    /// The destination of a message to `subject`, if it is an outstanding reply. `is_last` ends the
    /// waiting, and so does the only permitted reply.
    pub fn take(&self, subject: &[u8], is_last: bool) -> Option<PendingReply> {
        let token = self.token(subject)?;
        let mut inner = self.inner.lock();
        let now = MonotonicMillis::now();
        let Waiting { pending, since, .. } = inner.waiting.get(&token)?;
        let is_late = since.until(now) >= pending.threshold;
        if is_late || is_last || pending.response == ResponseKind::Singleton {
            let pending = inner.remove(token)?;
            return match is_late {
                true => {
                    pending.end_measuring(Outcome::Late);
                    None
                }
                false => Some(pending),
            };
        }
        let pending = pending.clone();
        inner.renew(token, now);
        Some(pending)
    }

    /// The destination of a message to `subject`, if it is an outstanding reply, which it remains.
    pub fn find(&self, subject: &[u8]) -> Option<PendingReply> {
        let token = self.token(subject)?;
        let inner = self.inner.lock();
        let Waiting { pending, since, .. } = inner.waiting.get(&token)?;
        let is_late = since.until(MonotonicMillis::now()) >= pending.threshold;
        (!is_late).then(|| pending.clone())
    }

    /// Nobody waits for a reply any more.
    pub(super) fn abandon(&self, token: u64) {
        let pending = self.inner.lock().remove(token);
        if let Some(pending) = pending {
            pending.end_measuring(Outcome::RequestorLeft);
        }
    }

    /// Removes expired replies. Called from time to time.
    pub fn remove_expired(&self, now: MonotonicMillis) {
        let thresholds: Vec<_> = self.inner.lock().by_threshold.keys().copied().collect();
        for threshold in thresholds {
            while self
                .inner
                .lock()
                .remove_expired(threshold, now, EXPIRED_PER_LOCK)
                == EXPIRED_PER_LOCK
            {}
        }
        let waiting = &mut self.inner.lock().waiting;
        if waiting.capacity() > SHRINK_CAPACITY_MIN && waiting.len() < waiting.capacity() / 4 {
            waiting.shrink_to(waiting.len() * 2);
        }
    }

    /// Removes all of them, because the account has been removed.
    pub fn clear(&self) {
        let all = std::mem::take(&mut *self.inner.lock());
        for (token, waiting) in &all.waiting {
            let pending = &waiting.pending;
            pending.forget_measuring(*token);
            pending.account.reply_memory.release(len(pending));
        }
    }

    /// Difference between the size of the table and what its replies have reserved: it may be only
    /// half full.
    pub fn table_surplus(&self) -> isize {
        let waiting = &self.inner.lock().waiting;
        // Both are far below the type's limit.
        waiting.allocation_size() as isize - (waiting.len() * ENTRY_LEN) as isize
    }

    /// Number of outstanding replies.
    pub fn len(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The token of a reply subject, if it is one of these.
    pub fn token(&self, subject: &[u8]) -> Option<u64> {
        let rest = subject.strip_prefix(REPLY_PREFIX)?;
        let digits = rest
            .strip_prefix(self.prefix.as_bytes())?
            .strip_prefix(b".")?;
        let (digits, end) = digits.split_at_checked(16)?;
        if !(end.is_empty() || end.starts_with(b".") && end.ends_with(TRACKED_END)) {
            return None;
        }
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Bytes of an outstanding reply.
fn len(pending: &PendingReply) -> usize {
    // An Arc has two counters in front.
    let measured = pending.measured.as_ref().map_or(0, |it| it.memory());
    ENTRY_LEN + allocated(2 * size_of::<usize>() + pending.subject.len()) + measured
}

impl PendingReply {
    /// Ends the measuring of the request without a reply.
    pub(super) fn end_measuring(self, outcome: Outcome) {
        if let Some(measured) = self.measured {
            measured.end(outcome);
        }
    }

    /// The requester's account no longer waits for it.
    fn forget_measuring(&self, token: u64) {
        if self.measured.is_some() {
            self.account.latency.asked().forget(&self.subject, token);
        }
    }
}

impl Inner {
    fn insert(&mut self, token: u64, pending: PendingReply, now: MonotonicMillis) {
        let queue = self.by_threshold.entry(pending.threshold).or_default();
        let waiting = Waiting {
            pending,
            since: now,
            older: std::mem::replace(&mut queue.newest, token),
            newer: NONE,
        };
        match self.waiting.get_mut(&waiting.older) {
            Some(older) => older.newer = token,
            None => queue.oldest = token,
        }
        self.waiting.insert(token, waiting);
    }

    /// Removes it from the table and its queue.
    fn unlink(&mut self, token: u64) -> Option<PendingReply> {
        let Waiting {
            pending,
            older,
            newer,
            ..
        } = self.waiting.remove(&token)?;
        let queue = self.by_threshold.entry(pending.threshold).or_default();
        match self.waiting.get_mut(&older) {
            Some(known) => known.newer = newer,
            None => queue.oldest = newer,
        }
        match self.waiting.get_mut(&newer) {
            Some(known) => known.older = older,
            None => queue.newest = older,
        }
        if queue.oldest == NONE {
            self.by_threshold.remove(&pending.threshold);
        }
        Some(pending)
    }

    fn remove(&mut self, token: u64) -> Option<PendingReply> {
        let pending = self.unlink(token)?;
        pending.account.reply_memory.release(len(&pending));
        pending.forget_measuring(token);
        Some(pending)
    }

    /// Restarts its time.
    fn renew(&mut self, token: u64, now: MonotonicMillis) {
        if let Some(pending) = self.unlink(token) {
            self.insert(token, pending, now);
        }
    }

    /// Removes at most `max` expired replies. Returns how many.
    fn remove_expired(&mut self, threshold: Duration, now: MonotonicMillis, max: usize) -> usize {
        for removed in 0..max {
            let oldest = self.by_threshold.get(&threshold).map(|queue| queue.oldest);
            let late = oldest.filter(|token| {
                let waiting = self.waiting.get(token);
                waiting.is_some_and(|known| known.since.until(now) >= threshold)
            });
            let Some(pending) = late.and_then(|token| self.remove(token)) else {
                return removed;
            };
            pending.end_measuring(Outcome::Late);
        }
        max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(response: ResponseKind, threshold: Duration) -> PendingReply {
        PendingReply {
            account: Arc::new(Account::new("A")),
            subject: (*b"_INBOX.a").into(),
            response,
            threshold,
            measured: None,
        }
    }

    #[test]
    fn a_single_reply_is_accepted_once() {
        let replies = Replies::default();
        let long = Duration::from_secs(60);
        let subject = replies
            .register(pending(ResponseKind::Singleton, long))
            .unwrap();
        assert!(crate::subject::matches(
            replies.pattern().as_bytes(),
            &subject
        ));
        assert_eq!(
            &*replies.take(&subject, false).unwrap().subject,
            b"_INBOX.a"
        );
        assert!(replies.take(&subject, false).is_none());
        for other in [
            &b"_R_."[..],
            b"_R_.x.0",
            b"a",
            &[&subject[..], b"0"].concat(),
        ] {
            assert!(replies.take(other, false).is_none());
        }
    }

    #[test]
    fn several_replies_are_accepted_until_the_last() {
        let replies = Replies::default();
        let long = Duration::from_secs(60);
        let subject = replies
            .register(pending(ResponseKind::Stream, long))
            .unwrap();
        for is_last in [false, false, true] {
            assert!(replies.take(&subject, is_last).is_some());
        }
        assert!(replies.take(&subject, false).is_none());
    }

    /// One account's requests without answers leave memory for those of others and expire.
    #[test]
    fn requests_without_answers_do_not_accumulate() {
        let services = [Replies::default(), Replies::default()];
        let (one, other) = (Account::new("A"), Account::new("B"));
        let (one, other) = (Arc::new(one), Arc::new(other));
        let of = |account: &Arc<Account>, len: usize| PendingReply {
            account: account.clone(),
            subject: vec![b'x'; len].into(),
            ..pending(ResponseKind::Singleton, Duration::from_secs(100))
        };
        let fill = |account, len| {
            let services = services.iter().cycle();
            services
                .take_while(|service| service.register(of(account, len)).is_some())
                .count()
        };
        let taken = fill(&one, 30_000);
        assert!((1000..=POOL.limit() / 30_000).contains(&taken), "{taken}");
        assert!(one.reply_memory.bytes() <= POOL.limit());
        assert!(fill(&other, 20) > 10_000);
        let later = MonotonicMillis(MonotonicMillis::now().0 + 99_000);
        services
            .iter()
            .for_each(|known| known.remove_expired(later));
        assert!(services[0].len() > 500);
        let later = MonotonicMillis(MonotonicMillis::now().0 + 100_000);
        services
            .iter()
            .for_each(|known| known.remove_expired(later));
        for service in &services {
            let inner = service.inner.lock();
            assert!(inner.waiting.is_empty() && inner.by_threshold.is_empty());
            assert!(inner.waiting.capacity() <= 2 * SHRINK_CAPACITY_MIN);
        }
        assert_eq!(
            (one.reply_memory.bytes(), other.reply_memory.bytes()),
            (0, 0)
        );
    }

    /// A request removes some expired replies, so that no periodic cleaning is needed.
    #[test]
    fn requests_remove_expired_replies() {
        let replies = Replies::default();
        let none = Duration::ZERO;
        let subject = replies
            .register(pending(ResponseKind::Singleton, none))
            .unwrap();
        assert!(replies.take(&subject, false).is_none(), "too late");
        for _ in 0..10_000 {
            let pending = pending(ResponseKind::Stream, none);
            assert!(replies.register(pending).is_some());
        }
        assert_eq!(replies.len(), 1);
    }

    #[test]
    fn removals_keep_the_order_of_the_queue() {
        let mut inner = Inner::default();
        let threshold = Duration::from_secs(10);
        for token in 1..=100 {
            let pending = pending(ResponseKind::Stream, threshold);
            pending
                .account
                .reply_memory
                .reserve_unlimited(len(&pending));
            inner.insert(token, pending, MonotonicMillis(token * 100));
        }
        for token in [1, 50, 100, 7] {
            assert!(inner.remove(token).is_some());
        }
        inner.renew(2, MonotonicMillis(20_000));
        inner.renew(99, MonotonicMillis(20_000));
        let removed = inner.remove_expired(threshold, MonotonicMillis(15_000), usize::MAX);
        // 3 to 49, of which 7 is gone already.
        assert_eq!(removed, 46);
        assert_eq!(inner.by_threshold[&threshold].oldest, 51);
        assert_eq!(
            inner.remove_expired(threshold, MonotonicMillis(30_000), usize::MAX),
            50
        );
        assert!(inner.waiting.is_empty() && inner.by_threshold.is_empty());
    }

    #[test]
    fn a_removed_account_releases_the_memory_of_others() {
        let replies = Replies::default();
        let waiting = pending(ResponseKind::Stream, Duration::from_secs(9));
        let account = waiting.account.clone();
        replies.register(waiting).unwrap();
        assert!(account.reply_memory.bytes() > 0);
        drop(replies);
        assert_eq!(account.reply_memory.bytes(), 0);
    }
}
