//! Remote interest: the interest of a peer of the cluster or of a leafnode, an entry of the sublists
//! that an account keeps apart from its subscribers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::leaf_side::LeafSide;
use crate::{
    connection::Connection,
    sublist::{Entry, Slot},
    telemetry::{
        MessageTotals,
        pool::{Pool, allocated},
    },
};

/// Bytes of the interest of the cluster's peers and of leafnodes, in all accounts; the limit is set
/// at the start.
pub static REMOTE_INTEREST: Pool = Pool::new(usize::MAX);

/// One subject, or one queue group on one subject, in which a peer has interest.
pub struct RemoteInterest {
    /// The route to the peer, or the connection to the leafnode.
    pub connection: Arc<Connection>,
    /// Members that the queue group has there; 1 without a queue group.
    pub weight: u32,
    /// What a leafnode is to this broker; `None` for a peer of the cluster.
    pub leaf: Option<Arc<LeafSide>>,
    /// Whether what is announced to leafnodes counts it.
    counted: AtomicBool,
    text: Box<[u8]>,
    subject_len: u32,
    slot: Slot,
    /// Whether a queue group's name follows the subject.
    has_queue: bool,
}

impl RemoteInterest {
    /// Bytes that one entry uses by itself.
    pub fn memory_of(subject: &[u8], queue: Option<&[u8]>) -> usize {
        let text = subject.len() + queue.map_or(0, <[u8]>::len);
        // With the two counts of an Arc.
        allocated(size_of::<Self>() + 2 * size_of::<usize>()) + allocated(text)
    }

    /// The entry announced by the peer of `connection`. The texts come from one
    /// control line, so their lengths fit 32 bits.
    pub fn new(connection: Arc<Connection>, subject: &[u8], queue: Option<(&[u8], u32)>) -> Self {
        let name = queue.map(|(name, _)| name);
        Self {
            connection,
            weight: queue.map_or(1, |(_, weight)| weight),
            leaf: None,
            counted: AtomicBool::new(false),
            text: [subject, name.unwrap_or_default()].concat().into(),
            subject_len: subject.len() as u32,
            slot: Slot::default(),
            has_queue: name.is_some(),
        }
    }

    /// The same of a leafnode.
    pub fn of_leafnode(
        connection: Arc<Connection>,
        side: Arc<LeafSide>,
        subject: &[u8],
        queue: Option<(&[u8], u32)>,
    ) -> Self {
        Self {
            leaf: Some(side),
            ..Self::new(connection, subject, queue)
        }
    }

    /// Notes whether what is announced to leafnodes counts it; returns what was noted before.
    pub fn set_counted(&self, counted: bool) -> bool {
        self.counted.swap(counted, Ordering::Relaxed)
    }

    /// `subject`, or `subject queue`, which is how a line about it ends. Neither contains a blank.
    pub fn key(&self) -> Box<[u8]> {
        match self.queue() {
            Some(queue) => [self.subject(), b" ", queue].concat().into(),
            None => self.subject().into(),
        }
    }
}

impl Entry for RemoteInterest {
    fn subject(&self) -> &[u8] {
        &self.text[..self.subject_len as usize]
    }

    fn queue(&self) -> Option<&[u8]> {
        self.has_queue
            .then(|| &self.text[self.subject_len as usize..])
    }

    fn memory(&self) -> usize {
        Self::memory_of(&self.text, None)
    }

    fn slot(&self) -> &Slot {
        &self.slot
    }
}

/// The account in which a batch goes to other brokers.
#[derive(Clone, Copy)]
pub struct InAccount<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Where it is counted.
    pub totals: &'a OverRoutes,
    /// The cluster of the leafnode that the batch comes from, for brokers that take it.
    pub origin: Option<&'a [u8]>,
}

/// The traffic of an account over routes, or over leafnode connections.
#[derive(Default)]
pub struct OverRoutes {
    /// Messages received from peers.
    pub received: MessageTotals,
    /// Messages sent to peers.
    pub sent: MessageTotals,
}
