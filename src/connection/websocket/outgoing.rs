//! What the broker sends: bytes of its outbound queue become frames, and pings of the peer are
//! answered.

use super::{
    WebSocket, WebSocketBuffers,
    close::Close,
    deflate::Deflater,
    frame::{HEAD_LEN_MAX, Opcode, write_head},
};
use crate::connection::CloseReason;

/// Bytes of pongs that may wait. Whoever sends more pings than it takes pongs gets those to the
/// latest ones, as the protocol allows.
const PONGS_LEN_MAX: usize = 4 * 1024;

/// Messages up to this length are not compressed.
const SHORT_LEN: usize = 64;

/// What waits for the next flush.
#[derive(Default)]
pub(super) struct Outgoing {
    pongs: Vec<u8>,
    /// What the connection ends with, if it is not its reason.
    close: Option<Close>,
}

impl Outgoing {
    pub(super) fn pong(&mut self, payload: &[u8]) {
        if self.pongs.len() + payload.len() + HEAD_LEN_MAX > PONGS_LEN_MAX {
            self.pongs.clear();
        }
        write_head(&mut self.pongs, Opcode::Pong, false, payload.len());
        self.pongs.extend_from_slice(payload);
    }
}

impl WebSocket {
    pub(super) fn answer_ping(&self, payload: &[u8]) {
        self.outgoing.lock().pong(payload);
    }

    /// Has the connection end with this frame; the first one stays.
    pub(super) fn end_with(&self, close: Close) {
        self.outgoing.lock().close.get_or_insert(close);
    }

    /// Appends pongs that wait to `frames`, and what they are followed by as a message of its own.
    pub fn frame(&self, plain: &[u8], buffers: &mut WebSocketBuffers) {
        let WebSocketBuffers {
            frames, deflater, ..
        } = buffers;
        {
            let mut outgoing = self.outgoing.lock();
            if !outgoing.pongs.is_empty() {
                frames.append(&mut outgoing.pongs);
                // A connection at rest holds no buffer.
                outgoing.pongs = Vec::new();
            }
        }
        if plain.is_empty() {
            return;
        }
        if self.agreed.compression && plain.len() > SHORT_LEN {
            let deflater = deflater.get_or_insert_with(|| Box::new(Deflater::new()));
            let begin = frames.len();
            if deflater.deflate(plain, frames) {
                let len = frames.len() - begin;
                let mut head = Vec::with_capacity(HEAD_LEN_MAX);
                write_head(&mut head, Opcode::Binary, true, len);
                frames.splice(begin..begin, head);
                return;
            }
        }
        frames.reserve(HEAD_LEN_MAX + plain.len());
        write_head(frames, Opcode::Binary, false, plain.len());
        frames.extend_from_slice(plain);
    }

    /// The last frame of a connection that ends for this reason; `None` for none.
    pub fn close_frame(&self, reason: CloseReason) -> Option<Vec<u8>> {
        let close = self.outgoing.lock().close.take();
        close.or_else(|| Close::of(reason)).map(|it| it.frame())
    }
}
