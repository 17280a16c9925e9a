//! WebSocket (RFC 6455) beneath a session: what a client and the broker say to each other travels in
//! frames, on a TCP or a TLS connection.
//!
//! [`handshake`] is the HTTP request that begins it; `client::websocket_upgrade` answers it and then
//! gives the connection its [`WebSocket`]. From then on `connection::reading` takes apart what is
//! received ([`WebSocket::open`]), and a flush of the outbound queue puts what waits into frames
//! ([`WebSocket::frame`]). As with TLS, the callers own the buffers, so that an idle connection
//! holds none. Where frames begin and end has nothing to do with operations, in both directions.

mod close;
mod deflate;
mod frame;
pub mod handshake;
mod incoming;
mod outgoing;
#[cfg(test)]
mod tests;

use parking_lot::Mutex;

pub use close::Close;
use deflate::{Deflater, Inflater};
pub use deflate::{INFLATING, INFLATING_BEFORE_LOGIN};
use incoming::Incoming;
pub use incoming::{Ended, KEPT};
use outgoing::Outgoing;

/// Bytes of a compressed message, and of what it becomes, at most: a multiple of the largest
/// payload, between two bounds. A client may put many operations into one message.
const MESSAGE_PAYLOADS: usize = 8;
const MESSAGE_LEN_LEAST: usize = 1024 * 1024;
const MESSAGE_LEN_MOST: usize = 64 * 1024 * 1024;

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Agreed {
    /// Messages may be compressed.
    pub compression: bool,
    /// The client does not mask its frames.
    pub no_masking: bool,
}

/// The frames of one connection.
pub struct WebSocket {
    agreed: Agreed,
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Outgoing>,
}

/// What a thread has for all of its WebSocket connections.
#[derive(Default)]
pub struct WebSocketBuffers {
    /// Frames as they were received.
    pub received: Vec<u8>,
    /// Frames for the peer.
    pub frames: Vec<u8>,
    inflater: Option<Box<Inflater>>,
    deflater: Option<Box<Deflater>>,
}

impl WebSocketBuffers {
    /// Bytes that they take.
    pub fn memory(&self) -> usize {
        let deflater = self.deflater.as_ref().map_or(0, |_| deflate::DEFLATER_LEN);
        let inflater = self.inflater.as_ref().map_or(0, |_| deflate::INFLATER_LEN);
        self.received.capacity() + self.frames.capacity() + deflater + inflater
    }
}

impl WebSocket {
    /// The frames of a connection whose handshake is done; `max_payload` is that of messages.
    pub fn new(agreed: Agreed, max_payload: usize) -> Self {
        let message_max = max_payload
            .saturating_mul(MESSAGE_PAYLOADS)
            .clamp(MESSAGE_LEN_LEAST, MESSAGE_LEN_MOST);
        Self {
            agreed,
            incoming: Mutex::new(Incoming::new(agreed, message_max as u64)),
            outgoing: Mutex::default(),
        }
    }

    /// Whether there are received bytes that can be opened without more of them.
    pub fn has_unread(&self) -> bool {
        self.incoming.lock().has_unread()
    }
}
