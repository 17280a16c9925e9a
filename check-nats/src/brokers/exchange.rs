//! Messages from each broker to each of the others, for mode `roundtrip` with several brokers.
//!
//! The check of each broker, a thread of its own, holds a session there. It publishes a
//! message that each of the others must get, and sends each of the others a request: the
//! message goes to a queue group whose only member is that broker's session, which answers to
//! the reply subject. So both kinds of interest cross every route, in both directions.
//!
//! A broker knows of a subscription elsewhere a moment after it was made, so what has
//! not arrived is sent again until all has, or the time is over.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    client_port::{Message, Session},
    deadline::{Deadline, Step},
    status::Failure,
};

/// Pause before what has not arrived is sent again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Longest wait for a message before the state of the others is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Time that is kept for the report.
const RESERVE: Duration = Duration::from_millis(500);

/// The queue group of the requests.
const GROUP: &str = "check_nats";

/// Subscription ids of a session; 1 is that of its own inbox.
const PUBLISHED: u64 = 2;
const REQUESTS: u64 = 3;
const ANSWERS: u64 = 4;

/// What the checks of the brokers share.
pub struct Exchange {
    /// Begins all subjects of this run.
    inbox: String,
    /// The time that all sending times are relative to.
    started: Instant,
    state: Mutex<State>,
}

struct State {
    takes_part: Vec<Part>,
    /// By from and to: time from publishing to arrival.
    published: Vec<Vec<Option<Duration>>>,
    /// By from and to: time from the request to the arrival of the answer.
    answered: Vec<Vec<Option<Duration>>>,
}

/// Whether a broker takes part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    /// Its session is not ready yet.
    Awaited,
    /// Its subscriptions are sent.
    Joined,
    /// It has no session, or lost it.
    Left,
}

/// What came of it, among the brokers that took part.
#[derive(Debug, Default, PartialEq)]
pub struct Arrivals {
    /// Number of brokers that took part.
    pub brokers: usize,
    /// Pairs (from, to) whose message has not arrived.
    pub not_arrived: Vec<(usize, usize)>,
    /// Pairs (from, to) whose request was not answered, although messages arrive in both
    /// directions.
    pub not_answered: Vec<(usize, usize)>,
    /// The longest time from a request to its answer; `None` without any.
    pub slowest: Option<Slowest>,
}

/// A request and the time to its answer.
#[derive(Debug, PartialEq)]
pub struct Slowest {
    /// The pair (from, to).
    pub pair: (usize, usize),
    /// From the request to its answer.
    pub time: Duration,
}

impl Exchange {
    /// An exchange between this many brokers; none has joined yet.
    pub fn new(count: usize) -> Self {
        let nothing = vec![vec![None; count]; count];
        Self {
            inbox: format!("_INBOX.check_nats.{:016x}", fastrand::u64(..)),
            started: Instant::now(),
            state: Mutex::new(State {
                takes_part: vec![Part::Awaited; count],
                published: nothing.clone(),
                answered: nothing,
            }),
        }
    }

    /// The part of one broker: ends when all who take part have all messages, or shortly
    /// before the time is over.
    ///
    /// # Errors
    /// As the session's; the others then do not wait for this broker.
    pub fn take_part(
        &self,
        own: usize,
        session: &mut Session,
        deadline: &Deadline,
    ) -> Result<(), Failure> {
        let result = self.exchange(own, session, deadline);
        if result.is_err() {
            self.leave(own);
        }
        result
    }

    /// A broker does not take part, or no longer.
    pub fn leave(&self, own: usize) {
        self.with(|state| state.takes_part[own] = Part::Left);
    }

    /// What has arrived so far.
    pub fn arrivals(&self) -> Arrivals {
        self.with(|state| state.arrivals())
    }

