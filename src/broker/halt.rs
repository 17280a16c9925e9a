//! Halting all clients at the same moment, so that they can be handed over to another process of
//! this broker (`server::upgrade`) without a message being lost or delivered twice.
//!
//! The upgrade asks for it ([`Halt::begin`]). Each session that is in halts between two turns of
//! its own: it reads nothing any more, and what it has read is in its targets' queues. When all
//! have halted, nothing is on its way within the broker. Then each session exports its state
//! ([`Halt::export`]), some at a time, and waits for the verdict. It stays unless its subscriptions
//! are withdrawn here ([`Halted::withdraw`]) and the other process has its connection
//! ([`Withdrawn::forget`]); between the two it can still stay, and subscribes again.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::{
    connection::Connection,
    telemetry::pool::{Pool, Share, allocated},
};

/// Exported states that there are at a time, of some hundred KiB each. Other sessions wait for their
/// turn.
pub const EXPORTED_MAX: usize = 16;

/// Bytes of the states that are being handed over, or taken over; limited by their number and the
/// length of each.
pub static STATES: Pool = Pool::new(usize::MAX);

/// What another process needs to go on with a client. It holds secrets: it is never logged.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ClientState {
    /// Its connection id.
    pub cid: u64,
    /// Its address: a socket whose client has reset the connection has none any more.
    pub peer: Option<SocketAddr>,
    /// Its CONNECT; `None` if it has sent none and needed none.
    pub connect: Option<String>,
    /// What it had to sign.
    pub nonce: String,
    /// What has proved who it is; see `LoginAttempt::proved`.
    pub proof: u64,
    /// Whether its first ping was answered.
    pub pinged: bool,
    /// Its subscriptions, as the lines that make them, in base 64.
    pub subscriptions: String,
    /// How many messages subscriptions have had: lines `sid count`, in base 64.
    #[serde(default)]
    pub delivered: String,
    /// Reply subjects that it may publish to, how often and for how long, in base 64; see
    /// `security::responses`.
    pub replies: String,
    /// What was read of it and is not handled, in base 64.
    pub input: String,
    /// What is queued for it, in base 64.
    pub output: String,
}

impl ClientState {
    /// Counts its memory in [`STATES`] as long as what is returned is held.
    pub fn count(&self) -> Share {
        let texts = [
            &self.nonce,
            &self.subscriptions,
            &self.delivered,
            &self.replies,
            &self.input,
            &self.output,
        ];
        let texts = texts.into_iter().chain(&self.connect);
        let bytes = texts.map(|text| allocated(text.capacity())).sum::<usize>();
        let share = Share::new(&STATES);
        share.reserve_unlimited(size_of::<Self>() + bytes);
        share
    }
}

/// A state that was exported.
pub struct Exported {
    /// The state.
    pub state: Box<ClientState>,
    /// Its place among the [`EXPORTED_MAX`]: to be held as long as there is anything of it.
    pub place: Place,
}

/// The memory of a state, and the turn of its session.
pub struct Place {
    _counted: Share,
    _turn: Turn,
}

/// A session's turn to export its state.
pub struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// The turn is over when the place of the state is dropped.
    pub fn exported(self, state: ClientState) -> Exported {
        let place = Place {
            _counted: state.count(),
            _turn: self,
        };
        let state = Box::new(state);
        Exported { state, place }
    }
}

/// A client that has halted. Dropping it lets it stay.
pub struct Halted {
    /// Its connection.
    pub connection: Arc<Connection>,
    /// Its state; `None` if it cannot be handed over.
    pub exported: Option<Exported>,
    verdict: oneshot::Sender<Leaving>,
}

/// What a session gets that has to withdraw its subscriptions.
pub struct Leaving {
    /// To be used when that is done.
    pub withdrawn: oneshot::Sender<()>,
    /// Yields an error if the client stays.
    pub moved: oneshot::Receiver<Moved>,
}

/// The verdict that another process has the connection.
pub struct Moved;

impl Halted {
    /// Has the session withdraw its subscriptions here.
    pub fn withdraw(self) -> Withdrawn {
        let (withdrawn, is_withdrawn) = oneshot::channel();
        let (moved, is_moved) = oneshot::channel();
        // The session waits for it.
        let _ = self.verdict.send(Leaving {
            withdrawn,
            moved: is_moved,
        });
        Withdrawn {
            connection: self.connection,
            is_withdrawn,
            moved,
        }
    }
}

/// A client whose subscriptions another process has.
pub struct Withdrawn {
    connection: Arc<Connection>,
    is_withdrawn: oneshot::Receiver<()>,
    moved: oneshot::Sender<Moved>,
}

impl Withdrawn {
    /// Waits until its subscriptions are withdrawn.
    pub async fn done(&mut self) {
        // A session that has ended has none either.
        let _ = (&mut self.is_withdrawn).await;
    }

    /// Another process has the connection: this one forgets it.
    pub fn forget(self) {
        // The session waits for it.
        let _ = self.moved.send(Moved);
    }

