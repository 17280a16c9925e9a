//! Reading a connection: what its socket brings, opened if there is TLS or a WebSocket, goes to
//! its [`Reader`] in batches; what a batch leaves unfinished is kept for the
//! next one.
//!
//! The sessions of clients and routes are readers: they know the operations,
//! this file does not. A payload that is large and not complete yet is read into
//! memory of its own, straight from the socket where there is nothing in between.

use std::{
    io::{self, Read},
    sync::Arc,
};

use bytes::BufMut;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

pub use super::input::{Input, Large};
use super::{
    CloseReason, Connection,
    buffers::{READ_BUFFER_LEN, ThreadBuffers, with_buffers},
    transport::Tls,
    websocket::Ended,
};

/// Batches read from one socket before other connections get their turn.
const READS_PER_TURN: usize = 4;

/// Bytes of a short read: enough for the next control line, little to copy if that is the
/// head of another large payload, little to keep for a client before login.
const READ_SHORT: usize = 2048;

/// Handles the input of a connection.
pub trait Reader {
    /// The connection.
    fn connection(&self) -> &Arc<Connection>;

    /// Input that is not handled yet.
    fn input(&mut self) -> &mut Input;

    /// Handles the operations in `bytes`; their unfinished end goes back by
    /// [`Input::keep`], and so does what is left when [`ThreadBuffers::is_spent`].
    fn handle_read_batch(&mut self, buffers: &mut ThreadBuffers, bytes: &[u8]);

    /// Handles a message that was put aside by [`Input::begin_large`] and is
    /// complete now.
    fn handle_large(&mut self, buffers: &mut ThreadBuffers, large: Large);

    /// Ends the connection, whose peer broke the rules of what is beneath operations; `text` says
    /// how.
    fn end_broken(&mut self, _: &mut ThreadBuffers, _text: &str) {
        self.connection().close(CloseReason::ProtocolViolation);
    }

    /// Whether no more is to be read in this turn.
    fn must_pause(&self, buffers: &ThreadBuffers) -> bool;
}

/// The result of one read.
struct Batch {
    /// Bytes handled.
    len: usize,
    /// There may be more to read.
    more: bool,
}

/// Reads and handles what the socket has, for one turn. Closes the connection
/// at its end. Returns whether there is more.
pub fn read_turn(
    reader: &mut impl Reader,
    buffers: &mut ThreadBuffers,
    stream: &TcpStream,
) -> bool {
    let mut more = true;
    for _ in 0..READS_PER_TURN {
        more = match read(reader, buffers, stream) {
            Ok(batch) => {
                buffers.finish_batch(batch.len);
                batch.more
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => false,
                io::ErrorKind::Interrupted => true,
                kind => {
                    reader.connection().close(match kind {
                        io::ErrorKind::UnexpectedEof => CloseReason::ClientClosed,
                        _ => CloseReason::ReadError,
                    });
                    false
                }
            },
        };
        if !more || buffers.is_spent() || reader.must_pause(buffers) {
            break;
        }
    }
    more
}

/// Reads one batch and has it handled. The socket's end is `UnexpectedEof`.
fn read(
    reader: &mut impl Reader,
    buffers: &mut ThreadBuffers,
    stream: &TcpStream,
) -> io::Result<Batch> {
    let connection = reader.connection();
    if connection.tls().is_some() || connection.websocket().is_some() {
        return read_layered(reader, buffers, stream);
    }
    if reader.input().large.is_some() {
        return read_large(reader, buffers, stream);
    }
    if reader.input().is_long() {
        return read_long(reader, buffers, stream);
    }
    let mut buffer = std::mem::take(&mut buffers.read_buffer);
    let input = reader.input();
    let held = input.carry.len();
    buffer[..held].copy_from_slice(&input.carry);
    let end = match input.expect_large || input.little {
        true => held + READ_SHORT,
        false => buffer.len(),
    };
    let result = match read_drained(stream, &mut buffer[held..end]) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(read) => {
            input.carry.clear();
            reader.handle_read_batch(buffers, &buffer[..held + read]);
            Ok(Batch {
                len: held + read,
                more: held + read == end,
            })
        }
        Err(error) => Err(error),
    };
    buffers.read_buffer = buffer;
    result
}