    fn exchange(
        &self,
        own: usize,
        session: &mut Session,
        deadline: &Deadline,
    ) -> Result<(), Failure> {
        let left = deadline.begin(Step::Exchange)?;
        let end = Instant::now() + left - RESERVE.min(left / 8);
        session.subscribe(&self.to_all(), None, PUBLISHED)?;
        session.subscribe(&self.requests_to(own), Some(GROUP), REQUESTS)?;
        session.subscribe(&self.answers_to(own), None, ANSWERS)?;
        self.with(|state| state.takes_part[own] = Part::Joined);
        let (mut pause, mut next) = (FIRST_PAUSE, Instant::now());
        loop {
            let now = Instant::now();
            if now >= end || self.with(|state| state.is_complete()) {
                return Ok(());
            }
            if now >= next {
                self.send(own, session)?;
                next = now + pause;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            let wait = LOOK.min(next - now).min(end - now);
            if let Some(message) = session.next_message(wait)? {
                self.receive(own, session, &message)?;
            }
        }
    }

    /// Sends what has not arrived yet.
    fn send(&self, own: usize, session: &mut Session) -> Result<(), Failure> {
        let (publishes, requests) = self.with(|state| state.missing_of(own));
        let payload = format!("{own} {}", self.started.elapsed().as_micros());
        if publishes {
            session.publish(&self.to_all(), None, &payload)?;
        }
        for to in requests {
            let reply = self.answers_to(own);
            session.publish(&self.requests_to(to), Some(&reply), &payload)?;
        }
        Ok(())
    }

    fn receive(&self, own: usize, session: &mut Session, message: &Message) -> Result<(), Failure> {
        match message.sid {
            PUBLISHED => {
                if let Some((from, time)) = self.sent(&message.payload) {
                    self.with(|state| State::note(&mut state.published, from, own, time));
                }
            }
            REQUESTS => {
                // Only a reply subject of this run: what arrives is not trusted.
                if let Some(reply) = &message.reply
                    && reply.starts_with(&self.inbox)
                {
                    let answer = format!("{own} {}", message.payload);
                    session.publish(reply, None, &answer)?;
                }
            }
            ANSWERS => {
                if let Some((to, request)) = message.payload.split_once(' ')
                    && let Ok(to) = to.parse()
                    && let Some((from, time)) = self.sent(request)
                    && from == own
                {
                    self.with(|state| State::note(&mut state.answered, own, to, time));
                }
            }
            _ => (),
        }
        Ok(())
    }

    /// Who sent a payload, and the time since.
    fn sent(&self, payload: &str) -> Option<(usize, Duration)> {
        let (from, micros) = payload.split_once(' ')?;
        let sent = Duration::from_micros(micros.parse().ok()?);
        let time = self.started.elapsed().checked_sub(sent)?;
        Some((from.parse().ok()?, time))
    }

    fn to_all(&self) -> String {
        format!("{}.all", self.inbox)
    }

    fn requests_to(&self, to: usize) -> String {
        format!("{}.request.{to}", self.inbox)
    }

    fn answers_to(&self, to: usize) -> String {
        format!("{}.answer.{to}", self.inbox)
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    /// Notes the first arrival; numbers that are no brokers' are passed over.
    fn note(times: &mut [Vec<Option<Duration>>], from: usize, to: usize, time: Duration) {
        let place = times.get_mut(from).and_then(|times| times.get_mut(to));
        if let Some(place) = place {
            place.get_or_insert(time);
        }
    }

    /// Whether this broker has to publish again, and which it has to ask again.
    fn missing_of(&self, own: usize) -> (bool, Vec<usize>) {
        let others = || self.joined().filter(|to| *to != own);
        let publishes = others().any(|to| self.published[own][to].is_none());
        let requests = others().filter(|to| self.answered[own][*to].is_none());
        (publishes, requests.collect())
    }

    /// Whether all who take part have all messages, and nobody else is awaited.
    fn is_complete(&self) -> bool {
        !self.takes_part.contains(&Part::Awaited)
            && self.pairs().all(|(from, to)| {
                self.published[from][to].is_some() && self.answered[from][to].is_some()
            })
    }

    fn arrivals(&self) -> Arrivals {
        let arrived = |from: usize, to: usize| self.published[from][to].is_some();
        let answers = self
            .pairs()
            .filter_map(|pair| self.answered[pair.0][pair.1].map(|time| Slowest { pair, time }));
        Arrivals {
            brokers: self.joined().count(),
            not_arrived: self
                .pairs()
                .filter(|(from, to)| !arrived(*from, *to))
                .collect(),
            not_answered: self
                .pairs()
                .filter(|(from, to)| arrived(*from, *to) && arrived(*to, *from))
                .filter(|(from, to)| self.answered[*from][*to].is_none())
                .collect(),
            slowest: answers.max_by_key(|answer| answer.time),
        }
    }

    fn joined(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.takes_part.len()).filter(|broker| self.takes_part[*broker] == Part::Joined)
    }

    /// All pairs (from, to) of those who take part.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.joined().flat_map(|from| {
            let others = self.joined().filter(move |to| *to != from);
            others.map(move |to| (from, to))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three brokers, all joined, with all messages there but those between the pairs.
    fn exchange_without(lost: &[(usize, usize)]) -> Exchange {
        let exchange = Exchange::new(3);
        exchange.with(|state| {
            for from in 0..3 {
                state.takes_part[from] = Part::Joined;
                for to in (0..3).filter(|to| *to != from) {
                    let arrives = |pair: (usize, usize)| !lost.contains(&pair);
                    let time = Duration::from_millis(10 * from as u64 + to as u64);
                    state.published[from][to] = arrives((from, to)).then_some(time);
                    state.answered[from][to] =
                        (arrives((from, to)) && arrives((to, from))).then_some(time);
                }
            }
        });
        exchange
    }

    #[test]
    fn what_is_lost_is_told_by_the_simplest_cause() {
        let exchange = exchange_without(&[]);
        assert!(exchange.with(|state| state.is_complete()));
        let slowest = Slowest {
            pair: (2, 1),
            time: Duration::from_millis(21),
        };
        let arrivals = exchange.arrivals();
        assert_eq!(arrivals.slowest, Some(slowest));
        assert!(arrivals.not_arrived.is_empty() && arrivals.not_answered.is_empty());
        // Without the message no answer is expected either.
        let exchange = exchange_without(&[(0, 1)]);
        assert!(!exchange.with(|state| state.is_complete()));
        let arrivals = exchange.arrivals();
        assert_eq!(arrivals.not_arrived, [(0, 1)]);
        assert!(arrivals.not_answered.is_empty());
        let exchange = exchange_without(&[]);
        exchange.with(|state| state.answered[1][2] = None);
        assert_eq!(exchange.arrivals().not_answered, [(1, 2)]);
        assert_eq!(exchange.with(|state| state.missing_of(1)), (false, vec![2]));
    }

    /// One that is not ready yet is waited for, one without a session is not.
    #[test]
    fn a_broker_that_left_is_not_waited_for() {
        let exchange = exchange_without(&[(0, 1), (1, 0)]);
        exchange.with(|state| state.takes_part[1] = Part::Awaited);
        assert!(!exchange.with(|state| state.is_complete()));
        assert_eq!(exchange.arrivals().brokers, 2);
        exchange.leave(1);
        assert!(exchange.with(|state| state.is_complete()));
        assert!(exchange.arrivals().not_arrived.is_empty());
    }

    /// Text from the network names no broker that does not take part.
    #[test]
    fn nonsense_is_passed_over() {
        let exchange = Exchange::new(2);
        assert!(exchange.sent("0 1").is_some());
        for payload in [
            "",
            "0",
            "0 ",
            "x 1",
            "0 x",
            "-1 1",
            "0 18446744073709551615",
        ] {
            assert!(exchange.sent(payload).is_none(), "{payload}");
        }
        let time = Duration::ZERO;
        exchange.with(|state| State::note(&mut state.published, 7, 0, time));
        exchange.with(|state| State::note(&mut state.published, 0, 7, time));
        assert!(exchange.with(|state| state.published.concat().iter().all(Option::is_none)));
    }
}