    /// The client stays, and subscribes again. It has done so once the connection that is returned
    /// is no longer halted; then it waits for the end of the halt ([`Halt::over`]).
    pub fn take_back(self) -> Arc<Connection> {
        drop(self.moved);
        self.connection
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Run,
    Halt,
    Export,
}

/// Whether clients are to halt.
pub struct Halt {
    wanted: AtomicBool,
    stage: watch::Sender<Stage>,
    exported: Mutex<Option<mpsc::Sender<Halted>>>,
    turns: Arc<Semaphore>,
}

impl Default for Halt {
    /// They are not.
    fn default() -> Self {
        Self {
            wanted: AtomicBool::new(false),
            stage: watch::Sender::default(),
            exported: Mutex::default(),
            turns: Arc::new(Semaphore::new(EXPORTED_MAX)),
        }
    }
}

impl Halt {
    /// Has all clients halt. They must be woken afterwards.
    pub fn begin(&self) {
        self.stage.send_replace(Stage::Halt);
        self.wanted.store(true, Ordering::Release);
    }

    /// Has all halted clients export their state.
    pub fn export(&self) -> mpsc::Receiver<Halted> {
        let (sender, receiver) = mpsc::channel(EXPORTED_MAX);
        *self.exported.lock() = Some(sender);
        self.stage.send_replace(Stage::Export);
        receiver
    }

    /// Has all clients go on that were not moved.
    pub fn end(&self) {
        self.wanted.store(false, Ordering::Release);
        self.stage.send_replace(Stage::Run);
        *self.exported.lock() = None;
    }

    /// Waits for the end of the halt.
    pub async fn over(&self) {
        let mut stage = self.stage.subscribe();
        // The sender lives as long as this.
        let _ = stage.wait_for(|stage| *stage == Stage::Run).await;
    }

    /// Whether a session is to halt before its next turn.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Halts the session of `connection`, until it is to export its state; `false`: it goes on.
    pub async fn wait(&self, connection: &Connection) -> bool {
        let mut stage = self.stage.subscribe();
        connection.set_halted(true);
        let is_exporting = tokio::select! {
            stage = stage.wait_for(|stage| *stage != Stage::Halt) => {
                stage.is_ok_and(|stage| *stage == Stage::Export)
            }
            () = connection.closing() => false,
        };
        if !is_exporting {
            connection.set_halted(false);
        }
        is_exporting
    }

    /// Waits for a session's turn to export its state.
    pub async fn turn(&self) -> Turn {
        // The semaphore is never closed.
        Turn {
            _permit: self.turns.clone().acquire_owned().await.ok(),
        }
    }

    /// Hands the state of `connection` over, and waits for the verdict: `None` if the client stays.
    pub async fn hand(
        &self,
        connection: &Arc<Connection>,
        exported: Option<Exported>,
    ) -> Option<Leaving> {
        let (verdict, decided) = oneshot::channel();
        let halted = Halted {
            connection: connection.clone(),
            exported,
            verdict,
        };
        let receiver = self.exported.lock().clone()?;
        receiver.send(halted).await.ok()?;
        decided.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many sessions export, only so many states exist at a time, and they are counted.
    #[tokio::test]
    async fn states_are_limited_in_number_and_counted() {
        let halt = Arc::new(Halt::default());
        let before = (STATES.used(), STATES.count());
        let state = || ClientState {
            output: "x".repeat(200_000),
            ..ClientState::default()
        };
        let mut exported = Vec::new();
        for _ in 0..EXPORTED_MAX {
            exported.push(halt.turn().await.exported(state()));
        }
        let used = STATES.used() - before.0;
        assert!(
            (200_000..202_000).contains(&(used / EXPORTED_MAX)),
            "{used}"
        );
        assert_eq!(STATES.count() - before.1, EXPORTED_MAX);
        let next = tokio::spawn({
            let halt = halt.clone();
            async move { halt.turn().await.exported(ClientState::default()) }
        });
        tokio::task::yield_now().await;
        assert!(!next.is_finished(), "one too many");
        exported.pop();
        drop(next.await.expect("its turn"));
        drop(exported);
        assert_eq!((STATES.used(), STATES.count()), before);
    }

    #[tokio::test]
    async fn a_withdrawn_client_stays_until_it_is_forgotten() {
        for is_moved in [true, false] {
            let (verdict, decided) = oneshot::channel();
            let halted = Halted {
                connection: Arc::new(Connection::in_process(1, 0)),
                exported: None,
                verdict,
            };
            let mut withdrawn = halted.withdraw();
            let leaving: Leaving = decided.await.expect("a verdict");
            leaving.withdrawn.send(()).expect("it is waited for");
            withdrawn.done().await;
            match is_moved {
                true => withdrawn.forget(),
                false => drop(withdrawn.take_back()),
            }
            assert_eq!(leaving.moved.await.is_ok(), is_moved);
        }
    }
}
