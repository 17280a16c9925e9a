//! Reading: a batch of bytes becomes operations, publishes are gathered into
//! runs, everything else is handed to the session's verbs.

use std::io::{self, Read};

use bytes::BufMut;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

use super::{
    end::End,
    publish::{LargePublish, RunInProgress},
    session::Session,
};
use crate::{
    connection::{
        CloseReason,
        transport::Tls,
        worker::{READ_BUFFER_LEN, Worker},
    },
    protocol::{
        error::{ClientError, quoted},
        parse::{Op, Parsed, Publish, parse, parse_repeated_publish},
    },
    telemetry::Stamp,
};

/// Room that a read wants behind what is left of the batch before.
const READ_ROOM_MIN: usize = READ_BUFFER_LEN / 2;

/// Bytes read after a large payload: enough for the next control line, little
/// to copy if that is the head of another large payload.
const READ_AFTER_LARGE: usize = 2048;

/// What of the input is not handled yet.
#[derive(Default)]
pub(super) struct Input {
    /// The unfinished end of the last batch.
    carry: Vec<u8>,
    /// A large payload that is being read.
    large: Option<Box<LargePublish>>,
    /// The last payload was large: the next read is short.
    expect_large: bool,
}

/// What one read brought.
pub(super) struct Batch {
    /// Bytes handled.
    pub(super) len: usize,
    /// There may be more to read.
    pub(super) more: bool,
}

