//! A session on the client port: blocking, one step after the other, and
//! trusting nothing that the other end sends.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::{
    deadline::{Deadline, Step},
    options::Options,
    status::Failure,
    text::quoted,
};

/// Longest line taken from a broker, in bytes. An INFO with the addresses of a
/// large cluster stays well below.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Most lines passed over while one is awaited.
const LINES_SKIPPED_MAX: usize = 100;

/// Bytes of the message that [`Session::roundtrip`] sends, as `nats server check` does.
const PAYLOAD_BYTES: usize = 100;

const CONNECT: &str = concat!(
    r#"CONNECT {"verbose":false,"pedantic":false,"protocol":0,"lang":"rust","name":"check_nats","version":""#,
    env!("CARGO_PKG_VERSION"),
    "\"}\r\n"
);

/// The broker's INFO.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Public id of this run of the broker.
    pub server_id: String,
    /// Configured name, else the id.
    pub server_name: String,
    /// Version of the broker.
    pub version: String,
    /// Whether a login is wanted.
    pub auth_required: bool,
    /// Whether TLS is wanted before CONNECT.
    pub tls_required: bool,
    /// Whether TLS may be had before CONNECT.
    pub tls_available: bool,
    /// Whether the broker is in lame duck mode.
    pub ldm: bool,
}

/// Why there is no session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OpenError {
    /// The port is closed.
    Refused(Failure),
    /// Anything else.
    Failed(Failure),
}

/// A connection whose INFO was read.
pub struct Session<'a> {
    stream: TcpStream,
    received: Vec<u8>,
    deadline: &'a Deadline,
    /// `host:port`, for messages.
    peer: String,
    opened: Instant,
    info: Info,
}

impl<'a> Session<'a> {
    /// Connects and reads the INFO.
    ///
    /// # Errors
    /// The port is closed or sends no INFO: critical. The host name is unknown, or the peer
    /// is not a broker: unknown.
    pub fn open(options: &Options, deadline: &'a Deadline) -> Result<Self, OpenError> {
        let peer = options.client_port();
        let addresses = resolve(options, deadline)?;
        let opened = Instant::now();
        let stream = connect(&peer, &addresses, deadline)?;
        let mut session = Self {
            stream,
            received: Vec::new(),
            deadline,
            peer,
            opened,
            info: Info::default(),
        };
        session.info = session.read_info()?;
        Ok(session)
    }

    /// The broker's INFO.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The socket, to shake hands on in the time left; and `host:port`.
    ///
    /// # Errors
    /// The broker offers no TLS: unknown. No time is left.
    pub fn into_socket(self) -> Result<(TcpStream, String), Failure> {
        if !self.info.tls_required && !self.info.tls_available {
            let text = format!("client port {} has no TLS, so no certificate", self.peer);
            return Err(Failure::unknown(text));
        }
        let left = self.deadline.begin(Step::Handshake)?;
        let bounded = self.stream.set_read_timeout(Some(left));
        bounded
            .and_then(|()| self.stream.set_write_timeout(Some(left)))
            .map_err(|error| Failure::unknown(format!("client port {}: {error}", self.peer)))?;
        Ok((self.stream, self.peer))
    }

    /// Sends CONNECT and a PING, waits for the PONG, and returns the time since
    /// the TCP connection was begun.
    ///
    /// # Errors
    /// The broker wants TLS or a login, which cannot be checked here: unknown.
    /// It refuses or drops the connection: critical.
    pub fn log_in(&mut self) -> Result<Duration, Failure> {
        if self.info.tls_required {
            return Err(Failure::unknown(format!(
                "client port {} requires TLS: this version cannot check TLS ports",
                self.peer
            )));
        }
        if self.info.auth_required {
            return Err(Failure::unknown(format!(
                "client port {} requires a login: this version cannot log in",
                self.peer
            )));
        }
        self.deadline.begin(Step::Login)?;
        self.send(format!("{CONNECT}PING\r\n").as_bytes())?;
        self.wait_for(|line| line == "PONG")?;
        Ok(self.opened.elapsed())
    }

    /// The time from a PING to its PONG.
    ///
    /// # Errors
    /// As [`Session::log_in`], when the broker ends the session.
    pub fn ping(&mut self) -> Result<Duration, Failure> {
        self.deadline.begin(Step::Ping)?;
        let sent = Instant::now();
        self.send(b"PING\r\n")?;
        self.wait_for(|line| line == "PONG")?;
        Ok(sent.elapsed())
    }

    /// The time from a message published to the own inbox to its delivery. The
    /// subscription is in place before the clock starts.
    ///
    /// # Errors
    /// As [`Session::ping`]; critical if a different message arrives.
    pub fn roundtrip(&mut self) -> Result<Duration, Failure> {
        self.deadline.begin(Step::Roundtrip)?;
        let inbox = format!("_INBOX.check_nats.{:016x}", fastrand::u64(..));
        self.send(format!("SUB {inbox} 1\r\nPING\r\n").as_bytes())?;
        self.wait_for(|line| line == "PONG")?;
        let payload: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(PAYLOAD_BYTES)
            .collect();
        let sent = Instant::now();
        self.send(format!("PUB {inbox} {PAYLOAD_BYTES}\r\n{payload}\r\n").as_bytes())?;
        let expected = format!("MSG {inbox} 1 {PAYLOAD_BYTES}");
        self.wait_for(|line| line == expected)?;
        let delivered = self.read_line()?;
        let time = sent.elapsed();
        match delivered == payload {
            true => Ok(time),
            false => Err(Failure::critical(format!(
                "client port {} delivered a different message than was published",
                self.peer
            ))),
        }
    }

