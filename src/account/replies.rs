//! Replies over an account's border: a request from another account comes with
//! a reply subject of this one, `_R_.…`, and whoever answers it there reaches
//! the requester's own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Account;
use crate::{
    config::accounts::ResponseKind,
    telemetry::{
        MonotonicMillis,
        pool::{Pool, allocated},
    },
};

/// What all such subjects begin with. Clients cannot set them as a reply.
pub const REPLY_PREFIX: &[u8] = b"_R_.";

/// Bytes of all replies that are waited for. An account that asks has a share of
/// them, whichever services it asks: a flood of requests that nobody answers ends
/// there, and other accounts' requests go on.
pub static POOL: Pool = Pool::new(64 * 1024 * 1024);

/// Bytes that a reply takes besides its subject: its place in a table that is half
/// full to full.
const ENTRY_LEN: usize = (size_of::<(u64, Waiting)>() + 1) * 3 / 2;

/// Replies that waited too long which one request forgets, so that it costs the same
/// however many there are.
const FORGOTTEN_BY_REQUEST: usize = 8;

/// The same in one hold of the lock by who looks after them.
const FORGOTTEN_AT_ONCE: usize = 512;

/// Places below which the table keeps its size.
const SHRINK_CAPACITY_MIN: usize = 1024;

/// No token.
const NONE: u64 = 0;

/// Where a reply goes.
#[derive(Clone)]
pub struct Pending {
    /// The requester's account.
    pub account: Arc<Account>,
    /// The requester's reply subject.
    pub subject: Arc<[u8]>,
    /// How many replies there may be.
    pub response: ResponseKind,
    /// How long a reply may take.
    pub threshold: Duration,
}

/// The replies that an account waits for.
pub struct Replies {
    /// The second token of its reply subjects: tells brokers of a cluster apart.
    prefix: String,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By token.
    waiting: HashMap<u64, Waiting>,
    /// Those with one threshold each, so that the oldest is the first that waited
    /// too long.
    by_threshold: BTreeMap<Duration, Line>,
}

/// A reply that is waited for, and its neighbours in its line.
struct Waiting {
    pending: Pending,
    since: MonotonicMillis,
    older: u64,
    newer: u64,
}

/// The ends of a line of replies, by their tokens.
#[derive(Default)]
struct Line {
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
    /// The pattern of all its reply subjects: a broker that answers for others
    /// of its cluster tells them that it takes these.
    pub fn pattern(&self) -> String {
        format!("_R_.{}.>", self.prefix)
    }

    /// Waits for a reply; its subject. `None` if the account that asks waits for
    /// too many.
    pub fn expect(&self, pending: Pending) -> Option<Vec<u8>> {
        let mut inner = self.inner.lock();
        let now = MonotonicMillis::now();
        inner.forget_late(pending.threshold, now, FORGOTTEN_BY_REQUEST);
        if !pending.account.awaited.reserve(len(&pending)) {
            return None;
        }
        let token = fastrand::u64(NONE + 1..);
        inner.insert(token, pending, now);
        Some(format!("_R_.{}.{token:016x}", self.prefix).into_bytes())
    }

    /// Where a message to `subject` goes if a reply to it is waited for.
    /// `is_last` ends the waiting, and so does the only reply.
    pub fn take(&self, subject: &[u8], is_last: bool) -> Option<Pending> {
        let token = self.token(subject)?;
        let mut inner = self.inner.lock();
        let now = MonotonicMillis::now();
        let Waiting { pending, since, .. } = inner.waiting.get(&token)?;
        let is_late = since.until(now) >= pending.threshold;
        if is_late || is_last || pending.response == ResponseKind::Singleton {
            let pending = inner.remove(token)?;
            return (!is_late).then_some(pending);
        }
        let pending = pending.clone();
        inner.renew(token, now);
        Some(pending)
    }

