//! Programs that collect logs: the system's log and log servers (RFC 3164 over `/dev/log`, UDP
//! or TCP), and the systemd journal, which takes fields.
//!
//! Only the thread that writes the log sends here. Lines that a socket does not accept immediately
//! (over TCP within a second) do not arrive: [`WriterThread`](super::writer) decides what
//! happens to them.

use std::{
    env, fmt, io,
    io::Write,
    net::{TcpStream, ToSocketAddrs, UdpSocket},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process,
    time::{Duration, Instant},
};

use chrono::Local;

use super::{
    format::{journal_message, syslog_message},
    record::Record,
};
use crate::config::options::RemoteSyslog;

/// The socket of this machine's log.
const LOCAL_SOCKET: &str = "/dev/log";

/// The socket of the systemd journal.
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// Time limit of connecting and of a write over TCP.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Pause between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// Which of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogService {
    /// The systemd journal, behind this socket.
    Journal(PathBuf),
    /// The system's log.
    Local,
    /// A log server.
    Remote(RemoteSyslog),
}

impl fmt::Display for LogService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(path) => write!(f, "the journal {}", path.display()),
            Self::Local => write!(f, "the system's log {LOCAL_SOCKET}"),
            Self::Remote(remote) => write!(f, "the log server {remote}"),
        }
    }
}

impl LogService {
    /// The journal of this machine.
    pub(super) fn journal() -> Self {
        Self::Journal(JOURNAL_SOCKET.into())
    }

    /// Its address, as in the configuration.
    pub fn address(&self) -> String {
        match self {
            Self::Journal(path) => path.display().to_string(),
            Self::Local => LOCAL_SOCKET.to_owned(),
            Self::Remote(remote) => remote.to_string(),
        }
    }
}

enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A service, whether it can be reached or not.
pub(super) struct Connection {
    target: LogService,
    /// The error if there is no connection.
    socket: io::Result<Socket>,
    tried: Instant,
    /// What precedes each text of a system log, except the time; for servers that includes
    /// the host. The journal gets the program's name.
    origin: String,
}

impl Connection {
    /// Connects. May wait for the resolver. If it fails, sending tries again.
    pub(super) fn open(target: LogService) -> Self {
        Self {
            origin: origin(&target),
            socket: connect_to(&target),
            target,
            tried: Instant::now(),
        }
    }

    /// Why it cannot be reached.
    pub(super) fn failure(&self) -> Option<String> {
        self.socket.as_ref().err().map(ToString::to_string)
    }

    /// The message for a line.
    pub(super) fn message(&self, record: &Record) -> String {
        match self.target {
            LogService::Journal(_) => journal_message(record, &self.origin),
            LogService::Local | LogService::Remote(_) => {
                let time = record.time.with_timezone(&Local);
                syslog_message(record, &self.origin, &time.format("%b %e %H:%M:%S"))
            }
        }
    }

    /// Sends a message.
    ///
    ///  # Errors
    ///
    /// Why it was not accepted.
    pub(super) fn send(&mut self, message: &str) -> io::Result<()> {
        if self.socket.is_err() && self.tried.elapsed() >= RETRY {
            self.tried = Instant::now();
            self.socket = connect_to(&self.target);
        }
        let socket = match &mut self.socket {
            Ok(socket) => socket,
            Err(cause) => return Err(copy_error(cause)),
        };
        let sent = match socket {
            Socket::Unix(socket) => socket.send(message.as_bytes()).map(drop),
            Socket::Udp(socket) => socket.send(message.as_bytes()).map(drop),
            Socket::Tcp(stream) => stream.write_all(format!("{message}\n").as_bytes()),
        };
        if let Err(cause) = &sent
            && !keeps_socket(socket, cause.kind())
        {
            self.socket = Err(copy_error(cause));
        }
        sent
    }
}

/// Whether the socket may still work after this error.
fn keeps_socket(socket: &Socket, failure: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, WouldBlock};
    match socket {
        // A part of a line may have been sent.
        Socket::Tcp(_) => false,
        // The buffer is full, or an earlier datagram was refused.
        Socket::Udp(_) => matches!(failure, ConnectionRefused | WouldBlock),
        // A refusal means that the server's socket is gone.
        Socket::Unix(_) => failure == WouldBlock,
    }
}

/// A copy of the error.
fn copy_error(cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), cause.to_string())
}