/// The same for a long unfinished operation: the input is appended to it.
fn read_long(
    reader: &mut impl Reader,
    buffers: &mut ThreadBuffers,
    stream: &TcpStream,
) -> io::Result<Batch> {
    let read = read_drained(stream, &mut buffers.read_buffer)?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let input = reader.input();
    let begin = input.carry.len();
    input.carry.extend_from_slice(&buffers.read_buffer[..read]);
    if input.is_worth_parsing(&input.carry, begin) {
        let bytes = input.take_kept();
        reader.handle_read_batch(buffers, &bytes);
    } else {
        input.book();
    }
    Ok(Batch {
        len: begin + read,
        more: read == buffers.read_buffer.len(),
    })
}

/// Reads like `try_read`, and interprets a short read as a drained socket, as epoll's edge
/// triggering allows: the next wait then waits for new bytes instead of making another
/// system call for nothing.
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

fn read_large(
    reader: &mut impl Reader,
    buffers: &mut ThreadBuffers,
    stream: &TcpStream,
) -> io::Result<Batch> {
    let Some(large) = &mut reader.input().large else {
        return Err(io::ErrorKind::WouldBlock.into());
    };
    let Ok(space) = large.next_len() else {
        reader.connection().close(CloseReason::NoRoomForPayload);
        return Ok(Batch {
            len: 0,
            more: false,
        });
    };
    let len = large
        .payload
        .read_more(|bytes| stream.try_read_buf(&mut bytes.limit(space)))?;
    if len == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    finish_large(reader, buffers);
    Ok(Batch { len, more: true })
}

/// Has a large message handled that is complete.
fn finish_large(reader: &mut impl Reader, buffers: &mut ThreadBuffers) {
    let input = reader.input();
    let Some(large) = input.large.take_if(|large| large.missing() == 0) else {
        return;
    };
    input.expect_large = true;
    reader.handle_large(buffers, *large);
    // A large message does not wait for others.
    buffers.flush_touched();
}

/// Reads some plaintext of the peer to the end of `plain`, for callers without a session.
/// Other tasks run afterwards, and a timeout around this is checked, however much the
/// socket has to be read.
///
/// # Errors
///
/// Those of the socket or of TLS; the peer's end is `UnexpectedEof`.
pub async fn read_some(
    connection: &Arc<Connection>,
    stream: &TcpStream,
    plain: &mut Vec<u8>,
) -> io::Result<()> {
    loop {
        match try_read_some(connection, stream, plain, READ_SHORT) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
            result => {
                tokio::task::yield_now().await;
                return result;
            }
        }
    }
}

/// The same of what is there now, at most `space` bytes of the socket.
///
/// # Errors
///
/// The same; `WouldBlock` if there is nothing.
pub fn try_read_some(
    connection: &Arc<Connection>,
    stream: &TcpStream,
    plain: &mut Vec<u8>,
    space: usize,
) -> io::Result<()> {
    let held = plain.len();
    let result = match connection.tls() {
        None => {
            plain.reserve(space);
            match stream.try_read_buf(&mut plain.limit(space))? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            }
        }
        Some(_) => with_buffers(|buffers| {
            let received = receive(connection, buffers, stream, space, plain);
            buffers.flush_touched();
            received.map(drop)
        }),
    };
    // An error after it is reported again by the next read.
    match plain.len() > held {
        true => Ok(()),
        false => result,
    }
}

