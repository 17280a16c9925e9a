//! Compressed messages (RFC 7692, permessage-deflate), without context takeover: each message
//! begins with an empty window, so that a connection at rest needs no memory for it.
//!
//! A message is inflated as its bytes arrive, as much at a time as the reader has room for. So the
//! memory for it has nothing to do with how long it becomes.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::telemetry::pool::{Pool, Share};

/// Bytes of an inflater: its window, its tables, and bytes that it has not given out. An estimate.
pub(super) const INFLATER_LEN: usize = 44 * 1024;

/// Bytes of a deflater. An estimate.
pub(super) const DEFLATER_LEN: usize = 320 * 1024;

/// Bytes that are inflated in one step.
const STEP_LEN: usize = 16 * 1024;

/// What a sender leaves out at the end of a message, and an empty last block: without it a message
/// that is cut off would look complete.
const END: &[u8] = &[0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// What the end of a compressed message is known by; it is not sent.
const FLUSHED: &[u8] = &[0, 0, 0xff, 0xff];

/// Inflaters of messages of which only a part was received.
pub static INFLATING: Pool = Pool::new(64 * 1024 * 1024);

/// The same of peers that have not logged in.
pub static INFLATING_BEFORE_LOGIN: Pool = Pool::new(8 * 1024 * 1024);

/// The message is not what a deflater makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Corrupt;

/// The inflater of a message.
pub(in crate::connection) struct Inflater {
    stream: Decompress,
    /// The last block was read.
    has_ended: bool,
    /// How much of [`END`] was read.
    end_read: usize,
    /// Bytes read, and bytes made of them.
    pub(super) read: u64,
    pub(super) made: u64,
    /// Booked while the rest of the message is waited for.
    share: Option<Share>,
}

impl Inflater {
    /// For one message.
    pub(super) fn new() -> Self {
        Self {
            stream: Decompress::new(false),
            has_ended: false,
            end_read: 0,
            read: 0,
            made: 0,
            share: None,
        }
    }

    /// For another message.
    pub(super) fn reset(&mut self) {
        self.stream.reset(false);
        self.has_ended = false;
        self.end_read = 0;
        self.read = 0;
        self.made = 0;
        self.share = None;
    }

    /// Books its memory, because it is kept for a message that is not complete; `false` if there is
    /// none left for such.
    pub(super) fn book(&mut self, is_before_login: bool) -> bool {
        if self.share.is_some() {
            return true;
        }
        let share = Share::new(match is_before_login {
            true => &INFLATING_BEFORE_LOGIN,
            false => &INFLATING,
        });
        let is_booked = share.reserve(INFLATER_LEN);
        self.share = Some(share);
        is_booked
    }

    /// Inflates until `bytes` are used up or `plain` has the length `end`. Returns how many are
    /// used up; what they make may still be to come if `plain` is full.
    pub(super) fn inflate(
        &mut self,
        bytes: &[u8],
        plain: &mut Vec<u8>,
        end: usize,
    ) -> Result<usize, Corrupt> {
        let mut used = 0;
        while plain.len() < end && !self.has_ended {
            let begin = plain.len();
            let step = STEP_LEN.min(end - begin);
            plain.resize(begin + step, 0);
            let (read, made) = (self.stream.total_in(), self.stream.total_out());
            let flush = FlushDecompress::None;
            let status = self
                .stream
                .decompress(&bytes[used..], &mut plain[begin..], flush);
            // At most the lengths of the slices.
            let read = (self.stream.total_in() - read) as usize;
            let made = (self.stream.total_out() - made) as usize;
            plain.truncate(begin + made);
            used += read;
            self.made += made as u64;
            match status {
                Ok(Status::StreamEnd) => self.has_ended = true,
                // Also without bytes it may go on: it gives out its window before it fills it again.
                Ok(_) if read + made > 0 => {}
                Ok(_) if used == bytes.len() => break,
                Ok(_) | Err(_) => return Err(Corrupt),
            }
        }
        if self.has_ended {
            // Nothing behind the last block counts.
            used = bytes.len();
        }
        self.read += used as u64;
        Ok(used)
    }

    /// The message has no more bytes. Returns whether all is inflated: not if `plain` is full.
    pub(super) fn finish(&mut self, plain: &mut Vec<u8>, end: usize) -> Result<bool, Corrupt> {
        self.end_read += self.inflate(&END[self.end_read..], plain, end)?;
        if self.has_ended {
            return Ok(true);
        }
        match plain.len() < end {
            true => Err(Corrupt),
            false => Ok(false),
        }
    }
}

/// Compresses messages, one after the other: each thread has one.
pub(in crate::connection) struct Deflater(Compress);

impl Deflater {
    pub(super) fn new() -> Self {
        Self(Compress::new(Compression::fast(), false))
    }

    /// Appends the compressed message to `frames`; `false`, and nothing of it, if that is not
    /// shorter than `message`.
    pub(super) fn deflate(&mut self, message: &[u8], frames: &mut Vec<u8>) -> bool {
        let begin = frames.len();
        frames.resize(begin + message.len(), 0);
        self.0.reset();
        let flush = FlushCompress::Sync;
        let result = self.0.compress(message, &mut frames[begin..], flush);
        // Where the space is used up it is not shorter, or not complete.
        let made = self.0.total_out() as usize;
        let is_shorter = result.is_ok() && made < message.len();
        frames.truncate(begin + if is_shorter { made } else { 0 });
        if is_shorter && frames[begin..].ends_with(FLUSHED) {
            frames.truncate(frames.len() - FLUSHED.len());
            return true;
        }
        frames.truncate(begin);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deflated(message: &[u8]) -> Vec<u8> {
        let mut stream = Compress::new(Compression::fast(), false);
        let mut bytes = Vec::with_capacity(message.len() + 1024);
        let result = stream.compress_vec(message, &mut bytes, FlushCompress::Sync);
        assert!(result.is_ok() && bytes.ends_with(FLUSHED));
        bytes.truncate(bytes.len() - FLUSHED.len());
        bytes
    }

    /// Inflates a message that arrives in parts, with so much room for each step.
    fn inflated(parts: &[&[u8]], room: usize) -> Result<Vec<u8>, Corrupt> {
        let (mut inflater, mut all) = (Inflater::new(), Vec::new());
        for part in parts {
            let mut part = *part;
            while !part.is_empty() {
                let mut plain = Vec::new();
                let used = inflater.inflate(part, &mut plain, room)?;
                assert!(plain.len() <= room);
                part = &part[used..];
                all.append(&mut plain);
            }
        }
        loop {
            let mut plain = Vec::new();
            let is_done = inflater.finish(&mut plain, room)?;
            assert!(plain.len() <= room);
            all.append(&mut plain);
            if is_done {
                return Ok(all);
            }
        }
    }

    #[test]
    fn any_split_and_any_room_give_the_same_message() {
        let message: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| (n % 251).to_le_bytes())
            .collect();
        let bytes = deflated(&message);
        assert!(bytes.len() < message.len() / 20);
        for room in [7, 1000, STEP_LEN, 1 << 20] {
            assert_eq!(inflated(&[&bytes], room).as_ref(), Ok(&message));
            for cut in [0, 1, 2, 50, bytes.len() - 1] {
                let (first, second) = bytes.split_at(cut);
                assert_eq!(inflated(&[first, second], room).as_ref(), Ok(&message));
            }
        }
    }

    #[test]
    fn one_byte_may_become_many() {
        for len in [
            1,
            258,
            16_384,
            32_768,
            32_769,
            40_000,
            65_536,
            1_000_000,
            8 << 20,
        ] {
            let message = vec![0; len];
            let bytes = deflated(&message);
            for room in [1000, STEP_LEN - 1, STEP_LEN, 64 * 1024] {
                let parts: Vec<&[u8]> = bytes.chunks(1).collect();
                let whole = inflated(&[&bytes], room);
                assert!(whole.as_ref() == Ok(&message), "{len} {room}");
                assert!(
                    inflated(&parts, room).as_ref() == Ok(&message),
                    "{len} {room}"
                );
            }
        }
    }

    #[test]
    fn ends_are_as_nats_server_takes_them() {
        let bytes = deflated(b"PING\r\n");
        let with_end = [&bytes[..], FLUSHED].concat();
        assert_eq!(inflated(&[&bytes], 100), Ok(b"PING\r\n".to_vec()));
        assert_eq!(inflated(&[&with_end], 100), Err(Corrupt));
        // An empty message is one byte, not none.
        assert_eq!(inflated(&[&[0]], 100), Ok(Vec::new()));
        assert_eq!(inflated(&[], 100), Err(Corrupt));
        // A last block, and something behind it.
        let last = [3, 0, 9, 9, 9];
        assert_eq!(inflated(&[&last], 100), Ok(Vec::new()));
        // One that is cut off.
        assert_eq!(inflated(&[&bytes[..3]], 100), Err(Corrupt));
    }

    #[test]
    fn what_does_not_become_shorter_is_not_compressed() {
        let mut deflater = Deflater::new();
        let mut frames = b"before".to_vec();
        let mut random = vec![0; 5000];
        fastrand::Rng::with_seed(7).fill(&mut random);
        assert!(!deflater.deflate(&random, &mut frames));
        assert!(!deflater.deflate(b"", &mut frames));
        assert_eq!(frames, b"before");
        for len in [200, 5000, 64 * 1024] {
            let message = b"MSG foo 1 5\r\nhello\r\n".repeat(len / 20);
            let mut frames = Vec::new();
            assert!(deflater.deflate(&message, &mut frames), "{len}");
            assert_eq!(inflated(&[&frames], 1 << 20), Ok(message));
        }
    }

    #[test]
    fn unfinished_messages_are_booked() {
        let before = INFLATING_BEFORE_LOGIN.used();
        let mut all: Vec<Inflater> = Vec::new();
        let is_refused = (0..1000).any(|_| {
            let mut inflater = Inflater::new();
            let is_booked = inflater.book(true);
            all.push(inflater);
            !is_booked
        });
        assert!(is_refused);
        assert!(INFLATING_BEFORE_LOGIN.used() <= INFLATING_BEFORE_LOGIN.limit());
        drop(all);
        assert!(INFLATING_BEFORE_LOGIN.used() <= before);
    }
}
