//! What the federation's thread notes of requests to all nodes, and of the nodes that answer: for
//! [`super::silent_nodes`], which takes it with each sample of the diagnosis.
//!
//! A request counts once an answer to it has come here: one that nobody has to answer, or that no
//! node accepts, says nothing about single nodes. It counts as the share of its answers that come
//! here. Any answer counts for its node, whoever has passed on the request.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
};

use parking_lot::Mutex;

use super::filter::{Agents, Asked};
use crate::telemetry::{Counter, MonotonicMicros, pool::allocated};

/// Requests to all nodes whose first answer is waited for, and for how long.
const WAITING_MAX: usize = 256;
const WAITING_MICROS: u64 = 60_000_000;

/// Bytes of the longest id of a request: clients use 32 hexadecimal digits.
const ID_LEN_MAX: usize = 128;

/// Different agents that are asked between two samples.
const AGENTS_MAX: usize = 32;

/// Nodes that answer between two samples, and bytes of their names.
const NODES_MAX: usize = 65_536;
const NAMES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of the longest name of a node.
pub(super) const NAME_LEN_MAX: usize = 255;

/// What is noted.
#[derive(Default)]
pub struct Answers {
    /// Requests to all nodes with some agent that were passed on.
    pub to_all: Counter,
    /// Of these, requests that a node has answered here.
    pub answered: Counter,
    /// Requests to an agent of which is not known whom they ask, because they cannot be read.
    pub unreadable: Counter,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// The oldest first.
    waiting: VecDeque<Waiting>,
    new: News,
}

struct Waiting {
    id: String,
    agents: Agents,
    share: f64,
    at: MonotonicMicros,
}

/// What is new since the last sample.
#[derive(Default)]
pub(super) struct News {
    pub(super) asked: HashMap<Agents, Batch>,
    /// The nodes that have answered anything.
    pub(super) heard: HashSet<Box<str>>,
    heard_bytes: usize,
    /// Whether answers were lost here: nobody is silent then.
    pub(super) lost: bool,
}

/// Requests to the same agents.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    pub(super) requests: u32,
    /// How many answers of one node should have come here.
    pub(super) expected: f64,
    /// When the first of them was passed on.
    pub(super) first: MonotonicMicros,
}

impl Answers {
    /// A request is passed on. `share` is the share of its answers that come here.
    pub(super) fn ask(
        &self,
        id: &str,
        asked: Asked,
        share: impl FnOnce() -> f64,
        now: MonotonicMicros,
    ) {
        let agents = match asked {
            Asked::All(agents) => agents,
            Asked::Unreadable => return self.unreadable.add(1),
            Asked::Named | Asked::Filtered => return,
        };
        self.to_all.add(1);
        if id.is_empty() || id.len() > ID_LEN_MAX {
            return;
        }
        let share = share();
        let mut notes = self.notes.lock();
        let waiting = &mut notes.waiting;
        while let Some(oldest) = waiting.front()
            && (waiting.len() >= WAITING_MAX || oldest.at.micros_until(now) >= WAITING_MICROS)
        {
            waiting.pop_front();
        }
        if waiting.iter().all(|known| known.id != id) {
            waiting.push_back(Waiting {
                id: id.to_owned(),
                agents,
                share,
                at: now,
            });
        }
    }

    /// A node has answered the request with this id.
    pub(super) fn hear(&self, id: &str, sender: &str, now: MonotonicMicros) {
        let mut notes = self.notes.lock();
        let mut waiting = notes.waiting.iter();
        let at = waiting.position(|known| known.id == id);
        let first_answer = at.and_then(|at| notes.waiting.remove(at));
        if let Some(request) = first_answer
            && request.at.micros_until(now) < WAITING_MICROS
        {
            self.answered.add(1);
            notes.new.count(request);
        }
        notes.new.note(sender);
    }

    /// Answers were lost here, or come here no more.
    pub(super) fn lose(&self) {
        let mut notes = self.notes.lock();
        notes.waiting.clear();
        notes.new.lost = true;
    }

    /// Takes what is new since the last time.
    pub(super) fn take(&self) -> News {
        mem::take(&mut self.notes.lock().new)
    }

    /// Bytes that it holds.
    pub(super) fn memory(&self) -> usize {
        let notes = self.notes.lock();
        let waiting = notes.waiting.iter();
        let waiting = waiting.map(|it| allocated(it.id.capacity()) + it.agents.memory());
        let asked = notes.new.asked.keys().map(Agents::memory);
        notes.waiting.capacity() * size_of::<Waiting>()
            + waiting.sum::<usize>()
            + notes.new.asked.capacity() * size_of::<(Agents, Batch)>()
            + asked.sum::<usize>()
            + notes.new.heard.capacity() * size_of::<Box<str>>()
            + notes.new.heard_bytes
    }
}

