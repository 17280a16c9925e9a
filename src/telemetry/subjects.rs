//! Subjects that carry the load, and subjects that nobody hears, over the last
//! second, minute and five minutes, and since the start.
//!
//! The recorder moves what the threads counted here about once in a second.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use super::{
    held::{allocated, shown},
    load::Window,
    metrics,
    sketch::{Hit, Sketch},
};

/// Subjects remembered of a part of a window, and since the start.
const PART_MAX: usize = 1024;
const START_MAX: usize = 4096;

/// Both lists.
#[derive(Default)]
pub struct Subjects(Mutex<State>);

#[derive(Default)]
struct State {
    look: u64,
    delivered: History,
    no_interest: History,
    /// Who published to what nobody hears, by connection id.
    publishers: HashMap<u64, String>,
}

struct History {
    second: Vec<Hit>,
    tens: [Sketch; 6],
    minutes: [Sketch; 5],
    start: Sketch,
}

impl Default for History {
    fn default() -> Self {
        Self {
            second: Vec::new(),
            tens: std::array::from_fn(|_| Sketch::new(PART_MAX)),
            minutes: std::array::from_fn(|_| Sketch::new(PART_MAX)),
            start: Sketch::new(START_MAX),
        }
    }
}

impl History {
    fn turn(&mut self, look: u64) {
        self.second.clear();
        if look.is_multiple_of(10) {
            self.tens[(look / 10 % 6) as usize].take();
        }
        if look.is_multiple_of(60) {
            self.minutes[(look / 60 % 5) as usize].take();
        }
    }

    fn add(&mut self, look: u64, hits: Vec<Hit>) {
        let ten = &mut self.tens[(look / 10 % 6) as usize];
        let minute = &mut self.minutes[(look / 60 % 5) as usize];
        for sketch in [ten, minute, &mut self.start] {
            hits.iter().for_each(|hit| sketch.add_hit(hit));
        }
        self.second.extend(hits);
    }

    fn memory(&self) -> usize {
        let sketches = self.tens.iter().chain(&self.minutes).chain([&self.start]);
        let texts = self.second.iter().map(|hit| allocated(hit.subject.len()));
        self.second.capacity() * size_of::<Hit>()
            + texts.sum::<usize>()
            + sketches.map(Sketch::memory).sum::<usize>()
    }

    fn within(&self, window: Window) -> Vec<Hit> {
        let mut sum = Sketch::new(START_MAX);
        let parts: &[Sketch] = match window {
            Window::Second => {
                self.second.iter().for_each(|hit| sum.add_hit(hit));
                &[]
            }
            Window::Minute => &self.tens,
            Window::FiveMinutes => &self.minutes,
            Window::Start => std::slice::from_ref(&self.start),
        };
        for part in parts {
            part.hits().for_each(|hit| sum.add_hit(hit));
        }
        sum.take()
    }
}

impl Subjects {
    /// Takes what the threads counted since the last look. `names` names the
    /// publishers of what nobody hears, as long as they are known.
    pub fn look<N: IntoIterator<Item = (u64, String)>>(
        &self,
        names: impl FnOnce(HashSet<u64>) -> N,
    ) {
        let mut delivered = Vec::new();
        let mut no_interest = Vec::new();
        for thread in metrics::threads() {
            let mut published = thread.published();
            delivered.push(published.delivered.take());
            no_interest.push(published.no_interest.take());
        }
        let unknown = no_interest
            .iter()
            .flatten()
            .map(|hit| hit.publisher)
            .collect();
        let publishers: Vec<_> = names(unknown)
            .into_iter()
            .map(|(cid, name)| (cid, shown(&name).into_owned()))
            .collect();
        let state = &mut *self.0.lock();
        state.look += 1;
        let look = state.look;
        for (history, found) in [
            (&mut state.delivered, delivered),
            (&mut state.no_interest, no_interest),
        ] {
            history.turn(look);
            found.into_iter().for_each(|hits| history.add(look, hits));
        }
        state.publishers.extend(publishers);
        if state.publishers.len() > 2 * START_MAX {
            let no_interest = &state.no_interest.start;
            let used: HashSet<u64> = no_interest.hits().map(|hit| hit.publisher).collect();
            state.publishers.retain(|cid, _| used.contains(cid));
        }
    }

    /// Bytes that all this takes, with what the threads count.
    pub fn memory(&self) -> usize {
        let threads = metrics::threads();
        let counted = threads.iter().map(|thread| {
            let published = thread.published();
            published.delivered.memory() + published.no_interest.memory()
        });
        let counted: usize = counted.sum();
        let state = self.0.lock();
        let places = state.publishers.capacity() * (size_of::<(u64, String)>() + 1);
        let names = state.publishers.values();
        let names: usize = names.map(|name| allocated(name.capacity())).sum();
        counted + state.delivered.memory() + state.no_interest.memory() + places + names
    }

    /// Subjects that reached somebody, in no order.
    pub fn delivered(&self, window: Window) -> Vec<Hit> {
        self.0.lock().delivered.within(window)
    }

    /// Subjects that reached nobody, in no order.
    pub fn no_interest(&self, window: Window) -> Vec<Hit> {
        self.0.lock().no_interest.within(window)
    }

    /// Who published to a subject that nobody hears.
    pub fn publisher(&self, cid: u64) -> Option<String> {
        self.0.lock().publishers.get(&cid).cloned()
    }
}
