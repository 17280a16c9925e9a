//! The system's log and log servers: RFC 3164 over `/dev/log`, UDP or TCP.
//!
//! Only the thread that writes the log sends here. Lines that a socket does not accept immediately
//! (over TCP within a second) do not reach the log server: [`WriterThread`](super::writer) decides
//! what happens to them.

use std::{
    env, fmt, io,
    io::Write,
    net::{TcpStream, ToSocketAddrs, UdpSocket},
    os::unix::net::UnixDatagram,
    path::Path,
    process,
    time::{Duration, Instant},
};

use chrono::Local;

use super::sink::Unwritten;
use crate::config::options::RemoteSyslog;

/// The socket of this machine's log.
const LOCAL_SOCKET: &str = "/dev/log";

/// The facility for daemons.
const FACILITY: u8 = 3;

/// Limit of a message's text in bytes; servers cut messages at 8 KiB.
const TEXT_LEN_MAX: usize = 7 * 1024;

/// Time limit of connecting and of a write over TCP.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Pause between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// Which log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Syslog {
    /// The system's log.
    Local,
    /// A log server.
    Remote(RemoteSyslog),
}

impl fmt::Display for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => write!(f, "the system's log {LOCAL_SOCKET}"),
            Self::Remote(remote) => write!(f, "the log server {remote}"),
        }
    }
}

impl Syslog {
    /// Its address, as in the configuration.
    pub fn address(&self) -> String {
        match self {
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

/// A log, whether it can be reached or not.
pub(super) struct Connection {
    target: Syslog,
    /// The error if there is no connection.
    socket: io::Result<Socket>,
    tried: Instant,
    /// What precedes each text, except the time; for servers that includes the host.
    origin: String,
}

impl Connection {
    /// Connects. May wait for the resolver. If it fails, sending tries again.
    pub(super) fn open(target: Syslog) -> Self {
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

    /// Sends each line as a message.
    ///
    ///  # Errors
    ///
    /// How many bytes were sent, and why no more.
    pub(super) fn append(&mut self, lines: &str) -> Result<(), Unwritten> {
        let mut written = 0;
        for line in lines.split_inclusive('\n') {
            if let Err(cause) = self.send(line.trim_end_matches('\n')) {
                return Err(Unwritten { written, cause });
            }
            written += line.len();
        }
        Ok(())
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        if self.socket.is_err() && self.tried.elapsed() >= RETRY {
            self.tried = Instant::now();
            self.socket = connect_to(&self.target);
        }
        let socket = match &mut self.socket {
            Ok(socket) => socket,
            Err(cause) => return Err(copy_error(cause)),
        };
        let message = message(line, &self.origin, &Local::now().format("%b %e %H:%M:%S"));
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

fn connect_to(target: &Syslog) -> io::Result<Socket> {
    let unix = |path: &Path| {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Socket::Unix(socket))
    };
    match target {
        Syslog::Local => unix(Path::new(LOCAL_SOCKET)),
        Syslog::Remote(RemoteSyslog::Unix(path)) => unix(path),
        Syslog::Remote(RemoteSyslog::Udp(host, port)) => {
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
        Syslog::Remote(RemoteSyslog::Tcp(host, port)) => {
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

/// The program and its process id; for servers preceded by the host.
fn origin(target: &Syslog) -> String {
    let program = env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    let tag = format!("{}[{}]", name.display(), process::id());
    let is_local = matches!(
        target,
        Syslog::Local | Syslog::Remote(RemoteSyslog::Unix(_))
    );
    match is_local {
        true => tag,
        false => format!("{} {tag}", host_name()),
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".into())
}

/// Makes a message of a line. The severity follows from the letters of its level.
fn message(line: &str, origin: &str, time: &impl fmt::Display) -> String {
    let severity = match line.get(1..4) {
        Some("FTL") => 2,
        Some("ERR") => 3,
        Some("WRN") => 4,
        Some("DBG" | "TRC") => 7,
        _ => 5,
    };
    let priority = FACILITY * 8 + severity;
    let mut end = line.len().min(TEXT_LEN_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("<{priority}>{time} {origin}: {}", &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_severity_time_origin_and_a_limit() {
        let made = |line: &str| message(line, "midge[5]", &"Jan  2 03:04:05");
        assert_eq!(
            made("[ERR] oops"),
            "<27>Jan  2 03:04:05 midge[5]: [ERR] oops"
        );
        for (letters, priority) in [("FTL", 26), ("WRN", 28), ("INF", 29), ("DBG", 31)] {
            assert!(made(&format!("[{letters}] x")).starts_with(&format!("<{priority}>")));
        }
        let long = format!("[INF] {}", "ü".repeat(TEXT_LEN_MAX));
        assert!(made(&long).len() < TEXT_LEN_MAX + 64);
    }

    #[test]
    fn lines_reach_a_server_again_after_it_was_restarted() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("log");
        let target = Syslog::Remote(RemoteSyslog::Unix(path.clone()));
        let mut log = Connection::open(target);
        // Each line that is not sent has the reason, also between two attempts.
        for _ in 0..2 {
            let unwritten = log.append("[INF] zero\n").expect_err("nobody is there");
            assert_eq!(unwritten.cause.kind(), io::ErrorKind::NotFound);
        }
        assert!(log.failure().is_some());
        let server = UnixDatagram::bind(&path).expect("a server");
        log.tried = Instant::now().checked_sub(RETRY).expect("the clock runs");
        assert!(log.append("[INF] one\n[ERR] two\n").is_ok());
        let mut buffer = [0; 512];
        for expected in ["[INF] one", "[ERR] two"] {
            let len = server.recv(&mut buffer).expect("a message");
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            assert!(text.starts_with('<') && text.ends_with(expected), "{text}");
        }
        drop(server);
        std::fs::remove_file(&path).expect("it was there");
        let unwritten = log.append("[INF] three\n").expect_err("nobody is there");
        assert_eq!(unwritten.written, 0);
        let server = UnixDatagram::bind(&path).expect("a server");
        log.tried = Instant::now().checked_sub(RETRY).expect("the clock runs");
        assert!(log.append("[INF] four\n").is_ok());
        let len = server.recv(&mut buffer).expect("a message");
        assert!(buffer[..len].ends_with(b"[INF] four"));
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
        let target = Syslog::Remote(RemoteSyslog::Unix(path));
        let mut log = Connection::open(target);
        let lines = format!("[INF] {}\n", "x".repeat(4096)).repeat(2000);
        let unwritten = log.append(&lines).expect_err("it fills up");
        assert_eq!(unwritten.cause.kind(), io::ErrorKind::WouldBlock);
    }
}
