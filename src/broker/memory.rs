//! How much memory the process may use, and what part of it the broker's tables get.

use std::sync::OnceLock;

use crate::{
    connection::{payload, subscription::SUBSCRIPTIONS},
    delivery::remote::REMOTE_INTEREST,
    telemetry::{allocator::limit_arenas, process},
};

/// Half of the memory that this process may use.
pub fn default_limit() -> usize {
    process_limit().map_or(1 << 30, |bytes| bytes / 2)
}

/// Bytes of memory that this process may use: the least of the machine's, the control
/// groups' and the process's own limits; `None` if the system does not report them.
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
/// same of the interest of the peers of the cluster.
const TABLES_PART: usize = 4;

/// The part that large payloads may take while they are being read, one in so many.
const PAYLOADS_PART: usize = 8;

/// Bytes that each may take in any case.
const TABLES_MIN: usize = 16 * 1024 * 1024;

/// The part of the address space that the allocator may reserve for its arenas.
const ARENAS_PART: usize = 16;

/// Address space it reserves for each.
const ARENA_LEN: usize = 64 * 1024 * 1024;

/// Address space of a thread: its stack.
const THREAD_LEN: usize = 2 * 1024 * 1024;

/// Threads other than those that serve connections or compute handshakes, of which
/// there is one each for each processor.
const THREADS_MORE: usize = 16;

/// The address space that the process may use (LimitAS, `ulimit -v`).
pub fn address_space_limit() -> Option<usize> {
    limit_of("Max address space")
}

/// The part of the address space that may become used memory: not what the program
/// and the stacks of its threads map. As it was when first asked for, before there
/// were threads; `None` if it is not limited.
fn usable_address_space() -> Option<usize> {
    static USABLE: OnceLock<Option<usize>> = OnceLock::new();
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
