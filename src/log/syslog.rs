//! The system's log and log servers: RFC 3164 over `/dev/log`, UDP or TCP.
//!
//! Only the thread that writes the log comes here. What a socket does not take at
//! once, or within a second over TCP, is lost and counted like any other line.

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

/// Where programs of this machine log to.
const LOCAL: &str = "/dev/log";

/// Messages of daemons.
const FACILITY: u8 = 3;

/// Bytes of a message's text; servers cut at 8 KiB.
const TEXT_LEN_MAX: usize = 7 * 1024;

/// How long a connection or a write over TCP may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two tries to reach a server that was lost.
const RETRY: Duration = Duration::from_secs(1);

/// Which log it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Syslog {
    /// The one of this machine.
    Local,
    /// A server's.
    Remote(RemoteSyslog),
}

impl fmt::Display for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => write!(f, "the system's log at {LOCAL}"),
            Self::Remote(RemoteSyslog::Udp(host, port)) => {
                write!(f, "the log server {host}, UDP port {port}")
            }
            Self::Remote(RemoteSyslog::Tcp(host, port)) => {
                write!(f, "the log server {host}, TCP port {port}")
            }
            Self::Remote(RemoteSyslog::Unix(path)) => write!(f, "the log at {}", path.display()),
        }
    }
}

enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A log that was reached once.
pub(super) struct Connection {
    place: Syslog,
    /// `None` since it was lost.
    socket: Option<Socket>,
    tried: Instant,
    /// What stands before each text but the time: for servers the host as well.
    origin: String,
}

impl Connection {
    /// Reaches the log. May wait for the resolver.
    ///
    /// # Errors
    ///
    /// There is none, or it does not answer.
    pub(super) fn open(place: Syslog) -> io::Result<Self> {
        let socket = reach(&place)?;
        Ok(Self {
            origin: origin(&place),
            place,
            socket: Some(socket),
            tried: Instant::now(),
        })
    }

    /// Sends each line as a message.
    ///
    /// # Errors
    ///
    /// How many bytes of lines were sent, and why no more.
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
        if self.socket.is_none() {
            if self.tried.elapsed() < RETRY {
                return Err(io::ErrorKind::NotConnected.into());
            }
            self.tried = Instant::now();
            self.socket = Some(reach(&self.place)?);
        }
        let message = message(line, &self.origin, &Local::now().format("%b %e %H:%M:%S"));
        let Some(socket) = &mut self.socket else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let sent = match socket {
            Socket::Unix(socket) => socket.send(message.as_bytes()).map(drop),
            Socket::Udp(socket) => socket.send(message.as_bytes()).map(drop),
            Socket::Tcp(stream) => stream.write_all(format!("{message}\n").as_bytes()),
        };
        match &sent {
            // It is full, or an earlier datagram found nobody: the next may.
            Err(error)
                if !matches!(socket, Socket::Tcp(_))
                    && matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused
                    )
                    && !matches!(socket, Socket::Unix(_)
                        if error.kind() == io::ErrorKind::ConnectionRefused) => {}
            Err(_) => self.socket = None,
            Ok(()) => {}
        }
        sent
    }
}

fn reach(place: &Syslog) -> io::Result<Socket> {
    let unix = |path: &Path| {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Socket::Unix(socket))
    };
    match place {
        Syslog::Local => unix(Path::new(LOCAL)),
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
                let connected = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
                    stream.set_write_timeout(Some(PATIENCE))?;
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

/// The program and its process; for servers the host before it.
fn origin(place: &Syslog) -> String {
    let program = env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    let tag = format!("{}[{}]", name.display(), process::id());
    let is_of_this_machine = matches!(place, Syslog::Local | Syslog::Remote(RemoteSyslog::Unix(_)));
    match is_of_this_machine {
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

/// A line as a message. Its severity is told by its letters.
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
    fn messages_have_severity_time_origin_and_a_bound() {
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
    fn lines_reach_a_server_and_come_again_after_it_was_gone() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("log");
        let place = Syslog::Remote(RemoteSyslog::Unix(path.clone()));
        assert!(Connection::open(place.clone()).is_err());
        let server = UnixDatagram::bind(&path).expect("a server");
        let mut log = Connection::open(place).expect("it is there");
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

    /// A socket that is full costs lines, and no time.
    #[test]
    fn a_server_that_reads_nothing_holds_up_nobody() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("log");
        let _server = UnixDatagram::bind(&path).expect("a server");
        let place = Syslog::Remote(RemoteSyslog::Unix(path));
        let mut log = Connection::open(place).expect("it is there");
        let lines = format!("[INF] {}\n", "x".repeat(4096)).repeat(2000);
        let unwritten = log.append(&lines).expect_err("it fills up");
        assert_eq!(unwritten.cause.kind(), io::ErrorKind::WouldBlock);
    }
}
