//! Connections for the HTTP library: over a Unix socket or TCP, plain or with TLS. Every wait ends
//! with the time limit of the request, whatever the peer does.
//!
//! They are made here and not by the library, because its TLS panics if a certificate does not
//! belong to its key, its lookups start a thread each, and it does not say what it waited for.

use std::{
    error, fmt,
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::{SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use socket2::{Domain, SockAddr, SockRef, Type};
use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport},
    },
};

use crate::{
    error::Phase,
    lookup::{Lookup, LookupError},
};

/// Resolves nothing: the connector does.
#[derive(Debug)]
pub(crate) struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// Connects to one place, whatever the URL says.
#[derive(Clone, Debug)]
pub(crate) enum PlaceConnector {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
        /// The lookups of the host.
        lookup: Arc<Lookup>,
        /// For https.
        tls: Option<TlsSide>,
    },
}

/// What is needed for TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsSide {
    /// CAs and own certificate.
    pub(crate) config: Arc<ClientConfig>,
    /// The name that the peer's certificate must have.
    pub(crate) name: ServerName<'static>,
}

impl Connector for PlaceConnector {
    type Out = HttpTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _chained: Option<()>,
    ) -> Result<Option<HttpTransport>, Error> {
        let end = end_of(details.timeout);
        let stream = match self {
            Self::Unix(path) => Stream::Plain(Socket::new(connect_unix(path, end)?.into(), end)),
            Self::Tcp {
                host,
                port,
                lookup,
                tls,
            } => {
                let addresses = lookup.addresses(host, *port, end);
                let stream = connect_tcp(&addresses.map_err(lookup_failure)?, end)?;
                let socket = Socket::new(stream.into(), end);
                match tls {
                    None => Stream::Plain(socket),
                    Some(side) => Stream::Tls(Box::new(side.handshake(socket)?)),
                }
            }
        };
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(HttpTransport { stream, buffers }))
    }
}

impl TlsSide {
    fn handshake(
        &self,
        mut socket: Socket,
    ) -> Result<StreamOwned<ClientConnection, Socket>, Error> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut session = session.map_err(io::Error::other)?;
        while session.is_handshaking() {
            session
                .complete_io(&mut socket)
                .map_err(|error| failure(error, Phase::Tls))?;
        }
        Ok(StreamOwned::new(session, socket))
    }
}

/// A request that was not answered in time, with what it waited for.
#[derive(Debug)]
pub(crate) struct Late(pub(crate) Phase);

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.text())
    }
}

impl error::Error for Late {}

fn late(phase: Phase) -> Error {
    Error::Other(Box::new(Late(phase)))
}

fn lookup_failure(error: LookupError) -> Error {
    match error {
        LookupError::Late => late(Phase::Lookup),
        LookupError::Failed(reason) => Error::Io(io::Error::other(reason)),
    }
}

fn failure(error: io::Error, phase: Phase) -> Error {
    match error.kind() {
        // The system reports a socket timeout as the first one.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => late(phase),
        _ => Error::Io(error),
    }
}

/// The end of a wait. The client always sets a time limit, so the fallback does not occur.
fn end_of(timeout: NextTimeout) -> Instant {
    let now = Instant::now();
    let left = match timeout.after.is_not_happening() {
        true => Duration::ZERO,
        false => *timeout.after,
    };
    now.checked_add(left).unwrap_or(now)
}

fn time_left(end: Instant) -> io::Result<Duration> {
    match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Tries the addresses in turn; each one gets an equal share of the time.
fn connect_tcp(addresses: &[SocketAddr], end: Instant) -> Result<TcpStream, Error> {
    let mut last = io::Error::other("the host has no address");
    for (index, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = time_left(end).map_err(|error| failure(error, Phase::Connect))? / others;
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failure(last, Phase::Connect))
}

/// Connects to a Unix socket. Without a time limit this would wait for ever for a process that
/// accepts no more connections.
pub(crate) fn connect_unix(path: &Path, end: Instant) -> Result<UnixStream, Error> {
    let connect = || {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(path)?;
        loop {
            socket.set_write_timeout(Some(time_left(end)?))?;
            match socket.connect(&address) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done.map(|()| UnixStream::from(OwnedFd::from(socket))),
            }
        }
    };
    connect().map_err(|error: io::Error| failure(explain(error), Phase::Connect))
}

