//! The connections whose queues were long when something was appended to them.
//!
//! A [`ThreadBuffers`](super::buffers::ThreadBuffers) notes them while it handles a batch;
//! the session that read the batch checks them afterwards and pauses
//! (`client::back_pressure`), for other brokers also in the middle of the batch.
//! Each is noted once, however often the batch reaches it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{Connection, Kind, outbound::Appender};

/// Clients that are noted. Two threads that take turns at one queue may note it
/// again and again.
const CLIENTS_MAX: usize = 1024;

static TURNS: AtomicU64 = AtomicU64::new(1);

/// Connections with long queues.
pub struct Congested {
    clients: Vec<Arc<Connection>>,
    peers: Vec<Arc<Connection>>,
    /// Identifies what is noted until it is taken; no two are the same.
    turn: u64,
}

impl Default for Congested {
    fn default() -> Self {
        Self {
            clients: Vec::new(),
            peers: Vec::new(),
            turn: TURNS.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Congested {
    /// Notes the connection that was appended to, if its queue is long.
    #[inline]
    pub fn note(&mut self, connection: &Arc<Connection>, appender: &mut Appender<'_>) {
        if appender.is_congested() {
            self.note_long(connection, appender);
        }
    }

    #[cold]
    fn note_long(&mut self, connection: &Arc<Connection>, appender: &mut Appender<'_>) {
        if !appender.note_turn(self.turn) {
            return;
        }
        match connection.kind {
            Kind::Router | Kind::Leafnode => self.peers.push(connection.clone()),
            Kind::Client if self.clients.len() < CLIENTS_MAX => {
                self.clients.push(connection.clone());
            }
            Kind::Client => {}
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.peers.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.clients.len() + self.peers.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.peers.iter().chain(&self.clients)
    }

    /// The peers of the cluster and the leafnodes among them.
    pub fn peers(&self) -> &[Arc<Connection>] {
        &self.peers
    }

    /// Clears them: no session is active that could be paused.
    #[inline]
    pub fn clear(&mut self) {
        if !self.is_empty() {
            drop(self.take());
        }
    }

    /// Takes them out; from now on each is noted again.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Bytes of the lists.
    pub fn memory(&self) -> usize {
        (self.clients.capacity() + self.peers.capacity()) * size_of::<Arc<Connection>>()
    }
}
