//! Closed connections, the last ones, in bounded memory: names and subjects are
//! cut, of many subscriptions the first are kept, and when all records together are
//! too large the oldest give their subscriptions away, then themselves.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    broker::registry::{ClosedConnection, SubscriptionView},
    telemetry::pool::{Pool, Share, allocated},
};

/// Bytes that all records may take.
const RECORDS_MAX: usize = 16 * 1024 * 1024;

/// Bytes of the subscriptions of one record.
pub(super) const LISTED_MAX: usize = 64 * 1024;

/// Records of connections without CONNECT: a flood of probes pushes out only
/// each other.
const BARE_MAX: usize = 256;

/// Bytes of all records.
pub static POOL: Pool = Pool::new(usize::MAX);

/// The records, the oldest first.
pub(super) struct Closed {
    records: VecDeque<Arc<ClosedConnection>>,
    /// The ones without CONNECT, separately.
    bare: VecDeque<Arc<ClosedConnection>>,
    /// How many of the oldest no longer have subscriptions.
    stripped: usize,
    share: Share,
}

impl Default for Closed {
    fn default() -> Self {
        Self {
            records: VecDeque::new(),
            bare: VecDeque::new(),
            stripped: 0,
            share: Share::new(&POOL),
        }
    }
}

impl Closed {
    /// Adds a record; keeps at most `max`. What is given away is returned, for its
    /// memory to be freed without a lock.
    pub(super) fn push(
        &mut self,
        record: ClosedConnection,
        max: usize,
    ) -> Vec<Arc<ClosedConnection>> {
        let mut freed = Vec::new();
        self.share.reserve_unlimited(len(&record));
        self.records.push_back(Arc::new(record));
        freed.extend(self.keep(max));
        while self.share.bytes() > RECORDS_MAX && !self.records.is_empty() {
            match self.stripped < self.records.len() {
                true => freed.push(self.strip_next()),
                false => freed.extend(self.drop_oldest()),
            }
        }
        freed
    }

    /// Adds a record of a connection that sent no CONNECT; returns the records that are
    /// dropped for it.
    pub(super) fn push_bare(
        &mut self,
        record: ClosedConnection,
        max: usize,
    ) -> Vec<Arc<ClosedConnection>> {
        self.share.reserve_unlimited(len(&record));
        self.bare.push_back(Arc::new(record));
        let surplus = self.bare.len().saturating_sub(BARE_MAX);
        let mut freed: Vec<_> = (0..surplus).filter_map(|_| self.drop_bare()).collect();
        freed.extend(self.keep(max));
        freed
    }

    /// Keeps the last `max` records, preferring those of connections that sent CONNECT;
    /// returns the dropped ones.
    pub(super) fn keep(&mut self, max: usize) -> Vec<Arc<ClosedConnection>> {
        let mut freed = Vec::new();
        while self.len() > max {
            freed.extend(self.drop_bare().or_else(|| self.drop_oldest()));
        }
        freed
    }

    fn drop_bare(&mut self) -> Option<Arc<ClosedConnection>> {
        let oldest = self.bare.pop_front()?;
        self.share.release(len(&oldest));
        Some(oldest)
    }

    fn drop_oldest(&mut self) -> Option<Arc<ClosedConnection>> {
        let oldest = self.records.pop_front()?;
        self.stripped = self.stripped.saturating_sub(1);
        self.share.release(len(&oldest));
        Some(oldest)
    }

    /// Takes the subscriptions of the oldest record that still has them.
    fn strip_next(&mut self) -> Arc<ClosedConnection> {
        let record = &mut self.records[self.stripped];
        self.stripped += 1;
        let bare = ClosedConnection {
            last: record.last.clone(),
            subscriptions: Vec::new(),
            ..**record
        };
        self.share.release(len(record));
        self.share.reserve_unlimited(len(&bare));
        std::mem::replace(record, Arc::new(bare))
    }

    pub(super) fn len(&self) -> usize {
        self.bare.len() + self.records.len()
    }

    /// All records; those of connections that sent CONNECT come last.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<ClosedConnection>> {
        self.bare.iter().chain(&self.records)
    }
}

