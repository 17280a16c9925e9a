//! A broker to which interest is announced, a peer of the cluster or a leafnode, and what waits for
//! it.

use std::sync::Arc;

use hashbrown::HashSet;

use super::wants::Key;
use crate::{
    connection::{Connection, buffers::ThreadBuffers},
    delivery::leaf_side::LeafSide,
};

/// Bytes waiting for a peer up to which more is announced to it.
pub const QUEUE_SPACE: usize = 256 * 1024;

/// Bytes of changes that are announced immediately while more than [`QUEUE_SPACE`] is pending:
/// interest in a subject should be known before a message that names it as its reply.
/// Changes beyond this wait until the queue is shorter.
const AHEAD_MAX: usize = 4 * 1024 * 1024;

/// A broker to which interest is announced.
pub(super) struct Peer {
    pub(super) route: Arc<Connection>,
    /// What it is to this broker, if it is a leafnode.
    pub(super) leaf: Option<Arc<LeafSide>>,
    /// The first so many keys are still to be announced, if there are so many.
    pub(super) unannounced: usize,
    /// Keys to announce when the queue is shorter.
    pub(super) waiting: HashSet<Key>,
    /// Bytes announced immediately since more than [`QUEUE_SPACE`] is pending.
    pub(super) ahead: usize,
}

impl Peer {
    /// One to which everything is to be announced.
    pub(super) fn new(route: &Arc<Connection>, leaf: Option<Arc<LeafSide>>) -> Self {
        Self {
            route: route.clone(),
            leaf,
            unannounced: usize::MAX,
            waiting: HashSet::new(),
            ahead: 0,
        }
    }

    /// Announces a change, or notes it.
    pub(super) fn announce(&mut self, buffers: &mut ThreadBuffers, key: &Key, line: &[u8]) {
        if line.len() > self.route.line_max() {
            return;
        }
        let Some(mut appender) = self.route.append() else {
            return;
        };
        let has_space = appender.pending() <= QUEUE_SPACE;
        if has_space {
            self.ahead = 0;
        } else if self.ahead + line.len() > AHEAD_MAX {
            drop(appender);
            self.waiting.insert(key.clone());
            self.route.note_pending_interest();
            return;
        } else {
            self.ahead += line.len();
        }
        if !appender.reserve(line.len()) {
            return;
        }
        appender.push(buffers, line, b"");
        if appender.touch(buffers.read_batch) {
            buffers.touched.push(self.route.clone());
        }
        buffers.congested.note(&self.route, &mut appender);
    }
}

/// Notes keys that are to be announced to a peer when its queue is shorter.
pub(super) fn owe(peers: &mut [Peer], route: &Arc<Connection>, keys: impl Iterator<Item = Key>) {
    if let Some(peer) = peers.iter_mut().find(|it| Arc::ptr_eq(&it.route, route)) {
        peer.waiting.extend(keys);
        if !peer.waiting.is_empty() {
            route.note_pending_interest();
        }
    }
}
