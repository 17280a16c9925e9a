//! A publishing connection: sends chunks of prepared messages in which only a sequence number (and
//! a stamp, for latencies) changes.

use std::io::Write;

use crate::{
    endpoint::Stream,
    failure::{During, Result},
};

/// Bytes of the sequence number at the start of every payload.
pub(crate) const NUMBER: usize = 8;
/// Bytes of the sequence number and the stamp after it.
pub(crate) const NUMBER_AND_STAMP: usize = 16;

/// Limit of a chunk in bytes, unless a single message is larger.
const CHUNK: usize = 64 * 1024;

/// The rest of a payload, which receivers compare.
pub(crate) fn filler(payload: usize) -> impl Iterator<Item = u8> {
    (0..payload).map(|position| b'a' + (position % 23) as u8)
}

/// A connection that publishes; a thread may use several in turn.
pub(crate) struct Publisher {
    stream: Stream,
    chunks: Vec<Chunk>,
    next_chunk: usize,
    /// Bytes of one message; all have the same size.
    frame: usize,
    /// Offset of the payload in a message.
    payload_at: usize,
    next_number: u64,
}

struct Chunk {
    bytes: Vec<u8>,
    deliveries: u64,
}

impl Publisher {
    /// Publishes to one subject; at most `messages` per chunk.
    pub(crate) fn new(stream: Stream, subject: &str, payload: usize, messages: usize) -> Self {
        let frame = encode(subject, payload);
        let count = (CHUNK / frame.len()).clamp(1, messages);
        let chunk = Chunk {
            bytes: frame.repeat(count),
            deliveries: count as u64,
        };
        Self::with_chunks(stream, vec![chunk], frame.len(), payload)
    }

    /// Publishes repeatedly to many subjects of equal length, each with its number of deliveries.
    pub(crate) fn of_subjects(stream: Stream, subjects: &[(String, u64)], payload: usize) -> Self {
        let frame = subjects
            .first()
            .map_or(1, |(subject, _)| encode(subject, payload).len());
        let chunks = subjects
            .chunks((CHUNK / frame).max(1))
            .map(|subjects| Chunk {
                bytes: subjects
                    .iter()
                    .flat_map(|(subject, _)| encode(subject, payload))
                    .collect(),
                deliveries: subjects.iter().map(|(_, deliveries)| deliveries).sum(),
            })
            .collect();
        Self::with_chunks(stream, chunks, frame, payload)
    }

    /// Messages sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.next_number
    }

    /// The connection, for a PING.
    pub(crate) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Deliveries of the next chunk.
    pub(crate) fn next_deliveries(&self) -> u64 {
        self.chunks[self.next_chunk].deliveries
    }

    /// Sends a chunk and returns its deliveries to each receiver (or to all together, if the
    /// receivers share them).
    pub(crate) fn send_chunk(&mut self) -> Result<u64> {
        self.send(None)
    }

    /// Sends a chunk whose messages contain `stamp_ns`.
    pub(crate) fn send_stamped(&mut self, stamp_ns: u64) -> Result<u64> {
        self.send(Some(stamp_ns))
    }

    fn with_chunks(stream: Stream, chunks: Vec<Chunk>, frame: usize, payload: usize) -> Self {
        Self {
            stream,
            chunks,
            next_chunk: 0,
            frame,
            payload_at: frame - payload - 2,
            next_number: 0,
        }
    }

    fn send(&mut self, stamp_ns: Option<u64>) -> Result<u64> {
        let count = self.chunks.len();
        let chunk = &mut self.chunks[self.next_chunk];
        self.next_chunk = (self.next_chunk + 1) % count;
        for frame in chunk.bytes.chunks_exact_mut(self.frame) {
            let payload = &mut frame[self.payload_at..];
            payload[..NUMBER].copy_from_slice(&self.next_number.to_le_bytes());
            if let Some(stamp) = stamp_ns {
                payload[NUMBER..NUMBER_AND_STAMP].copy_from_slice(&stamp.to_le_bytes());
            }
            self.next_number += 1;
        }
        self.stream.write_all(&chunk.bytes).during("publishing")?;
        Ok(chunk.deliveries)
    }
}

fn encode(subject: &str, payload: usize) -> Vec<u8> {
    let mut frame = format!("PUB {subject} {payload}\r\n").into_bytes();
    frame.extend(filler(payload));
    frame.extend_from_slice(b"\r\n");
    frame
}
