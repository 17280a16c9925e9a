//! Contents of an outbound queue: pieces of bytes in their order, appended at one end,
//! written to the socket, or sealed into TLS records or put into frames, at the other.
//!
//! Only the files beside it use it: under the queue's lock, or taken out of it by the
//! flusher.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, IoSlice},
};

use bytes::Bytes;
use tokio::net::TcpStream;

use super::{
    inspection::{QueuedMessage, messages},
    sealed::Sealed,
};
use crate::{
    connection::{
        Kind,
        buffers::{CHUNK_LEN, ThreadBuffers},
    },
    telemetry::{
        MonotonicMicros,
        pool::{allocated, shorten_bytes},
        slow::SubjectShare,
    },
};

/// Most pieces handed to the kernel in one call.
const SLICES_MAX: usize = 64;

/// Bytes that a piece which has to wait may have beyond twice what it needs.
const SPARE_MAX: usize = 4 * 1024;

/// Pieces of a queue, and messages of each, that an inspection of its contents visits:
/// meanwhile no one can append.
const WALKED_PIECES_MAX: usize = 64;
const WALKED_MESSAGES_MAX: usize = 64;

/// Bytes in their order: what is sealed already, `chunks`, the first one from
/// `offset` on, then `open`.
#[derive(Default)]
pub(super) struct Queue {
    /// Only with TLS or a WebSocket.
    pub(super) sealed: Option<Box<Sealed>>,
    chunks: VecDeque<Chunk>,
    pub(super) offset: usize,
    pub(super) open: Vec<u8>,
    /// Messages that end in `open`.
    pub(super) open_msgs: u64,
    /// When the first message in `open` was read.
    open_since: MonotonicMicros,
    /// When the messages that are being appended were read.
    appending: MonotonicMicros,
    /// Messages of chunks that are completely written.
    pub(super) gone_msgs: u64,
    /// Bytes of the shared chunks.
    shared_len: usize,
    /// Bytes that the other chunks take.
    owned: usize,
}

/// The result of writing.
pub(super) struct Written {
    /// Bytes that wait no longer.
    pub(super) released: usize,
    /// Messages of the pieces that wait no longer.
    pub(super) msgs: u64,
    /// The socket took something.
    pub(super) progressed: bool,
    pub(super) outcome: io::Result<()>,
}

/// A piece of the queue. One with bytes of its own begins with the head of a
/// message or a line of the protocol; a shared one is the payload of the message
/// whose head ends the piece before.
struct Chunk {
    data: Data,
    /// Messages that end in it.
    pub(super) msgs: u64,
    /// When the first of them was read.
    since: MonotonicMicros,
}

enum Data {
    Owned(Vec<u8>),
    Shared(Bytes),
}

impl Queue {
    /// Sets the read time of the messages that are appended from now on.
    pub(super) fn begin(&mut self, read_at: MonotonicMicros) {
        self.appending = read_at;
        if self.open.is_empty() || self.open_since.is_none() {
            self.open_since = read_at;
        }
    }

    /// Appends two pieces behind each other.
    #[inline]
    pub(super) fn push(&mut self, buffers: &mut ThreadBuffers, first: &[u8], second: &[u8]) {
        let len = first.len() + second.len();
        if self.open.len() + len > self.open.capacity() {
            self.reserve(buffers, len);
        }
        self.open.extend_from_slice(first);
        self.open.extend_from_slice(second);
    }

    /// Marks the end of a message.
    #[inline]
    pub(super) fn end_message(&mut self) {
        self.open_msgs += 1;
    }