    fn read_info(&mut self) -> Result<Info, Failure> {
        self.deadline.begin(Step::Info)?;
        let line = self.read_line()?;
        if let Some(error) = line.strip_prefix("-ERR") {
            return Err(self.refused(error));
        }
        let info = line.strip_prefix("INFO").map(serde_json::from_str::<Info>);
        match info {
            Some(Ok(info)) if !info.server_id.is_empty() => Ok(info),
            Some(Ok(_)) => Err(self.not_a_broker("INFO without a server_id")),
            Some(Err(error)) => Err(self.not_a_broker(&format!("INFO not understood: {error}"))),
            None => Err(self.not_a_broker(&format!("no INFO but {}", quoted(&line)))),
        }
    }

    /// Reads lines until one is awaited; answers PINGs meanwhile.
    fn wait_for(&mut self, awaited: impl Fn(&str) -> bool) -> Result<(), Failure> {
        for _ in 0..LINES_SKIPPED_MAX {
            let line = self.read_line()?;
            if awaited(&line) {
                return Ok(());
            }
            if let Some(error) = line.strip_prefix("-ERR") {
                return Err(self.refused(error));
            }
            match line.as_str() {
                "PING" => self.send(b"PONG\r\n")?,
                "PONG" | "+OK" => (),
                line if line.starts_with("INFO") => (),
                line => return Err(self.not_a_broker(&format!("sent {}", quoted(line)))),
            }
        }
        Err(self.not_a_broker("talks without answering"))
    }

    /// The next line without its end. Bytes that are no UTF-8 are replaced.
    fn read_line(&mut self) -> Result<String, Failure> {
        let mut searched = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.received[searched..]) {
                let line: Vec<u8> = self.received.drain(..=searched + end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            searched = self.received.len();
            if searched > LINE_BYTES_MAX {
                return Err(self.not_a_broker(&format!(
                    "sent a line of more than {} KiB",
                    LINE_BYTES_MAX / 1024
                )));
            }
            self.read_some()?;
        }
    }

    fn read_some(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        let timeout = Some(self.deadline.left()?);
        let read = self
            .stream
            .set_read_timeout(timeout)
            .and_then(|()| self.stream.read(&mut buffer));
        match read {
            Ok(0) => Err(Failure::critical(format!(
                "client port {} closed the connection",
                self.peer
            ))),
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(self.io_failure(&error)),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let timeout = Some(self.deadline.left()?);
        self.stream
            .set_write_timeout(timeout)
            .and_then(|()| self.stream.write_all(bytes))
            .map_err(|error| self.io_failure(&error))
    }

    fn io_failure(&self, error: &std::io::Error) -> Failure {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.deadline.late(),
            _ => Failure::critical(format!("client port {}: {error}", self.peer)),
        }
    }

    /// The result of an `-ERR`: a broker that is full does not serve; one that requires
    /// credentials, or forbids the check, may serve.
    fn refused(&self, error: &str) -> Failure {
        let reason = error.trim().trim_matches('\'');
        let text = format!("client port {} answers {}", self.peer, quoted(reason));
        let lower = reason.to_ascii_lowercase();
        match lower.contains("auth") || lower.starts_with("permissions violation") {
            true => Failure::unknown(text),
            false => Failure::critical(text),
        }
    }

    fn not_a_broker(&self, what: &str) -> Failure {
        Failure::unknown(format!(
            "client port {} is no NATS broker: {what}",
            self.peer
        ))
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl OpenError {
    /// The failure to report about the broker.
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Refused(failure) | Self::Failed(failure) => failure,
        }
    }
}

/// Looks up the host. The system's resolver has no timeout: the thread that watches the run
/// ends a wait that is too long.
fn resolve(options: &Options, deadline: &Deadline) -> Result<Vec<SocketAddr>, Failure> {
    deadline.begin(Step::Resolve)?;
    let host = options.host.trim_start_matches('[').trim_end_matches(']');
    let fail = |why: &str| Failure::unknown(format!("host {} not resolved: {why}", quoted(host)));
    let addresses: Vec<SocketAddr> = (host, options.port)
        .to_socket_addrs()
        .map_err(|error| fail(&error.to_string()))?
        .collect();
    match addresses.is_empty() {
        true => Err(fail("no address")),
        false => Ok(addresses),
    }
}

/// Tries the addresses in turn; each may take its share of the time left.
fn connect(
    peer: &str,
    addresses: &[SocketAddr],
    deadline: &Deadline,
) -> Result<TcpStream, OpenError> {
    deadline.begin(Step::Connect)?;
    let mut last = OpenError::Failed(deadline.late());
    for (tried, address) in addresses.iter().enumerate() {
        let share = deadline.left()? / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => {
                // Only speed is lost without it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                last = OpenError::Failed(deadline.late());
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                let text = format!("client port {peer}: connection refused");
                last = OpenError::Refused(Failure::critical(text));
            }
            Err(error) => {
                let text = format!("client port {peer}: {error}");
                last = OpenError::Failed(Failure::critical(text));
            }
        }
    }
    Err(last)
}
