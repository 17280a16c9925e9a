//! Buffers of a worker thread, used while it handles one connection's bytes.
//!
//! An idle connection owns no buffer: when its bytes arrive, its task borrows the thread's
//! [`ThreadBuffers`] for one synchronous piece of work. Nothing of it is held over an
//! await, with one exception: the targets of small batches stay noted for a while, so that
//! what several connections send to one target is sent in one write. They are flushed
//! before the thread goes idle ([`flush_deferred`], which the runtime must call then),
//! after [`DEFERRED_MAX`] batches, or with the next large batch.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Connection, congested::Congested, websocket::WebSocketBuffers};
use crate::{
    connection::Subscription,
    protocol::{
        message::Message,
        message_trace::{MessageTrace, survey::Survey},
    },
    telemetry::{
        MonotonicMicros, MonotonicMillis,
        metrics::{self, ThreadMetrics},
        pool::SHORT_LEN_MAX,
    },
};

/// Bytes of one read from a socket; larger reads had no benefit and smaller ones cost
/// system calls.
pub const READ_BUFFER_LEN: usize = 64 * 1024;

/// Bytes in one piece of an outbound queue. A read batch with its longer
/// delivery headers fits.
pub const CHUNK_LEN: usize = 128 * 1024;

/// Bytes of a batch up to which the flush of its targets may wait for other connections'
/// batches: many responders' answers of a few KiB each reach the requester in few writes.
pub const SMALL_BATCH_LEN: usize = 8 * 1024;

/// Small batches after which their targets are flushed at the latest.
pub const DEFERRED_MAX: usize = 32;

/// Runs of a batch of which the subject is counted in any case, and the part
/// of those beyond: a batch of many subjects must not cost more than its
/// deliveries.
const BATCHES_ALL: usize = 32;
const BATCHES_SAMPLED: usize = 8;

/// Bytes of a buffer above which it is freed after its batch.
const BUFFER_MAX: usize = 1024 * 1024;

/// What a turn may cost, in deliveries of a small message: some milliseconds. A session
/// with more to do continues in its next turn.
pub const TURN_COST_MAX: usize = 256 * 1024;

/// Number of batches after which a busy thread reports the memory of its buffers.
const REPORT_EVERY: u64 = 1024;

/// Bytes of the least of them: smaller ones are not kept for reuse.
const CHUNK_LEAST: usize = 4 * 1024;

/// Pieces a thread keeps for reuse; more are returned to the allocator.
const CHUNKS_KEPT: usize = 16;

/// Buffers and lists, reused from one batch to the next.
pub struct ThreadBuffers {
    /// Where sockets are read into.
    pub read_buffer: Vec<u8>,
    /// Space for text that is composed while a batch is handled.
    pub scratch: Vec<u8>,
    /// The head of a delivery.
    pub prefix: Vec<u8>,
    /// The messages of the subject batch that is being gathered.
    pub messages: Vec<Message>,
    /// When the batch was read; `NONE` if not set.
    pub read_at: MonotonicMicros,
    /// Connection id of the sender; 0 if not set.
    pub publisher: u64,
    /// Connections that got something in this batch and are not flushed yet.
    pub touched: Vec<Arc<Connection>>,
    /// Connections whose queue was long when this turn appended something to it.
    pub congested: Congested,
    /// Targets that got something since the turn began.
    pub reached: usize,
    /// What the turn has cost so far; see [`ThreadBuffers::is_spent`].
    pub cost: usize,
    /// Small batches whose targets wait for their flush.
    deferred: usize,
    /// Batches so far.
    batches: u64,
    /// Requests to other accounts that were refused since this was last read: too many
    /// replies are awaited.
    pub refused: usize,
    /// The trace of the message that is being routed, if it has one; set for that message alone.
    pub message_trace: Option<Box<MessageTrace>>,
    /// Subscriptions that have had their last message.
    pub expired: Vec<Arc<Subscription>>,
    /// Bytes appended to queues since the last flush of all touched.
    pub appended: usize,
    /// Identifies what is touched until the next flush; no two are the same.
    pub read_batch: u64,
    /// Buffers for connections with TLS.
    pub tls: TlsBuffers,
    /// The same with WebSockets.
    pub websocket: WebSocketBuffers,
    /// Metrics of this thread.
    pub metrics: Arc<ThreadMetrics>,
    batch_log: BatchLog,
    chunks: Vec<Vec<u8>>,
}

