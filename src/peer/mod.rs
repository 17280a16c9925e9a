//! What every kind of peer has in common, once: the loop that drives a connection
//! ([`mod@drive`]), pings ([`keepalive`]) and the write deadline ([`timing`]), gathering the messages of
//! one subject into a batch ([`batch`]), why a connection ends ([`End`]) and what
//! happens then ([`mod@finish`]), and closing peers whose certificate is no longer
//! accepted ([`certificates`]).
//!
//! `client` and `route` use it. Each state of their sessions implements [`Peer`]: the
//! behaviour of this kind of peer in this state. A state whose peer sends messages
//! implements [`batch::Messages`] as well. Everything is generic and statically dispatched.
//! A new kind of peer needs a variant of `Kind`, its states with these traits, and code
//! that accepts or dials its connections. A new transport is invisible here: it is below
//! `connection::reading` and the outbound queue.

pub mod batch;
pub mod certificates;
mod drive;
mod end;
mod finish;
pub mod keepalive;
mod timing;

use std::time::Duration;

use tokio::time::Instant;

pub use drive::{Driven, Turn, drive, resume, take_turn};
pub use end::End;
pub use finish::{Ends, finish};

use crate::{
    connection::{
        Wake,
        buffers::ThreadBuffers,
        reading::{Input, Reader},
    },
    peer::keepalive::Keepalive,
};

/// Data of the session of every kind of peer.
pub struct Link {
    /// Its pings.
    pub keepalive: Keepalive,
    /// Input that is not handled yet.
    pub input: Input,
    /// For what the rest of the last read batch waits.
    pub held: HeldFor,
}

impl Link {
    /// For a connection of which nothing was read yet.
    pub fn new(keepalive: Keepalive) -> Self {
        Self {
            keepalive,
            input: Input::default(),
            held: HeldFor::Nobody,
        }
    }

    /// Whether the rest of the last read batch waits.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.held != HeldFor::Nobody
    }
}

/// For what the rest of a read batch waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeldFor {
    /// It does not wait.
    Nobody,
    /// For peers of the cluster that have not taken what it has produced so far.
    Peers,
    /// For the turns of others: it continues in the next turn.
    Others,
}

/// One state of one kind of peer, driven by [`drive()`].
pub trait Peer: Reader + Ends + Send {
    /// Data of all sessions.
    fn link(&self) -> &Link;

    /// The same, to be changed.
    fn link_mut(&mut self) -> &mut Link;

    /// Whether a reload has put other settings in force.
    fn is_out_of_date(&self, wake: Wake) -> bool;

    /// Adopts the settings in force.
    fn keep_up_to_date(&mut self, buffers: &mut ThreadBuffers);

    /// Called before anything is handled after the task woke up.
    fn begin_turn(&mut self) {}

    /// A turn of reading has ended.
    fn end_turn(&mut self);

    /// Acts on what was noted while the thread's buffers were in use.
    fn act_on_news(&mut self) {}

    /// Writes interest that the peer was not sent yet. Only routes have any.
    fn write_pending(&mut self, _: &mut ThreadBuffers) {
        self.connection().begin_announcing();
    }

    /// Whether a decision is awaited before anything else is read.
    fn awaits_decision(&self) -> bool {
        false
    }

    /// Waits for that decision and acts on it. Returns what the last turn left behind.
    fn decide(&mut self) -> impl Future<Output = Turn> + Send {
        async { Turn::default() }
    }

    /// Waits for slow readers after a turn; whether it did.
    fn pause(&mut self, _: &Turn) -> impl Future<Output = bool> + Send {
        async { false }
    }

    /// Continues what earlier turns had no time for, before the rest of the batch.
    fn continue_held(&mut self, _: &mut ThreadBuffers) {}

    /// Sets for what the rest of the read batch waits from now on.
    fn set_held(&mut self, held: HeldFor) {
        self.link_mut().held = held;
    }

    /// Whether it is to halt before its next turn; see [`crate::broker::halt`].
    fn has_to_halt(&self) -> bool {
        false
    }

    /// Halts, and goes on unless another process has taken over the connection: returns whether
    /// that is so.
    fn halt(&mut self) -> impl Future<Output = bool> + Send {
        async { false }
    }

    /// Whether another state takes over the connection.
    fn is_over(&self) -> bool {
        false
    }

    /// How long the socket may accept nothing while something waits for it.
    fn write_deadline(&self) -> Duration;

    /// When something is due besides pings.
    fn own_deadline(&self) -> Option<Instant> {
        None
    }

    /// Does what is due besides pings.
    ///
    /// # Errors
    ///
    /// The connection is to end.
    fn when_due(&mut self, _: Instant) -> Result<(), End> {
        Ok(())
    }

    /// A ping is about to be sent.
    fn before_ping(&mut self) {}

    /// Ends the connection and sends the peer the reason.
    fn end(&mut self, buffers: &mut ThreadBuffers, end: End);
}
