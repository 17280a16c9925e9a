//! The memory budget that all outbound queues share.
//!
//! Each queue has a limit of its own, but a crowd of stuck readers below their
//! limits could still take all memory. What waits in queues that cannot be
//! written now is booked here; when the budget is overdrawn the one for which
//! most is booked is cut first. Queues that flow are never booked, so healthy
//! traffic does not touch the shared figure. Who is not let in yet has a small
//! budget of its own ([`Budget::own`]), so that nobody is cut for what a stranger
//! holds.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Differences smaller than this are not booked.
pub const BOOKED_STEP: usize = 16 * 1024;

/// Bytes that wait in queues, and how many may.
pub struct Budget {
    used: AtomicUsize,
    limit: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
        }
    }

    /// That of a connection alone, which its queue's limit bounds.
    pub fn own() -> Arc<Self> {
        Arc::new(Self::new(usize::MAX))
    }

    /// Replaces a holder's booking.
    pub fn book(&self, before: usize, now: usize) {
        match now.checked_sub(before) {
            Some(more) => self.used.fetch_add(more, Ordering::Relaxed),
            None => self.used.fetch_sub(before - now, Ordering::Relaxed),
        };
    }

    /// Bytes booked.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be booked.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets another limit.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Whether somebody has to go.
    pub fn is_overdrawn(&self) -> bool {
        self.used() > self.limit()
    }
}

/// Half of the memory that this process may use.
pub fn default_limit() -> usize {
    process_limit().map_or(1 << 30, |bytes| bytes / 2)
}

/// Bytes of memory that this process may use: the least of the machine's, the
/// control groups' and the process's own limit; `None` if the system does not
/// tell.
pub fn process_limit() -> Option<usize> {
    let limits = [machine_memory(), cgroup_limit(), data_limit()];
    limits.into_iter().flatten().min()
}

fn machine_memory() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes = text
        .strip_prefix("MemTotal:")?
        .trim_start()
        .split(' ')
        .next()?;
    Some(kibibytes.parse::<usize>().ok()? * 1024)
}

/// What the process may use for its data (LimitDATA, `ulimit -d`).
fn data_limit() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Max data size"))?;
    // `unlimited` is no number.
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The limit of the own control group (version 2) and of those above it.
fn cgroup_limit() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = std::path::Path::new("/sys/fs/cgroup");
    root.join(path)
        .ancestors()
        .take_while(|group| group.starts_with(root))
        .filter_map(|group| std::fs::read_to_string(group.join("memory.max")).ok())
        .filter_map(|limit| limit.trim().parse().ok())
        .min()
}
