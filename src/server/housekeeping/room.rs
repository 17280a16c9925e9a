//! How much memory is left for outbound queues, of what the process may use.

use crate::{
    broker::memory,
    telemetry::{allocator::Allocated, process},
};

/// The part of what the process may use that stays free: what queues hold is read
/// only now and then, and what is counted is not all that is mapped.
const SPARE_PART: usize = 16;

/// What was held when the allocator was last asked what is free: it is not asked in
/// each round, and what was taken since is free no more.
#[derive(Default)]
pub(super) struct Asked {
    said: Allocated,
    held: usize,
}

impl Asked {
    /// Bytes that were taken since, where `held` are held now.
    pub(super) fn taken_since(&mut self, allocated: Allocated, held: usize) -> u64 {
        if self.said != allocated {
            self.said = allocated;
            self.held = held;
        }
        held.saturating_sub(self.held) as u64
    }
}

/// Bytes that are left for queues which now hold `queued`, of what the process may
/// use; `memory_max` is its memory, and `taken` is free no more.
pub(super) fn left(
    process: &process::Memory,
    allocated: Allocated,
    queued: usize,
    memory_max: Option<usize>,
    taken: u64,
) -> usize {
    let of_memory = Use {
        max: memory_max,
        used: process.resident,
        // What is free and not resident has to come from the system again.
        reusable: allocated.idle_in(process).saturating_sub(taken),
    };
    let of_address_space = Use {
        max: memory::address_space_limit(),
        used: process.mapped,
        reusable: allocated.free.saturating_sub(taken),
    };
    of_memory.left(queued).min(of_address_space.left(queued))
}

/// What is used of something that may have an end.
struct Use {
    max: Option<usize>,
    used: u64,
    /// What of it serves for more of the same.
    reusable: u64,
}

impl Use {
    /// Bytes that are left for queues which now hold `queued`.
    fn left(&self, queued: usize) -> usize {
        let max = self.max.map_or(usize::MAX, |max| max - max / SPARE_PART);
        let [used, reusable] =
            [self.used, self.reusable].map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        max.saturating_sub(used.saturating_sub(queued.saturating_add(reusable)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// After a peak much is free, and given back to the system: it does not serve
    /// the queues again without becoming resident again.
    #[test]
    fn what_is_free_and_not_resident_leaves_no_room() {
        let allocated = Allocated {
            used: 100 * MIB,
            free: 300 * MIB,
        };
        let process = |anonymous: u64| process::Memory {
            mapped: 900 * MIB,
            resident: (anonymous + 10) * MIB,
            anonymous: Some(anonymous * MIB),
        };
        let left = |anonymous: u64| {
            let process = process(anonymous);
            let memory = Use {
                max: Some(512 << 20),
                used: process.resident,
                reusable: allocated.idle_in(&process),
            };
            memory.left(0) >> 20
        };
        // 480 may be used: 110 are, whatever else is resident and free.
        assert_eq!((left(100), left(300), left(400)), (370, 370, 370));
        // Where the system does not say which part is of files, these count as idle.
        let mut unknown = process(100);
        unknown.anonymous = None;
        assert_eq!(allocated.idle_in(&unknown), 10 * MIB);
        assert_eq!(unknown.of_files(), 0);
    }
}