    /// Appends the end of a message without copying it.
    pub(super) fn push_shared(&mut self, piece: Bytes) {
        // Of a piece that is not half full, what is in it is enough: such a head may wait
        // with each payload.
        match self.open.capacity() > 2 * self.open.len() {
            true => self.set_apart(),
            false => self.seal(),
        }
        self.shared_len += piece.len();
        self.chunks.push_back(Chunk {
            data: Data::Shared(piece),
            msgs: 1,
            since: self.appending,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.open.is_empty() && self.sealed.is_none()
    }

    /// Whether all plaintext is written.
    pub(super) fn is_written(&self) -> bool {
        self.chunks.is_empty() && self.offset == self.open.len()
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.as_slice().len()).sum();
        self.sealed_len() + chunks + self.open.len() - self.offset
    }

    /// Memory that it uses.
    pub(super) fn memory(&self) -> usize {
        let sealed = self.sealed.as_ref();
        let sealed = sealed.map_or(0, |sealed| sealed.bytes.capacity());
        let places = self.chunks.capacity() * size_of::<Chunk>();
        self.owned + self.shared_len + allocated(self.open.capacity()) + places + sealed
    }

    /// Bytes of the payloads in it that other queues may share.
    pub(super) fn shared_len(&self) -> usize {
        self.shared_len
    }

    /// Plaintext bytes that are sealed, or in frames, and not written.
    fn sealed_len(&self) -> usize {
        self.sealed.as_ref().map_or(0, |sealed| sealed.plain)
    }

    /// Messages that wait, one that is written in part included.
    pub(super) fn msgs(&self, kind: Kind) -> u64 {
        let sealed = self.sealed.as_ref().map_or(0, |sealed| sealed.msgs);
        let chunks: u64 = self.chunks.iter().map(|chunk| chunk.msgs).sum();
        sealed + chunks + self.open_msgs - self.front_written(kind)
    }

    /// Messages of the first piece that are written whole.
    pub(super) fn front_written(&self, kind: Kind) -> u64 {
        let (front, msgs) = match self.chunks.front() {
            Some(chunk) if chunk.is_shared() => return 0,
            Some(chunk) => (chunk.as_slice(), chunk.msgs),
            None => (&*self.open, self.open_msgs),
        };
        let written_len = self.offset.saturating_sub(self.sealed_len());
        let is_written = |message: &QueuedMessage<'_>| message.end <= written_len;
        let written = messages(front, kind).take_while(is_written).count() as u64;
        written.min(msgs)
    }

    /// The pending messages by subject.
    pub(super) fn subjects(&self, kind: Kind) -> Vec<SubjectShare> {
        let own = |chunk: &&Chunk| !chunk.is_shared();
        let pieces = self.chunks.iter().filter(own).count() + 1;
        let step = pieces.div_ceil(WALKED_PIECES_MAX);
        let walked = self.chunks.iter().filter(own).map(Chunk::as_slice);
        let walked = walked.chain([&*self.open]).step_by(step);
        let mut shares: HashMap<&[u8], (u64, u64)> = HashMap::new();
        let mut all = 0;
        for message in walked.flat_map(|piece| messages(piece, kind).take(WALKED_MESSAGES_MAX)) {
            let share = shares.entry(message.subject).or_default();
            share.0 += 1;
            share.1 += message.len as u64;
            all += message.len as u64;
        }
        let (part, whole) = (u128::from(all.max(1)), self.len() as u128);
        // At most `whole`, as a part of it.
        let scaled = |walked: u64| (u128::from(walked) * whole / part) as u64;
        shares
            .into_iter()
            .map(|(subject, (msgs, bytes))| SubjectShare {
                subject: shorten_bytes(subject),
                msgs: scaled(msgs).max(1),
                bytes: scaled(bytes),
            })
            .collect()
    }

    /// When the first message that waits was read.
    pub(super) fn since(&self) -> MonotonicMicros {
        self.chunks
            .front()
            .map_or(self.open_since, |chunk| chunk.since)
    }

    /// Closes the open piece, so that other data may follow it.
    fn seal(&mut self) {
        if !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            self.close_open(open);
        }
    }

    /// The same with a copy of what is in the open piece, which is empty then.
    fn set_apart(&mut self) {
        if !self.open.is_empty() {
            let copy = self.open.as_slice().into();
            self.open.clear();
            self.close_open(copy);
        }
    }

    fn close_open(&mut self, open: Vec<u8>) {
        self.owned += allocated(open.capacity());
        self.chunks.push_back(Chunk {
            data: Data::Owned(open),
            msgs: std::mem::take(&mut self.open_msgs),
            since: std::mem::replace(&mut self.open_since, self.appending),
        });
    }

    /// Releases the unused capacity of the open piece: nothing is written for a while.
    pub(super) fn trim(&mut self, buffers: &mut ThreadBuffers) {
        if is_spacious(&self.open) {
            let copy = self.open.as_slice().into();
            buffers.give_chunk(std::mem::replace(&mut self.open, copy));
        }
    }

    #[cold]
    fn reserve(&mut self, buffers: &mut ThreadBuffers, len: usize) {
        if self.open.len() + len > CHUNK_LEN {
            self.seal();
        }
        if self.open.capacity() == 0 {
            self.open = buffers.take_chunk();
        }
        self.open.reserve(len);
    }

