//! Heavy hitters: the subjects with the most traffic, in a fixed amount of memory.
//!
//! A space-saving sketch counts a fixed number of subjects. A new subject replaces the one with the
//! lowest count and inherits that count as its possible error. With N entries, a subject with more
//! than 1/N of the messages is never missed. Long subjects are shortened: all with the same
//! beginning count as one.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::pool::{MARK, SHORT_LEN_MAX, allocated};

/// The counts of one subject.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hit {
    /// The series, which identifies the account; see [`super::metrics::ThreadMetrics`].
    pub series: u32,
    /// The subject, shortened if long.
    pub subject: Box<[u8]>,
    /// Messages; too high by at most `error`.
    pub msgs: u64,
    /// Bytes of their headers and payloads.
    pub bytes: u64,
    /// How much `msgs` may be too high.
    pub error: u64,
    /// Id of the connection that published to it last.
    pub publisher: u64,
}

/// A space-saving sketch.
pub struct Sketch {
    entries_max: usize,
    entries: Vec<Entry>,
    /// Indexes into `entries` by subject.
    by_subject: HashTable<u32>,
    /// A heap of indexes into `entries`; the lowest count is at the front.
    heap: Vec<u32>,
    hasher: DefaultHashBuilder,
    /// Memory of the subjects in bytes.
    texts: usize,
}

/// A subject in shortened form: its beginning, and a mark if that is not all.
#[derive(Clone, Copy)]
struct Shortened<'a> {
    head: &'a [u8],
    mark: &'static [u8],
}

impl<'a> Shortened<'a> {
    fn of(subject: &'a [u8]) -> Self {
        match subject.len() <= SHORT_LEN_MAX {
            true => Self {
                head: subject,
                mark: b"",
            },
            false => Self {
                head: &subject[..SHORT_LEN_MAX - MARK.len()],
                mark: MARK.as_bytes(),
            },
        }
    }

    fn is(self, kept: &[u8]) -> bool {
        kept.len() == self.head.len() + self.mark.len()
            && kept.starts_with(self.head)
            && kept.ends_with(self.mark)
    }

    fn to_box(self) -> Box<[u8]> {
        match self.mark {
            b"" => self.head.into(),
            mark => [self.head, mark].concat().into(),
        }
    }
}

struct Entry {
    hit: Hit,
    hash: u64,
    /// Its position in the heap.
    heap_at: u32,
}

impl Sketch {
    /// A sketch of at most that many entries.
    pub fn new(entries_max: usize) -> Self {
        Self {
            entries_max,
            entries: Vec::new(),
            by_subject: HashTable::new(),
            heap: Vec::new(),
            hasher: DefaultHashBuilder::default(),
            texts: 0,
        }
    }

