//! Halting all clients at the same moment, so that they can be handed over to another process of
//! this broker (`server::upgrade`) without a message being lost or delivered twice.
//!
//! The upgrade asks for it ([`Halt::begin`]). Each session that is in halts between two turns of
//! its own: it reads nothing any more, and what it has read is in its targets' queues. When all
//! have halted, nothing is on its way within the broker. Then each session exports its state
//! ([`Halt::export`]), and waits for the verdict: it stays, or another process has its connection.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::connection::Connection;

/// Exported states that wait to be taken: each may have some hundred KiB.
const EXPORTED_MAX: usize = 16;

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
    /// Reply subjects that it may publish to, each on a line, in base 64.
    pub replies: String,
    /// What was read of it and is not handled, in base 64.
    pub input: String,
    /// What is queued for it, in base 64.
    pub output: String,
}

/// A client that has halted. Dropping it lets it stay.
pub struct Halted {
    /// Its connection.
    pub connection: Arc<Connection>,
    /// Its state; `None` if it cannot be handed over.
    pub state: Option<ClientState>,
    verdict: oneshot::Sender<Moved>,
}

/// The verdict that another process has the connection.
struct Moved;

impl Halted {
    /// Another process has the connection: this one forgets it.
    pub fn forget(self) {
        // The session waits for it.
        let _ = self.verdict.send(Moved);
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
#[derive(Default)]
pub struct Halt {
    wanted: AtomicBool,
    stage: watch::Sender<Stage>,
    exported: Mutex<Option<mpsc::Sender<Halted>>>,
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

    /// Hands the state of `connection` over, and waits for the verdict: whether another process has
    /// the connection.
    pub async fn hand(&self, connection: &Arc<Connection>, state: Option<ClientState>) -> bool {
        let (verdict, decided) = oneshot::channel();
        let halted = Halted {
            connection: connection.clone(),
            state,
            verdict,
        };
        let exported = self.exported.lock().clone();
        let is_moved = match exported {
            Some(exported) => exported.send(halted).await.is_ok() && decided.await.is_ok(),
            None => false,
        };
        connection.set_halted(false);
        is_moved
    }
}
