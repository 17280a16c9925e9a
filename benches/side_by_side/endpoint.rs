//! The address of a broker for clients, and a connection to it, with or without TLS. TLS uses
//! rustls' own buffered client, not midge's code.

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

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; CIPHERTEXT]);
}

/// Address and TLS configuration for clients.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// TLS configuration; `None` without TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// A connection of the load generator.
pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
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
            stream.begin_tls(config)?;
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
            deadline: None,
        }
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// A second handle of a connection without TLS; a TLS session cannot be shared.
    pub(crate) fn share_plain(&self) -> Result<Self> {
        assert!(self.tls.is_none(), "a TLS session has one owner");
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

    fn begin_tls(&mut self, config: &Arc<ClientConfig>) -> io::Result<()> {
        self.socket.set_read_timeout(Some(TLS_TIMEOUT))?;
        self.socket.set_write_timeout(Some(TLS_TIMEOUT))?;
        // INFO is not encrypted, and nothing follows it before TLS.
        let mut byte = [0];
        while byte != *b"\n" {
            watch_deadline(&self.socket, self.deadline)?;
            self.socket.read_exact(&mut byte)?;
        }
        let name = ServerName::from(self.socket.peer_addr()?.ip());
        let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let tls = self.tls.insert(Box::new(tls));
        send(tls, &mut self.socket)
    }
}

impl Read for Stream {
    /// Like the read of a socket. With TLS, a buffer of at least [`CIPHERTEXT`] bytes is filled by
    /// one read of the socket.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
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
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write(bytes);
        };
        let len = tls.writer().write(bytes)?;
        send(tls, &mut self.socket)?;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
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