/// An error of the system with what to do about it.
fn explain(error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => {
            "there is no such socket: start the broker, with this path as \"unix\" in its block \
             \"monitor\""
        }
        io::ErrorKind::PermissionDenied => {
            "this user may not open the socket: see \"unix_mode\" in the broker's block \
             \"monitor\", and the socket's group"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), advice)
}

/// A connected socket whose reads and writes end at a set time.
#[derive(Debug)]
struct Socket {
    kind: SocketKind,
    end: Instant,
}

#[derive(Debug)]
enum SocketKind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpStream> for SocketKind {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for SocketKind {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

impl Socket {
    fn new(kind: SocketKind, end: Instant) -> Self {
        Self { kind, end }
    }

    /// Whether the peer has neither closed it nor sent anything that is not read yet.
    fn is_quiet(&self) -> bool {
        let socket = match &self.kind {
            SocketKind::Tcp(stream) => SockRef::from(stream),
            SocketKind::Unix(stream) => SockRef::from(stream),
        };
        let mut byte = [MaybeUninit::uninit()];
        let looked = socket.recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = Some(time_left(self.end)?);
            let read = match &mut self.kind {
                SocketKind::Tcp(stream) => {
                    stream.set_read_timeout(left)?;
                    stream.read(buffer)
                }
                SocketKind::Unix(stream) => {
                    stream.set_read_timeout(left)?;
                    stream.read(buffer)
                }
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let left = Some(time_left(self.end)?);
            let written = match &mut self.kind {
                SocketKind::Tcp(stream) => {
                    stream.set_write_timeout(left)?;
                    stream.write(bytes)
                }
                SocketKind::Unix(stream) => {
                    stream.set_write_timeout(left)?;
                    stream.write(bytes)
                }
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection as the HTTP library uses it.
#[derive(Debug)]
pub(crate) struct HttpTransport {
    stream: Stream,
    buffers: LazyBuffers,
}

#[derive(Debug)]
enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Stream {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Transport for HttpTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.socket().end = end_of(timeout);
        let output = &self.buffers.output()[..amount];
        let written = match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(output),
            Stream::Tls(stream) => stream.write_all(output).and_then(|()| stream.flush()),
        };
        written.map_err(|error| failure(error, Phase::Answer))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.socket().end = end_of(timeout);
        let input = self.buffers.input_append_buf();
        let read = match &mut self.stream {
            Stream::Plain(socket) => socket.read(input),
            Stream::Tls(stream) => stream.read(input),
        };
        let amount = read.map_err(|error| failure(error, Phase::Answer))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Whether another request can be made over it. What TLS has read is an answer that was read
    /// to its end, so that only the socket may hold more.
    fn is_open(&mut self) -> bool {
        self.stream.socket().is_quiet()
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that accepts no connection any more, with a short queue of waiting ones.
    #[test]
    fn a_unix_socket_with_a_full_queue_is_late() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let listener = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let address = SockAddr::unix(&path).expect("a short path");
        listener.bind(&address).expect("bound");
        listener.listen(1).expect("a listener");
        let mut open = Vec::new();
        let error = loop {
            assert!(open.len() < 100, "the queue takes everything");
            match connect_unix(&path, Instant::now() + Duration::from_millis(100)) {
                Ok(stream) => open.push(stream),
                Err(error) => break error,
            }
        };
        let Error::Other(cause) = &error else {
            panic!("{error:?}");
        };
        let late = cause.downcast_ref::<Late>();
        assert_eq!(late.map(|late| late.0), Some(Phase::Connect));
    }
}