fn connect_to(target: &LogService) -> io::Result<Socket> {
    let unix = |path: &Path| {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Socket::Unix(socket))
    };
    match target {
        LogService::Journal(path) => unix(path),
        LogService::Local => unix(Path::new(LOCAL_SOCKET)),
        LogService::Remote(RemoteSyslog::Unix(path)) => unix(path),
        LogService::Remote(RemoteSyslog::Udp(host, port)) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "no address for this host");
            for address in (host.as_str(), *port).to_socket_addrs()? {
                let any = if address.is_ipv6() {
                    "[::]:0"
                } else {
                    "0.0.0.0:0"
                };
                let connected = UdpSocket::bind(any).and_then(|socket| {
                    socket.connect(address)?;
                    socket.set_nonblocking(true)?;
                    Ok(Socket::Udp(socket))
                });
                match connected {
                    Ok(socket) => return Ok(socket),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        LogService::Remote(RemoteSyslog::Tcp(host, port)) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "no address for this host");
            for address in (host.as_str(), *port).to_socket_addrs()? {
                let connected = TcpStream::connect_timeout(&address, TIMEOUT).and_then(|stream| {
                    stream.set_write_timeout(Some(TIMEOUT))?;
                    Ok(Socket::Tcp(stream))
                });
                match connected {
                    Ok(socket) => return Ok(socket),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

/// The program and its process id, for servers preceded by the host; for the journal, which
/// adds the rest itself, the program alone.
fn origin(target: &LogService) -> String {
    let program = env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    let name = name.display();
    let tag = format!("{name}[{}]", process::id());
    match target {
        LogService::Journal(_) => name.to_string(),
        LogService::Local | LogService::Remote(RemoteSyslog::Unix(_)) => tag,
        LogService::Remote(_) => format!("{} {tag}", host_name()),
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{format::Style, record::Level},
        *,
    };
    use crate::config::Options;

    #[test]
    fn lines_reach_a_server_again_after_it_was_restarted() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("log");
        let target = LogService::Remote(RemoteSyslog::Unix(path.clone()));
        let mut log = Connection::open(target);
        // Each message that is not sent has the reason, also between two attempts.
        for _ in 0..2 {
            let cause = log.send("zero").expect_err("nobody is there");
            assert_eq!(cause.kind(), io::ErrorKind::NotFound);
        }
        assert!(log.failure().is_some());
        let server = UnixDatagram::bind(&path).expect("a server");
        log.tried = Instant::now().checked_sub(RETRY).expect("the clock runs");
        let mut buffer = [0; 512];
        for expected in ["one", "two"] {
            assert!(log.send(expected).is_ok());
            let len = server.recv(&mut buffer).expect("a message");
            assert_eq!(buffer[..len], *expected.as_bytes());
        }
        drop(server);
        std::fs::remove_file(&path).expect("it was there");
        assert!(log.send("three").is_err());
        let server = UnixDatagram::bind(&path).expect("a server");
        log.tried = Instant::now().checked_sub(RETRY).expect("the clock runs");
        assert!(log.send("four").is_ok());
        let len = server.recv(&mut buffer).expect("a message");
        assert_eq!(&buffer[..len], b"four");
    }

    /// A UDP server that was restarted gets the next message; over a Unix socket or TCP a new
    /// socket is needed.
    #[test]
    fn sockets_are_kept_while_they_may_work() {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, WouldBlock};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).expect("it listens");
        for (socket, kept) in [
            (
                Socket::Unix(UnixDatagram::unbound().expect("a socket")),
                [true, false, false],
            ),
            (
                Socket::Udp(UdpSocket::bind("127.0.0.1:0").expect("a socket")),
                [true, true, false],
            ),
            (Socket::Tcp(stream), [false; 3]),
        ] {
            let keeps = |failure| keeps_socket(&socket, failure);
            assert_eq!([WouldBlock, ConnectionRefused, BrokenPipe].map(keeps), kept);
        }
    }

    /// A full socket loses lines, but does not block.
    #[test]
    fn a_server_that_reads_nothing_does_not_block() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("log");
        let _server = UnixDatagram::bind(&path).expect("a server");
        let target = LogService::Remote(RemoteSyslog::Unix(path));
        let mut log = Connection::open(target);
        let message = "x".repeat(4096);
        let refused = (0..2000).find_map(|_| log.send(&message).err());
        let cause = refused.expect("it fills up");
        assert_eq!(cause.kind(), io::ErrorKind::WouldBlock);
    }

    /// The journal gets a datagram with fields for each line, and a line that is too long for
    /// it shortened.
    #[test]
    fn lines_are_fields_of_the_journal() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("socket");
        let server = UnixDatagram::bind(&path).expect("a server");
        let mut log = Connection::open(LogService::Journal(path));
        let style = Arc::new(Style::new(&Options::default(), false));
        let mut buffer = vec![0; 1 << 20];
        for text in ["first", &"x".repeat(1 << 20)] {
            let record = Record::new(style.clone(), Level::Warning, text);
            log.send(&log.message(&record)).expect("it is accepted");
            let len = server.recv(&mut buffer).expect("a message");
            let message = String::from_utf8_lossy(&buffer[..len]);
            assert!(message.starts_with("PRIORITY=4\n"), "{message}");
            let shown = format!("\nMESSAGE={}", &text[..5]);
            assert!(message.contains(&shown), "{message}");
        }
    }
}
