//! The outbound queue of a connection: bounded, appended to by many, written
//! by one at a time.
//!
//! Whoever delivers locks the queue, appends and unlocks; when its batch is
//! done it flushes. The flusher takes the bytes out, writes without the lock,
//! and looks again before it lets go, so that bytes appended meanwhile are
//! written by the one who is at it. When the socket is full the rest stays and
//! the connection's own task goes on once the socket takes more. No system
//! call happens under the lock.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::net::TcpStream;

use super::{
    BLOCKED, CloseReason, Connection,
    budget::{BOOKED_STEP, Budget},
    transport::{RECORD_LEN, Tls},
    worker::{CHUNK_LEN, Worker},
};
use crate::telemetry::Clock;

/// Most pieces handed to the kernel in one call.
const SLICES_MAX: usize = 64;

/// Plaintext bytes that are sealed for one write.
const SEALED_LEN_MAX: usize = 4 * RECORD_LEN;

/// Rounds of one flush: whoever flushes for others is not kept at it for ever.
const ROUNDS_MAX: usize = 8;

/// Bytes waiting for a connection that make publishers look whether they should
/// pause.
pub const CONGESTED_BYTES: usize = 2 * 1024 * 1024;

/// The queue.
pub struct Outbound(Mutex<State>);

struct State {
    /// Gone once the connection has ended, so that the socket closes whoever
    /// still holds the connection.
    stream: Option<Arc<TcpStream>>,
    queue: Queue,
    /// Bytes queued, those that are being written included.
    pending: usize,
    max_pending: usize,
    writing: bool,
    blocked: bool,
    closed: Option<CloseReason>,
    budget: Arc<Budget>,
    /// What the budget has booked for this queue.
    booked: usize,
    /// The batch that appended last; see [`Appender::touch`].
    touched_by: u64,
    msgs: u64,
    bytes: u64,
    /// When the socket last took some bytes.
    last_progress: Clock,
    /// When the socket was first full since the queue was last empty.
    behind_since: Option<Clock>,
}

/// Bytes in their order: what is sealed already, `chunks`, the first one from
/// `offset` on, then `open`.
#[derive(Default)]
struct Queue {
    /// Only with TLS.
    sealed: Option<Box<Sealed>>,
    chunks: VecDeque<Chunk>,
    offset: usize,
    open: Vec<u8>,
}

/// Records that the socket has not taken yet.
#[derive(Default)]
struct Sealed {
    bytes: Vec<u8>,
    /// How much of them is written.
    written: usize,
    /// The plaintext bytes in them.
    plain: usize,
}

/// What came of writing.
struct Written {
    /// Bytes that wait no longer.
    released: usize,
    /// The socket took something.
    progressed: bool,
    outcome: io::Result<()>,
}

enum Chunk {
    Owned(Vec<u8>),
    Shared(Bytes),
}

/// How far a connection's reader is behind.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Bytes waiting.
    pub pending: usize,
    /// Bytes that may wait at most.
    pub max_pending: usize,
    /// When the socket last took some bytes.
    pub last_progress: Clock,
    /// When the socket was first full since the queue was last empty; `None`
    /// while the reader keeps up.
    pub behind_since: Option<Clock>,
    /// Whether the connection is ending.
    pub closed: bool,
}

/// The locked queue of a connection that is open.
pub struct Appender<'a> {
    state: MutexGuard<'a, State>,
    connection: &'a Connection,
}

impl Outbound {
    pub(super) fn new(stream: Arc<TcpStream>, max_pending: usize, budget: Arc<Budget>) -> Self {
        Self(Mutex::new(State {
            stream: Some(stream),
            queue: Queue::default(),
            pending: 0,
            max_pending,
            writing: false,
            blocked: false,
            closed: None,
            budget,
            booked: 0,
            touched_by: 0,
            msgs: 0,
            bytes: 0,
            last_progress: Clock::now(),
            behind_since: None,
        }))
    }

    /// Messages and bytes delivered so far.
    pub fn delivered(&self) -> (u64, u64) {
        let state = self.0.lock();
        (state.msgs, state.bytes)
    }

    /// How far the reader is behind.
    pub fn backlog(&self) -> Backlog {
        let state = self.0.lock();
        Backlog {
            pending: state.pending,
            max_pending: state.max_pending,
            last_progress: state.last_progress,
            behind_since: state.behind_since,
            closed: state.closed.is_some(),
        }
    }

