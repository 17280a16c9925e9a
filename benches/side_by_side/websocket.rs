//! The frames of a WebSocket (RFC 6455) as a client sends and takes them, with or without
//! compression (RFC 7692, without context takeover). Used by `endpoint`; not midge's code.

use std::io::{self, Read};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The request without the fields of extensions.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: side-by-side\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n";
const COMPRESSION: &str = "Sec-WebSocket-Extensions: permessage-deflate; \
    server_no_context_takeover; client_no_context_takeover\r\n";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
/// The end of each compressed message, which is not sent.
const SYNC: [u8; 4] = [0, 0, 0xff, 0xff];
/// Bytes of a head of a server's frame at most.
const HEAD: usize = 10;

/// The state of both directions.
pub(crate) struct WebSocket {
    /// Compression of both directions, if there is one.
    deflate: Option<Deflate>,
    /// The beginning of a frame's head.
    head: Vec<u8>,
    /// Bytes of the current frame that are still to come.
    rest: u64,
    /// The current message is compressed.
    is_compressed: bool,
    /// The current frame is the last one of its message.
    is_last: bool,
    /// The current frame is one of data; others are passed over.
    is_data: bool,
    is_closed: bool,
    /// What was taken out of frames and not read yet.
    ready: Vec<u8>,
    taken: usize,
    outgoing: Vec<u8>,
}

struct Deflate {
    compress: Compress,
    decompress: Decompress,
}

impl WebSocket {
    pub(crate) fn new(compress: bool) -> Self {
        Self {
            deflate: compress.then(|| Deflate {
                compress: Compress::new(Compression::fast(), false),
                decompress: Decompress::new(false),
            }),
            head: Vec::new(),
            rest: 0,
            is_compressed: false,
            is_last: true,
            is_data: true,
            is_closed: false,
            ready: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
        }
    }

    /// What a client sends first.
    pub(crate) fn request(&self) -> String {
        let more = match self.deflate {
            Some(_) => COMPRESSION,
            None => "",
        };
        format!("{REQUEST}{more}\r\n")
    }

    /// Reads the broker's answer to the request; frames that came with it are kept.
    pub(crate) fn read_answer(&mut self, stream: &mut impl Read) -> io::Result<()> {
        let mut answer = Vec::new();
        let end = loop {
            let mut part = [0; 4096];
            let count = stream.read(&mut part)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&part[..count]);
            if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
                break end + 4;
            }
        };
        self.feed(&answer[end..])?;
        let text = String::from_utf8_lossy(&answer[..end]);
        let compresses = text.to_ascii_lowercase().contains("permessage-deflate");
        match text.starts_with("HTTP/1.1 101 ") && compresses == self.deflate.is_some() {
            true => Ok(()),
            false => Err(io::Error::other(format!("answer {text:?}"))),
        }
    }

    /// Whether [`WebSocket::take`] has something without another [`WebSocket::feed`].
    pub(crate) fn has_ready(&self) -> bool {
        self.taken < self.ready.len()
    }

    /// Moves what has been taken out of frames into `buffer`.
    pub(crate) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.ready[self.taken..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.taken += len;
        if self.taken == self.ready.len() {
            self.ready.clear();
            self.taken = 0;
        }
        len
    }

    /// Whether the broker has closed the WebSocket.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Takes what was received out of its frames.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.rest == 0 {
                let used = self.begin_frame(bytes);
                bytes = &bytes[used..];
                if self.rest > 0 || !self.head.is_empty() {
                    continue;
                }
            }
            let len = self.rest.min(bytes.len() as u64) as usize;
            self.rest -= len as u64;
            if self.is_data {
                self.take_data(&bytes[..len])?;
            }
            bytes = &bytes[len..];
        }
        Ok(())
    }

    /// Collects a frame's head; returns how many bytes belong to it.
    fn begin_frame(&mut self, bytes: &[u8]) -> usize {
        let before = self.head.len();
        let seen = bytes.len().min(HEAD - before);
        self.head.extend_from_slice(&bytes[..seen]);
        let Some((head, length)) = length(&self.head) else {
            return seen;
        };
        let first = self.head[0];
        self.head.clear();
        self.is_data = first & 0x0f <= BINARY;
        self.is_closed |= first & 0x0f == CLOSE;
        if self.is_data {
            // A continuation belongs to a message whose first frame said this.
            if first & 0x0f != 0 {
                self.is_compressed = first & 0x40 != 0;
            }
            self.is_last = first & 0x80 != 0;
        }
        self.rest = length;
        head - before
    }

    fn take_data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(deflate) = self.deflate.as_mut().filter(|_| self.is_compressed) else {
            self.ready.extend_from_slice(bytes);
            return Ok(());
        };
        deflate.inflate(bytes, &mut self.ready)?;
        if self.is_last && self.rest == 0 {
            deflate.inflate(&SYNC, &mut self.ready)?;
            deflate.decompress.reset(false);
        }
        Ok(())
    }

    /// A message as one frame.
    pub(crate) fn frame(&mut self, payload: &[u8]) -> io::Result<&[u8]> {
        self.outgoing.clear();
        let mut first = 0x80 | BINARY;
        let mut compressed = Vec::new();
        let payload = match &mut self.deflate {
            None => payload,
            Some(deflate) => {
                first |= 0x40;
                deflate.deflate(payload, &mut compressed)?;
                &compressed
            }
        };
        self.outgoing.push(first);
        match payload.len() {
            len @ ..126 => self.outgoing.push(0x80 | len as u8),
            len @ 126..0x1_0000 => {
                self.outgoing.push(0x80 | 126);
                self.outgoing.extend((len as u16).to_be_bytes());
            }
            len => {
                self.outgoing.push(0x80 | 127);
                self.outgoing.extend((len as u64).to_be_bytes());
            }
        }
        self.outgoing.extend(MASK);
        let masked = payload.iter().zip(MASK.iter().cycle());
        self.outgoing.extend(masked.map(|(byte, mask)| byte ^ mask));
        Ok(&self.outgoing)
    }
}

impl Deflate {
    fn inflate(&mut self, mut bytes: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        loop {
            into.reserve(32 * 1024);
            let before = self.decompress.total_in();
            let status = self
                .decompress
                .decompress_vec(bytes, into, FlushDecompress::Sync)
                .map_err(io::Error::other)?;
            bytes = &bytes[(self.decompress.total_in() - before) as usize..];
            let has_space = into.len() < into.capacity();
            if status == Status::StreamEnd || (bytes.is_empty() && has_space) {
                return Ok(());
            }
        }
    }

    fn deflate(&mut self, mut bytes: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        self.compress.reset();
        loop {
            into.reserve(4096);
            let before = self.compress.total_in();
            self.compress
                .compress_vec(bytes, into, FlushCompress::Sync)
                .map_err(io::Error::other)?;
            bytes = &bytes[(self.compress.total_in() - before) as usize..];
            if bytes.is_empty() && into.len() < into.capacity() {
                break;
            }
        }
        into.truncate(into.len() - SYNC.len());
        Ok(())
    }
}

/// The lengths of a frame's head and payload, once the head is complete.
fn length(head: &[u8]) -> Option<(usize, u64)> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    match head.get(1)? & 0x7f {
        126 => Some((4, number(head.get(2..4)?))),
        127 => Some((10, number(head.get(2..10)?))),
        length => Some((2, u64::from(length))),
    }
}