    /// Forgets those that waited too long and gives their memory back. To be called
    /// now and then.
    pub fn forget_late(&self, now: MonotonicMillis) {
        let thresholds: Vec<_> = self.inner.lock().by_threshold.keys().copied().collect();
        for threshold in thresholds {
            while self
                .inner
                .lock()
                .forget_late(threshold, now, FORGOTTEN_AT_ONCE)
                == FORGOTTEN_AT_ONCE
            {}
        }
        let waiting = &mut self.inner.lock().waiting;
        if waiting.capacity() > SHRINK_CAPACITY_MIN && waiting.len() < waiting.capacity() / 4 {
            waiting.shrink_to(waiting.len() * 2);
        }
    }

    /// Forgets all of them: the account is no more.
    pub fn forget_all(&self) {
        let all = std::mem::take(&mut *self.inner.lock());
        for waiting in all.waiting.values() {
            let pending = &waiting.pending;
            pending.account.awaited.release(len(pending));
        }
    }

    /// By how much the table is larger or smaller than its replies have of the pool:
    /// it may be half full only.
    pub fn table_surplus(&self) -> isize {
        let waiting = &self.inner.lock().waiting;
        // Both are far below what the type holds.
        waiting.allocation_size() as isize - (waiting.len() * ENTRY_LEN) as isize
    }

    /// Replies waited for.
    pub fn len(&self) -> usize {
        self.inner.lock().waiting.len()
    }

    /// Whether none is waited for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn token(&self, subject: &[u8]) -> Option<u64> {
        let rest = subject.strip_prefix(REPLY_PREFIX)?;
        let digits = rest
            .strip_prefix(self.prefix.as_bytes())?
            .strip_prefix(b".")?;
        if digits.len() != 16 {
            return None;
        }
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.forget_all();
    }
}

/// Bytes that waiting for a reply takes.
fn len(pending: &Pending) -> usize {
    // An Arc has two counts in front.
    ENTRY_LEN + allocated(2 * size_of::<usize>() + pending.subject.len())
}

impl Inner {
    fn insert(&mut self, token: u64, pending: Pending, now: MonotonicMillis) {
        let line = self.by_threshold.entry(pending.threshold).or_default();
        let waiting = Waiting {
            pending,
            since: now,
            older: std::mem::replace(&mut line.newest, token),
            newer: NONE,
        };
        match self.waiting.get_mut(&waiting.older) {
            Some(older) => older.newer = token,
            None => line.oldest = token,
        }
        self.waiting.insert(token, waiting);
    }

    /// Takes it out of table and line.
    fn take_out(&mut self, token: u64) -> Option<Pending> {
        let Waiting {
            pending,
            older,
            newer,
            ..
        } = self.waiting.remove(&token)?;
        let line = self.by_threshold.entry(pending.threshold).or_default();
        match self.waiting.get_mut(&older) {
            Some(known) => known.newer = newer,
            None => line.oldest = newer,
        }
        match self.waiting.get_mut(&newer) {
            Some(known) => known.older = older,
            None => line.newest = older,
        }
        if line.oldest == NONE {
            self.by_threshold.remove(&pending.threshold);
        }
        Some(pending)
    }

    fn remove(&mut self, token: u64) -> Option<Pending> {
        let pending = self.take_out(token)?;
        pending.account.awaited.release(len(&pending));
        Some(pending)
    }

    /// Its time begins anew.
    fn renew(&mut self, token: u64, now: MonotonicMillis) {
        if let Some(pending) = self.take_out(token) {
            self.insert(token, pending, now);
        }
    }