/// The same as [`read`] with TLS or a WebSocket: what is read is opened first.
fn read_layered(
    reader: &mut impl Reader,
    buffers: &mut ThreadBuffers,
    stream: &TcpStream,
) -> io::Result<Batch> {
    let connection = reader.connection().clone();
    let websocket = connection.websocket();
    match websocket.and_then(|it| it.ended()) {
        None => {}
        Some(Ended::ByPeer) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Some(Ended::Broken(text)) => {
            reader.end_broken(buffers, &text);
            return Ok(Batch {
                len: 0,
                more: false,
            });
        }
    }
    let input = reader.input();
    let (is_long, little) = (input.is_long(), input.little);
    let mut plain = match is_long {
        true => input.take_kept(),
        false => std::mem::take(&mut buffers.tls.plain),
    };
    if !is_long {
        plain.clear();
        plain.append(&mut input.carry);
    }
    let space = match little {
        true => READ_SHORT,
        false => READ_BUFFER_LEN,
    };
    let held = plain.len();
    let result = match websocket {
        None => receive(&connection, buffers, stream, space, &mut plain),
        Some(websocket) => {
            let end = held + space;
            let mut received = std::mem::take(&mut buffers.websocket.received);
            let result = match websocket.take_kept(&mut received) {
                true => Ok(true),
                false => receive(&connection, buffers, stream, space, &mut received),
            };
            buffers.websocket.received = received;
            if websocket.open(&mut buffers.websocket, &mut plain, end, little) {
                connection.send_control(buffers);
            }
            result.map(|more| more || websocket.has_unread())
        }
    };
    let len = plain.len();
    if is_long && !reader.input().is_worth_parsing(&plain, held) {
        let input = reader.input();
        input.carry = plain;
        input.book();
    } else {
        if len > held {
            handle_opened(reader, buffers, &plain);
        } else {
            reader.input().keep(&plain);
        }
        // A long operation may have made it large.
        if plain.capacity() <= 2 * READ_BUFFER_LEN {
            buffers.tls.plain = plain;
        }
    }
    Ok(Batch { len, more: result? })
}

/// Reads at most `space` bytes behind `bytes`, and decrypts them if there is TLS. Returns whether
/// the socket has more.
fn receive(
    connection: &Arc<Connection>,
    buffers: &mut ThreadBuffers,
    stream: &TcpStream,
    space: usize,
    bytes: &mut Vec<u8>,
) -> io::Result<bool> {
    let Some(tls) = connection.tls() else {
        return match read_drained(stream, &mut buffers.read_buffer[..space])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                bytes.extend_from_slice(&buffers.read_buffer[..read]);
                Ok(read == space)
            }
        };
    };
    let mut incoming = std::mem::take(&mut buffers.tls.incoming);
    let opened = open_into(
        connection,
        buffers,
        stream,
        tls,
        space,
        &mut incoming,
        bytes,
    );
    if incoming.len() <= 2 * READ_BUFFER_LEN {
        buffers.tls.incoming = incoming;
    }
    opened
}

/// Reads at most `space` bytes and decrypts them. Returns whether the socket has more.
fn open_into(
    connection: &Arc<Connection>,
    buffers: &mut ThreadBuffers,
    stream: &TcpStream,
    tls: &Tls,
    space: usize,
    incoming: &mut Vec<u8>,
    plain: &mut Vec<u8>,
) -> io::Result<bool> {
    let tail = tls.copy_tail(incoming, space, plain);
    let end = tail + space;
    let read = read_drained(stream, &mut incoming[tail..end]);
    let len = tail + *read.as_ref().unwrap_or(&0);
    let opened = tls.open(&mut incoming[..len], plain)?;
    if opened.answers {
        connection.send_control(buffers);
    }
    match read? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if opened.ended => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(tail + read == end),
    }
}

/// Has handled what was opened; the first of it may belong to a large payload.
fn handle_opened(reader: &mut impl Reader, buffers: &mut ThreadBuffers, mut plain: &[u8]) {
    while !plain.is_empty() && reader.connection().outbound().close_reason().is_none() {
        if let Some(large) = &mut reader.input().large {
            let (payload, rest) = plain.split_at(large.missing().min(plain.len()));
            if large.extend(payload).is_err() {
                reader.connection().close(CloseReason::NoRoomForPayload);
                return;
            }
            finish_large(reader, buffers);
            plain = rest;
            continue;
        }
        return reader.handle_read_batch(buffers, plain);
    }
}