/// Records in the order of their ends, of what [`Closed::iter`] gives.
pub(super) fn by_end(mut records: Vec<Arc<ClosedConnection>>) -> Vec<Arc<ClosedConnection>> {
    // Two runs that are in order, which costs little.
    records.sort_by_key(|record| record.stop.0);
    records
}

/// Bytes of a record.
fn len(record: &ClosedConnection) -> usize {
    let listed = record.subscriptions.iter().map(listed_len);
    allocated(size_of::<ClosedConnection>() + 2 * size_of::<usize>())
        + size_of::<Arc<ClosedConnection>>()
        + record.last.identity.memory()
        + listed.sum::<usize>()
}

/// Bytes of one subscription in a record.
pub(super) fn listed_len(view: &SubscriptionView) -> usize {
    let queue = view
        .queue
        .as_ref()
        .map_or(0, |queue| allocated(queue.len()));
    size_of::<SubscriptionView>()
        + allocated(view.subject.len())
        + allocated(view.sid.len())
        + queue
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broker::registry::ConnectionView,
        connection::{CloseReason, Identity},
        telemetry::{MonotonicMicros, MonotonicMillis, Traffic},
    };

    /// A record whose end is `cid` microseconds after the start.
    fn record(cid: u64, subscriptions: usize) -> ClosedConnection {
        let view = SubscriptionView {
            subject: "x".repeat(100),
            queue: None,
            sid: "1".into(),
            delivered: 0,
            max: 0,
            cid,
        };
        ClosedConnection {
            last: ConnectionView {
                client_type: "nats",
                cid,
                peer: ([127, 0, 0, 1], 1).into(),
                start: MonotonicMicros(0),
                last_activity: MonotonicMillis(0),
                rtt: None,
                pending: 0,
                traffic: Traffic::default(),
                stalls: 0,
                subscriptions,
                identity: Identity::default(),
                tls: None,
            },
            subscriptions: vec![view; subscriptions],
            stop: MonotonicMicros(cid),
            reason: CloseReason::ClientClosed,
        }
    }

    /// The latest records are at the end, with or without CONNECT.
    #[test]
    fn records_are_in_the_order_of_their_ends() {
        let mut closed = Closed::default();
        for cid in 0..6 {
            match cid % 2 {
                0 => closed.push(record(cid, 0), 10),
                _ => closed.push_bare(record(cid, 0), 10),
            };
        }
        let records = by_end(closed.iter().cloned().collect());
        let cids: Vec<u64> = records.iter().map(|record| record.last.cid).collect();
        assert_eq!(cids, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn records_are_bounded_in_bytes_and_number() {
        let mut closed = Closed::default();
        for cid in 0..1000 {
            closed.push(record(cid, 200), 600);
            assert!(closed.share.bytes() <= RECORDS_MAX && closed.len() <= 600);
        }
        assert_eq!(closed.len(), 600, "only the lists are given away");
        let listed = closed.iter().map(|record| record.subscriptions.len());
        let listed: Vec<usize> = listed.collect();
        let bare = listed.iter().take_while(|listed| **listed == 0).count();
        assert!(bare > 0 && listed[bare..].iter().all(|listed| *listed == 200));
        assert_eq!(closed.stripped, bare);
        let held: usize = closed.iter().map(|record| len(record)).sum();
        assert_eq!(closed.share.bytes(), held);
        for cid in 0..100_000 {
            closed.push(record(cid, 0), usize::MAX);
        }
        assert!(closed.share.bytes() <= RECORDS_MAX && closed.len() < 100_000);
        for cid in 0..1000 {
            closed.push_bare(record(cid, 0), usize::MAX);
        }
        assert_eq!(closed.bare.len(), BARE_MAX);
        let held: usize = closed.iter().map(|record| len(record)).sum();
        assert_eq!(closed.share.bytes(), held);
        closed.push(record(0, 0), 0);
        assert_eq!(
            (closed.len(), closed.share.bytes(), closed.stripped),
            (0, 0, 0)
        );
    }
}
