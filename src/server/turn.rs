//! One at a time of what may hang: reloads, and opening the log again.
//!
//! Whoever comes while one is under way is refused at once and told since when, or
//! has it done once more afterwards.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Server;
use crate::telemetry::MonotonicMillis;

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turn(Mutex<State>);

#[derive(Default)]
struct State {
    /// Since when one has it.
    since: Option<MonotonicMillis>,
    /// Whether it is to be done once more.
    again: bool,
}

/// A turn of the server's; it is given back when this is dropped, whatever became of
/// it.
pub(super) struct InTurn {
    server: Arc<Server>,
    turn: fn(&Server) -> &Turn,
    given_back: bool,
}

impl InTurn {
    /// Takes the turn.
    ///
    /// # Errors
    ///
    /// Since when another has it.
    pub(super) fn take(
        server: &Arc<Server>,
        turn: fn(&Server) -> &Turn,
    ) -> Result<Self, MonotonicMillis> {
        Self::take_from(server, turn, &mut turn(server).0.lock())
    }

    /// Takes the turn, or has who has it do the same once more; `None` then.
    pub(super) fn take_or_repeat(server: &Arc<Server>, turn: fn(&Server) -> &Turn) -> Option<Self> {
        let mut state = turn(server).0.lock();
        let taken = Self::take_from(server, turn, &mut state);
        state.again |= taken.is_err();
        taken.ok()
    }

    fn take_from(
        server: &Arc<Server>,
        turn: fn(&Server) -> &Turn,
        state: &mut State,
    ) -> Result<Self, MonotonicMillis> {
        if let Some(since) = state.since {
            return Err(since);
        }
        *state = State {
            since: Some(MonotonicMillis::now()),
            again: false,
        };
        Ok(Self {
            server: server.clone(),
            turn,
            given_back: false,
        })
    }

    /// Whose turn it is.
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Gives the turn back, or keeps it if all is to be done once more.
    pub(super) fn end(mut self) -> Option<Self> {
        let server = self.server.clone();
        let mut state = (self.turn)(&server).0.lock();
        self.given_back = !std::mem::take(&mut state.again);
        if self.given_back {
            state.since = None;
            return None;
        }
        state.since = Some(MonotonicMillis::now());
        Some(self)
    }
}

impl Drop for InTurn {
    fn drop(&mut self) {
        if !self.given_back {
            *(self.turn)(&self.server).0.lock() = State::default();
        }
    }
}