    /// Its memory in bytes.
    pub fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.heap.capacity() * size_of::<u32>()
            + self.by_subject.allocation_size()
            + self.texts
    }

    /// Counts messages to a subject.
    pub fn add(&mut self, series: u32, subject: &[u8], msgs: u64, bytes: u64, publisher: u64) {
        let index = self.find_or_insert(series, Shortened::of(subject));
        let entry = &mut self.entries[index as usize];
        entry.hit.msgs += msgs;
        entry.hit.bytes += bytes;
        entry.hit.publisher = publisher;
        let heap_at = entry.heap_at as usize;
        self.sift_down(heap_at);
    }

    /// Adds a result of another sketch.
    pub fn add_hit(&mut self, hit: &Hit) {
        self.add(hit.series, &hit.subject, hit.msgs, hit.bytes, hit.publisher);
        if hit.error > 0
            && let Ok(index) = self.find(hit.series, Shortened::of(&hit.subject))
        {
            self.entries[index as usize].hit.error += hit.error;
        }
    }

    fn find_or_insert(&mut self, series: u32, subject: Shortened<'_>) -> u32 {
        match self.find(series, subject) {
            Ok(index) => index,
            Err(hash) => self.insert(hash, series, subject),
        }
    }

    /// The index of its entry, or its hash if it has none.
    fn find(&self, series: u32, subject: Shortened<'_>) -> Result<u32, u64> {
        let hash = self.hasher.hash_one((series, subject.head));
        let is_same = |index: &u32| {
            let hit = &self.entries[*index as usize].hit;
            hit.series == series && subject.is(&hit.subject)
        };
        self.by_subject.find(hash, is_same).copied().ok_or(hash)
    }

    /// All counts, in no order.
    pub fn hits(&self) -> impl Iterator<Item = &Hit> {
        self.entries.iter().map(|entry| &entry.hit)
    }

    /// Takes all counts and starts again.
    pub fn take(&mut self) -> Vec<Hit> {
        self.by_subject.clear();
        self.heap.clear();
        self.texts = 0;
        self.entries.drain(..).map(|entry| entry.hit).collect()
    }

    /// Adds an entry for a new subject, in place of the one with the lowest count if the sketch is
    /// full.
    fn insert(&mut self, hash: u64, series: u32, subject: Shortened<'_>) -> u32 {
        let index = if self.entries.len() < self.entries_max {
            let index = self.entries.len() as u32;
            let heap_at = self.heap.len() as u32;
            self.entries.push(Entry {
                hit: Hit {
                    series,
                    subject: Box::default(),
                    msgs: 0,
                    bytes: 0,
                    error: 0,
                    publisher: 0,
                },
                hash,
                heap_at,
            });
            self.heap.push(index);
            self.sift_up(heap_at as usize);
            index
        } else {
            let index = self.heap[0];
            let entry = &mut self.entries[index as usize];
            if let Ok(old) = self
                .by_subject
                .find_entry(entry.hash, |known| *known == index)
            {
                old.remove();
            }
            entry.hash = hash;
            entry.hit.series = series;
            entry.hit.error = entry.hit.msgs;
            entry.hit.bytes = 0;
            index
        };
        self.keep(index, subject);
        let entries = &self.entries;
        self.by_subject
            .insert_unique(hash, index, |known| entries[*known as usize].hash);
        index
    }

    fn keep(&mut self, index: u32, subject: Shortened<'_>) {
        let kept = &mut self.entries[index as usize].hit.subject;
        let (head_len, mark_len) = (subject.head.len(), subject.mark.len());
        if kept.len() == head_len + mark_len {
            kept[..head_len].copy_from_slice(subject.head);
            kept[head_len..].copy_from_slice(subject.mark);
            return;
        }
        self.texts -= allocated(kept.len());
        *kept = subject.to_box();
        self.texts += allocated(kept.len());
    }

    fn msgs_at(&self, heap_at: usize) -> u64 {
        self.entries[self.heap[heap_at] as usize].hit.msgs
    }

    /// Restores the heap after a count has grown.
    fn sift_down(&mut self, mut at: usize) {
        loop {
            let children = [2 * at + 1, 2 * at + 2];
            let least = children
                .into_iter()
                .filter(|child| *child < self.heap.len())
                .min_by_key(|child| self.msgs_at(*child));
            match least {
                Some(child) if self.msgs_at(child) < self.msgs_at(at) => {
                    self.swap(at, child);
                    at = child;
                }
                _ => return,
            }
        }
    }

    /// Restores the heap after a new entry.
    fn sift_up(&mut self, mut at: usize) {
        while at > 0 && self.msgs_at(at) < self.msgs_at((at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        for at in [a, b] {
            self.entries[self.heap[at] as usize].heap_at = at as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The twenty most frequent subjects of a Zipf load over a million subjects are among the first
    /// 32 of the sketch.
    #[test]
    fn heavy_hitters_among_a_million_subjects_are_found() {
        let subjects = 1_000_000_u64;
        let mut sketch = Sketch::new(1024);
        let mut random = fastrand::Rng::with_seed(7);
        let harmonic = (subjects as f64).ln();
        for _ in 0..500_000 {
            // The inverse of the (continuous) Zipf distribution with exponent 1.
            let rank = (random.f64() * harmonic).exp() as u64;
            sketch.add(0, format!("load.{rank}").as_bytes(), 1, 10, rank);
        }
        let mut hits: Vec<_> = sketch.hits().collect();
        assert_eq!(hits.len(), 1024);
        hits.sort_by_key(|hit| std::cmp::Reverse(hit.msgs));
        for rank in 1..=20 {
            let subject = format!("load.{rank}");
            let found = hits[..32]
                .iter()
                .find(|hit| *hit.subject == *subject.as_bytes());
            let found = found.unwrap_or_else(|| panic!("{subject} is missing"));
            assert_eq!(found.publisher, rank);
            assert!(found.error < found.msgs);
        }
    }

    /// Long subjects that all differ use no more memory than short ones and are still counted.
    #[test]
    fn long_subjects_are_shortened() {
        let mut sketch = Sketch::new(64);
        for number in 0..1000_u64 {
            let subject = format!("{}.{}", number % 4, "x".repeat(30_000 + number as usize));
            sketch.add(0, subject.as_bytes(), 1, 1, number);
        }
        let hits: Vec<_> = sketch.hits().collect();
        assert_eq!(hits.len(), 4);
        for hit in hits {
            assert!(hit.subject.len() <= SHORT_LEN_MAX && hit.subject.ends_with(MARK.as_bytes()));
            assert_eq!((hit.msgs, hit.error), (250, 0));
        }
        assert!(sketch.memory() < 64 * 1024);
        let mut sum = Sketch::new(64);
        sketch.take().iter().for_each(|hit| sum.add_hit(hit));
        assert_eq!(sum.hits().map(|hit| hit.msgs).sum::<u64>(), 1000);
        let taken = sketch.memory();
        for number in 0..10_000 {
            let subject = format!("{number}.{}", "x".repeat(number % 1000));
            sketch.add(0, subject.as_bytes(), 1, 1, 0);
        }
        let texts = sketch.hits().map(|hit| allocated(hit.subject.len()));
        assert_eq!(sketch.texts, texts.sum::<usize>());
        sketch.take();
        assert!(sketch.memory() <= taken + 64 * 256);
    }

    #[test]
    fn few_subjects_are_counted_exactly() {
        let mut sketch = Sketch::new(8);
        for round in 1..=8 {
            for subject in 0..round {
                sketch.add(subject % 2, &[subject as u8], 2, 5, 9);
            }
        }
        let mut counts: Vec<_> = sketch
            .hits()
            .map(|hit| (hit.subject[0], hit.msgs, hit.bytes, hit.error))
            .collect();
        counts.sort_unstable();
        let expected: Vec<_> = (0..8_u8)
            .map(|subject| {
                let rounds = 8 - u64::from(subject);
                (subject, 2 * rounds, 5 * rounds, 0)
            })
            .collect();
        assert_eq!(counts, expected);
        let mut sum = Sketch::new(4);
        for hit in sketch.take() {
            sum.add_hit(&hit);
        }
        assert_eq!(sum.hits().map(|hit| hit.msgs).sum::<u64>(), 72);
        assert_eq!(sketch.hits().count(), 0);
    }
}