impl News {
    fn count(&mut self, request: Waiting) {
        if self.asked.len() >= AGENTS_MAX && !self.asked.contains_key(&request.agents) {
            return;
        }
        let batch = self.asked.entry(request.agents).or_insert(Batch {
            requests: 0,
            expected: 0.0,
            first: request.at,
        });
        batch.requests += 1;
        batch.expected += request.share;
        batch.first = batch.first.min(request.at);
    }

    fn note(&mut self, sender: &str) {
        if sender.is_empty() || sender.len() > NAME_LEN_MAX || self.heard.contains(sender) {
            return;
        }
        let bytes = allocated(sender.len());
        if self.heard.len() >= NODES_MAX || self.heard_bytes + bytes > NAMES_BYTES_MAX {
            self.lost = true;
            return;
        }
        self.heard_bytes += bytes;
        self.heard.insert(sender.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents(name: &str) -> Agents {
        Agents {
            target: format!("mcollective.broadcast.agent.{name}"),
            others: Vec::new(),
        }
    }

    fn at(micros: u64) -> MonotonicMicros {
        MonotonicMicros(micros)
    }

    fn ask(answers: &Answers, id: &str, name: &str, now: u64) {
        answers.ask(id, Asked::All(agents(name)), || 0.5, at(now));
    }

    #[test]
    fn a_request_counts_once_it_is_answered() {
        let answers = Answers::default();
        ask(&answers, "1", "a", 30);
        ask(&answers, "2", "a", 20);
        ask(&answers, "2", "b", 25);
        ask(&answers, "3", "a", 40);
        ask(&answers, "", "a", 40);
        answers.ask("4", Asked::Unreadable, || 1.0, at(40));
        answers.ask("5", Asked::Filtered, || 1.0, at(40));
        assert!(answers.take().asked.is_empty());
        for (id, sender) in [("1", "web1"), ("1", "web2"), ("2", "web1"), ("5", "web3")] {
            answers.hear(id, sender, at(50));
        }
        let new = answers.take();
        let batch = new.asked[&agents("a")];
        assert_eq!(
            (batch.requests, batch.expected, batch.first),
            (2, 1.0, at(20))
        );
        assert_eq!((new.asked.len(), new.heard.len()), (1, 3));
        assert_eq!(answers.to_all.value(), 5);
        assert_eq!(answers.answered.value(), 2);
        assert_eq!(answers.unreadable.value(), 1);
        assert!(answers.take().heard.is_empty());
        // An answer that comes very late says nothing about the others.
        answers.hear("3", "web1", at(40 + WAITING_MICROS));
        assert!(answers.take().asked.is_empty());
    }

    #[test]
    fn all_that_is_noted_has_a_limit() {
        let answers = Answers::default();
        for n in 0..2 * WAITING_MAX {
            ask(&answers, &n.to_string(), "a", n as u64);
        }
        assert_eq!(answers.notes.lock().waiting.len(), WAITING_MAX);
        ask(&answers, &"x".repeat(ID_LEN_MAX + 1), "a", 1000);
        ask(&answers, "late", "a", 1000 + WAITING_MICROS);
        assert_eq!(answers.notes.lock().waiting.len(), 1);
        for n in 0..2 * AGENTS_MAX {
            let id = format!("of {n}");
            ask(&answers, &id, &n.to_string(), 1000 + WAITING_MICROS);
            answers.hear(
                &id,
                &"n".repeat(NAME_LEN_MAX + 1),
                at(1000 + WAITING_MICROS),
            );
        }
        let before = answers.memory();
        let new = answers.take();
        assert_eq!((new.asked.len(), new.heard.len()), (AGENTS_MAX, 0));
        assert!(answers.memory() < before);
        assert!(!new.lost);
        for n in 0..=NODES_MAX {
            answers.hear("", &n.to_string(), at(1));
        }
        let new = answers.take();
        assert_eq!((new.heard.len(), new.lost), (NODES_MAX, true));
        let long = |n: usize| format!("{n:0>200}");
        for n in 0..NAMES_BYTES_MAX / 200 {
            answers.hear("", &long(n), at(1));
        }
        let new = answers.take();
        assert!(new.heard_bytes <= NAMES_BYTES_MAX);
        assert!(new.lost);
        answers.lose();
        assert!(answers.take().lost);
        assert!(!answers.take().lost);
    }
}