/// Runs of a batch, until they are counted at its end.
#[derive(Default)]
struct BatchLog {
    /// Their subjects, behind each other.
    subjects: Vec<u8>,
    entries: Vec<LoggedBatch>,
    /// All subject batches of the batch.
    seen: usize,
}

/// A subject batch of which it is to be counted what subject it carried.
struct LoggedBatch {
    subject_len: usize,
    series: u32,
    publisher: u64,
    msgs: u64,
    bytes: u64,
    /// Whether it had a receiver.
    delivered: bool,
}

/// Buffers between a TLS socket and the plaintext of its peer.
#[derive(Default)]
pub struct TlsBuffers {
    /// Bytes read from the socket.
    pub incoming: Vec<u8>,
    /// Its plaintext.
    pub plain: Vec<u8>,
    /// Bytes for the socket.
    pub sealed: Vec<u8>,
    /// Short pieces on their way into one record.
    pub gathered: Vec<u8>,
}

static BATCHES: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static BUFFERS: Cell<Option<Box<ThreadBuffers>>> = const { Cell::new(None) };
}

/// Runs one turn with this thread's buffers. Not to be called by `work` again: the
/// thread has one set, which `work` has already.
pub fn with_buffers<R>(work: impl FnOnce(&mut ThreadBuffers) -> R) -> R {
    let mut buffers = BUFFERS
        .take()
        .unwrap_or_else(|| Box::new(ThreadBuffers::new()));
    buffers.reached = 0;
    buffers.cost = 0;
    // A session that left some behind was not to be paused; they concern no other one.
    buffers.congested.clear();
    buffers.read_at = MonotonicMicros::NONE;
    buffers.publisher = 0;
    buffers.message_trace = None;
    let result = work(&mut buffers);
    if let Some(inner) = BUFFERS.replace(Some(buffers)) {
        give_up_inner(inner);
    }
    result
}

/// A nested turn has left a second set of thread buffers. That is a bug in the broker; the
/// pending bytes of its targets are written nevertheless.
#[cold]
fn give_up_inner(mut inner: Box<ThreadBuffers>) {
    inner.flush_touched();
    debug_assert!(false, "with_worker was called within with_worker");
}

/// Flushes what small batches left behind on this thread. To be called
/// whenever a thread of the runtime is about to go idle.
pub fn flush_deferred() {
    if let Some(mut buffers) = BUFFERS.take() {
        buffers.flush_touched();
        // No session is active that could be paused.
        buffers.congested.clear();
        buffers.report_buffers();
        BUFFERS.set(Some(buffers));
    }
}

/// Lets others have their turn in the midst of long work. What small batches left
/// behind on this thread goes out before: a thread that always has work never goes idle.
pub async fn give_way() {
    flush_deferred();
    tokio::task::yield_now().await;
}

impl ThreadBuffers {
    fn new() -> Self {
        let buffers = Self {
            read_buffer: vec![0; READ_BUFFER_LEN],
            scratch: Vec::new(),
            prefix: Vec::new(),
            messages: Vec::new(),
            read_at: MonotonicMicros::NONE,
            publisher: 0,
            touched: Vec::new(),
            congested: Congested::default(),
            reached: 0,
            cost: 0,
            deferred: 0,
            batches: 0,
            refused: 0,
            message_trace: None,
            expired: Vec::new(),
            appended: 0,
            read_batch: BATCHES.fetch_add(1, Ordering::Relaxed),
            tls: TlsBuffers::default(),
            websocket: WebSocketBuffers::default(),
            metrics: metrics::for_thread(),
            batch_log: BatchLog::default(),
            chunks: Vec::new(),
        };
        buffers.report_buffers();
        buffers
    }

    /// The survey whose message is being routed, if it is one's.
    pub fn survey(&mut self) -> Option<&mut Survey> {
        self.message_trace.as_mut()?.survey.as_mut()
    }

    /// When the batch was read, as activity is noted; the present where none was.
    pub fn now(&self) -> MonotonicMillis {
        match self.read_at.is_none() {
            true => MonotonicMillis::now(),
            false => self.read_at.millis(),
        }
    }