    /// Puts bytes that were taken out back at the front.
    pub(super) fn put_back(&mut self, mut taken: Self) {
        taken.seal();
        // A reader that is behind stays so for a while: the unused capacity of its pieces
        // is released.
        if let Some(Chunk {
            data: Data::Owned(bytes),
            ..
        }) = taken.chunks.back_mut()
            && is_spacious(bytes)
        {
            let before = allocated(bytes.capacity());
            bytes.shrink_to_fit();
            taken.owned -= before - allocated(bytes.capacity());
        }
        self.shared_len += taken.shared_len;
        self.owned += taken.owned;
        taken.chunks.append(&mut self.chunks);
        self.chunks = taken.chunks;
        self.offset = taken.offset;
        // Only the flusher seals, so there is nothing else sealed here.
        self.sealed = taken.sealed;
    }

    /// Writes until all is written or the socket fails. Written pieces are removed from the
    /// queue, except the open piece of a complete write.
    pub(super) fn write_to(&mut self, stream: &TcpStream, buffers: &mut ThreadBuffers) -> Written {
        let mut total = 0;
        loop {
            if self.is_written() {
                self.gone_msgs += std::mem::take(&mut self.open_msgs);
                return self.written(total, Ok(()));
            }
            let result = if self.chunks.is_empty() {
                stream.try_write(&self.open[self.offset..])
            } else {
                self.write_slices(stream)
            };
            match result {
                Ok(0) => return self.written(total, Err(io::ErrorKind::WriteZero.into())),
                Ok(len) => {
                    total += len;
                    self.advance(len, buffers);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.written(total, Err(error)),
            }
        }
    }

    pub(super) fn written(&mut self, released: usize, outcome: io::Result<()>) -> Written {
        Written {
            released,
            msgs: std::mem::take(&mut self.gone_msgs),
            progressed: released > 0,
            outcome,
        }
    }

    /// The first bytes in one piece.
    pub(super) fn front(&self) -> &[u8] {
        let first = self.chunks.front().map_or(&*self.open, Chunk::as_slice);
        &first[self.offset..]
    }

    /// A copy of what waits, without TLS.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let pieces = self.chunks.iter().map(Chunk::as_slice);
        let mut bytes = Vec::with_capacity(self.len());
        let mut offset = self.offset;
        for piece in pieces.chain([self.open.as_slice()]) {
            bytes.extend_from_slice(&piece[offset..]);
            offset = 0;
        }
        bytes
    }

    fn write_slices(&self, stream: &TcpStream) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let mut offset = self.offset;
        let pieces = self.chunks.iter().map(Chunk::as_slice);
        for piece in pieces.chain([self.open.as_slice()]).take(SLICES_MAX) {
            slices[count] = IoSlice::new(&piece[offset..]);
            offset = 0;
            count += 1;
        }
        stream.try_write_vectored(&slices[..count])
    }

    /// Forgets written bytes.
    pub(super) fn advance(&mut self, mut written: usize, buffers: &mut ThreadBuffers) {
        while let Some(chunk) = self.chunks.front() {
            let left = chunk.as_slice().len() - self.offset;
            if written < left {
                break;
            }
            written -= left;
            self.offset = 0;
            let Some(chunk) = self.chunks.pop_front() else {
                break;
            };
            self.gone_msgs += chunk.msgs;
            match chunk.data {
                Data::Owned(bytes) => {
                    self.owned -= allocated(bytes.capacity());
                    buffers.give_chunk(bytes);
                }
                Data::Shared(bytes) => self.shared_len -= bytes.len(),
            }
        }
        self.offset += written;
    }

    /// Copies the plaintext to the end of `bytes`.
    pub(super) fn copy_to(&self, bytes: &mut Vec<u8>) {
        bytes.reserve(self.len());
        let pieces = self.chunks.iter().map(Chunk::as_slice);
        let mut offset = self.offset;
        for piece in pieces.chain([&*self.open]) {
            bytes.extend_from_slice(&piece[offset..]);
            offset = 0;
        }
    }

    pub(super) fn recycle(self, buffers: &mut ThreadBuffers) {
        buffers.give_chunk(self.open);
    }
}

/// Whether a piece has much more capacity than it needs.
fn is_spacious(piece: &Vec<u8>) -> bool {
    piece.capacity() > 2 * piece.len() + SPARE_MAX
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match &self.data {
            Data::Owned(bytes) => bytes,
            Data::Shared(bytes) => bytes,
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self.data, Data::Shared(_))
    }
}
