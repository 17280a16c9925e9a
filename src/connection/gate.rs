//! Whether the broker accepts connections, on all of its ports at once.
//!
//! All accept loops ask it for their next connection ([`Gate::next`]). An upgrade
//! (`server::upgrade`) holds it while another process is about to take the ports over, opens it
//! again if that one fails, and shuts it when that one serves. A held port is not closed: the
//! system queues the connections meanwhile.

use std::future::Future;

use tokio::sync::watch;

/// Whether connections are accepted.
pub struct Gate(watch::Sender<State>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Held,
    Shut,
}

impl Default for Gate {
    /// An open one.
    fn default() -> Self {
        Self(watch::Sender::new(State::Open))
    }
}

impl Gate {
    /// Accepts no connection until it is opened again.
    pub fn hold(&self) {
        self.set(State::Held);
    }

    /// Accepts connections again.
    pub fn open(&self) {
        self.set(State::Open);
    }

    /// Accepts no connection any more: the accept loops end and close their ports.
    pub fn shut(&self) {
        self.0.send_replace(State::Shut);
    }

    /// Whether another process serves the ports.
    pub fn is_shut(&self) -> bool {
        *self.0.borrow() == State::Shut
    }

    /// What `accept` yields while the gate is open; `None` once it is shut. What `accept` returns
    /// may be dropped and made anew.
    pub async fn next<F: Future>(&self, mut accept: impl FnMut() -> F) -> Option<F::Output> {
        let mut state = self.0.subscribe();
        loop {
            let now = *state.borrow_and_update();
            match now {
                State::Shut => return None,
                // Biased: what the other process is to accept is not taken.
                State::Open => tokio::select! {
                    biased;
                    changed = state.changed() => changed.ok()?,
                    accepted = accept() => return Some(accepted),
                },
                State::Held => state.changed().await.ok()?,
            }
        }
    }

    /// Waits until it is shut.
    pub async fn shutting(&self) {
        let mut state = self.0.subscribe();
        // The sender lives as long as the gate.
        let _ = state.wait_for(|state| *state == State::Shut).await;
    }

    /// A shut gate stays shut.
    fn set(&self, state: State) {
        self.0.send_if_modified(|now| {
            let changes = *now != State::Shut && *now != state;
            if changes {
                *now = state;
            }
            changes
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, sync::Arc};

    use super::*;

    #[tokio::test]
    async fn a_held_gate_lets_nothing_in_until_it_is_opened() {
        let gate = Arc::new(Gate::default());
        assert_eq!(gate.next(|| ready(1)).await, Some(1));
        gate.hold();
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.next(|| ready(2)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        gate.open();
        assert_eq!(waiting.await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn a_shut_gate_ends_the_loops_and_stays_shut() {
        let gate = Arc::new(Gate::default());
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.next(std::future::pending::<()>).await }
        });
        tokio::task::yield_now().await;
        gate.shut();
        assert_eq!(waiting.await.unwrap(), None);
        gate.open();
        assert_eq!(gate.next(|| ready(())).await, None);
        gate.shutting().await;
    }
}
