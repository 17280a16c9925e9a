//! Outbound traffic of a connection: counted under the lock of its outbound
//! queue, read without it.
//!
//! A sum over ten thousand connections would take as many locks, each of
//! which waits for memory that is not in a cache; the reads of mere counters
//! overlap. Only the outbound queue writes here.

use crate::telemetry::{Counter, Traffic, loss::Loss};

/// The counts of one queue.
#[derive(Default)]
pub(super) struct OutboundStats {
    /// Messages of the connection's own account.
    pub(super) own_msgs: Counter,
    pub(super) own_bytes: Counter,
    /// Messages of imported streams.
    pub(super) borrowed_msgs: Counter,
    pub(super) borrowed_bytes: Counter,
    pub(super) written_msgs: Counter,
    /// Bytes that the socket took. With those that wait and those that were
    /// thrown away they are all that was ever queued.
    pub(super) written_bytes: Counter,
    /// How often something was lost. What it was is under the lock: it happens
    /// at a connection's end, or seldom.
    pub(super) losses: Counter,
}

impl OutboundStats {
    /// Delivered traffic and the written part of it; `loss` is called for the lost part
    /// only if there is one. The other direction is 0.
    pub(super) fn traffic(&self, loss: impl FnOnce() -> Loss) -> Traffic {
        // In this order no more is written than was delivered.
        let (written_msgs, written_bytes) = (self.written_msgs.value(), self.written_bytes.value());
        let loss = match self.losses.value() {
            0 => Loss::default(),
            _ => loss(),
        };
        let (own_msgs, own_bytes) = (self.own_msgs.value(), self.own_bytes.value());
        Traffic {
            in_msgs: 0,
            in_bytes: 0,
            out_msgs: own_msgs + self.borrowed_msgs.value(),
            out_bytes: own_bytes + self.borrowed_bytes.value(),
            own_msgs,
            own_bytes,
            written_msgs,
            written_bytes,
            loss,
        }
    }
}
