//! Writing a queue through what is between it and the socket: its plaintext is put into the frames
//! of a WebSocket, sealed into full records of TLS, or both, and what the socket does not accept
//! of those stays in front.

use std::io;

use tokio::net::TcpStream;

use super::queue::{Queue, Written};
use crate::connection::{
    buffers::ThreadBuffers,
    transport::{RECORD_LEN, Tls},
    websocket::WebSocket,
};

/// Plaintext bytes that are sealed for one write.
const SEALED_LEN_MAX: usize = 4 * RECORD_LEN;

/// Plaintext bytes in one frame: as many as are put into frames for one write.
const FRAME_LEN_MAX: usize = SEALED_LEN_MAX;

/// What is between a queue and its socket: at least one of them.
#[derive(Clone, Copy)]
pub(super) struct Layers<'a> {
    pub(super) tls: Option<&'a Tls>,
    /// Above TLS.
    pub(super) websocket: Option<&'a WebSocket>,
}

/// Records and frames that the socket has not taken yet.
#[derive(Default)]
pub(super) struct Sealed {
    pub(super) bytes: Vec<u8>,
    /// How much of them is written.
    written: usize,
    /// The plaintext bytes in them.
    pub(super) plain: usize,
    /// The messages of the pieces that end in them.
    pub(super) msgs: u64,
}

impl Queue {
    /// Writes until all is written or the socket fails: what is sealed and does not go out stays in front.
    pub(super) fn seal_to(
        &mut self,
        layers: Layers<'_>,
        stream: &TcpStream,
        buffers: &mut ThreadBuffers,
    ) -> Written {
        let mut written = Written {
            released: 0,
            msgs: 0,
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
                    if self.is_written() {
                        sealed.msgs += std::mem::take(&mut self.open_msgs);
                        buffers.give_chunk(std::mem::take(&mut self.open));
                        self.offset = 0;
                    }
                    self.sealed = Some(sealed);
                    written.outcome = Err(error);
                    return written;
                }
                written.released += sealed.plain;
                written.msgs += sealed.msgs;
                if sealed.bytes.capacity() > 0 {
                    buffers.tls.sealed = sealed.bytes;
                }
            }
            let next = match layers {
                Layers {
                    tls,
                    websocket: Some(websocket),
                } => self.frame_next(websocket, tls, buffers),
                Layers { tls: Some(tls), .. } => self.seal_next(tls, buffers),
                Layers { tls: None, .. } => Ok(None),
            };
            match next {
                Ok(None) => {
                    written.msgs += std::mem::take(&mut self.open_msgs);
                    return written;
                }
                Ok(sealed) => self.sealed = sealed,
                Err(error) => {
                    written.outcome = Err(error);
                    return written;
                }
            }
        }
    }

    /// Seals as much as one write should carry; `None` if there is nothing.
    fn seal_next(
        &mut self,
        tls: &Tls,
        buffers: &mut ThreadBuffers,
    ) -> io::Result<Option<Box<Sealed>>> {
        let mut bytes = std::mem::take(&mut buffers.tls.sealed);
        let mut gathered = std::mem::take(&mut buffers.tls.gathered);
        bytes.clear();
        let mut plain = 0;
        let mut sealer = tls.sealer(&mut bytes);
        while plain < SEALED_LEN_MAX && !self.is_written() {
            // Long pieces are sealed where they are, short ones together.
            let front = self.front();
            let len = match front.len() / RECORD_LEN * RECORD_LEN {
                0 => {
                    self.gather(RECORD_LEN, &mut gathered, buffers);
                    sealer.seal(&gathered)?;
                    plain += gathered.len();
                    continue;
                }
                len => len.min(SEALED_LEN_MAX - plain),
            };
            sealer.seal(&front[..len])?;
            plain += len;
            self.advance(len, buffers);
        }
        drop(sealer);
        buffers.tls.gathered = gathered;
        Ok(self.sealed_as(bytes, plain, buffers))
    }

    /// Puts as much into a frame as one write should carry; `None` if there is nothing.
    fn frame_next(
        &mut self,
        websocket: &WebSocket,
        tls: Option<&Tls>,
        buffers: &mut ThreadBuffers,
    ) -> io::Result<Option<Box<Sealed>>> {
        let mut gathered = std::mem::take(&mut buffers.tls.gathered);
        self.gather(FRAME_LEN_MAX, &mut gathered, buffers);
        let plain = gathered.len();
        buffers.websocket.frames.clear();
        websocket.frame(&gathered, &mut buffers.websocket);
        buffers.tls.gathered = gathered;
        let mut bytes = std::mem::take(&mut buffers.tls.sealed);
        bytes.clear();
        match tls {
            None => std::mem::swap(&mut bytes, &mut buffers.websocket.frames),
            Some(tls) => {
                let mut sealer = tls.sealer(&mut bytes);
                for record in buffers.websocket.frames.chunks(RECORD_LEN) {
                    sealer.seal(record)?;
                }
            }
        }
        Ok(self.sealed_as(bytes, plain, buffers))
    }

    /// What is to be written now, with so much plaintext in it; `None` if it is nothing.
    fn sealed_as(
        &mut self,
        bytes: Vec<u8>,
        plain: usize,
        buffers: &mut ThreadBuffers,
    ) -> Option<Box<Sealed>> {
        if bytes.is_empty() {
            buffers.tls.sealed = bytes;
            return None;
        }
        Some(Box::new(Sealed {
            bytes,
            written: 0,
            plain,
            msgs: std::mem::take(&mut self.gone_msgs),
        }))
    }

    /// Takes the bytes of one record or frame from the queue.
    fn gather(&mut self, max: usize, record: &mut Vec<u8>, buffers: &mut ThreadBuffers) {
        record.clear();
        while record.len() < max && !self.is_written() {
            let front = self.front();
            let len = front.len().min(max - record.len());
            record.extend_from_slice(&front[..len]);
            self.advance(len, buffers);
        }
    }
}

impl Sealed {
    pub(super) fn write_to(&mut self, stream: &TcpStream) -> io::Result<()> {
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
