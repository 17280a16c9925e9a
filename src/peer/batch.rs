//! Reading messages: a batch of bytes becomes operations, and messages to one subject,
//! one behind the other, are gathered into a subject batch that is routed once and
//! delivered target by target.

use super::{End, HeldFor, Peer};
use crate::{
    connection::{
        buffers::{SMALL_BATCH_LEN, ThreadBuffers},
        reading::Large,
    },
    protocol::{CRLF, message::Message},
    telemetry::MonotonicMicros,
};

/// Bytes of a payload above which several targets share it instead of copying.
pub const SHARED_LEN: usize = 4 * 1024;

/// The log text for a payload without its CRLF.
pub const UNENDED: &str = "a payload does not end where its size says";

/// Checks that the payload of a broker's message ends where its size says, and with CRLF.
///
/// # Errors
///
/// It does not: the connection is to end.
pub fn check_end(payload: &[u8]) -> Result<(), End> {
    match payload.ends_with(CRLF) {
        true => Ok(()),
        false => Err(End::violation(UNENDED)),
    }
}

/// Position of `part` within `whole`, of which it is a part.
pub fn place_of(part: &[u8], whole: &[u8]) -> (usize, usize) {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    (start, start + part.len())
}

/// Messages of a subject batch from which on it is checked how much each of them
/// costs: one alone is never divided.
const CHECKED_LEN: usize = 2;

/// A peer that sends messages.
pub trait Messages: Peer {
    /// Where the common part of a subject batch's messages is in the batch.
    type Target: Copy;

    /// Whether a peer that sends messages needs no pings.
    const MESSAGES_REPLACE_PINGS: bool;

    /// A batch was read.
    fn begin_batch(&mut self, buffers: &mut ThreadBuffers);

    /// Handles the operation at `at` and moves on. `false`: it is not complete.
    ///
    /// # Errors
    ///
    /// The connection is to end.
    fn handle_operation(
        &mut self,
        buffers: &mut ThreadBuffers,
        gathered: &mut Gathered<Self::Target>,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<bool, End>;

    /// How many messages to a target one turn has time for; `None` if they have no
    /// receivers. `bytes` is the batch.
    fn len_max(&mut self, target: Self::Target, bytes: &[u8]) -> Option<usize>;

    /// Delivers the messages gathered in the thread's buffers; with `flush` each connection
    /// that receives some is written to immediately.
    fn deliver_gathered(
        &mut self,
        buffers: &mut ThreadBuffers,
        target: Self::Target,
        bytes: &[u8],
        flush: bool,
    );

    /// Delivers a large message that is now complete.
    ///
    /// # Errors
    ///
    /// The connection is to end.
    fn deliver_large(&mut self, buffers: &mut ThreadBuffers, large: Large) -> Result<(), End>;
}

/// The subject batch that is being gathered from a batch; its messages are in the
/// thread's buffers.
pub struct Gathered<T> {
    target: Option<T>,
    msgs: u64,
    bytes: u64,
    /// With so many messages it is checked whether they are to be delivered.
    check_at: usize,
}

impl<T: Copy> Gathered<T> {
    fn new() -> Self {
        Self {
            target: None,
            msgs: 0,
            bytes: 0,
            check_at: CHECKED_LEN,
        }
    }

    /// The target of the subject batch, if one is in progress.
    #[inline]
    pub fn target(&self) -> Option<&T> {
        self.target.as_ref()
    }

    /// Begins a subject batch; the one before must have been delivered, or have the
    /// same target.
    #[inline]
    pub fn set_target(&mut self, target: T) {
        self.target = Some(target);
    }

    /// Counts a message that was received, delivered or not.
    #[inline]
    pub fn count(&mut self, total_len: usize) {
        self.msgs += 1;
        self.bytes += total_len as u64;
    }

    /// Adds a message to the subject batch, and delivers that if its messages cost as
    /// much as one turn has time for.
    #[inline]
    pub fn add<P: Messages<Target = T>>(
        &mut self,
        peer: &mut P,
        buffers: &mut ThreadBuffers,
        bytes: &[u8],
        message: Message,
    ) {
        buffers.messages.push(message);
        if buffers.messages.len() >= self.check_at {
            self.check(peer, buffers, bytes);
        }
    }

    #[inline(never)]
    fn check<P: Messages<Target = T>>(
        &mut self,
        peer: &mut P,
        buffers: &mut ThreadBuffers,
        bytes: &[u8],
    ) {
        let Some(max) = self.target.and_then(|target| peer.len_max(target, bytes)) else {
            return;
        };
        if buffers.messages.len() < max {
            self.check_at = max;
        } else {
            self.deliver(peer, buffers, bytes);
        }
    }

    /// Delivers what was gathered; its targets are flushed at the batch's end.
    #[inline]
    pub fn deliver<P: Messages<Target = T>>(
        &mut self,
        peer: &mut P,
        buffers: &mut ThreadBuffers,
        bytes: &[u8],
    ) {
        if let Some(target) = self.target.take() {
            self.check_at = CHECKED_LEN;
            peer.deliver_gathered(buffers, target, bytes, false);
        }
    }
}

/// Handles the operations in `bytes`; what is not complete, or held, is kept.
pub fn handle_read_batch<P: Messages>(peer: &mut P, buffers: &mut ThreadBuffers, bytes: &[u8]) {
    buffers.read_at = MonotonicMicros::now();
    peer.begin_batch(buffers);
    let mut gathered = Gathered::new();
    let mut at = 0;
    let mut result = Ok(());
    while at < bytes.len() && result.is_ok() && !peer.link().is_held() {
        match peer.handle_operation(buffers, &mut gathered, bytes, &mut at) {
            Ok(true) => {}
            Ok(false) => break,
            Err(end) => result = Err(end),
        }
    }
    let held = peer.link().held;
    // Messages before an error are still delivered. Targets of a large batch are written to
    // immediately, while its bytes are still in the cache.
    if let Some(target) = gathered.target.take() {
        peer.deliver_gathered(buffers, target, bytes, bytes.len() > SMALL_BATCH_LEN);
    }
    peer.set_held(held);
    if gathered.msgs > 0 {
        count_received(peer, buffers, gathered.msgs, gathered.bytes);
    }
    match result {
        Ok(()) => peer.input().keep(&bytes[at..]),
        Err(end) => peer.end(buffers, end),
    }
}

/// Handles a large message that is now complete.
pub fn handle_large<P: Messages>(peer: &mut P, buffers: &mut ThreadBuffers, large: Large) {
    buffers.read_at = MonotonicMicros::now();
    peer.begin_batch(buffers);
    let result = peer.deliver_large(buffers, large);
    // After the delivery, which also counts messages without receivers.
    peer.connection().note_moved();
    // Nothing of it is left; whether more is read is up to the thread's buffers.
    peer.set_held(HeldFor::Nobody);
    if let Err(end) = result {
        peer.end(buffers, end);
    }
}

/// Counts messages that the peer has sent.
pub fn count_received<P: Messages>(peer: &mut P, buffers: &ThreadBuffers, msgs: u64, bytes: u64) {
    let connection = peer.connection();
    connection.in_msgs.add(msgs);
    connection.in_bytes.add(bytes);
    connection.note_moved();
    connection.active(buffers.read_at.millis());
    if P::MESSAGES_REPLACE_PINGS {
        peer.link_mut().keepalive.busy();
    }
}
