//! A peer of the cluster that is told of local interest, and what it is still to be
//! told.

use std::sync::Arc;

use hashbrown::HashSet;

use super::wants::Key;
use crate::connection::{Connection, buffers::ThreadBuffers};

/// Bytes waiting for a peer up to which it is told more.
pub const ROOM: usize = 256 * 1024;

/// Bytes of changes that are told at once while more than [`ROOM`] waits: a
/// subject is to be wanted before a message that names it goes out. What is more
/// is a mass of changes, and waits for room.
const AHEAD_MAX: usize = 4 * 1024 * 1024;

/// A peer that is told.
pub(super) struct Peer {
    pub(super) route: Arc<Connection>,
    /// Of the first so many keys it is still to be told, if there are so many.
    pub(super) untold: usize,
    /// What is to be told when there is room.
    pub(super) later: HashSet<Key>,
    /// Bytes told at once since more than [`ROOM`] waits.
    pub(super) ahead: usize,
}

impl Peer {
    pub(super) fn tell(&mut self, buffers: &mut ThreadBuffers, key: &Key, line: &[u8]) {
        if line.len() > self.route.line_max() {
            return;
        }
        let Some(mut appender) = self.route.append() else {
            return;
        };
        let has_room = appender.pending() <= ROOM;
        if has_room {
            self.ahead = 0;
        } else if self.ahead + line.len() > AHEAD_MAX {
            drop(appender);
            self.later.insert(key.clone());
            self.route.owe_interest();
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

/// Has a peer told of these when there is room.
pub(super) fn owe(peers: &mut [Peer], route: &Arc<Connection>, keys: impl Iterator<Item = Key>) {
    if let Some(peer) = peers.iter_mut().find(|it| Arc::ptr_eq(&it.route, route)) {
        peer.later.extend(keys);
        if !peer.later.is_empty() {
            route.owe_interest();
        }
    }
}
