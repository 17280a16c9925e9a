//! Reasons to wake a connection's own task: its socket, its timer, and requests of
//! other tasks.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use tokio::{net::TcpStream, time::Sleep};

use super::Connection;

/// Bytes are pending in the outbound queue and the socket was full: the connection's own
/// task continues when it is writable.
pub(super) const BLOCKED: u8 = 1;

/// The connection is to end; the outbound queue has the reason.
pub(super) const CLOSING: u8 = 2;

/// Other settings are in force: the connection's own task adopts them.
pub(super) const CHANGED: u8 = 4;

/// Changes of local interest have to be announced to the peer of a route.
pub(super) const INTEREST_PENDING: u8 = 8;

/// The socket has just become full: the connection's own task starts the write deadline.
pub(super) const STUCK: u8 = 16;

/// The connection's own task has halted; see [`crate::broker::halt`].
const HALTED: u8 = 32;

/// Something is queued for a reader in this process.
pub(super) const QUEUED: u8 = 64;

/// The own task serves the client: it is past TLS and the login, where they are needed.
const SERVED: u8 = 128;

/// Why a connection's own task continues.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wake {
    /// The connection is to end.
    Closing,
    /// A reload has put other settings in force.
    Changed,
    /// Changes of local interest have to be announced to the peer of a route, and the
    /// socket is not blocked.
    InterestPending,
    /// There may be bytes to read.
    Readable,
    /// The socket has just become full: the timer has to be set earlier.
    Stuck,
    /// The timer ran out.
    Timer,
    /// The socket is writable again.
    Writable,
}

impl Connection {
    /// Has the connection's own task take over settings that are in force now.
    pub fn notify_changed(&self) {
        self.raise(CHANGED);
    }

    /// Whether the own task has to write because the socket was full.
    pub fn is_blocked(&self) -> bool {
        self.flags.load(Ordering::Acquire) & BLOCKED != 0
    }

    /// Whether the connection is to end.
    pub fn is_closing(&self) -> bool {
        self.flags.load(Ordering::Acquire) & CLOSING != 0
    }

    /// Notes whether the own task has halted.
    pub fn set_halted(&self, halted: bool) {
        match halted {
            true => self.flags.fetch_or(HALTED, Ordering::AcqRel),
            false => self.flags.fetch_and(!HALTED, Ordering::AcqRel),
        };
    }

    /// Whether the own task has halted.
    pub fn is_halted(&self) -> bool {
        self.flags.load(Ordering::Acquire) & HALTED != 0
    }

    /// Notes that the own task serves the client from now on.
    pub fn set_served(&self) {
        self.flags.fetch_or(SERVED, Ordering::AcqRel);
    }

    /// Whether the own task serves the client, which may publish.
    pub fn is_served(&self) -> bool {
        self.flags.load(Ordering::Acquire) & SERVED != 0
    }

    /// Notes that changes of local interest are pending because the queue is long: the
    /// route's own task announces them.
    pub fn note_pending_interest(&self) {
        self.raise(INTEREST_PENDING);
    }

    /// Whether changes of local interest wait to be announced.
    pub fn has_pending_interest(&self) -> bool {
        self.flags.load(Ordering::Acquire) & INTEREST_PENDING != 0
    }

    /// The own task is about to announce the pending changes.
    pub fn begin_announcing(&self) {
        self.lower(INTEREST_PENDING);
    }

    /// Waits until a reload has put other settings in force; for the own task. Each change
    /// is reported once.
    pub async fn changed(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.flags.load(Ordering::Acquire) & CHANGED {
                0 => Poll::Pending,
                _ => {
                    self.lower(CHANGED);
                    Poll::Ready(())
                }
            }
        })
        .await;
    }

    /// Waits until the connection is to end; for the own task.
    pub async fn closing(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.is_closing() {
                false => Poll::Pending,
                true => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Waits until something is queued, for the reader of a connection without a socket.
    /// `false`: the connection has ended.
    pub async fn queued(&self) -> bool {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.flags.load(Ordering::Acquire) {
                flags if flags & CLOSING != 0 => Poll::Ready(false),
                flags if flags & QUEUED != 0 => Poll::Ready(true),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for the next thing that the own task has to do. `timer` must be the task's own
    /// and have been reset once, so that it runs whether it is waited for or not: timers
    /// precede readable bytes, since a peer may always have sent more. With `unread` there
    /// are bytes to read that the socket does not report; that wakes once.
    pub async fn wake(
        &self,
        stream: &TcpStream,
        mut timer: Pin<&mut Sleep>,
        unread: &mut bool,
    ) -> Wake {
        poll_fn(
            |context| match self.poll_wake(stream, timer.as_mut(), context) {
                Poll::Pending if std::mem::take(unread) => Poll::Ready(Wake::Readable),
                wake => wake,
            },
        )
        .await
    }

    fn poll_wake(
        &self,
        stream: &TcpStream,
        timer: Pin<&mut Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<Wake> {
        // Registered before the flags are checked: a flag raised after the check wakes this
        // task.
        self.waker.register(context.waker());
        let flags = self.flags.load(Ordering::Acquire);
        if flags & CLOSING != 0 {
            return Poll::Ready(Wake::Closing);
        }
        if timer.is_elapsed() {
            return Poll::Ready(Wake::Timer);
        }
        if flags & CHANGED != 0 {
            self.lower(CHANGED);
            return Poll::Ready(Wake::Changed);
        }
        if flags & STUCK != 0 {
            self.lower(STUCK);
            return Poll::Ready(Wake::Stuck);
        }
        if flags & BLOCKED != 0 && stream.poll_write_ready(context).is_ready() {
            return Poll::Ready(Wake::Writable);
        }
        if flags & (INTEREST_PENDING | BLOCKED) == INTEREST_PENDING {
            return Poll::Ready(Wake::InterestPending);
        }
        if stream.poll_read_ready(context).is_ready() {
            return Poll::Ready(Wake::Readable);
        }
        timer.poll(context).map(|()| Wake::Timer)
    }

    pub(super) fn raise(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
        self.waker.wake();
    }

    pub(super) fn lower(&self, flag: u8) {
        self.flags.fetch_and(!flag, Ordering::AcqRel);
    }
}
