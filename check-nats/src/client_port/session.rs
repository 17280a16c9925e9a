//! One session with a broker, from the TCP connection to the last message.

mod stream;
#[cfg(test)]
mod tests;

use std::{
    io::{self, ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use self::stream::{Stream, closed, io_failure};
use super::{
    Info, Login, OpenError,
    certificate::Certificate,
    socket::{Socket, is_timeout, resolve},
    tls::{self, Tls, WANTS_CERTIFICATE},
};
use crate::{
    deadline::{Deadline, Step},
    status::Failure,
    target::{Address, ClientPort, ClientTls},
    text::quoted,
};

/// Longest line taken from a broker, in bytes. An INFO with the addresses of a
/// large cluster stays well below.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Most lines passed over while one is awaited.
pub(super) const LINES_SKIPPED_MAX: usize = 100;

/// Bytes of the message that [`Session::roundtrip`] sends, as `nats server check` does.
const PAYLOAD_BYTES: usize = 100;

/// A connection whose INFO was read, with TLS if there is any.
pub struct Session<'a> {
    stream: Stream<'a>,
    received: Vec<u8>,
    deadline: &'a Deadline,
    port: Address,
    /// When the connection was begun; later by the time that reading files took.
    opened: Instant,
    info: Info,
    tls: Option<Tls>,
    login: Login,
    /// [`ClientPort::is_asked`].
    is_asked: bool,
}

impl<'a> Session<'a> {
    /// Connects, reads the INFO, and does TLS where the broker requires it or `port` does.
    ///
    /// # Errors
    /// The port is closed, sends no INFO, has no TLS where it must, or shows a certificate that is
    /// not valid: critical. The host name is unknown, the peer is not a broker, or a file for TLS
    /// cannot be used: unknown.
    pub fn open(
        options: &ClientTls,
        port: &ClientPort,
        login: Login,
        deadline: &'a Deadline,
    ) -> Result<Self, OpenError> {
        // A broker waits for a second or two for the handshake: where it is known to be wanted, its
        // files are read before that. A broker that does not answer is worse news than a bad file.
        let is_wanted = options.first || port.tls;
        let tls = is_wanted.then(|| Self::prepare(options, port, deadline));
        let mut session = Self::connect(port, deadline)?;
        session.login = login;
        if options.first {
            session = session.encrypt(tls, options, port)?;
            session.info = session.read_info()?;
            return Ok(session);
        }
        session.info = session.read_info()?;
        match session.info.tls_required || (port.tls && session.info.tls_available) {
            true => Ok(session.encrypt(tls, options, port)?),
            false if port.tls => {
                let text = format!("client port {} has no TLS, but it must have", session.port);
                Err(Failure::critical(text).into())
            }
            false => Ok(session),
        }
    }

    /// The certificate that the client port shows, whether it is valid or not.
    ///
    /// # Errors
    /// The broker offers no TLS, or what it shows is no certificate: unknown. It ends the
    /// handshake before it has shown one: critical. It keeps the check waiting:
    /// [`Deadline::late`].
    pub fn certificate(
        options: &ClientTls,
        port: &ClientPort,
        deadline: &'a Deadline,
    ) -> Result<Certificate, OpenError> {
        let mut session = Self::connect(port, deadline)?;
        if !options.first {
            let info = session.read_info()?;
            if !info.tls_required && !info.tls_available {
                let text = format!("client port {} has no TLS, so no certificate", session.port);
                return Err(Failure::unknown(text).into());
            }
        }
        deadline.begin(Step::Handshake)?;
        Ok(tls::shown(session.stream.into_socket(), port, deadline)?)
    }

    /// The broker's INFO.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Warnings about the files that were read.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        let of_tls = self.tls.as_ref().and_then(|tls| tls.warning.as_deref());
        of_tls.into_iter().chain(self.login.warning())
    }

    /// Sends CONNECT and a PING, waits for the PONG, and returns the time since
    /// the TCP connection was begun.
    ///
    /// # Errors
    /// The broker wants a login that was not given, or refuses the one that was, or it would go in
    /// clear text to a host that only `/varz` names: unknown.
    /// It refuses or drops the connection: critical.
    pub fn log_in(&mut self) -> Result<Duration, Failure> {
        // Without a certificate either, the broker would only count one more refused login.
        if self.info.auth_required && self.login.is_none() && self.certificate_file().is_none() {
            return Err(Failure::unknown(format!(
                "client port {} requires a login: {}",
                self.port,
                self.login.remedy()
            )));
        }
        if self.tls.is_none() && !self.is_asked && !self.login.is_none() {
            return Err(Failure::unknown(format!(
                "/varz says that the client port is {}, which is another host than the one that \
                 was asked: the login is not sent there without TLS: give that address with -H if \
                 it is right, or --tls",
                self.port
            )));
        }
        self.deadline.begin(Step::Login)?;
        let connect = self.login.connect(&self.info, self.tls.is_some());
        let connect = connect.ok_or_else(|| {
            Failure::unknown(format!(
                "client port {} sends nothing to be signed by {}: it has no users with nkeys",
                self.port,
                self.login.name()
            ))
        })?;
        self.send(format!("{connect}PING\r\n").as_bytes())?;
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
                self.port
            ))),
        }
    }

    fn connect(port: &ClientPort, deadline: &'a Deadline) -> Result<Self, OpenError> {
        let addresses = resolve(&port.address, deadline)?;
        let opened = Instant::now();
        let socket = Socket::connect(&port.address, &addresses, deadline)?;
        Ok(Self {
            stream: Stream::Plain(socket),
            received: Vec::new(),
            deadline,
            port: port.address.clone(),
            opened,
            info: Info::default(),
            tls: None,
            login: Login::none(),
            is_asked: port.is_asked,
        })
    }

    /// Does the TLS handshake.
    /// Reads the files for TLS.
    fn prepare(
        options: &ClientTls,
        port: &ClientPort,
        deadline: &Deadline,
    ) -> Result<Tls, Failure> {
        deadline.begin(Step::Files)?;
        Tls::prepare(options, port)
    }

    /// Does the handshake; `tls` is what was prepared for it.
    fn encrypt(
        mut self,
        tls: Option<Result<Tls, Failure>>,
        options: &ClientTls,
        port: &ClientPort,
    ) -> Result<Self, Failure> {
        if !self.received.is_empty() {
            return Err(self.not_a_broker("more than INFO comes before TLS"));
        }
        let started = Instant::now();
        let tls = tls.unwrap_or_else(|| Self::prepare(options, port, self.deadline))?;
        // The time to connect is the broker's alone.
        self.opened += started.elapsed();
        if self.info.tls_verify && tls.certificate().is_none() {
            let text = format!("client port {}: TLS: {WANTS_CERTIFICATE}", self.port);
            return Err(Failure::unknown(text));
        }
        self.deadline.begin(Step::Handshake)?;
        let handshake = tls.handshake(self.stream.into_socket());
        let deadline = self.deadline;
        let stream =
            handshake.map_err(|error| io_failure(&error, Some(&tls), &port.address, deadline))?;
        Ok(Self {
            stream: Stream::Tls(Box::new(stream)),
            tls: Some(tls),
            ..self
        })
    }

    fn read_info(&mut self) -> Result<Info, Failure> {
        self.deadline.begin(Step::Info)?;
        let line = self.read_line().map_err(|mut failure| {
            if self.tls.is_none() && self.received.is_empty() {
                let hint = " (a broker with handshake_first needs --tls-first)";
                failure.text.push_str(hint);
            }
            failure
        })?;
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
    pub(super) fn wait_for(&mut self, awaited: impl Fn(&str) -> bool) -> Result<(), Failure> {
        for _ in 0..LINES_SKIPPED_MAX {
            let line = self.read_line()?;
            if awaited(&line) {
                return Ok(());
            }
            self.answer(&line)?;
        }
        Err(self.not_a_broker("talks without answering"))
    }

    /// Does what a line asks for that nobody waits for.
    ///
    /// # Errors
    /// It is an error of the broker, or nothing that a broker sends.
    pub(super) fn answer(&mut self, line: &str) -> Result<(), Failure> {
        if let Some(error) = line.strip_prefix("-ERR") {
            return Err(self.refused(error));
        }
        match line {
            "PING" => self.send(b"PONG\r\n"),
            "PONG" | "+OK" => Ok(()),
            line if line.starts_with("INFO") => Ok(()),
            line => Err(self.not_a_broker(&format!("sent {}", quoted(line)))),
        }
    }

    /// The next line without its end. Bytes that are no UTF-8 are replaced.
    pub(super) fn read_line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(line) = self.take_line()? {
                return Ok(line);
            }
            self.read_some(None)?;
        }
    }

    /// The next line, if it has arrived.
    pub(super) fn take_line(&mut self) -> Result<Option<String>, Failure> {
        if let Some(end) = memchr::memchr(b'\n', &self.received) {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
        }
        match self.received.len() > LINE_BYTES_MAX {
            true => Err(self.not_a_broker(&format!(
                "sent a line of more than {} KiB",
                LINE_BYTES_MAX / 1024
            ))),
            false => Ok(None),
        }
    }

    /// The payload of a message of this length, which the caller has bounded.
    pub(super) fn take_payload(&mut self, length: usize) -> Result<String, Failure> {
        let end = length + b"\r\n".len();
        while self.received.len() < end {
            self.read_some(None)?;
        }
        let payload: Vec<u8> = self.received.drain(..end).take(length).collect();
        Ok(String::from_utf8_lossy(&payload).into_owned())
    }

    /// Reads what comes next; whether anything came within `wait`, if that is shorter than the
    /// run's time.
    pub(super) fn read_some(&mut self, wait: Option<Duration>) -> Result<bool, Failure> {
        let mut buffer = [0; 4096];
        self.stream.socket().wait_at_most(wait);
        let read = self.stream.read(&mut buffer);
        self.stream.socket().wait_at_most(None);
        match read {
            Ok(0) => Err(closed(&self.port)),
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) if wait.is_some() && is_timeout(&error) => {
                self.deadline.left().map(|_| false)
            }
            Err(error) => Err(self.io_failure(&error)),
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = self.stream.write_all(bytes);
        match sent.and_then(|()| self.stream.flush()) {
            Ok(()) => Ok(()),
            Err(error) if is_timeout(&error) => Err(self.deadline.late()),
            Err(error) => Err(self.last_words(&error)),
        }
    }

    /// Why nothing more can be sent: a broker that closes a connection says before why.
    fn last_words(&mut self, error: &io::Error) -> Failure {
        for _ in 0..LINES_SKIPPED_MAX {
            match self.read_line() {
                Ok(line) => match line.strip_prefix("-ERR") {
                    Some(error) => return self.refused(error),
                    None => continue,
                },
                Err(failure) => return failure,
            }
        }
        self.io_failure(error)
    }

    fn io_failure(&self, error: &io::Error) -> Failure {
        io_failure(error, self.tls.as_ref(), &self.port, self.deadline)
    }

    /// The check's own certificate, if it has shown one.
    fn certificate_file(&self) -> Option<&str> {
        self.tls.as_ref().and_then(Tls::certificate)
    }

    /// The result of an `-ERR`: a broker that is full does not serve; one that requires
    /// credentials, or forbids the check, may serve.
    fn refused(&self, error: &str) -> Failure {
        let reason = error.trim().trim_matches('\'');
        let lower = reason.to_ascii_lowercase();
        if lower.contains("auth") {
            return self.login_failure(&format!("answers {}", quoted(reason)));
        }
        let text = format!("client port {} answers {}", self.port, quoted(reason));
        match lower.starts_with("permissions violation") || lower.contains("tls required") {
            true => Failure::unknown(text),
            false => Failure::critical(text),
        }
    }

    /// The login is refused.
    fn login_failure(&self, why: &str) -> Failure {
        let certificate = match self.certificate_file() {
            Some(file) if self.login.is_none() => format!(" and the certificate {file}"),
            _ => String::new(),
        };
        Failure::unknown(format!(
            "client port {} {why} to {}{certificate}: {}",
            self.port,
            self.login.name(),
            self.login.remedy()
        ))
    }

    pub(super) fn not_a_broker(&self, what: &str) -> Failure {
        Failure::unknown(format!(
            "client port {} is no NATS broker: {what}",
            self.port
        ))
    }
}