    /// Whether the turn has cost so much that other sessions are to run. The cost is
    /// counted by subject batch: the subscriptions that each message was offered to, also
    /// where none accepted it, and its look-ups.
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.cost > TURN_COST_MAX
    }

    /// An empty piece for an outbound queue, the most recently used first: it
    /// is likely still in the cache.
    pub fn take_chunk(&mut self) -> Vec<u8> {
        let new = || Vec::with_capacity(CHUNK_LEAST);
        self.chunks.pop().unwrap_or_else(new)
    }

    /// Gives a written piece back.
    pub fn give_chunk(&mut self, mut chunk: Vec<u8>) {
        if self.chunks.len() < CHUNKS_KEPT
            && (CHUNK_LEAST..=2 * CHUNK_LEN).contains(&chunk.capacity())
        {
            chunk.clear();
            self.chunks.push(chunk);
        }
    }

    /// Notes that `msgs` messages with `bytes` of payload were published to a
    /// subject. Of a batch with many subject batches only some are noted, for all.
    pub fn log_batch(
        &mut self,
        subject: &[u8],
        series: u32,
        msgs: u64,
        bytes: u64,
        delivered: bool,
    ) {
        let log = &mut self.batch_log;
        // A byte more than is kept, so that it is seen to be longer.
        let subject = &subject[..subject.len().min(SHORT_LEN_MAX + 1)];
        if log.seen <= BATCHES_ALL
            && log.subjects.ends_with(subject)
            && let Some(last) = log.entries.last_mut()
            && (last.subject_len, last.series, last.delivered) == (subject.len(), series, delivered)
        {
            last.msgs += msgs;
            last.bytes += bytes;
            return;
        }
        log.seen += 1;
        let weight = match log.seen {
            0..=BATCHES_ALL => 1,
            seen if seen.is_multiple_of(BATCHES_SAMPLED) => BATCHES_SAMPLED as u64,
            _ => return,
        };
        log.subjects.extend_from_slice(subject);
        log.entries.push(LoggedBatch {
            subject_len: subject.len(),
            series,
            publisher: self.publisher,
            msgs: msgs * weight,
            bytes: bytes * weight,
            delivered,
        });
    }

    /// Counts the subject batches of the batch.
    fn count_batches(&mut self) {
        let log = &mut self.batch_log;
        log.seen = 0;
        if log.entries.is_empty() {
            return;
        }
        let published = &mut *self.metrics.published();
        let mut subjects = &*log.subjects;
        for batch in log.entries.drain(..) {
            let (subject, rest) = subjects.split_at(batch.subject_len);
            subjects = rest;
            let sketch = match batch.delivered {
                true => &mut published.delivered,
                false => &mut published.no_interest,
            };
            sketch.add(
                batch.series,
                subject,
                batch.msgs,
                batch.bytes,
                batch.publisher,
            );
        }
        log.subjects.clear();
    }

    /// A batch of `len` bytes is done: flushes its targets, now or soon.
    pub fn finish_batch(&mut self, len: usize) {
        self.count_batches();
        if self.scratch.capacity().max(self.prefix.capacity()) > BUFFER_MAX
            || self.messages.capacity() * size_of::<Message>() > BUFFER_MAX
        {
            self.give_buffers_back();
        }
        self.batches += 1;
        if self.batches.is_multiple_of(REPORT_EVERY) {
            self.report_buffers();
        }
        self.deferred += 1;
        if len > SMALL_BATCH_LEN || self.deferred > DEFERRED_MAX {
            self.flush_touched();
        }
    }

    #[cold]
    fn give_buffers_back(&mut self) {
        self.scratch = Vec::new();
        self.prefix = Vec::new();
        self.messages = Vec::new();
    }

    /// Reports the memory of the buffers to telemetry.
    fn report_buffers(&self) {
        let buffers = [&self.read_buffer, &self.scratch, &self.prefix];
        let tls = &self.tls;
        let of_tls = [&tls.incoming, &tls.plain, &tls.sealed, &tls.gathered];
        let buffers = buffers.into_iter().chain(of_tls).chain(&self.chunks);
        let buffers: usize = buffers.map(Vec::capacity).sum();
        self.metrics.set_buffers(
            buffers
                + self.websocket.memory()
                + self.messages.capacity() * size_of::<Message>()
                + self.touched.capacity() * size_of::<Arc<Connection>>()
                + self.congested.memory()
                + self.batch_log.entries.capacity() * size_of::<LoggedBatch>()
                + self.batch_log.subjects.capacity(),
        );
    }

    /// Flushes every connection touched so far.
    pub fn flush_touched(&mut self) {
        self.deferred = 0;
        self.appended = 0;
        if self.touched.is_empty() {
            return;
        }
        let mut touched = std::mem::take(&mut self.touched);
        for connection in touched.drain(..) {
            connection.flush(self);
        }
        self.touched = touched;
        // A connection touched from now on has to be flushed again.
        self.read_batch = BATCHES.fetch_add(1, Ordering::Relaxed);
    }
}
