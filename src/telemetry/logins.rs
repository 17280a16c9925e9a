//! Logins: how many there were, how many were refused and why, and from where
//! refusals come.
//!
//! The client's login counts here; monitoring shows the totals. Whoever guesses
//! is kept waiting for each answer, longer and longer. So that hanging up before
//! the answer gains nothing, every login from such an address waits a little
//! before it is looked at, the right ones too; nobody is shut out, so that one
//! node with a wrong password does not cost others behind the same address
//! their login.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use super::MonotonicMillis;

/// Refusals of one source that are answered at once.
const PROMPT: u32 = 5;

/// How long the first one after them waits; each further one twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The longest wait.
const DELAY_MAX: Duration = Duration::from_secs(2);

/// The longest that a login waits before it is looked at: what one node with a
/// wrong password costs others behind its address.
const HOLD_MAX: Duration = Duration::from_millis(500);

/// A source is forgotten when its last refusal is so long ago.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// A source counts as good for so long after a login that was right.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// Sources that are told apart; further ones are one together.
const SOURCES_MAX: usize = 4096;

/// Stands for the sources that are not told apart: an address of a group, from
/// which nothing comes.
const THE_REST: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0));

/// Counts of logins since the start.
#[derive(Default)]
pub struct Logins {
    accepted: AtomicU64,
    held: AtomicU64,
    refused: Mutex<Refused>,
    /// When somebody last logged in from a source; at most [`SOURCES_MAX`].
    good: Mutex<HashMap<IpAddr, MonotonicMillis>>,
}

/// How logins from a source went lately; who is better comes first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Standing {
    /// Somebody logged in, and nobody was refused.
    Good,
    /// Nothing is known, or some were let in and some refused.
    Unknown,
    /// Logins were refused.
    Failing,
}

#[derive(Default)]
struct Refused {
    reasons: BTreeMap<&'static str, u64>,
    delayed: u64,
    sources: HashMap<IpAddr, Source>,
}

#[derive(Clone, Copy)]
struct Source {
    failures: u32,
    last: MonotonicMillis,
}

/// The totals at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoginTotals {
    /// Logins that were needed and were right.
    pub accepted: u64,
    /// Those that were refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Refusals that were kept waiting.
    pub delayed: u64,
    /// Logins that waited before they were looked at.
    pub held: u64,
}

impl Logins {
    /// Counts a login that was right, where one was needed.
    pub fn accept(&self, source: IpAddr, now: MonotonicMillis) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let source = network(source);
        let mut good = self.good.lock();
        if good.len() >= SOURCES_MAX && !good.contains_key(&source) {
            good.retain(|_, since| since.until(now) < GOOD_FOR);
            // Of more than that any one is forgotten.
            if good.len() >= SOURCES_MAX
                && let Some(one) = good.keys().next().copied()
            {
                good.remove(&one);
            }
        }
        good.insert(source, now);
    }

    /// How logins from `source` went lately.
    pub fn standing(&self, source: IpAddr, now: MonotonicMillis) -> Standing {
        let source = network(source);
        let is_good = {
            let good = self.good.lock();
            good.get(&source)
                .is_some_and(|since| since.until(now) < GOOD_FOR)
        };
        let is_failing = {
            let refused = self.refused.lock();
            let known = refused.sources.get(&source);
            known.is_some_and(|known| !known.is_old(now))
        };
        match (is_good, is_failing) {
            (true, false) => Standing::Good,
            (false, true) => Standing::Failing,
            _ => Standing::Unknown,
        }
    }

    /// How long a login from `source` is to wait before it is looked at.
    pub fn hold(&self, source: IpAddr, now: MonotonicMillis) -> Duration {
        let hold = self.refused.lock().hold(network(source), now);
        self.held
            .fetch_add(u64::from(!hold.is_zero()), Ordering::Relaxed);
        hold
    }

    /// Counts one that was refused. Returns how long the answer is to wait.
    pub fn refuse(&self, reason: &'static str, source: IpAddr, now: MonotonicMillis) -> Duration {
        let mut refused = self.refused.lock();
        *refused.reasons.entry(reason).or_default() += 1;
        let delay = refused.delay(network(source), now);
        refused.delayed += u64::from(!delay.is_zero());
        delay
    }

    /// Counts one that was refused on a port where guessing is slowed down by other
    /// means.
    pub fn count_refused(&self, reason: &'static str) {
        *self.refused.lock().reasons.entry(reason).or_default() += 1;
    }

    /// The totals so far.
    pub fn totals(&self) -> LoginTotals {
        let refused = self.refused.lock();
        LoginTotals {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: refused.reasons.clone(),
            delayed: refused.delayed,
            held: self.held.load(Ordering::Relaxed),
        }
    }
}

