//! Memory statistics of the allocator (glibc).
//!
//! Freed memory stays with the allocator until it is returned to the system
//! (`server::housekeeping`); without this metric it would look as if the broker still used it.

use std::time::{Duration, Instant};

use super::process;

/// The part of its time that looking may take: one in so many. The allocator walks
/// through all that is free, and every allocation waits meanwhile.
const TIME_RATIO: u32 = 100;

/// The longest time between two samples, after one that took more than a second.
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// The allocator's memory at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Allocated {
    /// Bytes that the broker uses.
    pub used: u64,
    /// Bytes that were freed; not all of them are necessarily resident.
    pub free: u64,
}

impl Allocated {
    /// Bytes that the allocator keeps for later and that are resident in a process
    /// with this memory. Of what is free, not all need be; of what is used, not all
    /// is touched.
    pub fn idle_in(self, process: &process::Memory) -> u64 {
        let own = process.anonymous.unwrap_or(process.resident);
        own.saturating_sub(self.used).min(self.free)
    }
}

/// Looks at the allocator, less often the longer a look takes.
#[derive(Debug, Default)]
pub struct Allocator {
    last: Allocated,
    next: Option<Instant>,
}

impl Allocator {
    /// The statistics of now, or of the last sample if it is too early for a new one.
    pub fn sample(&mut self) -> Allocated {
        let begin = Instant::now();
        if self.next.is_none_or(|next| next <= begin) {
            self.last = mallinfo();
            let took = begin.elapsed();
            self.next = Some(begin + (took * TIME_RATIO).min(PAUSE_MAX));
        }
        self.last
    }
}

#[cfg(target_env = "gnu")]
fn mallinfo() -> Allocated {
    // SAFETY: takes no pointer and may be called at any time from any thread.
    let info = unsafe { libc::mallinfo2() };
    Allocated {
        used: (info.uordblks + info.hblkhd) as u64,
        free: info.fordblks as u64,
    }
}

#[cfg(not(target_env = "gnu"))]
fn mallinfo() -> Allocated {
    Allocated::default()
}

/// Limits the number of arenas that threads allocate from. Each reserves address space that may
/// never be used. Call it before there are threads.
pub fn limit_arenas(max: usize) {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers; there are no other threads yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, i32::try_from(max).unwrap_or(i32::MAX));
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = max;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_env = "gnu")]
    fn allocated_memory_is_counted() {
        // Other tests allocate and free memory meanwhile.
        let is_counted = || {
            let before = mallinfo().used;
            let held = vec![1_u8; 64 << 20];
            let now = mallinfo().used;
            drop(held);
            now >= before + (60 << 20)
        };
        assert!((0..100).any(|_| is_counted()));
    }
}
