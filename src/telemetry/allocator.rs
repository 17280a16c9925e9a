//! What the allocator says of its memory.
//!
//! Memory that was freed stays with it until it is given back to the system
//! (`server::housekeeping`); without this number it would look as if somebody held
//! it.

use std::time::{Duration, Instant};

use super::process;

/// The part of its time that looking may take: one in so many. The allocator walks
/// through all that is free, and whoever wants memory waits meanwhile.
const TIME_PART: u32 = 100;

/// The longest time between two looks, after one that took more than a second.
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// The allocator's memory at one moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Allocated {
    /// Bytes that the broker uses.
    pub used: u64,
    /// Bytes that were freed; not all of them need be resident.
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
    /// What it says now, or said at the last look that was worth its time.
    pub fn look(&mut self) -> Allocated {
        let begin = Instant::now();
        if self.next.is_none_or(|next| next <= begin) {
            self.last = ask();
            let took = begin.elapsed();
            self.next = Some(begin + (took * TIME_PART).min(PAUSE_MAX));
        }
        self.last
    }
}

#[cfg(target_env = "gnu")]
fn ask() -> Allocated {
    // SAFETY: takes no pointer and may be called at any time from any thread.
    let info = unsafe { libc::mallinfo2() };
    Allocated {
        used: (info.uordblks + info.hblkhd) as u64,
        free: info.fordblks as u64,
    }
}

#[cfg(not(target_env = "gnu"))]
fn ask() -> Allocated {
    Allocated::default()
}

/// Has all threads take their memory from so many places at most. Each takes address
/// space that may never be used. To be called before there are threads.
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
    fn what_is_used_is_counted() {
        // Other tests use and free memory meanwhile.
        let is_counted = || {
            let before = ask().used;
            let held = vec![1_u8; 64 << 20];
            let now = ask().used;
            drop(held);
            now >= before + (60 << 20)
        };
        assert!((0..100).any(|_| is_counted()));
    }
}
