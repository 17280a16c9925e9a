//! Logins: how many succeeded, how many were refused and why, and which sources the refusals came
//! from.
//!
//! The client's login counts here; monitoring shows the totals. Answers to wrong passwords are
//! delayed, increasingly for each source, to slow down guessing. So that closing the connection
//! before the answer does not help, every login from such a source also waits a little before it is
//! checked, correct ones too. No source is blocked: one node with a wrong password must not keep
//! others behind the same address out.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;

use super::MonotonicMillis;

/// Refusals of one source that are answered immediately.
const IMMEDIATE_REFUSALS: u32 = 5;

/// Delay of the first refusal after them; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The longest delay of an answer.
const DELAY_MAX: Duration = Duration::from_secs(2);

/// The longest delay before a login is checked, which is what one node with a wrong password costs
/// others behind its address.
const CHECK_DELAY_MAX: Duration = Duration::from_millis(500);

/// A source is forgotten this long after its last refusal.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// A source counts as good this long after a successful login.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// Sources that are counted separately; further ones are counted together.
const SOURCES_MAX: usize = 4096;

/// Stands for the sources that are counted together: a multicast address, which no connection comes
/// from.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0));

/// Counts logins since the start.
#[derive(Default)]
pub struct Logins {
    accepted: AtomicU64,
    held: AtomicU64,
    refused: Mutex<Refused>,
    /// When a login from each source last succeeded; at most [`SOURCES_MAX`].
    good: Mutex<HashMap<IpAddr, MonotonicMillis>>,
}

/// The outcome of recent logins from a source, the best first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Standing {
    /// Logins succeeded and none was refused.
    Good,
    /// Nothing is known, or some succeeded and some were refused.
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
    /// Logins that succeeded where a login is required.
    pub accepted: u64,
    /// Refused logins by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Refusals whose answer was delayed.
    pub delayed: u64,
    /// Logins that waited before they were checked.
    pub held: u64,
}

impl Logins {
    /// Counts a successful login where one is required.
    pub fn record_success(&self, source: IpAddr, now: MonotonicMillis) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let source = network(source);
        let mut good = self.good.lock();
        if good.len() >= SOURCES_MAX && !good.contains_key(&source) {
            good.retain(|_, since| since.until(now) < GOOD_FOR);
            // If there are too many, any one is dropped.
            if good.len() >= SOURCES_MAX
                && let Some(one) = good.keys().next().copied()
            {
                good.remove(&one);
            }
        }
        good.insert(source, now);
    }

    /// How recent logins from `source` ended.
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

    /// How long a login from `source` must wait before it is checked.
    pub fn check_delay(&self, source: IpAddr, now: MonotonicMillis) -> Duration {
        let check_delay = self.refused.lock().check_delay(network(source), now);
        self.held
            .fetch_add(u64::from(!check_delay.is_zero()), Ordering::Relaxed);
        check_delay
    }

    /// Counts a refused login. Returns how long to delay the answer.
    pub fn record_refusal(
        &self,
        reason: &'static str,
        source: IpAddr,
        now: MonotonicMillis,
    ) -> Duration {
        let mut refused = self.refused.lock();
        *refused.reasons.entry(reason).or_default() += 1;
        let delay = refused.delay(network(source), now);
        refused.delayed += u64::from(!delay.is_zero());
        delay
    }

    /// Counts a refused login on a port that slows down guessing by other means.
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
                source = OTHERS;
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

    fn check_delay(&self, source: IpAddr, now: MonotonicMillis) -> Duration {
        let known = match self.sources.get(&source) {
            None if self.sources.len() >= SOURCES_MAX => self.sources.get(&OTHERS),
            known => known,
        };
        let known = known.filter(|known| !known.is_old(now));
        known.map_or(Duration::ZERO, |known| known.delay().min(CHECK_DELAY_MAX))
    }
}

impl Source {
    fn is_old(&self, now: MonotonicMillis) -> bool {
        self.last.until(now) > FORGET_AFTER
    }

    fn delay(&self) -> Duration {
        match self.failures.checked_sub(IMMEDIATE_REFUSALS + 1) {
            None => Duration::ZERO,
            Some(further) => (FIRST_DELAY * (1 << further.min(8))).min(DELAY_MAX),
        }
    }
}

