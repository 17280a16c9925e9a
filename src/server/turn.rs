//! One at a time of what may hang: reloads, and opening the log again.
//!
//! Whoever comes while one is under way is refused at once and told since when.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Server;
use crate::telemetry::Clock;

/// Whose turn it is: since when one has it.
#[derive(Default)]
pub(super) struct Turn(Mutex<Option<Clock>>);

/// A turn of the server's; it is given back when this is dropped, whatever became of
/// it.
pub(super) struct InTurn(Arc<Server>, fn(&Server) -> &Turn);

impl InTurn {
    /// Takes the turn.
    ///
    /// # Errors
    ///
    /// Since when another has it.
    pub(super) fn take(server: &Arc<Server>, turn: fn(&Server) -> &Turn) -> Result<Self, Clock> {
        let mut since = turn(server).0.lock();
        match *since {
            Some(since) => Err(since),
            None => {
                *since = Some(Clock::now());
                Ok(Self(server.clone(), turn))
            }
        }
    }

    /// Whose turn it is.
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for InTurn {
    fn drop(&mut self) {
        *self.1(&self.0).0.lock() = None;
    }
}