    /// Forgets at most `max` that waited too long. Returns how many.
    fn forget_late(&mut self, threshold: Duration, now: MonotonicMillis, max: usize) -> usize {
        for forgotten in 0..max {
            let oldest = self.by_threshold.get(&threshold).map(|line| line.oldest);
            let late = oldest.filter(|token| {
                let waiting = self.waiting.get(token);
                waiting.is_some_and(|known| known.since.until(now) >= threshold)
            });
            if late.and_then(|token| self.remove(token)).is_none() {
                return forgotten;
            }
        }
        max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(response: ResponseKind, threshold: Duration) -> Pending {
        Pending {
            account: Arc::new(Account::new("A")),
            subject: (*b"_INBOX.a").into(),
            response,
            threshold,
        }
    }

    #[test]
    fn a_single_reply_is_taken_once() {
        let replies = Replies::default();
        let long = Duration::from_secs(60);
        let subject = replies
            .expect(pending(ResponseKind::Singleton, long))
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
    fn many_replies_go_on_until_the_last() {
        let replies = Replies::default();
        let long = Duration::from_secs(60);
        let subject = replies.expect(pending(ResponseKind::Stream, long)).unwrap();
        for is_last in [false, false, true] {
            assert!(replies.take(&subject, is_last).is_some());
        }
        assert!(replies.take(&subject, false).is_none());
    }

    /// Whatever they ask, one account's requests that nobody answers leave room for
    /// those of others, and are forgotten when their time is over.
    #[test]
    fn requests_without_answer_do_not_pile_up() {
        let services = [Replies::default(), Replies::default()];
        let (one, other) = (Account::new("A"), Account::new("B"));
        let (one, other) = (Arc::new(one), Arc::new(other));
        let of = |account: &Arc<Account>, len: usize| Pending {
            account: account.clone(),
            subject: vec![b'x'; len].into(),
            ..pending(ResponseKind::Singleton, Duration::from_secs(100))
        };
        let fill = |account, len| {
            let services = services.iter().cycle();
            services
                .take_while(|service| service.expect(of(account, len)).is_some())
                .count()
        };
        let taken = fill(&one, 30_000);
        assert!((1000..=POOL.limit() / 30_000).contains(&taken), "{taken}");
        assert!(one.awaited.bytes() <= POOL.limit());
        assert!(fill(&other, 20) > 10_000);
        let later = MonotonicMillis(MonotonicMillis::now().0 + 99_000);
        services.iter().for_each(|known| known.forget_late(later));
        assert!(services[0].len() > 500);
        let later = MonotonicMillis(MonotonicMillis::now().0 + 100_000);
        services.iter().for_each(|known| known.forget_late(later));
        for service in &services {
            let inner = service.inner.lock();
            assert!(inner.waiting.is_empty() && inner.by_threshold.is_empty());
            assert!(inner.waiting.capacity() <= 2 * SHRINK_CAPACITY_MIN);
        }
        assert_eq!((one.awaited.bytes(), other.awaited.bytes()), (0, 0));
    }

    /// A request forgets some that are late, so that nobody has to come and look.
    #[test]
    fn requests_forget_what_is_late() {
        let replies = Replies::default();
        let none = Duration::ZERO;
        let subject = replies
            .expect(pending(ResponseKind::Singleton, none))
            .unwrap();
        assert!(replies.take(&subject, false).is_none(), "too late");
        for _ in 0..10_000 {
            let pending = pending(ResponseKind::Stream, none);
            assert!(replies.expect(pending).is_some());
        }
        assert_eq!(replies.len(), 1);
    }

    #[test]
    fn the_order_of_waiting_holds_whoever_is_taken_out() {
        let mut inner = Inner::default();
        let threshold = Duration::from_secs(10);
        for token in 1..=100 {
            let pending = pending(ResponseKind::Stream, threshold);
            pending.account.awaited.reserve_unlimited(len(&pending));
            inner.insert(token, pending, MonotonicMillis(token * 100));
        }
        for token in [1, 50, 100, 7] {
            assert!(inner.remove(token).is_some());
        }
        inner.renew(2, MonotonicMillis(20_000));
        inner.renew(99, MonotonicMillis(20_000));
        let forgotten = inner.forget_late(threshold, MonotonicMillis(15_000), usize::MAX);
        // 3 to 49, of which 7 is gone already.
        assert_eq!(forgotten, 46);
        assert_eq!(inner.by_threshold[&threshold].oldest, 51);
        assert_eq!(
            inner.forget_late(threshold, MonotonicMillis(30_000), usize::MAX),
            50
        );
        assert!(inner.waiting.is_empty() && inner.by_threshold.is_empty());
    }

    #[test]
    fn an_account_that_is_no_more_holds_nothing_of_others() {
        let replies = Replies::default();
        let waiting = pending(ResponseKind::Stream, Duration::from_secs(9));
        let account = waiting.account.clone();
        replies.expect(waiting).unwrap();
        assert!(account.awaited.bytes() > 0);
        drop(replies);
        assert_eq!(account.awaited.bytes(), 0);
    }
}
