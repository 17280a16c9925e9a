//! What the threads that serve connections measure, each for itself.
//!
//! A thread has histograms and sketches of its own and never waits for another
//! one to use them; whoever shows figures adds all threads up. What is measured
//! belongs to a *series*: a kind of connection and an account.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::{Mutex, MutexGuard};

use super::{
    Kind,
    histogram::{Distribution, Histogram},
    sketch::Sketch,
};

/// Most series; what belongs to more is counted with the first one.
pub const SERIES_MAX: usize = 256;

/// Subjects that a thread counts between two looks of the recorder. Of N messages a
/// count is wrong by at most N divided by this.
const SUBJECTS_MAX: usize = 2048;

/// The same of subjects that nobody hears.
const UNHEARD_MAX: usize = 2048;

/// What figures are told apart by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Series {
    /// Kind of the connection.
    pub kind: Kind,
    /// Name of its account; empty while it has none, and for those that are not
    /// told apart.
    pub account: String,
}

/// What one thread measures.
pub struct ThreadMetrics {
    latency: [OnceLock<Box<Histogram>>; SERIES_MAX],
    published: Mutex<Published>,
    /// Bytes of the thread's buffers when it last told.
    buffers: AtomicUsize,
}

/// Subjects that were published to since the last look.
pub struct Published {
    /// Those that reached somebody.
    pub delivered: Sketch,
    /// Those that reached nobody.
    pub no_interest: Sketch,
}

static SERIES: Mutex<Vec<Series>> = Mutex::new(Vec::new());
static THREADS: Mutex<Vec<Arc<ThreadMetrics>>> = Mutex::new(Vec::new());

/// The number of a series.
pub fn number(kind: Kind, account: &str) -> u32 {
    let mut known = SERIES.lock();
    if known.is_empty() {
        known.push(unnamed());
    }
    let found = known
        .iter()
        .position(|series| series.kind == kind && series.account == account);
    let number = found.unwrap_or_else(|| {
        if known.len() == SERIES_MAX {
            return 0;
        }
        known.push(Series {
            kind,
            account: account.to_owned(),
        });
        known.len() - 1
    });
    number as u32
}

fn unnamed() -> Series {
    Series {
        kind: Kind::Client,
        account: String::new(),
    }
}

/// The series, by their numbers.
pub fn series() -> Vec<Series> {
    let known = SERIES.lock();
    match known.is_empty() {
        true => vec![unnamed()],
        false => known.clone(),
    }
}

/// The figures of all threads, those that have ended included.
pub fn threads() -> Vec<Arc<ThreadMetrics>> {
    THREADS.lock().clone()
}

/// Figures for a thread that begins: new ones, or those of a thread that has
/// ended, to go on with.
pub fn for_thread() -> Arc<ThreadMetrics> {
    let mut threads = THREADS.lock();
    let free = threads.iter().find(|known| Arc::strong_count(known) == 1);
    if let Some(free) = free {
        return free.clone();
    }
    let new = Arc::new(ThreadMetrics {
        latency: std::array::from_fn(|_| OnceLock::new()),
        published: Mutex::new(Published {
            delivered: Sketch::new(SUBJECTS_MAX),
            no_interest: Sketch::new(UNHEARD_MAX),
        }),
        buffers: AtomicUsize::new(0),
    });
    threads.push(new.clone());
    new
}

/// Bytes that the histograms of all threads take.
pub fn histograms_memory() -> usize {
    let of_thread = |metrics: &Arc<ThreadMetrics>| {
        let used = metrics.latency.iter().filter_map(OnceLock::get).count();
        size_of::<ThreadMetrics>() + used * size_of::<Histogram>()
    };
    THREADS.lock().iter().map(of_thread).sum()
}

/// Bytes that the buffers of all threads take, and how many threads there are.
pub fn buffers_memory() -> (usize, usize) {
    let threads = THREADS.lock();
    let buffers = threads
        .iter()
        .map(|known| known.buffers.load(Ordering::Relaxed));
    (buffers.sum(), threads.len())
}

/// What all threads measured so far, by the number of the series.
pub fn latencies() -> Vec<Distribution> {
    let threads = threads();
    (0..series().len())
        .map(|number| {
            let mut all = Distribution::default();
            for histogram in threads
                .iter()
                .filter_map(|metrics| metrics.latency[number].get())
            {
                all.add_histogram(histogram);
            }
            all
        })
        .collect()
}

impl ThreadMetrics {
    /// Counts how long messages stayed. Only the own thread may do so.
    pub fn record_latency(&self, series: u32, micros: u64) {
        if let Some(place) = self.latency.get(series as usize) {
            place.get_or_init(Box::default).record(micros);
        }
    }

    /// Tells how many bytes the thread's buffers take now.
    pub fn set_buffers(&self, bytes: usize) {
        self.buffers.store(bytes, Ordering::Relaxed);
    }

    /// The subjects since the last look. To be held briefly.
    pub fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock()
    }
}
