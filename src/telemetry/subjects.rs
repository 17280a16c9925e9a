//! The subjects with the most traffic, and those without interest, over the last second, minute and
//! five minutes, and since the start.
//!
//! The recorder collects what the threads counted about once a second.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use super::{
    load::Window,
    metrics,
    pool::{allocated, shorten},
    sketch::{Hit, Sketch},
};

/// Number of subjects kept per part of a window, and since the start.
const PART_MAX: usize = 1024;
const START_MAX: usize = 4096;

/// Both lists.
#[derive(Default)]
pub struct Subjects(Mutex<State>);

#[derive(Default)]
struct State {
    sample: u64,
    delivered: History,
    no_interest: History,
    /// Names of the publishers to subjects without interest, by connection id.
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
    fn advance(&mut self, sample: u64) {
        self.second.clear();
        if sample.is_multiple_of(10) {
            self.tens[(sample / 10 % 6) as usize].take();
        }
        if sample.is_multiple_of(60) {
            self.minutes[(sample / 60 % 5) as usize].take();
        }
    }

    fn add(&mut self, sample: u64, hits: Vec<Hit>) {
        let ten = &mut self.tens[(sample / 10 % 6) as usize];
        let minute = &mut self.minutes[(sample / 60 % 5) as usize];
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
    /// Collects what the threads counted since the last sample. `names` returns the names of
    /// publishers to subjects without interest, if their connections still exist.
    pub fn sample<N: IntoIterator<Item = (u64, String)>>(
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
            .map(|(cid, name)| (cid, shorten(&name).into_owned()))
            .collect();
        let state = &mut *self.0.lock();
        state.sample += 1;
        let sample = state.sample;
        for (history, found) in [
            (&mut state.delivered, delivered),
            (&mut state.no_interest, no_interest),
        ] {
            history.advance(sample);
            found.into_iter().for_each(|hits| history.add(sample, hits));
        }
        state.publishers.extend(publishers);
        if state.publishers.len() > 2 * START_MAX {
            let no_interest = &state.no_interest.start;
            let used: HashSet<u64> = no_interest.hits().map(|hit| hit.publisher).collect();
            state.publishers.retain(|cid, _| used.contains(cid));
        }
    }

    /// Memory in bytes, including the threads' sketches.
    pub fn memory(&self) -> usize {
        let threads = metrics::threads();
        let counted = threads.iter().map(|thread| {
            let published = thread.published();
            published.delivered.memory() + published.no_interest.memory()
        });
        let counted: usize = counted.sum();
        let state = self.0.lock();
        let slots = state.publishers.capacity() * (size_of::<(u64, String)>() + 1);
        let names = state.publishers.values();
        let names: usize = names.map(|name| allocated(name.capacity())).sum();
        counted + state.delivered.memory() + state.no_interest.memory() + slots + names
    }

    /// Subjects with a subscription, in no order.
    pub fn delivered(&self, window: Window) -> Vec<Hit> {
        self.0.lock().delivered.within(window)
    }

    /// Subjects without a subscription, in no order.
    pub fn no_interest(&self, window: Window) -> Vec<Hit> {
        self.0.lock().no_interest.within(window)
    }

    /// The name of a publisher to a subject without interest.
    pub fn publisher(&self, cid: u64) -> Option<String> {
        self.0.lock().publishers.get(&cid).cloned()
    }
}