/// Reads like `try_read`, and takes a short read for the sign that the socket is
/// drained, as epoll's edge triggering allows: the next wait then waits for new
/// bytes instead of asking the kernel once more for nothing.
fn read_drained(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut short = None;
    let result = stream.try_io(Interest::READABLE, || {
        let read = (&*SockRef::from(stream)).read(buffer)?;
        if 0 < read && read < buffer.len() {
            short = Some(read);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(read)
    });
    match short {
        Some(read) => Ok(read),
        None => result,
    }
}

impl Session {
    /// Reads one batch and handles it.
    ///
    /// # Errors
    ///
    /// Those of the socket; its end is `UnexpectedEof`.
    pub(super) fn read(&mut self, worker: &mut Worker, stream: &TcpStream) -> io::Result<Batch> {
        if self.tls.is_some() {
            return self.read_tls(worker, stream);
        }
        if self.input.large.is_some() {
            return self.read_large(worker, stream);
        }
        let mut buffer = std::mem::take(&mut worker.read_buffer);
        let held = self.input.carry.len();
        if buffer.len() < held + READ_ROOM_MIN {
            buffer.resize(held + READ_ROOM_MIN, 0);
        }
        buffer[..held].copy_from_slice(&self.input.carry);
        let end = match self.input.expect_large {
            true => (held + READ_AFTER_LARGE).min(buffer.len()),
            false => buffer.len(),
        };
        let result = match read_drained(stream, &mut buffer[held..end]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.spoke = true;
                self.input.carry.clear();
                self.handle_batch(worker, &buffer[..held + read]);
                Ok(Batch {
                    len: held + read,
                    more: held + read == end,
                })
            }
            Err(error) => Err(error),
        };
        buffer.truncate(READ_BUFFER_LEN);
        worker.read_buffer = buffer;
        result
    }

    fn read_large(&mut self, worker: &mut Worker, stream: &TcpStream) -> io::Result<Batch> {
        let Some(large) = &mut self.input.large else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let missing = large.missing();
        let len = stream.try_read_buf(&mut (&mut large.payload).limit(missing))?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.finish_large(worker);
        Ok(Batch { len, more: true })
    }

    /// Publishes a large payload that is complete.
    fn finish_large(&mut self, worker: &mut Worker) {
        let complete = |large: &mut Box<LargePublish>| large.missing() == 0;
        let Some(large) = self.input.large.take_if(complete) else {
            return;
        };
        self.input.expect_large = true;
        if let Err(end) = self.publish_large(worker, *large) {
            self.end(worker, end);
        }
        // A large message does not wait for others.
        worker.flush_touched();
    }

    /// The same as [`Session::read`] with TLS: what is read is opened first.
    fn read_tls(&mut self, worker: &mut Worker, stream: &TcpStream) -> io::Result<Batch> {
        let mut incoming = std::mem::take(&mut worker.tls.incoming);
        let mut plain = std::mem::take(&mut worker.tls.plain);
        plain.clear();
        plain.append(&mut self.input.carry);
        let held = plain.len();
        let result = match self.tls.clone() {
            Some(tls) => self.open_into(worker, stream, &tls, &mut incoming, &mut plain),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        let len = plain.len();
        if len > held || result.is_ok() {
            self.spoke = true;
            self.handle_opened(worker, &plain);
        } else if held > 0 {
            self.input.carry.extend_from_slice(&plain);
        }
        incoming.truncate(2 * READ_BUFFER_LEN);
        worker.tls.incoming = incoming;
        // A tail of the batch before may have made it long once.
        if plain.capacity() <= 2 * READ_BUFFER_LEN {
            worker.tls.plain = plain;
        }
        Ok(Batch { len, more: result? })
    }

    /// Reads and opens. Returns whether the socket has more.
    fn open_into(
        &self,
        worker: &mut Worker,
        stream: &TcpStream,
        tls: &Tls,
        incoming: &mut Vec<u8>,
        plain: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let tail = tls.copy_tail(incoming, READ_BUFFER_LEN, plain);
        let end = tail + READ_BUFFER_LEN;
        let read = read_drained(stream, &mut incoming[tail..end]);
        let len = tail + *read.as_ref().unwrap_or(&0);
        let opened = tls.open(&mut incoming[..len], plain)?;
        if opened.answers {
            self.connection.send_control(worker);
        }
        match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ if opened.ended => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(tail + read == end),
        }
    }

    /// Handles what was opened; the first of it may belong to a large payload.
    fn handle_opened(&mut self, worker: &mut Worker, mut plain: &[u8]) {
        while !plain.is_empty() && self.connection.outbound().close_reason().is_none() {
            if let Some(large) = &mut self.input.large {
                let (payload, rest) = plain.split_at(large.missing().min(plain.len()));
                large.payload.extend_from_slice(payload);
                self.finish_large(worker);
                plain = rest;
                continue;
            }
            self.handle_batch(worker, plain);
            return;
        }
    }

    /// Handles the operations in `bytes` and keeps the unfinished end.
    fn handle_batch(&mut self, worker: &mut Worker, bytes: &[u8]) {
        worker.read_at = Stamp::now();
        worker.publisher = self.connection.cid;
        let mut run = RunInProgress::default();
        let mut at = 0;
        let mut result = match self.stranger {
            Some(_) => self.admit(worker, bytes).map(|len| at = len),
            None => Ok(()),
        };
        let waits = self.stranger.is_some() || self.pending_login.is_some();
        while at < bytes.len() && result.is_ok() && !waits {
            match self.handle_operation(worker, &mut run, bytes, &mut at) {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => result = Err(end),
            }
        }
        // What came before an error is still delivered.
        let counted = run.deliver_last(self, worker, bytes);
        self.connection.in_msgs.add(counted.msgs);
        self.connection.in_bytes.add(counted.bytes);
        if counted.msgs > 0 {
            self.keepalive.busy();
            self.connection.active(worker.read_at.clock());
        }
        match result {
            Ok(()) if at < bytes.len() => self.input.carry.extend_from_slice(&bytes[at..]),
            Ok(()) => {
                // A connection at rest holds no buffer.
                if self.input.carry.capacity() > 0 {
                    self.input.carry = Vec::new();
                }
            }
            Err(end) => self.end(worker, end),
        }
    }

    /// Handles the operation at `at` and moves on. `false`: it is not complete.
    #[inline]
    fn handle_operation(
        &mut self,
        worker: &mut Worker,
        run: &mut RunInProgress,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<bool, End> {
        let rest = &bytes[*at..];
        if let Some(subject) = run.subject(bytes)
            && let Some(publish) = parse_repeated_publish(rest, subject)
        {
            return self.handle_publish(worker, run, bytes, at, &publish);
        }
        match parse(rest, self.limits.max_control_line) {
            Ok(Parsed::Op(Op::Publish(publish), _)) => {
                self.handle_publish(worker, run, bytes, at, &publish)
            }
            Ok(Parsed::Op(op, len)) => {
                // What was published before must be on its way before anything
                // else happens: a PONG promises it.
                run.deliver(self, worker, bytes);
                *at += len;
                self.act(worker, op)?;
                Ok(self.pending_login.is_none())
            }
            Ok(Parsed::Incomplete) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Handles what was read before a login was decided.
    pub(super) fn resume(&mut self, worker: &mut Worker) {
        let held = std::mem::take(&mut self.input.carry);
        if !held.is_empty() {
            self.handle_batch(worker, &held);
        }
    }

    /// Takes a publish into the run. `false`: its payload is not complete; if
    /// it is large, everything there is has been consumed all the same.
    #[inline]
    fn handle_publish(
        &mut self,
        worker: &mut Worker,
        run: &mut RunInProgress,
        bytes: &[u8],
        at: &mut usize,
        publish: &Publish<'_>,
    ) -> Result<bool, End> {
        if publish.total_len >= self.limits.large_payload {
            self.admit_large(publish, bytes.len() - *at)?;
        }
        if publish.header_len.is_some() && !self.options.headers {
            return Err(End::protocol_violation("HPUB without header support"));
        }
        let rest = &bytes[*at..];
        let whole_len = publish.whole_len();
        if rest.len() < whole_len {
            if LargePublish::is_large(publish) {
                run.deliver(self, worker, bytes);
                self.input.large = Some(Box::new(LargePublish::begin(publish, rest)));
                *at = bytes.len();
            }
            return Ok(false);
        }
        self.input.expect_large = false;
        if !rest[..whole_len].ends_with(b"\r\n") {
            return Err(End::unknown_operation(
                "a payload does not end where its size says",
            ));
        }
        run.add(self, worker, bytes, *at, publish);
        *at += whole_len;
        Ok(true)
    }

    /// Counts a publish of which `received` bytes are there and whose payload
    /// is close to the largest; refuses it if it is larger.
    #[cold]
    fn admit_large(&self, publish: &Publish<'_>, received: usize) -> Result<(), End> {
        let too_large = publish.total_len > self.limits.max_payload;
        // One that waits for its end is looked at again.
        if too_large || received >= publish.whole_len() || LargePublish::is_large(publish) {
            let tally = &self.context.telemetry.large;
            tally.count(
                publish.subject,
                publish.total_len as u64,
                self.connection.cid,
            );
        }
        match too_large {
            false => Ok(()),
            true => Err(End {
                reason: CloseReason::MaxPayload,
                error: Some(ClientError::MaxPayload),
                detail: format!(
                    "payload of {} bytes for {}, max_payload is {}",
                    publish.total_len,
                    quoted(publish.subject),
                    self.limits.max_payload
                ),
            }),
        }
    }
}
