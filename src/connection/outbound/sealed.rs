//! Writing a queue through TLS: its plaintext is sealed into full records, and what the
//! socket does not accept of those stays in front.

use std::io;

use tokio::net::TcpStream;

use super::queue::{Queue, Written};
use crate::connection::{
    buffers::ThreadBuffers,
    transport::{RECORD_LEN, Tls},
};

/// Plaintext bytes that are sealed for one write.
const SEALED_LEN_MAX: usize = 4 * RECORD_LEN;

/// Records that the socket has not taken yet.
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
        tls: &Tls,
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
            match self.seal_next(tls, buffers) {
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
                    self.gather(&mut gathered, buffers);
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
        let found = sealer.has_sealed();
        drop(sealer);
        buffers.tls.gathered = gathered;
        if !found {
            buffers.tls.sealed = bytes;
            return Ok(None);
        }
        Ok(Some(Box::new(Sealed {
            bytes,
            written: 0,
            plain,
            msgs: std::mem::take(&mut self.gone_msgs),
        })))
    }

    /// Takes the bytes of one record from the queue.
    fn gather(&mut self, record: &mut Vec<u8>, buffers: &mut ThreadBuffers) {
        record.clear();
        while record.len() < RECORD_LEN && !self.is_written() {
            let front = self.front();
            let len = front.len().min(RECORD_LEN - record.len());
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
