//! A large payload: memory of its own, shared by all queues that contain it, and counted
//! once.
//!
//! Memory for all of it is reserved when it begins, as long as little is reserved for
//! others. Otherwise the reservation grows with the received bytes, so that peers that
//! announce much and send nothing do not use up the memory of those that send. Peers of the
//! cluster can use a larger part of the limit than clients.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::telemetry::pool::{Pool, Share};

/// Bytes of the payloads that are being read.
pub static READ: Pool = Pool::new(usize::MAX);

/// Bytes that are reserved for them; the limit is set at the start.
pub static RESERVED: Pool = Pool::new(usize::MAX);

/// Bytes of those that queues share.
pub static SHARED: Pool = Pool::new(usize::MAX);

/// The part of the limit, as a divisor, up to which a payload's whole length is reserved
/// immediately.
const AT_ONCE_PART: usize = 2;

/// The reservation limit of peers, in multiples of that of clients.
const PEERS_TIMES: usize = 2;

/// Bytes that are reserved at least where it grows.
const RESERVED_MIN: usize = 16 * 1024;

/// Payloads of the largest size for which there is memory however little the process may
/// use.
const LARGEST_MIN: usize = 4;

/// Bytes that may be reserved by what the process may use.
static MEMORY_PART: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Sets how much memory all payloads that are being read may use. To be called before
/// [`admit_up_to`].
pub fn set_memory_part(bytes: usize) {
    MEMORY_PART.store(bytes, Ordering::Relaxed);
}

/// Sets the largest size of a payload.
pub fn admit_up_to(max_payload: usize) {
    let part = MEMORY_PART.load(Ordering::Relaxed);
    RESERVED.set_limit(part.max(max_payload.saturating_mul(LARGEST_MIN)));
}

/// There is no memory for more of a payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutOfMemory;

/// Whether there must be memory for a payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// A client: it is refused if there is none.
    Client,
    /// A broker, which speaks for many: refused once twice as much is reserved as
    /// clients may.
    Peer,
}

/// Bytes that belong to one message.
pub struct Payload {
    bytes: Vec<u8>,
    share: Share,
    /// The reservation of payloads that are still being read.
    reserved: Share,
    origin: Origin,
}

impl Payload {
    /// A payload that is there.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self::within(&READ, bytes)
    }

    fn within(pool: &'static Pool, bytes: Vec<u8>) -> Self {
        let share = Share::new(pool);
        share.reserve_unlimited(bytes.len());
        Self {
            bytes,
            share,
            reserved: Share::new(&RESERVED),
            origin: Origin::Client,
        }
    }

    /// Starts a payload of length `whole` with the bytes received so far.
    ///
    /// # Errors
    ///
    /// There is no memory for them.
    pub fn begin(bytes: &[u8], whole: usize, origin: Origin) -> Result<Self, OutOfMemory> {
        let mut payload = Self::within(&READ, Vec::new());
        payload.origin = origin;
        let much = RESERVED.limit() / AT_ONCE_PART;
        let grows = RESERVED.used().saturating_add(whole) > much;
        let len = match grows {
            true => whole.min(bytes.len().max(RESERVED_MIN)),
            false => whole,
        };
        if !grows {
            payload.reserved.reserve_unlimited(len);
        } else {
            payload.reserve(len)?;
        }
        payload.bytes.reserve_exact(len);
        payload.append(bytes);
        Ok(payload)
    }

    /// The bytes, for queues to share.
    pub fn into_shared(self) -> Bytes {
        Bytes::from_owner(Self::within(&SHARED, self.bytes))
    }

    /// Appends bytes to a payload of length `whole`.
    ///
    /// # Errors
    ///
    /// There is no memory for them.
    pub fn extend(&mut self, bytes: &[u8], whole: usize) -> Result<(), OutOfMemory> {
        while self.bytes.capacity() - self.bytes.len() < bytes.len() {
            self.grow(whole)?;
        }
        self.append(bytes);
        Ok(())
    }

    /// How many of the missing bytes of `whole` may be read next.
    ///
    /// # Errors
    ///
    /// There is no memory for any.
    pub fn next_len(&mut self, whole: usize) -> Result<usize, OutOfMemory> {
        if self.bytes.len() == self.bytes.capacity() {
            self.grow(whole)?;
        }
        Ok(self.bytes.capacity().min(whole) - self.bytes.len())
    }

    /// Reads more bytes after those received.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn read_more<E>(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
    ) -> Result<usize, E> {
        let before = self.bytes.len();
        let result = read(&mut self.bytes);
        self.share.grow(self.bytes.len() - before);
        result
    }

    fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.share.grow(bytes.len());
    }

    /// Reserves twice as much, and not more than `whole`.
    fn grow(&mut self, whole: usize) -> Result<(), OutOfMemory> {
        let capacity = self.bytes.capacity();
        let more = capacity.max(RESERVED_MIN).min(whole - capacity.min(whole));
        self.reserve(more)?;
        self.bytes.reserve_exact(capacity + more - self.bytes.len());
        Ok(())
    }

    /// Reserves so many bytes more.
    fn reserve(&self, bytes: usize) -> Result<(), OutOfMemory> {
        if self.reserved.reserve(bytes) {
            return Ok(());
        }
        let peers_limit = RESERVED.limit().saturating_mul(PEERS_TIMES);
        let all = RESERVED.used().saturating_add(bytes);
        if self.origin != Origin::Peer || all > peers_limit {
            return Err(OutOfMemory);
        }
        self.reserved.reserve_unlimited(bytes);
        Ok(())
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