    /// Sets another limit for what may wait; what waits already stays.
    pub fn set_max_pending(&self, max_pending: usize) {
        self.0.lock().max_pending = max_pending;
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.lock().queue.is_empty()
    }

    /// Why the connection ends, if it does.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.0.lock().closed
    }

    /// Drops the socket and what waits for it. The connection has ended.
    pub fn release(&self) {
        let mut state = self.0.lock();
        state.stream = None;
        state.discard();
    }

    /// Notes the reason; `false` if there is one already.
    pub(super) fn close(&self, reason: CloseReason) -> bool {
        let mut state = self.0.lock();
        if state.closed.is_some() {
            return false;
        }
        state.close(reason);
        true
    }
}

impl State {
    fn close(&mut self, reason: CloseReason) {
        self.closed = Some(reason);
        if reason.is_slow_consumer() {
            self.discard();
        }
    }

    /// Throws away what waits.
    fn discard(&mut self) {
        self.queue = Queue::default();
        self.pending = 0;
        self.budget.book(self.booked, 0);
        self.booked = 0;
    }

    /// Books what waits, if it changed much.
    fn book(&mut self) {
        let waiting = match self.blocked && self.closed.is_none() {
            true => self.pending,
            false => 0,
        };
        if waiting.abs_diff(self.booked) >= BOOKED_STEP || waiting == 0 {
            self.budget.book(self.booked, waiting);
            self.booked = waiting;
        }
    }
}

impl Connection {
    /// Locks the queue to append; `None` when the connection is ending.
    pub fn append(&self) -> Option<Appender<'_>> {
        let state = self.outbound.0.lock();
        match state.closed {
            None => Some(Appender {
                state,
                connection: self,
            }),
            Some(_) => None,
        }
    }

    /// Appends one piece of the protocol and notes the connection for the
    /// batch's flush.
    pub fn send(self: &Arc<Self>, worker: &mut Worker, line: &[u8]) {
        let Some(mut appender) = self.append() else {
            return;
        };
        if appender.reserve(line.len()) {
            appender.push(worker, line, b"");
            if appender.touch(worker.batch) {
                worker.touched.push(self.clone());
            }
        }
    }

    /// Has TLS' own records written, which wait in the transport, and notes the
    /// connection for the batch's flush.
    pub fn send_control(self: &Arc<Self>, worker: &mut Worker) {
        if let Some(mut appender) = self.append() {
            appender.state.queue.sealed.get_or_insert_default();
            if appender.touch(worker.batch) {
                worker.touched.push(self.clone());
            }
        }
    }

    /// Writes what waits, as far as the socket takes it now.
    pub fn flush(self: &Arc<Self>, worker: &mut Worker) {
        self.write_queue(worker, false);
    }

    /// The same for the connection's own task when the socket takes bytes
    /// again.
    pub fn flush_blocked(&self, worker: &mut Worker) {
        {
            let mut state = self.outbound.0.lock();
            state.blocked = false;
            self.lower(BLOCKED);
        }
        self.write_queue(worker, false);
    }

    /// The same after the close was asked for. Returns whether all is written
    /// or lost, so that there is nothing to wait for.
    pub fn flush_closing(&self, worker: &mut Worker) -> bool {
        self.outbound.0.lock().blocked = false;
        self.write_queue(worker, true);
        let state = self.outbound.0.lock();
        !state.blocked && !state.writing
    }

    /// Returns the bytes that still wait.
    fn write_queue(&self, worker: &mut Worker, closing: bool) -> usize {
        let mut state = self.outbound.0.lock();
        if state.writing || state.blocked || (state.closed.is_some() && !closing) {
            if state.blocked {
                state.book();
            }
            return state.pending;
        }
        let Some(stream) = state.stream.clone() else {
            return 0;
        };
        state.writing = true;
        for _ in 0..ROUNDS_MAX {
            if state.queue.is_empty() {
                state.writing = false;
                state.behind_since = None;
                if state.booked > 0 {
                    state.book();
                }
                return state.pending;
            }
            let mut taken = std::mem::take(&mut state.queue);
            drop(state);

            let written = match self.tls() {
                None => taken.write_to(&stream, worker),
                Some(tls) => taken.seal_to(tls, &stream, worker),
            };

            state = self.outbound.0.lock();
            // A slow consumer's close may have thrown the queue away.
            state.pending = state.pending.saturating_sub(written.released);
            if written.progressed {
                state.last_progress = Clock::now();
            }
            match written.outcome {
                Ok(()) => taken.recycle(worker),
                Err(error) => {
                    state.writing = false;
                    let slow = state.closed.is_some_and(CloseReason::is_slow_consumer);
                    if error.kind() == io::ErrorKind::WouldBlock && !slow {
                        state.queue.put_back(taken);
                        return self.hand_over(state);
                    }
                    state.pending = 0;
                    if state.closed.is_none() {
                        drop(state);
                        self.close(CloseReason::WriteError);
                    }
                    return 0;
                }
            }
        }
        state.writing = false;
        match state.queue.is_empty() {
            true => state.pending,
            false => self.hand_over(state),
        }
    }

    /// Leaves what waits to the connection's own task.
    fn hand_over(&self, mut state: MutexGuard<'_, State>) -> usize {
        let pending = state.pending;
        state.blocked = true;
        state.behind_since.get_or_insert_with(Clock::now);
        state.book();
        drop(state);
        self.raise(BLOCKED);
        pending
    }
}

