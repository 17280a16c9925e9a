//! The address of a broker for clients, and a connection to it, with or without TLS, and possibly by
//! WebSocket. TLS uses rustls' own buffered client, not midge's code.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, pki_types::ServerName};

use crate::{
    failure::{During, Result},
    websocket::WebSocket,
    wire::TIMEOUT,
};

/// Time limit of a handshake: thousands may be in progress, and a broker may need ten milliseconds
/// for each.
const TLS_TIMEOUT: Duration = Duration::from_secs(90);

/// Bytes of ciphertext per read.
const CIPHERTEXT: usize = 64 * 1024;

/// Bytes of plaintext that may come in addition to those just read, from records that began
/// earlier.
const RECORD: usize = 20 * 1024;

/// Bytes of frames per read.
const RECEIVED: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; CIPHERTEXT]);
    static FRAMES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Address and TLS configuration for clients.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// TLS configuration; `None` without TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// By WebSocket, and whether it compresses; `None` without.
    pub(crate) websocket: Option<Compresses>,
}

/// Whether a WebSocket compresses.
#[derive(Clone, Copy)]
pub(crate) struct Compresses(pub(crate) bool);

/// A connection of the load generator.
pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    websocket: Option<Box<WebSocket>>,
    /// When reads end with `TimedOut`.
    deadline: Option<Instant>,
}

impl Endpoint {
    /// Connects. With TLS the handshake begins after the broker's INFO and is completed by the
    /// first read; data written before is sent as well.
    pub(crate) fn open(&self) -> Result<Stream> {
        let open = self.open_before(None);
        open.during(format_args!("connecting to {}", self.address))
    }

    /// The same as a client does it that gives up at `deadline`, if any.
    pub(crate) fn open_before(&self, deadline: Option<Instant>) -> io::Result<Stream> {
        let mut stream = Stream::plain(connect_plain(self.address)?);
        stream.deadline = deadline;
        if let Some(config) = &self.tls {
            if self.websocket.is_none() {
                stream.pass_info()?;
            }
            stream.begin_tls(config)?;
        }
        if let Some(Compresses(compresses)) = self.websocket {
            stream.begin_websocket(compresses)?;
        }
        Ok(stream)
    }
}

impl Stream {
    /// A connection without TLS.
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self {
            socket,
            tls: None,
            websocket: None,
            deadline: None,
        }
    }

    /// Whether the next read has something without the socket.
    pub(crate) fn has_ready(&self) -> bool {
        let websocket = self.websocket.as_ref();
        websocket.is_some_and(|websocket| websocket.has_ready())
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// A second handle of a connection without TLS; a TLS session cannot be shared.
    pub(crate) fn share_plain(&self) -> Result<Self> {
        let is_plain = self.tls.is_none() && self.websocket.is_none();
        assert!(is_plain, "a session has one owner");
        let socket = self.socket.try_clone().during("cannot share a socket")?;
        Ok(Self::plain(socket))
    }

    /// From now on reads wait as long as they do without a deadline.
    pub(crate) fn remove_deadline(&mut self) -> io::Result<()> {
        self.deadline = None;
        self.socket.set_read_timeout(Some(TIMEOUT))
    }

    /// Whether the TLS session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        let kind = self.tls.as_ref().and_then(|tls| tls.handshake_kind());
        kind == Some(HandshakeKind::Resumed)
    }

    /// Reads INFO, which is not encrypted; nothing follows it before TLS.
    fn pass_info(&mut self) -> io::Result<()> {
        self.socket.set_read_timeout(Some(TLS_TIMEOUT))?;
        let mut byte = [0];
        while byte != *b"\n" {
            watch_deadline(&self.socket, self.deadline)?;
            self.socket.read_exact(&mut byte)?;
        }
        Ok(())
    }

    /// The request, and what the broker answers; INFO follows.
    fn begin_websocket(&mut self, compresses: bool) -> io::Result<()> {
        let mut websocket = WebSocket::new(compresses);
        self.write_all(websocket.request().as_bytes())?;
        websocket.read_answer(self)?;
        self.websocket = Some(Box::new(websocket));
        Ok(())
    }

    fn begin_tls(&mut self, config: &Arc<ClientConfig>) -> io::Result<()> {
        self.socket.set_read_timeout(Some(TLS_TIMEOUT))?;
        self.socket.set_write_timeout(Some(TLS_TIMEOUT))?;
        let name = ServerName::from(self.socket.peer_addr()?.ip());
        let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let tls = self.tls.insert(Box::new(tls));
        send(tls, &mut self.socket)
    }
}

