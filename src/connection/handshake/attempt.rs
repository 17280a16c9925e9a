//! A peer that begins a handshake: since when it waits, whether it is still there, and what
//! the order of handshakes learns from its end; for [`Handshakers`](super::Handshakers) only.

use std::{
    mem::MaybeUninit,
    sync::OnceLock,
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::net::TcpStream;

use super::{patience::Patience, threads::Turn};
use crate::security::failure::{Cause, Failure};

/// The time that a peer spends on its handshake.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// When it began.
    since: OnceLock<Instant>,
    /// When its turn came.
    begun: OnceLock<Instant>,
}

impl Attempt {
    /// The turn of what the peer began with; it waits from the first call on.
    pub(super) fn turn(&self) -> Turn {
        Turn::Beginning(*self.since.get_or_init(Instant::now))
    }

    /// Its turn has come.
    pub(super) fn begin(&self) {
        self.begun.get_or_init(Instant::now);
    }

    /// Tells what its end says about the patience of peers.
    pub(super) fn tell<T>(&self, patience: &mut Patience, result: &Result<T, Failure>) {
        let age = |of: &OnceLock<Instant>| of.get().map(Instant::elapsed);
        let Some(waited) = age(&self.since) else {
            return;
        };
        let rest = age(&self.begun);
        match result.as_ref().map_err(|failure| failure.cause) {
            Err(Cause::Closed) => patience.left(waited, rest),
            // It may have left before, or the broker ended it.
            Err(Cause::Timeout | Cause::TooMany) => {}
            // A refused peer was there, too.
            Ok(_) | Err(_) => patience.stayed(waited, rest.unwrap_or(Duration::ZERO)),
        }
    }
}

/// Waits until the peer has closed its side without sending more. An alert that it sent
/// before is still read, as it explains why.
pub(super) async fn leaves(stream: &TcpStream) {
    if let Ok(1..) = stream.peek(&mut [0]).await {
        std::future::pending().await
    }
}

/// Whether it has done that already.
pub(super) fn has_left(stream: &TcpStream) -> bool {
    match SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]) {
        Ok(len) => len == 0,
        // The socket is one that never blocks.
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (peer.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn a_closed_or_reset_connection_is_noticed_and_one_with_data_is_not_left() {
        let (peer, stream) = pair().await;
        assert!(!has_left(&stream));
        drop(peer);
        leaves(&stream).await;
        assert!(has_left(&stream));

        let (peer, stream) = pair().await;
        peer.set_zero_linger().unwrap();
        drop(peer);
        leaves(&stream).await;
        assert!(has_left(&stream));

        let (peer, stream) = pair().await;
        peer.writable().await.unwrap();
        assert_eq!(peer.try_write(b"an alert").unwrap(), 8);
        stream.readable().await.unwrap();
        assert!(!has_left(&stream));
    }
}
