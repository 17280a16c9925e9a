//! A large payload: memory of its own, shared by all queues that it waits in, and
//! counted once.

use bytes::Bytes;

use crate::telemetry::held::{Pool, Share};

/// Bytes of the payloads that are being read.
pub static READ: Pool = Pool::new(usize::MAX);

/// Bytes of those that queues share.
pub static SHARED: Pool = Pool::new(usize::MAX);

/// Bytes that belong to one message.
pub struct Payload {
    bytes: Vec<u8>,
    share: Share,
}

impl Payload {
    /// Takes the bytes that have come so far.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self::within(&READ, bytes)
    }

    fn within(pool: &'static Pool, bytes: Vec<u8>) -> Self {
        let share = Share::new(pool);
        share.hold_anyway(bytes.len());
        Self { bytes, share }
    }

    /// The bytes, for queues to share.
    pub fn into_shared(self) -> Bytes {
        Bytes::from_owner(Self::within(&SHARED, self.bytes))
    }

    /// Appends bytes to those that have come.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.share.grow(bytes.len());
    }

    /// Reads more bytes behind those that have come.
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
