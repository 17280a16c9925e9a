//! Replies over an account's border: a request from another account comes with
//! a reply subject of this one, `_R_.…`, and whoever answers it there reaches
//! the requester's own.

use std::{sync::Arc, time::Duration};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Account;
use crate::{config::accounts::ResponseKind, telemetry::Clock};

/// What all such subjects begin with. Clients cannot set them as a reply.
pub const REPLY_PREFIX: &[u8] = b"_R_.";

/// Replies that an account may wait for. A flood of requests that nobody
/// answers ends here; each takes some 200 bytes.
pub const PENDING_MAX: usize = 256 * 1024;

/// Pending replies below which nobody looks for those that waited too long.
const SWEEP_MIN: usize = 1024;

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
    pending: HashMap<u64, (Pending, Clock)>,
    sweep_at: usize,
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

    /// Waits for a reply; its subject. `None` if too many are waited for.
    pub fn expect(&self, pending: Pending) -> Option<Vec<u8>> {
        let mut inner = self.inner.lock();
        let now = Clock::now();
        if inner.pending.len() >= inner.sweep_at.max(SWEEP_MIN) {
            inner
                .pending
                .retain(|_, (pending, since)| since.until(now) < pending.threshold);
            // Looked at again when there are twice as many: cheap on average.
            inner.sweep_at = (inner.pending.len() * 2).min(PENDING_MAX);
            if inner.pending.len() >= PENDING_MAX {
                return None;
            }
        }
        let token = fastrand::u64(..);
        inner.pending.insert(token, (pending, now));
        Some(format!("_R_.{}.{token:016x}", self.prefix).into_bytes())
    }

    /// Where a message to `subject` goes if a reply to it is waited for.
    /// `is_last` ends the waiting, and so does the only reply.
    pub fn take(&self, subject: &[u8], is_last: bool) -> Option<Pending> {
        let token = self.token(subject)?;
        let mut inner = self.inner.lock();
        let (pending, since) = inner.pending.get_mut(&token)?;
        let now = Clock::now();
        let is_late = since.until(now) >= pending.threshold;
        if is_late || is_last || pending.response == ResponseKind::Singleton {
            let (pending, _) = inner.pending.remove(&token)?;
            return (!is_late).then_some(pending);
        }
        *since = now;
        Some(pending.clone())
    }

    /// Replies waited for.
    pub fn len(&self) -> usize {
        self.inner.lock().pending.len()
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

    #[test]
    fn requests_without_answer_do_not_pile_up() {
        let replies = Replies::default();
        let none = Duration::ZERO;
        let subject = replies
            .expect(pending(ResponseKind::Singleton, none))
            .unwrap();
        assert!(replies.take(&subject, false).is_none(), "too late");
        for _ in 0..10 * SWEEP_MIN {
            assert!(
                replies
                    .expect(pending(ResponseKind::Stream, none))
                    .is_some()
            );
        }
        assert!(replies.len() <= 2 * SWEEP_MIN);
        let long = Duration::from_secs(600);
        let taken = (0..PENDING_MAX + 10).filter(|_| {
            replies
                .expect(pending(ResponseKind::Stream, long))
                .is_some()
        });
        assert!(taken.count() <= PENDING_MAX);
        assert!(replies.len() <= PENDING_MAX);
    }
}