impl Refused {
    fn delay(&mut self, source: IpAddr, now: MonotonicMillis) -> Duration {
        let mut source = source;
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            self.sources.retain(|_, known| !known.is_old(now));
            if self.sources.len() >= SOURCES_MAX {
                source = THE_REST;
            }
        }
        let known = self.sources.entry(source).or_insert(Source {
            failures: 0,
            last: now,
        });
        if known.is_old(now) {
            known.failures = 0;
        }
        known.last = now;
        known.failures = known.failures.saturating_add(1);
        known.delay()
    }

    fn hold(&self, source: IpAddr, now: MonotonicMillis) -> Duration {
        let known = match self.sources.get(&source) {
            None if self.sources.len() >= SOURCES_MAX => self.sources.get(&THE_REST),
            known => known,
        };
        let known = known.filter(|known| !known.is_old(now));
        known.map_or(Duration::ZERO, |known| known.delay().min(HOLD_MAX))
    }
}

impl Source {
    fn is_old(&self, now: MonotonicMillis) -> bool {
        self.last.until(now) > FORGET_AFTER
    }

    fn delay(&self) -> Duration {
        match self.failures.checked_sub(PROMPT + 1) {
            None => Duration::ZERO,
            Some(further) => (FIRST_DELAY * (1 << further.min(8))).min(DELAY_MAX),
        }
    }
}

/// Whose address it is, as sources are told apart: one host may have all addresses of an IPv6 network.
pub fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(ip) => {
            let network = u128::from(ip) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonotonicMillis {
        MonotonicMillis(seconds * 1000)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn who_guesses_waits_longer_and_longer_and_others_do_not() {
        let logins = Logins::default();
        let refuse = |source: &str, now| logins.refuse("wrong_password", ip(source), at(now));
        for _ in 0..PROMPT {
            assert_eq!(refuse("10.0.0.1", 0), Duration::ZERO);
        }
        assert_eq!(refuse("10.0.0.1", 1), Duration::from_millis(100));
        assert_eq!(refuse("::ffff:10.0.0.1", 1), Duration::from_millis(200));
        for _ in 0..100 {
            refuse("10.0.0.1", 2);
        }
        assert_eq!(refuse("10.0.0.1", 50), DELAY_MAX);
        assert_eq!(refuse("10.0.0.2", 50), Duration::ZERO);
        assert_eq!(refuse("10.0.0.1", 111), Duration::ZERO, "it is forgotten");
        for last in 0..=PROMPT {
            refuse(&format!("2001:db8::{last}"), 50);
        }
        assert!(refuse("2001:db8::ffff", 50) > Duration::ZERO);
        assert_eq!(refuse("2001:db8:0:1::1", 50), Duration::ZERO);
        let totals = logins.totals();
        assert_eq!(
            totals.refused["wrong_password"],
            u64::from(PROMPT) * 2 + 108
        );
        assert!(totals.delayed > 100 && totals.accepted == 0);
    }

    #[test]
    fn who_has_guessed_waits_for_the_next_guess_but_not_for_long() {
        let logins = Logins::default();
        let hold = |source: &str, now| logins.hold(ip(source), at(now));
        for _ in 0..PROMPT {
            assert_eq!(hold("10.0.0.1", 0), Duration::ZERO);
            logins.refuse("wrong_password", ip("10.0.0.1"), at(0));
        }
        assert_eq!(hold("10.0.0.1", 0), Duration::ZERO);
        logins.refuse("wrong_password", ip("10.0.0.1"), at(0));
        assert_eq!(hold("10.0.0.1", 0), FIRST_DELAY);
        for _ in 0..100 {
            logins.refuse("wrong_password", ip("10.0.0.1"), at(0));
        }
        assert_eq!(hold("10.0.0.1", 60), HOLD_MAX);
        assert_eq!(hold("10.0.0.2", 60), Duration::ZERO);
        assert_eq!(hold("10.0.0.1", 61), Duration::ZERO, "it is forgotten");
        assert_eq!(logins.totals().held, 2);
    }

    #[test]
    fn a_source_is_as_good_as_its_last_logins() {
        let logins = Logins::default();
        let standing = |now| logins.standing(ip("10.0.0.1"), at(now));
        assert_eq!(standing(0), Standing::Unknown);
        logins.accept(ip("10.0.0.1"), at(0));
        assert_eq!(standing(0), Standing::Good);
        logins.refuse("wrong_password", ip("10.0.0.1"), at(0));
        assert_eq!(standing(0), Standing::Unknown);
        assert_eq!(standing(61), Standing::Good, "the refusal is forgotten");
        logins.refuse("wrong_password", ip("10.0.0.1"), at(4000));
        assert_eq!(standing(4000), Standing::Failing);
        let many = u32::try_from(SOURCES_MAX).expect("it fits") * 2;
        for n in 0..many {
            logins.accept(IpAddr::from(n.to_be_bytes()), at(4000));
        }
        assert_eq!(logins.good.lock().len(), SOURCES_MAX);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let logins = Logins::default();
        let many = u32::try_from(SOURCES_MAX).expect("it fits") * 3;
        for n in 0..many {
            logins.refuse("no_credentials", IpAddr::from(n.to_be_bytes()), at(0));
        }
        assert!(logins.refused.lock().sources.len() <= SOURCES_MAX + 1);
        assert_eq!(logins.hold(ip("255.0.0.1"), at(0)), HOLD_MAX);
        assert_eq!(logins.hold(ip("255.0.0.1"), at(1000)), Duration::ZERO);
        logins.refuse("no_credentials", ip("255.0.0.1"), at(1000));
        assert!(logins.refused.lock().sources.len() < 3);
    }
}
