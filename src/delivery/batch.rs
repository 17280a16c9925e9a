//! Consecutive messages of a publisher to one subject in one batch.

use bytes::Bytes;

use crate::protocol::{CRLF, encode::SIZES_LEN, message::Message};

/// Bytes whose copying costs about as much as one delivery without them.
pub(super) const BYTES_PER_COST: usize = 256;

/// Messages to one subject.
#[derive(Clone, Copy)]
pub struct SubjectBatch<'a> {
    /// The subject.
    pub subject: &'a [u8],
    /// The bytes that contain the messages.
    pub source: &'a [u8],
    /// The messages.
    pub messages: &'a [Message],
    /// The payload with its CRLF, when it is large; then there is one message.
    pub shared: Option<&'a Bytes>,
}

/// Which messages of a subject batch: every `step`th from `first` on.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    /// Index of the first one.
    pub first: usize,
    /// Distance to the next one; at least 1.
    pub step: usize,
}

impl Pick {
    /// Every message.
    pub const ALL: Self = Self { first: 0, step: 1 };

    /// Just one message.
    pub const fn one(index: usize) -> Self {
        Self {
            first: index,
            step: usize::MAX,
        }
    }
}

impl SubjectBatch<'_> {
    /// The reply subject of a message of the subject batch, if it has one.
    pub fn reply(&self, message: &Message) -> Option<&[u8]> {
        let start = message.tail_start as usize;
        match message.reply_len as usize {
            0 => None,
            len => Some(&self.source[start..start + len]),
        }
    }

    /// Bytes of headers and payloads, estimated by those of the first message.
    pub fn bytes(&self) -> u64 {
        let first = self.messages.first().map_or(0, |first| first.total_len);
        u64::from(first) * self.messages.len() as u64
    }

    /// The cost of delivering the subject batch to one target; see [`is_spent`](crate::connection::buffers::ThreadBuffers::is_spent).
    pub fn cost(&self) -> usize {
        let copied = match self.shared {
            Some(_) => 0,
            None => self.bytes() as usize,
        };
        self.messages.len() + copied / BYTES_PER_COST
    }

    /// Headers, payload and the CRLF after them.
    pub fn body(&self, message: &Message) -> &[u8] {
        match self.shared {
            Some(shared) => shared,
            None => {
                let end = message.tail_end as usize;
                &self.source[end - message.total_len as usize - CRLF.len()..end]
            }
        }
    }

    /// Headers, and payload without CRLF.
    pub fn parts(&self, message: &Message) -> (&[u8], &[u8]) {
        let body = self.body(message);
        body[..body.len() - CRLF.len()].split_at(message.header_len.unwrap_or(0) as usize)
    }

    pub(super) fn tail(&self, message: &Message) -> &[u8] {
        &self.source[message.tail_start as usize..message.tail_end as usize]
    }
}

/// A message that is composed, and not part of what was read.
pub struct ComposedMessage {
    source: Vec<u8>,
    messages: [Message; 1],
}

impl ComposedMessage {
    /// One with these parts.
    pub fn new(reply: Option<&[u8]>, headers: Option<&[u8]>, payload: &[u8]) -> Self {
        let len = [reply, headers].map(|part| part.map_or(0, <[u8]>::len));
        let len = len.iter().sum::<usize>() + payload.len() + SIZES_LEN;
        let mut source = Vec::with_capacity(len);
        let message = Message::compose(&mut source, reply, headers, payload);
        Self {
            source,
            messages: [message],
        }
    }

    /// Bytes of headers and payload.
    pub fn total_len(&self) -> usize {
        self.messages[0].total_len as usize
    }

    /// The batch of this message alone, to `subject`.
    pub fn batch<'a>(&'a self, subject: &'a [u8]) -> SubjectBatch<'a> {
        SubjectBatch {
            subject,
            source: &self.source,
            messages: &self.messages,
            shared: None,
        }
    }
}
