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

use once_cell::sync::OnceCell;

use crate::{
    connection::{SUBSCRIPTIONS, payload, remote::REMOTE_INTEREST},
    telemetry::{allocator::limit_arenas, process},
};

/// Differences smaller than this are not booked.
pub const BOOKED_STEP: usize = 16 * 1024;

/// Bytes that queues may have however much all else holds.
const ROOM_MIN: usize = 8 * 1024 * 1024;

/// Bytes that wait in queues, and how many may.
pub struct Budget {
    used: AtomicUsize,
    limit: AtomicUsize,
    /// What the process has left for queues besides all else that it holds.
    room: AtomicUsize,
}

/// Where the limit of a budget comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimitedBy {
    /// The setting.
    MaxMemory,
    /// What the process has left, which is less.
    Room {
        /// What the setting would allow.
        max_memory: usize,
    },
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            room: AtomicUsize::new(usize::MAX),
        }
    }

    /// That of a connection alone, which its queue's limit bounds.
    pub fn own() -> Arc<Self> {
        Arc::new(Self::new(usize::MAX))
    }

    /// Says how many bytes the process has left for queues: what all else holds
    /// counts too.
    pub fn set_room(&self, room: usize) {
        self.room.store(room.max(ROOM_MIN), Ordering::Relaxed);
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
        let limit = self.limit.load(Ordering::Relaxed);
        limit.min(self.room.load(Ordering::Relaxed))
    }

    /// Where the limit comes from.
    pub fn limited_by(&self) -> LimitedBy {
        let max_memory = self.limit.load(Ordering::Relaxed);
        match self.room.load(Ordering::Relaxed) < max_memory {
            true => LimitedBy::Room { max_memory },
            false => LimitedBy::MaxMemory,
        }
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
/// control groups' and the process's own limits; `None` if the system does not
/// tell.
pub fn process_limit() -> Option<usize> {
    let limits = [
        machine_memory(),
        cgroup_limit(),
        limit_of("Max data size"),
        usable_address_space(),
    ];
    limits.into_iter().flatten().min()
}

/// Makes do with an address space that is limited, and bounds what all tables of a
/// kind may hold by what the process may use. To be called once, before there are
/// threads.
pub fn prepare_process() {
    if let Some(limit) = address_space_limit() {
        limit_arenas((limit / ARENAS_PART / ARENA_LEN).max(1));
        usable_address_space();
    }
    if let Some(limit) = process_limit() {
        let part = (limit / TABLES_PART).max(TABLES_MIN);
        SUBSCRIPTIONS.set_limit(part);
        REMOTE_INTEREST.set_limit(part);
        payload::set_memory_part((limit / PAYLOADS_PART).max(TABLES_MIN));
    }
}

/// The part of the memory that all subscriptions may take, one in so many, and the
/// same of what the peers of the cluster want.
const TABLES_PART: usize = 4;

/// The part that large payloads may take while they are being read, one in so many.
const PAYLOADS_PART: usize = 8;

/// Bytes that each may take in any case.
const TABLES_MIN: usize = 16 * 1024 * 1024;

/// The part of the address space that the allocator may reserve for its arenas.
const ARENAS_PART: usize = 16;

/// What it reserves for each.
const ARENA_LEN: usize = 64 * 1024 * 1024;

/// Address space of a thread: its stack.
const THREAD_LEN: usize = 2 * 1024 * 1024;

/// Threads beside those that serve connections and those that shake hands, of which
/// there is one each for each processor.
const THREADS_MORE: usize = 16;

/// The address space that the process may use (LimitAS, `ulimit -v`).
pub fn address_space_limit() -> Option<usize> {
    limit_of("Max address space")
}

/// What of the address space may become memory that is used: not what the program
/// and the stacks of its threads map. As it was when first asked for, before there
/// were threads; `None` if it is not limited.
fn usable_address_space() -> Option<usize> {
    static USABLE: OnceCell<Option<usize>> = OnceCell::new();
    *USABLE.get_or_init(|| {
        let limit = address_space_limit()?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (2 * processors + THREADS_MORE) * THREAD_LEN;
        let arenas = limit / ARENAS_PART;
        let mapped = process::memory().map_or(0, |memory| memory.mapped);
        let mapped = usize::try_from(mapped).unwrap_or(usize::MAX);
        Some(limit.saturating_sub(mapped.saturating_add(threads + arenas)))
    })
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

/// One of the process's own limits, such as that of its data (LimitDATA, `ulimit -d`).
fn limit_of(name: &str) -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_else_holds_counts_too() {
        let budget = Budget::new(100 << 20);
        assert_eq!(budget.limit(), 100 << 20);
        budget.set_room(50 << 20);
        budget.book(0, 60 << 20);
        assert!(budget.is_overdrawn());
        budget.set_room(0);
        assert_eq!(budget.limit(), ROOM_MIN);
        let max_memory = 100 << 20;
        assert_eq!(budget.limited_by(), LimitedBy::Room { max_memory });
        budget.set_room(usize::MAX);
        assert_eq!(budget.limited_by(), LimitedBy::MaxMemory);
        assert!(!budget.is_overdrawn());
    }
}
