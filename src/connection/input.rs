//! Input of a connection that is not handled yet: an unfinished operation, or a large
//! payload that is being read into memory of its own. `reading` fills it; sessions return
//! here what they could not handle.

use memchr::memchr;

use super::{
    buffers::READ_BUFFER_LEN,
    payload::{Origin, OutOfMemory, Payload, READ},
};
use crate::telemetry::pool::Share;

/// Bytes of an unfinished operation that are copied in front of what is read
/// next. More than that is a long control line: it is added to, and looked at
/// when it ends or has doubled, so that the cost of a byte does not grow with
/// the bytes before it.
const CARRY_COPIED_MAX: usize = READ_BUFFER_LEN / 2;

/// Bytes of an operation above which an incomplete payload is read into memory
/// of its own instead of through the thread's read buffer.
const LARGE_LEN: usize = 16 * 1024;

/// Bytes of an unfinished operation above which they are booked with the payloads that
/// are being read.
const BOOKED_MIN: usize = 4096;

/// Input that is not handled yet.
pub struct Input {
    /// The unfinished end of the last batch.
    pub(super) carry: Vec<u8>,
    /// The memory it uses, if that is much.
    booked: Share,
    /// Bytes of it when it was last looked at.
    looked_at: usize,
    /// A large payload that is being read.
    pub(super) large: Option<Box<Large>>,
    /// The last payload was large: the next read is short.
    pub(super) expect_large: bool,
    /// Every read is short.
    pub(super) little: bool,
}

/// A message whose payload is large, and not complete when it was begun.
pub struct Large {
    /// The control line with its CRLF.
    pub line: Box<[u8]>,
    /// The bytes received so far: payload, then CRLF.
    pub payload: Payload,
    /// Bytes of payload and CRLF.
    whole: usize,
}

impl Large {
    pub(super) fn missing(&self) -> usize {
        self.whole - self.payload.len()
    }

    /// How many of the missing bytes may be read.
    pub(super) fn next_len(&mut self) -> Result<usize, OutOfMemory> {
        self.payload.next_len(self.whole)
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), OutOfMemory> {
        self.payload.extend(bytes, self.whole)
    }
}

impl Default for Input {
    fn default() -> Self {
        Self {
            carry: Vec::new(),
            booked: Share::new(&READ),
            looked_at: 0,
            large: None,
            expect_large: false,
            little: false,
        }
    }
}

impl Input {
    /// Keeps the unfinished end of a batch.
    pub fn keep(&mut self, rest: &[u8]) {
        if !rest.is_empty() {
            self.carry.extend_from_slice(rest);
        } else if self.carry.capacity() > 0 {
            // A connection at rest holds no buffer.
            self.carry = Vec::new();
        }
        self.looked_at = self.carry.len();
        self.book();
    }

    /// Books the memory of the unfinished operation.
    pub(super) fn book(&self) {
        let (held, booked) = (self.carry.capacity(), self.booked.bytes());
        let held = if held < BOOKED_MIN { 0 } else { held };
        if held > booked {
            self.booked.grow(held - booked);
        } else if held < booked {
            self.booked.shrink(booked - held);
        }
    }

    /// Whether what is kept is long, so that bytes are added to it where it is.
    pub(super) fn is_long(&self) -> bool {
        self.carry.len() > CARRY_COPIED_MAX
    }

    /// Whether `bytes`, a long operation to which those from `begin` on were just added,
    /// should be parsed again: a line has ended, or its length has doubled and must be
    /// checked.
    pub(super) fn is_worth_parsing(&self, bytes: &[u8], begin: usize) -> bool {
        bytes.len() >= 2 * self.looked_at || memchr(b'\n', &bytes[begin..]).is_some()
    }

    /// Whether what is kept begins as a CONNECT does.
    pub fn begins_connect(&self) -> bool {
        let (begin, verb) = (&self.carry, b"connect");
        let len = begin.len().min(verb.len());
        len > 0 && begin[..len].eq_ignore_ascii_case(&verb[..len])
    }

    /// Whether anything is kept.
    pub fn has_kept(&self) -> bool {
        !self.carry.is_empty()
    }

    /// What was read and is not handled, in the order in which it was read.
    pub fn unhandled(&self) -> Vec<u8> {
        let large = self.large.as_ref();
        let (line, payload) = large.map_or((&[][..], &[][..]), |it| (&*it.line, &*it.payload));
        [line, payload, &self.carry].concat()
    }

    /// Takes the kept bytes.
    pub fn take_kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.carry)
    }

    /// A message of `whole` bytes whose control line has `line_len` is incomplete in
    /// `bytes`, which is the end of the batch. Large ones are put aside with all of
    /// `bytes`; returns whether this one is.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn begin_large(
        &mut self,
        bytes: &[u8],
        line_len: usize,
        whole: usize,
        origin: Origin,
    ) -> Result<bool, OutOfMemory> {
        if !Self::is_large(whole) {
            return Ok(false);
        }
        let (line, begin) = bytes.split_at(line_len);
        let whole = whole - line_len;
        let payload = Payload::begin(begin, whole, origin)?;
        self.large = Some(Box::new(Large {
            line: line.into(),
            payload,
            whole,
        }));
        Ok(true)
    }

    /// Whether a message of `whole` bytes is put aside while it is incomplete.
    pub fn is_large(whole: usize) -> bool {
        whole > LARGE_LEN
    }

    /// A message that was not put aside has been received.
    #[inline]
    pub fn expect_small(&mut self) {
        self.expect_large = false;
    }

    /// Whether reads are to be short, since not much may be kept.
    pub fn read_little(&mut self, little: bool) {
        self.little = little;
    }
}
