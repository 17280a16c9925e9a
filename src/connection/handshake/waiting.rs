//! Peers that wait for the beginning of their handshake, and whose turn it is; for
//! [`Threads`](super::threads::Threads) only.
//!
//! Clients give up after a time that they do not tell, and come again. Where more come than
//! can be served, an order by arrival serves those that are about to give up, and each
//! signature is wasted. An order by the newest drives away those that could all have been
//! served in time. So the longest waiting one comes first of those that are likely to stay
//! for the rest of their handshake, by what [`Patience`] has learned.
//!
//! Peers that are still there when most others have given up are patient. They get every
//! fourth turn: with more newcomers than can be served they would wait for ever.
//!
//! `docs/handshakes.md` shows by simulation what this order does, beside others.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::patience::{Patience, SHORTEST, Stay};

/// Where newcomers and patient peers wait, one turn of this many is for the patient.
const PATIENT_EVERY: u32 = 4;

/// As many of the longest waiting peers tell how long peers wait.
const ASKED: usize = 64;

/// How long a judgement about who stays is used.
const JUDGED_FOR: Duration = Duration::from_millis(10);

/// Who waits since when; no two are equal.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Ticket {
    since: Instant,
    number: u64,
}

/// What waits, each entry from when its peer began.
pub(super) struct Waiting<T> {
    entries: BTreeMap<Ticket, T>,
    numbers: u64,
    /// Turns for which both newcomers and patient peers waited.
    contested: u32,
    /// How long peers wait.
    pub(super) patience: Patience,
    /// Who stays, and when that was judged.
    judged: Option<(Instant, Stay)>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            numbers: 0,
            contested: 0,
            patience: Patience::default(),
            judged: None,
        }
    }
}

impl<T> Waiting<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an entry of a peer that waits since then.
    pub(super) fn add(&mut self, since: Instant, entry: T) -> Ticket {
        self.numbers += 1;
        let ticket = Ticket {
            since,
            number: self.numbers,
        };
        self.entries.insert(ticket, entry);
        ticket
    }

    /// Removes an entry; `None` if its turn has come already.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        self.entries.remove(&ticket)
    }

    /// Takes the one whose turn is next.
    pub(super) fn take(&mut self, now: Instant) -> Option<T> {
        let ticket = self.next(now)?;
        self.entries.remove(&ticket)
    }

    fn next(&mut self, now: Instant) -> Option<Ticket> {
        let (oldest, _) = self.entries.first_key_value()?;
        let age = |ticket: &Ticket| now.saturating_duration_since(ticket.since);
        let longest = age(oldest);
        if longest < SHORTEST {
            return Some(*oldest);
        }
        let is_fresh = |(at, _): &(Instant, Stay)| now.saturating_duration_since(*at) < JUDGED_FOR;
        let (at, stay) = self.judged.take().filter(is_fresh).unwrap_or_else(|| {
            let ages = self.entries.keys().take(ASKED).map(age);
            (now, self.patience.judge(ages))
        });
        let early = self.oldest(now, Duration::ZERO, stay.early());
        let late = match early == Some(*oldest) {
            true => None,
            false => stay
                .late()
                .skip_while(|(from, _)| *from > longest)
                .find_map(|(from, to)| self.oldest(now, from, to)),
        };
        self.judged = Some((at, stay));
        if early.is_some() && late.is_some() {
            self.contested = self.contested.wrapping_add(1);
            let is_late = self.contested.is_multiple_of(PATIENT_EVERY);
            return if is_late { late } else { early };
        }
        // All that are left may be about to leave; the newest has most time.
        let newest = || self.entries.last_key_value().map(|(ticket, _)| *ticket);
        early.or(late).or_else(newest)
    }

    /// The longest waiting one of those whose age is in a range.
    fn oldest(&self, now: Instant, from: Duration, to: Duration) -> Option<Ticket> {
        let first = match now.checked_sub(to) {
            Some(since) => Ticket {
                since,
                number: u64::MAX,
            },
            None => *self.entries.first_key_value()?.0,
        };
        let (ticket, _) = self.entries.range(first..).next()?;
        (now.saturating_duration_since(ticket.since) >= from).then_some(*ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The names of all that wait, in the order in which they are taken at a moment.
    fn order(waiting: &mut Waiting<&'static str>, at: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| waiting.take(at)).collect()
    }

    /// Peers are known to leave after two seconds.
    fn leaving_after_two() -> Waiting<&'static str> {
        let mut waiting = Waiting::default();
        for _ in 0..50 {
            waiting.patience.left(2 * SECOND, None);
        }
        waiting
    }

    #[test]
    fn the_longest_waiting_one_comes_first() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        let left = waiting.add(start, "left");
        waiting.add(start, "first");
        waiting.add(start + SECOND, "third");
        waiting.add(start, "second");
        assert_eq!(waiting.remove(left), Some("left"));
        assert_eq!(waiting.remove(left), None);
        let expected = ["first", "second", "third"];
        assert_eq!(order(&mut waiting, start + 60 * SECOND), expected);
    }

    #[test]
    fn one_that_is_about_to_leave_comes_last() {
        let (mut waiting, start) = (leaving_after_two(), Instant::now());
        waiting.add(start, "about to leave");
        waiting.add(start + SECOND, "early");
        waiting.add(start + SECOND, "early, too");
        let order = order(&mut waiting, start + Duration::from_millis(1990));
        assert_eq!(order, ["early", "early, too", "about to leave"]);
    }

    #[test]
    fn peers_are_taken_to_wait_for_the_timeout_until_more_is_known() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        waiting.patience.expect(2 * SECOND);
        waiting.add(start, "about to leave");
        waiting.add(start + SECOND, "early");
        let before = order(&mut waiting, start + Duration::from_millis(1990));
        assert_eq!(before, ["early", "about to leave"]);
    }

    #[test]
    fn the_patient_get_every_fourth_turn_however_many_come() {
        let (mut waiting, start) = (leaving_after_two(), Instant::now());
        waiting.add(start, "patient");
        waiting.add(start, "patient, too");
        for _ in 0..6 {
            waiting.add(start + 4 * SECOND, "new");
        }
        let order = order(&mut waiting, start + 5 * SECOND);
        let expected = [
            "new",
            "new",
            "new",
            "patient",
            "new",
            "new",
            "new",
            "patient, too",
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn those_that_wait_show_that_peers_are_patient() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        waiting.patience.expect(2 * SECOND);
        for _ in 0..ASKED {
            waiting.add(start, "patient");
        }
        waiting.add(start + 2 * SECOND, "new");
        let order = order(&mut waiting, start + 3 * SECOND);
        assert_eq!(order.last(), Some(&"new"));
    }
}
