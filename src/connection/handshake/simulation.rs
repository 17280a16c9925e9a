//! What the order of handshakes does with peers that give up: a simulation with a clock of
//! its own, of [`Waiting`] beside orders that know nothing of patience. It writes the table
//! in `docs/handshakes.md`.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt::Write,
    time::{Duration, Instant},
};

use super::waiting::{Ticket, Waiting};

/// The order may serve as much less than the best of the others, which each are the best
/// somewhere.
const MARGIN: f64 = 0.02;

/// And as many peers less, until it has learned when they give up.
const LEARNING: usize = 5;

/// The page as far as its table.
const HEAD: &str = include_str!("simulation.md");

/// An order of peers that wait, by their numbers.
trait Order {
    fn add(&mut self, now: Instant, peer: usize);
    fn remove(&mut self, peer: usize);
    fn take(&mut self, now: Instant) -> Option<usize>;
    fn stayed(&mut self, _age: Duration, _rest: Duration) {}
    fn left(&mut self, _age: Duration, _rest: Option<Duration>) {}
}

/// Which one an order without memory takes.
#[derive(Clone, Copy)]
enum Rule {
    Oldest,
    Newest,
    /// The rule of midge before: the newest once the oldest waits for more than 1.2 s,
    /// except for every fourth turn.
    Earlier,
}

struct Plain {
    rule: Rule,
    waiting: VecDeque<(Instant, usize)>,
    late_turns: u32,
}

impl Order for Plain {
    fn add(&mut self, now: Instant, peer: usize) {
        self.waiting.push_back((now, peer));
    }

    fn remove(&mut self, peer: usize) {
        let at = self
            .waiting
            .iter()
            .position(|(_, waiting)| *waiting == peer);
        at.map(|at| self.waiting.remove(at));
    }

    fn take(&mut self, now: Instant) -> Option<usize> {
        let (since, _) = self.waiting.front()?;
        let is_oldest = match self.rule {
            Rule::Oldest => true,
            Rule::Newest => false,
            Rule::Earlier if now - *since <= Duration::from_millis(1200) => true,
            Rule::Earlier => {
                self.late_turns += 1;
                self.late_turns.is_multiple_of(4)
            }
        };
        let taken = match is_oldest {
            true => self.waiting.pop_front(),
            false => self.waiting.pop_back(),
        };
        taken.map(|(_, peer)| peer)
    }
}

/// The order that is used, with the tickets of all peers.
struct Learning {
    waiting: Waiting<usize>,
    tickets: Vec<Option<Ticket>>,
}

impl Order for Learning {
    fn add(&mut self, now: Instant, peer: usize) {
        self.tickets.resize(self.tickets.len().max(peer + 1), None);
        self.tickets[peer] = Some(self.waiting.add(now, peer));
    }

    fn remove(&mut self, peer: usize) {
        if let Some(ticket) = self.tickets[peer].take() {
            self.waiting.remove(ticket);
        }
    }

    fn take(&mut self, now: Instant) -> Option<usize> {
        self.waiting.take(now)
    }

    fn stayed(&mut self, age: Duration, rest: Duration) {
        self.waiting.patience.stayed(age, rest);
    }

    fn left(&mut self, age: Duration, rest: Option<Duration>) {
        self.waiting.patience.left(age, rest);
    }
}

/// How peers come.
#[derive(Clone, Copy)]
enum Arrival {
    /// A stream, as a multiple of what can be served.
    Stream(f64),
    /// All at once, as a multiple of what can be served before they give up.
    Crowd(f64),
    /// For each that is served a new one comes, so that as many wait as this multiple of
    /// what can be served before they give up.
    Steady(f64),
}

/// A case that is simulated.
#[derive(Clone, Copy)]
struct Cell {
    arrival: Arrival,
    /// What peers wait before they give up; peers have the one or the other.
    patience: [Duration; 2],
    /// The time of one processor that a signature takes.
    cost: Duration,
    /// The rest of a handshake, without the broker's time.
    round_trip: Duration,
}

/// What happens to a peer, with the number of its attempt.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    Comes,
    GivesUp(u32),
    Signed(u32),
    Replies(u32),
    Done(u32),
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum State {
    #[default]
    Away,
    Waiting,
    /// From when on it was its turn.
    Begun(Duration),
}

#[derive(Clone, Copy, Default)]
struct Peer {
    patience: Duration,
    attempt: u32,
    since: Duration,
    state: State,
}

/// How many handshakes were finished, and how often peers gave up.
#[derive(Clone, Copy, Default)]
struct Outcome {
    served: usize,
    gave_up: usize,
}

/// Peers, a processor, and what will happen.
struct Simulation<'a> {
    cell: Cell,
    order: &'a mut dyn Order,
    start: Instant,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, usize, Event)>>,
    peers: Vec<Peer>,
    /// Those whose second flight waits.
    in_progress: VecDeque<(usize, u32)>,
    is_busy: bool,
    random: u64,
    outcome: Outcome,
}