impl Read for Stream {
    /// Like the read of a socket. With TLS, a buffer of at least [`CIPHERTEXT`] bytes is filled by
    /// one read of the socket. By WebSocket more may be left for another read
    /// ([`Stream::has_ready`]).
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.websocket.is_none() {
            return self.read_beneath(buffer);
        }
        loop {
            if let Some(websocket) = &mut self.websocket {
                if websocket.has_ready() {
                    return Ok(websocket.take(buffer));
                }
                if websocket.is_closed() {
                    return Ok(0);
                }
            }
            let mut received = FRAMES.take();
            received.resize(RECEIVED, 0);
            let count = self.read_beneath(&mut received)?;
            if let Some(websocket) = &mut self.websocket {
                websocket.feed(&received[..count])?;
            }
            FRAMES.set(received);
            if count == 0 {
                return Ok(0);
            }
        }
    }
}

impl Stream {
    /// Reads what is in the frames of a WebSocket, or everything.
    fn read_beneath(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(buffer);
        };
        loop {
            let len = take_plaintext(tls, buffer)?;
            if len > 0 {
                return Ok(len);
            }
            send(tls, &mut self.socket)?;
            watch_deadline(&self.socket, self.deadline)?;
            // Everything received must fit, because rustls buffers only a little.
            let space = match buffer.len().checked_sub(RECORD) {
                Some(space) => space.min(CIPHERTEXT),
                None => buffer.len().min(4096),
            };
            let len = SCRATCH.with_borrow_mut(|scratch| -> io::Result<_> {
                let received = self.socket.read(&mut scratch[..space])?;
                let mut rest = &scratch[..received];
                let mut len = 0;
                while !rest.is_empty() {
                    tls.read_tls(&mut rest)?;
                    tls.process_new_packets().map_err(io::Error::other)?;
                    len += take_plaintext(tls, &mut buffer[len..])?;
                }
                Ok((received > 0).then_some(len))
            })?;
            match len {
                None => return Ok(0),
                Some(0) => {}
                Some(len) => return Ok(len),
            }
        }
    }
}

impl Write for Stream {
    /// By WebSocket all of it is one message.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(mut websocket) = self.websocket.take() else {
            return self.write_beneath(bytes);
        };
        let mut frame = websocket.frame(bytes)?;
        while !frame.is_empty() {
            let count = self.write_beneath(frame)?;
            frame = &frame[count..];
        }
        self.websocket = Some(websocket);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Stream {
    fn write_beneath(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write(bytes);
        };
        let len = tls.writer().write(bytes)?;
        send(tls, &mut self.socket)?;
        Ok(len)
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Connects to an address; all connections have the same socket options.
pub(crate) fn connect_plain(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Has the next read of the socket end at the deadline, if there is one.
fn watch_deadline(socket: &TcpStream, deadline: Option<Instant>) -> io::Result<()> {
    let Some(deadline) = deadline else {
        return Ok(());
    };
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => socket.set_read_timeout(Some(left)),
    }
}

/// Takes decrypted data; 0 if there is none yet.
fn take_plaintext(tls: &mut ClientConnection, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match tls.reader().read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// Sends what TLS has queued.
fn send(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}
