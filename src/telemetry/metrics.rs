//! What each thread that serves connections measures.
//!
//! Each thread has histograms and sketches of its own and never waits for another one to use them;
//! readers add them up. Everything belongs to a *series*: a kind of connection and an account.

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

/// Limit of series; further ones are counted with the first one.
pub const SERIES_MAX: usize = 256;

/// Subjects that a thread counts between two samples of the recorder. Of N messages a count is
/// wrong by at most N divided by this.
const SUBJECTS_MAX: usize = 2048;

/// The same for subjects without interest.
const NO_INTEREST_MAX: usize = 2048;

/// The labels of a series.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Series {
    /// Kind of the connection.
    pub kind: Kind,
    /// Name of its account; empty while it has none, and for the series that are counted together.
    pub account: String,
}

/// The metrics of one thread.
pub struct ThreadMetrics {
    latency: [OnceLock<Box<Histogram>>; SERIES_MAX],
    published: Mutex<Published>,
    /// Bytes of the thread's buffers, as last reported.
    buffers: AtomicUsize,
}

/// Subjects published to since the last sample.
pub struct Published {
    /// Those with a subscription.
    pub delivered: Sketch,
    /// Those without a subscription.
    pub no_interest: Sketch,
}

static SERIES: Mutex<Vec<Series>> = Mutex::new(Vec::new());
static THREADS: Mutex<Vec<Arc<ThreadMetrics>>> = Mutex::new(Vec::new());

/// The number of a series; adds it if it is new.
pub fn series_number(kind: Kind, account: &str) -> u32 {
    let mut known = SERIES.lock();
    if known.is_empty() {
        known.push(unnamed());
    }
    let found = known
        .iter()
        .position(|series| series.kind == kind && series.account == account);
    let series_number = found.unwrap_or_else(|| {
        if known.len() == SERIES_MAX {
            return 0;
        }
        known.push(Series {
            kind,
            account: account.to_owned(),
        });
        known.len() - 1
    });
    series_number as u32
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

/// The metrics of all threads, including those that have ended.
pub fn threads() -> Vec<Arc<ThreadMetrics>> {
    THREADS.lock().clone()
}

/// Metrics for a new thread: new ones, or those of a thread that has ended, which continue.
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
            no_interest: Sketch::new(NO_INTEREST_MAX),
        }),
        buffers: AtomicUsize::new(0),
    });
    threads.push(new.clone());
    new
}

/// Memory of the histograms of all threads, in bytes.
pub fn histograms_memory() -> usize {
    let of_thread = |metrics: &Arc<ThreadMetrics>| {
        let used = metrics.latency.iter().filter_map(OnceLock::get).count();
        size_of::<ThreadMetrics>() + used * size_of::<Histogram>()
    };
    THREADS.lock().iter().map(of_thread).sum()
}

/// Memory of the buffers of all threads in bytes, and the number of threads.
pub fn buffers_memory() -> (usize, usize) {
    let threads = THREADS.lock();
    let buffers = threads
        .iter()
        .map(|known| known.buffers.load(Ordering::Relaxed));
    (buffers.sum(), threads.len())
}

/// The latencies of all threads, by the number of the series.
pub fn latencies() -> Vec<Distribution> {
    let threads = threads();
    (0..series().len())
        .map(|series_number| {
            let mut all = Distribution::default();
            for histogram in threads
                .iter()
                .filter_map(|metrics| metrics.latency[series_number].get())
            {
                all.add_histogram(histogram);
            }
            all
        })
        .collect()
}

impl ThreadMetrics {
    /// Records how long messages stayed in the broker. Only the thread itself may call this.
    pub fn record_latency(&self, series: u32, micros: u64) {
        if let Some(slot) = self.latency.get(series as usize) {
            slot.get_or_init(Box::default).record(micros);
        }
    }

    /// Reports the memory of the thread's buffers.
    pub fn set_buffers(&self, bytes: usize) {
        self.buffers.store(bytes, Ordering::Relaxed);
    }

    /// The subjects since the last sample. Hold the lock only briefly.
    pub fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock()
    }
}
