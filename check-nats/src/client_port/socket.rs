//! The TCP connection to the client port. No read or write of it lasts longer than the run.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use super::OpenError;
use crate::{
    deadline::{Deadline, Step},
    status::Failure,
    target::Address,
    text::quoted,
};

/// A connection whose reads and writes end with the run's time.
pub(super) struct Socket<'a> {
    stream: TcpStream,
    deadline: &'a Deadline,
    /// Longest time of a read, if it is shorter.
    wait: Option<Duration>,
}

impl<'a> Socket<'a> {
    /// Connects to one of the addresses, in turn; each may take its share of the time left.
    ///
    /// # Errors
    /// The port is closed or not reached in time: critical.
    pub(super) fn connect(
        port: &Address,
        addresses: &[SocketAddr],
        deadline: &'a Deadline,
    ) -> Result<Self, OpenError> {
        deadline.begin(Step::Connect)?;
        let mut last = OpenError::Failed(deadline.late());
        for (tried, address) in addresses.iter().enumerate() {
            let rest = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let share = deadline.left()? / rest;
            match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
                Ok(stream) => {
                    // Only speed is lost without it.
                    let _ = stream.set_nodelay(true);
                    return Ok(Self {
                        stream,
                        deadline,
                        wait: None,
                    });
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    last = OpenError::Failed(deadline.late());
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    let text = format!("client port {port}: connection refused");
                    last = OpenError::Refused(Failure::critical(text));
                }
                Err(error) => {
                    let text = format!("client port {port}: {error}");
                    last = OpenError::Failed(Failure::critical(text));
                }
            }
        }
        Err(last)
    }

    /// Ends each read after this time; `None`: with the run.
    pub(super) fn wait_at_most(&mut self, wait: Option<Duration>) {
        self.wait = wait;
    }

    fn time_left(&self) -> io::Result<Duration> {
        self.deadline.left().map_err(|_| ErrorKind::TimedOut.into())
    }
}

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.time_left()?;
        let time = self.wait.map_or(left, |wait| wait.min(left));
        // Zero would be no limit.
        let time = time.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(time))?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.time_left()?))?;
        self.stream.write(bytes).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The system reports a timeout as an operation that would block, after which the TLS library would
/// go on.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// Whether an error of a [`Socket`] is the end of the time.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    error.kind() == ErrorKind::TimedOut
}

/// Looks up the host. The system's resolver has no timeout: the thread that watches the run ends a
/// wait that is too long.
pub(super) fn resolve(port: &Address, deadline: &Deadline) -> Result<Vec<SocketAddr>, Failure> {
    deadline.begin(Step::Resolve)?;
    let host = quoted(&port.host);
    let fail = |why: &str| Failure::unknown(format!("host {host} not resolved: {why}"));
    let addresses: Vec<SocketAddr> = (&*port.host, port.port)
        .to_socket_addrs()
        .map_err(|error| fail(&error.to_string()))?
        .collect();
    match addresses.is_empty() {
        true => Err(fail("no address")),
        false => Ok(addresses),
    }
}
