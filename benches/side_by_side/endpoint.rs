//! Where clients of a broker connect, and a connection to it: plain bytes, or
//! TLS above them. TLS here is rustls' own buffered client, not what midge has
//! made of rustls.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, pki_types::ServerName};

use crate::{
    failure::{During, Result},
    wire::PATIENCE,
};

/// How long a handshake may take: thousands of them may be under way, and a
/// broker may need ten milliseconds for each.
const TLS_PATIENCE: Duration = Duration::from_secs(90);

/// Ciphertext read at once.
const CIPHERTEXT: usize = 64 * 1024;

/// Room that plaintext may need beyond the ciphertext just read: records that
/// were begun before.
const RECORD: usize = 20 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; CIPHERTEXT]);
}

/// Where and how clients connect.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// What clients show and whom they believe; `None` without TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// A connection of the load generator.
pub(crate) struct Stream {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Endpoint {
    /// Connects. With TLS the handshake is begun after the broker's INFO; what
    /// is written goes out, and the handshake is finished, with the first read.
    pub(crate) fn open(&self) -> Result<Stream> {
        let mut stream = Stream::plain(connect_plain(self.address)?);
        if let Some(config) = &self.tls {
            let begun = stream.begin_tls(config);
            begun.during(format_args!("beginning TLS with {}", self.address))?;
        }
        Ok(stream)
    }
}

impl Stream {
    /// A connection without TLS.
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Another handle of a connection without TLS, whose session cannot be
    /// shared.
    pub(crate) fn share_plain(&self) -> Result<Self> {
        assert!(self.tls.is_none(), "a TLS session has one owner");
        let socket = self.socket.try_clone().during("cannot share a socket")?;
        Ok(Self::plain(socket))
    }

    /// Whether the TLS session goes on from an earlier one.
    pub(crate) fn is_resumed(&self) -> bool {
        let kind = self.tls.as_ref().and_then(|tls| tls.handshake_kind());
        kind == Some(HandshakeKind::Resumed)
    }

    fn begin_tls(&mut self, config: &Arc<ClientConfig>) -> io::Result<()> {
        self.socket.set_read_timeout(Some(TLS_PATIENCE))?;
        self.socket.set_write_timeout(Some(TLS_PATIENCE))?;
        // INFO comes in the clear, and nothing behind it before TLS is there.
        let mut byte = [0];
        while byte != *b"\n" {
            self.socket.read_exact(&mut byte)?;
        }
        let name = ServerName::from(self.socket.peer_addr()?.ip());
        let tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        let tls = self.tls.insert(Box::new(tls));
        send(tls, &mut self.socket)
    }
}

impl Read for Stream {
    /// As of a socket. With TLS a buffer of [`CIPHERTEXT`] and more is filled
    /// from one read of the socket.
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
            // All that comes must find room: rustls holds back little.
            let room = match buffer.len().checked_sub(RECORD) {
                Some(room) => room.min(CIPHERTEXT),
                None => buffer.len().min(4096),
            };
            let len = SCRATCH.with_borrow_mut(|scratch| -> io::Result<_> {
                let received = self.socket.read(&mut scratch[..room])?;
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

/// A connection to an address, with the same socket options for all.
pub(crate) fn connect_plain(address: SocketAddr) -> Result<TcpStream> {
    let open = || {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    open().during(format_args!("cannot connect to {address}"))
}

/// Takes what is decrypted; 0 if there is nothing (yet).
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

/// Sends what TLS has ready.
fn send(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}
