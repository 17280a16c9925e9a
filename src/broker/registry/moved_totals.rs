//! Cached totals: on each query the new traffic is added, from the connections that noted
//! themselves ([`crate::connection::moved`]).

use std::sync::Arc;

use hashbrown::HashMap;

use super::Inner;
use crate::{
    connection::{Connection, moved::MovedList},
    telemetry::{
        ByKind, Traffic,
        load::{Loads, TrafficDelta},
    },
};

/// The traffic of all connections, closed ones included, and what of that the
/// observer has not taken yet.
#[derive(Default)]
pub(super) struct MovedTotals {
    /// By kind of peer.
    pub(super) of: ByKind<Traffic>,
    /// Connections that were read when totals were last added up. A count may become
    /// visible here just after its connection was read, while the note that belongs
    /// to it was still there from before: they are read once more.
    again: Vec<u64>,
    /// Traffic of open clients since the observer's last query, by id.
    untaken: HashMap<u64, TrafficDelta>,
}

/// A client and what it moved since the observer last asked.
pub struct MovedConnection {
    connection: Arc<Connection>,
    /// Its traffic then.
    before: TrafficDelta,
    /// Its traffic since.
    new: TrafficDelta,
}

impl Inner {
    /// Adds up what is new.
    pub(super) fn add_up(&mut self, noted: &MovedList) {
        let new = noted.take();
        let again = std::mem::take(&mut self.moved.again);
        for cid in again.iter().chain(&new) {
            // One that is closed was added when it was.
            if let Some(connection) = self.of.values().find_map(|of| of.open.get(cid)) {
                connection.unnote();
                self.moved.add(connection);
            }
        }
        self.moved.again = new;
    }

    /// Takes the clients' new traffic since the last call.
    pub(super) fn take_moved(&mut self) -> Vec<MovedConnection> {
        let Self { of, moved, .. } = self;
        let find = |cid: u64| of.values().find_map(|of| of.open.get(&cid));
        let untaken = moved.untaken.drain();
        untaken
            .filter_map(|(cid, new)| Some(MovedConnection::of(find(cid)?, new)))
            .collect()
    }
}

impl MovedTotals {
    /// Adds what a connection moved since it was last added; returns all that it
    /// moved.
    fn add(&mut self, connection: &Connection) -> Traffic {
        let (traffic, new) = connection.take_moved();
        self.of[connection.kind] += new;
        if connection.kind.has_account() {
            let new = TrafficDelta::from(new);
            if new != TrafficDelta::default() {
                *self.untaken.entry(connection.cid).or_default() += new;
            }
        }
        traffic
    }

    /// Adds the last of a connection that is closed now; returns all that it moved.
    pub(super) fn close(&mut self, connection: &Connection) -> Traffic {
        let traffic = self.add(connection);
        self.untaken.remove(&connection.cid);
        traffic
    }

    /// Takes a client's new traffic since the last time; `None` for nothing.
    pub(super) fn take_of(&mut self, connection: &Arc<Connection>) -> Option<MovedConnection> {
        self.add(connection);
        let new = self.untaken.remove(&connection.cid)?;
        Some(MovedConnection::of(connection, new))
    }
}

impl MovedConnection {
    /// The client.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Its traffic since the observer last asked.
    pub fn new_traffic(&self) -> &TrafficDelta {
        &self.new
    }

    /// Adds what is new to what the connection, its user and its account moved.
    pub fn add_to(&self, loads: &Loads) {
        let Self {
            connection,
            before,
            new,
        } = self;
        loads.add(connection.cid, &connection.holder(), *before, *new);
    }

    fn of(connection: &Arc<Connection>, new: TrafficDelta) -> Self {
        let now = TrafficDelta::from(connection.traffic());
        Self {
            connection: connection.clone(),
            before: now.since(new),
            new,
        }
    }
}