impl Cell {
    /// The time of the processor for a whole handshake.
    fn whole(&self) -> Duration {
        self.cost + self.cost / 10
    }

    fn mean_patience(&self) -> Duration {
        (self.patience[0] + self.patience[1]) / 2
    }

    fn duration(&self) -> Duration {
        let longest = self.patience[0].max(self.patience[1]);
        (longest * 3).clamp(Duration::from_secs(12), Duration::from_secs(45))
    }

    fn run(self, order: &mut dyn Order) -> Outcome {
        let mut simulation = Simulation {
            cell: self,
            order,
            start: Instant::now(),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            peers: Vec::new(),
            in_progress: VecDeque::new(),
            is_busy: false,
            random: 1,
            outcome: Outcome::default(),
        };
        simulation.invite();
        simulation.run();
        simulation.outcome
    }

    /// With the order by age, by the newest, the earlier one, and the one in use.
    fn outcomes(self, timeout: Duration) -> [Outcome; 4] {
        let plain = |rule| {
            let (waiting, late_turns) = (VecDeque::new(), 0);
            self.run(&mut Plain {
                rule,
                waiting,
                late_turns,
            })
        };
        let mut waiting = Waiting::default();
        waiting.patience.expect(timeout);
        let tickets = Vec::new();
        let learning = self.run(&mut Learning { waiting, tickets });
        [
            plain(Rule::Oldest),
            plain(Rule::Newest),
            plain(Rule::Earlier),
            learning,
        ]
    }
}

impl Simulation<'_> {
    /// Has the peers come.
    fn invite(&mut self) {
        let (whole, mean) = (self.cell.whole(), self.cell.mean_patience());
        let capacity = mean.as_secs_f64() / whole.as_secs_f64();
        match self.cell.arrival {
            Arrival::Stream(load) => {
                let mut at = Duration::ZERO;
                while at < self.cell.duration() {
                    at += self.random_around(whole.div_f64(load));
                    self.add_peer(at);
                }
            }
            Arrival::Crowd(load) | Arrival::Steady(load) => {
                for _ in 0..(capacity * load) as usize {
                    let at = self.random_around(Duration::from_millis(100));
                    self.add_peer(at);
                }
            }
        }
    }

    fn add_peer(&mut self, at: Duration) {
        let patience = self.cell.patience[(self.random() % 2) as usize];
        // Clocks and networks differ a little.
        let patience = patience.mul_f64(0.97) + self.random_around(patience.mul_f64(0.03));
        let peer = Peer {
            patience,
            ..Peer::default()
        };
        self.peers.push(peer);
        self.schedule(at, self.peers.len() - 1, Event::Comes);
    }

    fn run(&mut self) {
        while let Some(Reverse((at, number, event))) = self.events.pop() {
            if at > self.cell.duration() {
                break;
            }
            self.now = at;
            self.handle(number, event);
            while !self.is_busy && self.compute() {}
        }
    }

    fn handle(&mut self, number: usize, event: Event) {
        let peer = self.peers[number];
        let is_current = |attempt| attempt == peer.attempt && peer.state != State::Away;
        match event {
            Event::Comes => {
                let attempt = peer.attempt + 1;
                self.peers[number] = Peer {
                    attempt,
                    since: self.now,
                    state: State::Waiting,
                    ..peer
                };
                self.order.add(self.start + self.now, number);
                let end = self.now + peer.patience;
                self.schedule(end, number, Event::GivesUp(attempt));
            }
            Event::GivesUp(attempt) if is_current(attempt) => self.give_up(number),
            Event::Signed(attempt) => {
                self.is_busy = false;
                let reply = self.now + self.random_around(self.cell.round_trip);
                self.schedule(reply, number, Event::Replies(attempt));
            }
            Event::Replies(attempt) if is_current(attempt) => {
                self.in_progress.push_back((number, attempt));
            }
            Event::Done(attempt) => {
                self.is_busy = false;
                if is_current(attempt) {
                    self.finish(number);
                }
            }
            Event::GivesUp(_) | Event::Replies(_) => {}
        }
    }

    /// It comes again after a moment.
    fn give_up(&mut self, number: usize) {
        let peer = self.peers[number];
        self.outcome.gave_up += 1;
        let rest = match peer.state {
            State::Begun(at) => Some(self.now - at),
            _ => {
                self.order.remove(number);
                None
            }
        };
        self.order.left(self.now - peer.since, rest);
        self.peers[number].state = State::Away;
        let again = self.now + self.random_around(Duration::from_millis(700));
        self.schedule(again, number, Event::Comes);
    }

    fn finish(&mut self, number: usize) {
        let peer = self.peers[number];
        self.outcome.served += 1;
        if let State::Begun(at) = peer.state {
            self.order.stayed(self.now - peer.since, self.now - at);
        }
        self.peers[number].state = State::Away;
        if let Arrival::Steady(_) = self.cell.arrival {
            self.add_peer(self.now + Duration::from_millis(1));
        }
    }

    /// Gives the processor the next step; `false`: there is none.
    fn compute(&mut self) -> bool {
        if let Some((number, attempt)) = self.in_progress.pop_front() {
            let peer = &self.peers[number];
            if peer.attempt == attempt && peer.state != State::Away {
                self.is_busy = true;
                let done = self.now + self.cell.cost / 10;
                self.schedule(done, number, Event::Done(attempt));
            }
            return true;
        }
        let Some(number) = self.order.take(self.start + self.now) else {
            return false;
        };
        self.is_busy = true;
        let peer = &mut self.peers[number];
        peer.state = State::Begun(self.now);
        let signed = Event::Signed(peer.attempt);
        self.schedule(self.now + self.cell.cost, number, signed);
        true
    }

    fn schedule(&mut self, at: Duration, number: usize, event: Event) {
        self.events.push(Reverse((at, number, event)));
    }

    /// Xorshift, the same numbers each time.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }

    /// From nothing to twice as much.
    fn random_around(&mut self, mean: Duration) -> Duration {
        let nanos = (2 * mean.as_nanos() as u64).max(1);
        Duration::from_nanos(self.random() % nanos)
    }
}

