//! The loop that drives a connection: its own task waits, reads, writes, and handles timers
//! until the connection ends or another state of the session takes over.

use tokio::net::TcpStream;

use super::{
    HeldFor, Peer,
    timing::{keep_time, next_deadline},
};
use crate::{
    connection::{
        Wake,
        buffers::{READ_BUFFER_LEN, ThreadBuffers, give_way, with_buffers},
        congested::Congested,
        reading,
    },
    log,
    telemetry::event::EventKind,
};

/// Why [`drive`] returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Driven {
    /// The connection is to end.
    Closing,
    /// Another state of the session takes over.
    Over,
}

/// The result of one turn of reading.
#[derive(Default)]
pub struct Turn {
    /// Connections with long queues.
    pub congested: Congested,
    /// How often it delivered to a connection.
    pub reached: usize,
    /// The socket has more to read.
    pub more: bool,
}

/// Reads, writes and keeps time.
pub async fn drive<P: Peer>(peer: &mut P, stream: &TcpStream) -> Driven {
    let connection = peer.connection().clone();
    let deadline = next_deadline(peer);
    let timer = tokio::time::sleep_until(deadline);
    tokio::pin!(timer);
    timer.as_mut().reset(deadline);
    // Bytes received together with the end of a handshake are not reported by the socket.
    let mut unread = connection.tls().is_some() || connection.has_unread() || peer.link().is_held();
    if peer.awaits_decision() {
        Box::pin(finish_turns(peer, Turn::default())).await;
    }
    if peer.is_over() {
        return Driven::Over;
    }
    loop {
        if peer.has_to_halt() {
            // Boxed: seldom, and it would make every task larger.
            if Box::pin(peer.halt()).await {
                return Driven::Closing;
            }
            unread = true;
        }
        let wake = connection.wake(stream, timer.as_mut(), &mut unread).await;
        if peer.is_out_of_date(wake) {
            with_buffers(|buffers| peer.keep_up_to_date(buffers));
            if peer.awaits_decision() {
                // Boxed: seldom, and it would make every task larger.
                Box::pin(finish_turns(peer, Turn::default())).await;
            }
            if peer.is_over() {
                return Driven::Over;
            }
            if connection.is_closing() {
                continue;
            }
        }
        peer.begin_turn();
        match wake {
            Wake::Closing => return Driven::Closing,
            // Adopted by now, or only the time to the next deadline has changed.
            Wake::Changed | Wake::Stuck => {}
            Wake::Writable => with_buffers(|buffers| {
                connection.flush_blocked(buffers);
                // A socket that is always full must not keep interest back.
                if connection.has_pending_interest() {
                    peer.write_pending(buffers);
                }
            }),
            Wake::InterestPending => {
                with_buffers(|buffers| peer.write_pending(buffers));
                give_way().await;
            }
            Wake::Readable => {
                let turn = take_turn(peer, |peer, buffers| match peer.link().held {
                    HeldFor::Nobody => reading::read_turn(peer, buffers, stream),
                    HeldFor::Others | HeldFor::Peers => resume_turn(peer, buffers),
                });
                finish_turns(peer, turn).await;
                if peer.is_over() {
                    return Driven::Over;
                }
            }
            Wake::Timer => {
                with_buffers(|buffers| {
                    keep_time(peer, buffers);
                    buffers.flush_touched();
                });
                peer.act_on_news();
            }
        }
        // Input held back for other sessions' turns, or of which only a part was opened, continues as
        // if it were read then.
        unread |= peer.link().is_held() || connection.has_unread();
        let deadline = next_deadline(peer);
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
    }
}

/// Does what a turn of reading leads to: a login is decided, slow readers are waited
/// for, and a batch that is held for them continues, each piece of it a turn of its own.
async fn finish_turns<P: Peer>(peer: &mut P, mut turn: Turn) {
    loop {
        peer.act_on_news();
        if peer.awaits_decision() {
            // Apart: what it needs would make every task larger.
            turn = Box::pin(peer.decide()).await;
        }
        if peer.connection().is_closing() || peer.is_over() {
            return;
        }
        let paused = !turn.congested.is_empty() && peer.pause(&turn).await;
        if !paused && (turn.more || peer.link().is_held()) {
            // A busy peer lets others, and the socket events that wake them, have
            // their turn.
            tokio::task::yield_now().await;
        }
        if peer.link().held != HeldFor::Peers || peer.connection().is_closing() {
            return;
        }
        if peer.is_out_of_date(Wake::Readable) {
            // Nothing continues with settings that are no longer in force.
            with_buffers(|buffers| peer.keep_up_to_date(buffers));
        } else {
            turn = take_turn(peer, resume_turn);
        }
    }
}

/// Does some work for the peer's input within one turn.
pub fn take_turn<P: Peer>(
    peer: &mut P,
    work: impl FnOnce(&mut P, &mut ThreadBuffers) -> bool,
) -> Turn {
    with_buffers(|buffers| {
        let more = work(peer, buffers);
        peer.end_turn();
        let registry = &peer.broker().registry;
        if !buffers.congested.is_empty() {
            registry.notice(buffers.congested.iter());
        }
        // Many queues of which none is long may hold too much together.
        for cut in registry.keep_budget() {
            let line = log::about(&cut.connection).code(EventKind::SlowConsumer.name());
            line.warn(format_args!("{cut}"));
        }
        Turn {
            congested: buffers.congested.take(),
            reached: buffers.reached,
            more,
        }
    })
}

/// Continues with a batch that was held.
fn resume_turn<P: Peer>(peer: &mut P, buffers: &mut ThreadBuffers) -> bool {
    resume(peer, buffers);
    buffers.finish_batch(READ_BUFFER_LEN);
    true
}

/// Handles what was read before the batch was held, or before a login was decided.
pub fn resume<P: Peer>(peer: &mut P, buffers: &mut ThreadBuffers) {
    peer.link_mut().held = HeldFor::Nobody;
    peer.continue_held(buffers);
    if peer.link().is_held() {
        return;
    }
    let held = peer.input().take_kept();
    if !held.is_empty() {
        peer.handle_read_batch(buffers, &held);
    }
}
