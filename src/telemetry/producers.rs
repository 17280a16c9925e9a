//! Who fills a queue that is behind, and who was paused for it.
//!
//! Kept by the queue itself while its reader is behind: a publisher is noted once
//! per subject batch, never for a queue that flows. Bounded by space-saving: a publisher
//! beyond the limit takes the place of the least.

use std::time::Duration;

/// Publishers remembered for one queue.
const PRODUCERS_MAX: usize = 8;

/// A publisher that fed a queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Produced {
    /// The publisher's connection id.
    pub cid: u64,
    /// Bytes it put into the queue.
    pub bytes: u64,
}

/// A publisher that was paused for a reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stalled {
    /// The publisher's connection id.
    pub cid: u64,
    /// How often.
    pub count: u64,
    /// For how long in all.
    pub time: Duration,
}

/// The publishers that a queue which is behind has to do with.
#[derive(Clone, Debug, Default)]
pub struct Producers {
    /// Who fed it, in no order.
    pub fed: Vec<Produced>,
    /// Who was paused for it, in no order.
    pub stalled: Vec<Stalled>,
    /// Somebody watches the reader: what was noted stays when it catches up.
    pub watched: bool,
}

impl Producers {
    /// Notes that the publisher `cid` put `bytes` into the queue.
    pub fn feed(&mut self, cid: u64, bytes: u64) {
        if let Some(known) = self.fed.iter_mut().find(|known| known.cid == cid) {
            known.bytes += bytes;
        } else if self.fed.len() < PRODUCERS_MAX {
            self.fed.push(Produced { cid, bytes });
        } else if let Some(least) = self.fed.iter_mut().min_by_key(|known| known.bytes) {
            least.cid = cid;
            least.bytes += bytes;
        }
    }

    /// Notes that the publisher `cid` paused for `time`; `first` is whether the
    /// pause began.
    pub fn stall(&mut self, cid: u64, time: Duration, first: bool) {
        let count = u64::from(first);
        if let Some(known) = self.stalled.iter_mut().find(|known| known.cid == cid) {
            known.count += count;
            known.time += time;
        } else if self.stalled.len() < PRODUCERS_MAX {
            self.stalled.push(Stalled { cid, count, time });
        } else if let Some(least) = self.stalled.iter_mut().min_by_key(|known| known.time) {
            least.cid = cid;
            least.count += count;
            least.time += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_biggest_stay() {
        let mut producers = Producers::default();
        for round in 0..100 {
            producers.feed(1, 1000);
            producers.feed(100 + round, 1);
        }
        assert_eq!(producers.fed.len(), PRODUCERS_MAX);
        let biggest = producers.fed.iter().max_by_key(|fed| fed.bytes);
        assert_eq!(
            biggest,
            Some(&Produced {
                cid: 1,
                bytes: 100_000
            })
        );
    }
}