impl Appender<'_> {
    /// Asks for room for `len` bytes. `false`: the queue would outgrow its
    /// limit; the connection is now closed as a slow consumer.
    pub fn reserve(&mut self, len: usize) -> bool {
        let state = &mut *self.state;
        if state.pending + len <= state.max_pending {
            state.pending += len;
            return true;
        }
        state.close(CloseReason::SlowConsumerPending);
        self.connection.raise(super::CLOSING);
        false
    }

    /// Appends two pieces behind each other; room for them must be reserved.
    #[inline]
    pub fn push(&mut self, worker: &mut Worker, first: &[u8], second: &[u8]) {
        let queue = &mut self.state.queue;
        let len = first.len() + second.len();
        if queue.open.len() + len > queue.open.capacity() {
            queue.make_room(worker, len);
        }
        queue.open.extend_from_slice(first);
        queue.open.extend_from_slice(second);
    }

    /// Appends a piece without copying it; room for it must be reserved.
    pub fn push_shared(&mut self, piece: Bytes) {
        let queue = &mut self.state.queue;
        queue.seal();
        queue.chunks.push_back(Chunk::Shared(piece));
    }

    /// Counts messages and their payload bytes as delivered.
    pub fn count(&mut self, msgs: u64, bytes: u64) {
        self.state.msgs += msgs;
        self.state.bytes += bytes;
    }

    /// Whether publishers should look whether to pause.
    pub fn is_congested(&self) -> bool {
        self.state.pending > CONGESTED_BYTES
    }

    /// Marks the connection as touched by a batch; `false` if the batch marked
    /// it before.
    pub fn touch(&mut self, batch: u64) -> bool {
        let first = self.state.touched_by != batch;
        self.state.touched_by = batch;
        first
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.open.is_empty() && self.sealed.is_none()
    }

    /// Whether all plaintext is gone.
    fn is_written(&self) -> bool {
        self.chunks.is_empty() && self.offset == self.open.len()
    }

    /// Closes the open piece, so that something may come behind it.
    fn seal(&mut self) {
        if !self.open.is_empty() {
            let open = std::mem::take(&mut self.open);
            self.chunks.push_back(Chunk::Owned(open));
        }
    }

    #[cold]
    fn make_room(&mut self, worker: &mut Worker, len: usize) {
        if self.open.len() + len > CHUNK_LEN {
            self.seal();
        }
        if self.open.capacity() == 0 {
            self.open = worker.take_chunk();
        }
        self.open.reserve(len);
    }

    /// Puts bytes that were taken out back in front.
    fn put_back(&mut self, mut taken: Self) {
        taken.seal();
        taken.chunks.append(&mut self.chunks);
        self.chunks = taken.chunks;
        self.offset = taken.offset;
        // Only who writes seals, so there is nothing else sealed here.
        self.sealed = taken.sealed;
    }

    /// Writes until all is written or the socket fails. What is written is gone
    /// from the queue but for the open piece of a complete write.
    fn write_to(&mut self, stream: &TcpStream, worker: &mut Worker) -> Written {
        let mut total = 0;
        let written = |total, outcome| Written {
            released: total,
            progressed: total > 0,
            outcome,
        };
        loop {
            if self.is_written() {
                return written(total, Ok(()));
            }
            let result = if self.chunks.is_empty() {
                stream.try_write(&self.open[self.offset..])
            } else {
                self.write_slices(stream)
            };
            match result {
                Ok(0) => return written(total, Err(io::ErrorKind::WriteZero.into())),
                Ok(len) => {
                    total += len;
                    self.advance(len, worker);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return written(total, Err(error)),
            }
        }
    }

    /// The same with TLS: what is sealed and does not go out stays in front.
    fn seal_to(&mut self, tls: &Tls, stream: &TcpStream, worker: &mut Worker) -> Written {
        let mut written = Written {
            released: 0,
            progressed: false,
            outcome: Ok(()),
        };
        loop {
            if let Some(mut sealed) = self.sealed.take() {
                let before = sealed.written;
                let result = sealed.write_to(stream);
                written.progressed |= sealed.written > before;
                if let Err(error) = result {
                    sealed.bytes.shrink_to_fit();
                    self.sealed = Some(sealed);
                    if self.is_written() {
                        worker.give_chunk(std::mem::take(&mut self.open));
                        self.offset = 0;
                    }
                    written.outcome = Err(error);
                    return written;
                }
                written.released += sealed.plain;
                if sealed.bytes.capacity() > 0 {
                    worker.tls.sealed = sealed.bytes;
                }
            }
            match self.seal_next(tls, worker) {
                Ok(None) => return written,
                Ok(sealed) => self.sealed = sealed,
                Err(error) => {
                    written.outcome = Err(error);
                    return written;
                }
            }
        }
    }

    /// Seals as much as one write should carry; `None` if there is nothing.
    fn seal_next(&mut self, tls: &Tls, worker: &mut Worker) -> io::Result<Option<Box<Sealed>>> {
        let mut bytes = std::mem::take(&mut worker.tls.sealed);
        let mut gathered = std::mem::take(&mut worker.tls.gathered);
        bytes.clear();
        let mut plain = 0;
        let mut sealer = tls.sealer(&mut bytes);
        while plain < SEALED_LEN_MAX && !self.is_written() {
            // Long pieces are sealed where they are, short ones together.
            let front = self.front();
            let len = match front.len() / RECORD_LEN * RECORD_LEN {
                0 => {
                    self.gather(&mut gathered, worker);
                    sealer.seal(&gathered)?;
                    plain += gathered.len();
                    continue;
                }
                len => len.min(SEALED_LEN_MAX - plain),
            };
            sealer.seal(&front[..len])?;
            plain += len;
            self.advance(len, worker);
        }
        let found = sealer.has_sealed();
        drop(sealer);
        worker.tls.gathered = gathered;
        if !found {
            worker.tls.sealed = bytes;
            return Ok(None);
        }
        Ok(Some(Box::new(Sealed {
            bytes,
            written: 0,
            plain,
        })))
    }

    /// The first bytes in one piece.
    fn front(&self) -> &[u8] {
        let first = self.chunks.front().map_or(&*self.open, Chunk::as_slice);
        &first[self.offset..]
    }

    /// Takes the bytes of one record out of the queue.
    fn gather(&mut self, record: &mut Vec<u8>, worker: &mut Worker) {
        record.clear();
        while record.len() < RECORD_LEN && !self.is_written() {
            let front = self.front();
            let len = front.len().min(RECORD_LEN - record.len());
            record.extend_from_slice(&front[..len]);
            self.advance(len, worker);
        }
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
    fn advance(&mut self, mut written: usize, worker: &mut Worker) {
        while let Some(chunk) = self.chunks.front() {
            let left = chunk.as_slice().len() - self.offset;
            if written < left {
                break;
            }
            written -= left;
            self.offset = 0;
            if let Some(Chunk::Owned(chunk)) = self.chunks.pop_front() {
                worker.give_chunk(chunk);
            }
        }
        self.offset += written;
    }

    fn recycle(self, worker: &mut Worker) {
        worker.give_chunk(self.open);
    }
}

impl Sealed {
    fn write_to(&mut self, stream: &TcpStream) -> io::Result<()> {
        while self.written < self.bytes.len() {
            match stream.try_write(&self.bytes[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => self.written += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}
