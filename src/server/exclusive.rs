//! Tasks that may hang and must not run twice at the same time: reloads, and reopening the log.
//!
//! A request that comes while one is running is refused with the time since when, or makes it run
//! once more afterwards.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Server;
use crate::telemetry::MonotonicMillis;

/// Whether such a task is running.
#[derive(Default)]
pub(super) struct Exclusive(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the running task began.
    since: Option<MonotonicMillis>,
    /// Whether to run once more.
    again: bool,
}

/// Permission to run. Dropping it releases the task for others in any case.
pub(super) struct ExclusiveGuard {
    server: Arc<Server>,
    exclusive: fn(&Server) -> &Exclusive,
    is_released: bool,
}

impl ExclusiveGuard {
    /// Begins the task.
    ///
    ///  # Errors
    ///
    /// When the task that is running began.
    pub(super) fn acquire(
        server: &Arc<Server>,
        exclusive: fn(&Server) -> &Exclusive,
    ) -> Result<Self, MonotonicMillis> {
        Self::acquire_locked(server, exclusive, &mut exclusive(server).0.lock())
    }

    /// Begins the task, or makes the running one repeat; `None` then.
    pub(super) fn acquire_or_repeat(
        server: &Arc<Server>,
        exclusive: fn(&Server) -> &Exclusive,
    ) -> Option<Self> {
        let mut state = exclusive(server).0.lock();
        let taken = Self::acquire_locked(server, exclusive, &mut state);
        state.again |= taken.is_err();
        taken.ok()
    }

    fn acquire_locked(
        server: &Arc<Server>,
        exclusive: fn(&Server) -> &Exclusive,
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
            exclusive,
            is_released: false,
        })
    }

    /// The server.
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Ends the task, or returns the guard if it must run once more.
    pub(super) fn end(mut self) -> Option<Self> {
        let server = self.server.clone();
        let mut state = (self.exclusive)(&server).0.lock();
        self.is_released = !std::mem::take(&mut state.again);
        if self.is_released {
            state.since = None;
            return None;
        }
        state.since = Some(MonotonicMillis::now());
        Some(self)
    }
}

impl Drop for ExclusiveGuard {
    fn drop(&mut self) {
        if !self.is_released {
            *(self.exclusive)(&self.server).0.lock() = State::default();
        }
    }
}