const PATIENCE: [(&str, [u64; 2]); 7] = [
    ("1 s", [1, 1]),
    ("2 s", [2, 2]),
    ("5 s", [5, 5]),
    ("10 s", [10, 10]),
    ("30 s", [30, 30]),
    ("1 s or 10 s", [1, 10]),
    ("2 s or 30 s", [2, 30]),
];

const ARRIVALS: [(&str, Arrival); 7] = [
    ("stream, 0.9 of what can be served", Arrival::Stream(0.9)),
    ("stream, 1.3 times", Arrival::Stream(1.3)),
    ("stream, 4 times", Arrival::Stream(4.0)),
    (
        "as many wait as can be served in 0.5 of their patience",
        Arrival::Steady(0.5),
    ),
    ("0.8 of it", Arrival::Steady(0.8)),
    ("1.5 times", Arrival::Steady(1.5)),
    ("all at once, 3 times", Arrival::Crowd(3.0)),
];

fn cell(patience: [u64; 2], arrival: Arrival, cost: u64, round_trip: u64) -> Cell {
    Cell {
        arrival,
        patience: patience.map(Duration::from_secs),
        cost: Duration::from_millis(cost),
        round_trip: Duration::from_millis(round_trip),
    }
}

/// No other order serves more, beyond the margin.
#[track_caller]
fn assert_none_serves_more(cell: Cell, timeout: u64, what: &str) -> [Outcome; 4] {
    let outcomes = cell.outcomes(Duration::from_secs(timeout));
    let [others @ .., learning] = &outcomes;
    let best = others.iter().map(|it| it.served).max().unwrap_or(0);
    let least = ((best as f64 * (1.0 - MARGIN)) as usize).saturating_sub(LEARNING);
    let served = others.map(|it| it.served);
    assert!(
        learning.served >= least,
        "{what}, timeout {timeout}: {} beside {served:?}",
        learning.served
    );
    outcomes
}

#[test]
fn the_table_in_the_docs_is_up_to_date() {
    let mut page = HEAD.to_owned();
    for (patience_name, patience) in PATIENCE {
        for (arrival_name, arrival) in ARRIVALS {
            let cell = cell(patience, arrival, 30, 20);
            let what = format!("{patience_name}, {arrival_name}");
            let outcomes = assert_none_serves_more(cell, 2, &what);
            let is_alike = patience[0] == patience[1];
            if is_alike && matches!(arrival, Arrival::Steady(load) if load < 1.0) {
                assert_eq!(outcomes[3].gave_up, 0, "{what}: all can be served in time");
            }
            write!(page, "| {patience_name} | {arrival_name} |").unwrap();
            for outcome in outcomes {
                write!(page, " {} / {} |", outcome.served, outcome.gave_up).unwrap();
            }
            page.push('\n');
        }
    }
    test_support::generated::assert_up_to_date("docs/handshakes.md", &page);
}

#[test]
fn none_serves_more_whatever_a_handshake_costs() {
    for (patience_name, patience) in PATIENCE {
        for (arrival_name, arrival) in ARRIVALS {
            for (cost, round_trip, timeout) in [(80, 5, 2), (80, 200, 30), (50, 100, 10)] {
                let what = format!("{patience_name}, {arrival_name}, {cost} ms, {round_trip} ms");
                let cell = cell(patience, arrival, cost, round_trip);
                assert_none_serves_more(cell, timeout, &what);
            }
        }
    }
}