/// The address that distinguishes sources: for IPv6 the /64 network, since one host may use all
/// of its addresses.
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
    fn repeated_refusals_are_delayed_more_and_more() {
        let logins = Logins::default();
        let record_refusal =
            |source: &str, now| logins.record_refusal("wrong_password", ip(source), at(now));
        for _ in 0..IMMEDIATE_REFUSALS {
            assert_eq!(record_refusal("10.0.0.1", 0), Duration::ZERO);
        }
        assert_eq!(record_refusal("10.0.0.1", 1), Duration::from_millis(100));
        assert_eq!(
            record_refusal("::ffff:10.0.0.1", 1),
            Duration::from_millis(200)
        );
        for _ in 0..100 {
            record_refusal("10.0.0.1", 2);
        }
        assert_eq!(record_refusal("10.0.0.1", 50), DELAY_MAX);
        assert_eq!(record_refusal("10.0.0.2", 50), Duration::ZERO);
        assert_eq!(
            record_refusal("10.0.0.1", 111),
            Duration::ZERO,
            "it is forgotten"
        );
        for last in 0..=IMMEDIATE_REFUSALS {
            record_refusal(&format!("2001:db8::{last}"), 50);
        }
        assert!(record_refusal("2001:db8::ffff", 50) > Duration::ZERO);
        assert_eq!(record_refusal("2001:db8:0:1::1", 50), Duration::ZERO);
        let totals = logins.totals();
        assert_eq!(
            totals.refused["wrong_password"],
            u64::from(IMMEDIATE_REFUSALS) * 2 + 108
        );
        assert!(totals.delayed > 100 && totals.accepted == 0);
    }

    #[test]
    fn the_check_of_a_failing_source_is_delayed_up_to_a_limit() {
        let logins = Logins::default();
        let check_delay = |source: &str, now| logins.check_delay(ip(source), at(now));
        for _ in 0..IMMEDIATE_REFUSALS {
            assert_eq!(check_delay("10.0.0.1", 0), Duration::ZERO);
            logins.record_refusal("wrong_password", ip("10.0.0.1"), at(0));
        }
        assert_eq!(check_delay("10.0.0.1", 0), Duration::ZERO);
        logins.record_refusal("wrong_password", ip("10.0.0.1"), at(0));
        assert_eq!(check_delay("10.0.0.1", 0), FIRST_DELAY);
        for _ in 0..100 {
            logins.record_refusal("wrong_password", ip("10.0.0.1"), at(0));
        }
        assert_eq!(check_delay("10.0.0.1", 60), CHECK_DELAY_MAX);
        assert_eq!(check_delay("10.0.0.2", 60), Duration::ZERO);
        assert_eq!(
            check_delay("10.0.0.1", 61),
            Duration::ZERO,
            "it is forgotten"
        );
        assert_eq!(logins.totals().held, 2);
    }

    #[test]
    fn the_standing_follows_the_last_logins() {
        let logins = Logins::default();
        let standing = |now| logins.standing(ip("10.0.0.1"), at(now));
        assert_eq!(standing(0), Standing::Unknown);
        logins.record_success(ip("10.0.0.1"), at(0));
        assert_eq!(standing(0), Standing::Good);
        logins.record_refusal("wrong_password", ip("10.0.0.1"), at(0));
        assert_eq!(standing(0), Standing::Unknown);
        assert_eq!(standing(61), Standing::Good, "the refusal is forgotten");
        logins.record_refusal("wrong_password", ip("10.0.0.1"), at(4000));
        assert_eq!(standing(4000), Standing::Failing);
        let many = u32::try_from(SOURCES_MAX).expect("it fits") * 2;
        for n in 0..many {
            logins.record_success(IpAddr::from(n.to_be_bytes()), at(4000));
        }
        assert_eq!(logins.good.lock().len(), SOURCES_MAX);
    }

    #[test]
    fn sources_are_limited() {
        let logins = Logins::default();
        let many = u32::try_from(SOURCES_MAX).expect("it fits") * 3;
        for n in 0..many {
            logins.record_refusal("no_credentials", IpAddr::from(n.to_be_bytes()), at(0));
        }
        assert!(logins.refused.lock().sources.len() <= SOURCES_MAX + 1);
        assert_eq!(logins.check_delay(ip("255.0.0.1"), at(0)), CHECK_DELAY_MAX);
        assert_eq!(
            logins.check_delay(ip("255.0.0.1"), at(1000)),
            Duration::ZERO
        );
        logins.record_refusal("no_credentials", ip("255.0.0.1"), at(1000));
        assert!(logins.refused.lock().sources.len() < 3);
    }
}
