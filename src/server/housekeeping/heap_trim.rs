//! Giving freed memory back to the system after a peak: queues of readers that were
//! stuck, handshakes of a fleet that came back at once. The allocator would keep
//! what is freed for the next peak, and the broker would look as large as it ever
//! was.
//!
//! Giving back holds the allocator's locks for a while: it is done on the thread of
//! housekeeping, which serves no connection.

/// Bytes freed since the last high water above which they are given back.
const GIVE_BACK_MIN: usize = 16 * 1024 * 1024;

/// Rounds in a row in which so much lies idle that it is given back.
const IDLE_ROUNDS: u32 = 3;

/// The peaks of what is held for a while only.
#[derive(Default)]
pub(super) struct HeapTrim {
    high_water: usize,
    /// The round before gave back.
    gave_back: bool,
    /// Bytes that lie idle and could not be given back: they stand between others
    /// that are used.
    stuck: usize,
    /// Rounds in a row in which much lay idle.
    idle_rounds: u32,
}

impl HeapTrim {
    /// Notes how many bytes are held now and were `most` since the last call;
    /// gives back what has been freed if that is much. A queue is subtracted a
    /// moment before its memory is freed, and the end of a fall may be small: hence
    /// once more with the next call. `idle` bytes are resident and used for nothing:
    /// what falls slowly, or was counted nowhere, is given back when it lies idle
    /// for a while.
    pub(super) fn note(&mut self, held: usize, most: usize, idle: usize) {
        let fallen = self.has_fallen(held, most);
        let lies_idle = self.lies_idle(idle);
        if std::mem::replace(&mut self.gave_back, fallen) || fallen || lies_idle {
            trim();
        }
    }

    fn lies_idle(&mut self, idle: usize) -> bool {
        self.stuck = self.stuck.min(idle);
        self.idle_rounds = match idle - self.stuck >= GIVE_BACK_MIN {
            true => self.idle_rounds + 1,
            false => 0,
        };
        let lies_idle = self.idle_rounds == IDLE_ROUNDS;
        if lies_idle {
            self.idle_rounds = 0;
            // Less by what is given back, which the next round shows.
            self.stuck = idle;
        }
        lies_idle
    }

    fn has_fallen(&mut self, held: usize, most: usize) -> bool {
        self.high_water = self.high_water.max(held).max(most);
        let fallen = self.high_water - held >= GIVE_BACK_MIN;
        if fallen {
            self.high_water = held;
        }
        fallen
    }
}

#[cfg(target_env = "gnu")]
fn trim() {
    // SAFETY: takes no pointer and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_idle_is_given_back_once() {
        const MIB: usize = 1 << 20;
        let mut heap_trim = HeapTrim::default();
        // Of 40 MiB, 10 are stuck; later 20 more lie idle.
        let levels = [
            0, 40, 5, 40, 40, 40, 10, 10, 12, 12, 30, 30, 30, 30, 30, 30, 30, 30,
        ];
        let given = levels.map(|level| heap_trim.lies_idle(level * MIB));
        let times: Vec<usize> = (0..levels.len()).filter(|&at| given[at]).collect();
        assert_eq!(times, [5, 12]);
    }

    #[test]
    fn a_slow_fall_counts_as_a_fast_one_does() {
        const MIB: usize = 1 << 20;
        let mut heap_trim = HeapTrim::default();
        let levels = [0, 40, 30, 25, 24, 30, 10, 8, 0];
        let fallen = levels.map(|level| heap_trim.has_fallen(level * MIB, 0));
        let times: Vec<usize> = (0..levels.len()).filter(|&at| fallen[at]).collect();
        assert_eq!(times, [4, 6]);
        assert!(heap_trim.has_fallen(0, 50 * MIB), "between two rounds");
        assert!(!heap_trim.has_fallen(0, 0));
    }
}
