//! The new process of an upgrade, as the old one sees it: its start, what it says, and its end.

use std::{
    env, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, ExitStatus},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::{
    channel::{Channel, Decision, Ready, Report},
    hand_over::Handed,
    take_over::VARIABLE,
};

/// How long it may take to read its configuration and to open what it needs.
const READY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a process that was killed may take to be gone.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// How often it is looked whether it has ended.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// How long one wait for a message may take while it serves.
const WATCH_TIMEOUT: Duration = Duration::from_secs(3600);

/// Connections of other programs that may be in front of the own one in the queue of a new listener.
const OTHERS_MAX: usize = 1024;

/// Variables that a service manager set for this process alone.
const OWN_VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// Why a new process does not take over.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was asked to stop, which is meant for both processes.
    Stopping,
    /// Anything else, in words.
    Other(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

/// A new process. Dropping it ends it, unless it serves.
pub(super) struct Successor {
    pub(super) child: Arc<Mutex<Child>>,
    pid: u32,
    pub(super) channel: Channel,
    /// Whether it goes on without this process.
    pub(super) serves: bool,
}

impl Successor {
    /// Starts the program that this process was started as, with the same arguments.
    pub(super) fn start() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let program = arguments.next().unwrap_or_else(|| "midge".into());
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env(VARIABLE, std::process::id().to_string())
            .stdin(OwnedFd::from(theirs));
        for variable in OWN_VARIABLES {
            command.env_remove(variable);
        }
        let child = command.spawn()?;
        // It holds the child's end of the channel.
        drop(command);
        Ok(Self {
            pid: child.id(),
            child: Arc::new(Mutex::new(child)),
            channel: Channel::new(ours)?,
            serves: false,
        })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn say(&mut self, decision: &Decision) -> Result<(), String> {
        let sent = self.channel.send(decision, &[]);
        sent.map_err(|error| self.lost(&error))
    }

    /// Waits until it is ready.
    pub(super) fn ready(&mut self) -> Result<Ready, Failure> {
        match self.report(READY_TIMEOUT)? {
            Report::Ready(ready) => Ok(ready),
            other => Err(other.unexpected()),
        }
    }

    /// What it says within this time.
    pub(super) fn report(&mut self, timeout: Duration) -> Result<Report, Failure> {
        match self.channel.receive(Instant::now() + timeout) {
            Ok((report, _)) => Ok(report),
            Err(error) if is_timeout(&error) => Err(Failure::Other(format!(
                "the new process did not become ready within {timeout:?}: it is stopped, hangs or \
                 is too slow"
            ))),
            Err(error) => Err(self.lost(&error).into()),
        }
    }

    /// Why nothing can be said to it or be heard of it.
    pub(super) fn lost(&mut self, error: &io::Error) -> String {
        match self.ended_within(END_TIMEOUT) {
            Some(status) => format!("the new process has ended ({status}); see its log"),
            None if has_closed(error) => {
                "the new process does not take part; is it a midge that can upgrade?".into()
            }
            None => misunderstood(&format!("its message cannot be read: {error}")),
        }
    }

    /// Its exit status, if it ends in this time.
    fn ended_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        loop {
            // Held for a moment only: whoever passes a signal on waits for it.
            let ended = self.child.lock().try_wait();
            match ended {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => {
                    thread::sleep(POLL_EVERY);
                }
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Waits for its end, as long as this process lives.
    pub(super) fn watch(mut self, handed: &mpsc::Sender<Handed>) {
        let pid = self.pid;
        loop {
            match self
                .channel
                .receive::<Report>(Instant::now() + WATCH_TIMEOUT)
            {
                Ok((Report::Stopping, _)) => {
                    info!("Upgrade: process {pid} stops, and so does this one");
                    // The main loop ends with the process only.
                    let _ = handed.blocking_send(Handed::Stop);
                    return;
                }
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(_) => {
                    let status = self.child.lock().wait();
                    let status = status.map_or_else(|error| error.to_string(), |it| it.to_string());
                    error!("Upgrade: process {pid}, which had taken over, has ended: {status}");
                    return;
                }
            }
        }
    }
}

impl Successor {
    /// Ends it, whatever it does. Returns whether it has ended.
    pub(super) fn end(&mut self) -> bool {
        // Fails if it has ended.
        let _ = self.child.lock().kill();
        let has_ended = self.ended_within(END_TIMEOUT).is_some();
        if !has_ended {
            warn!("Process {} was killed and has not ended yet", self.pid);
        }
        has_ended
    }

    /// Ends it, and returns whether it may have served before.
    pub(super) fn end_before_it_serves(&mut self) -> bool {
        if !self.end() {
            return true;
        }
        // What it has said last is still there.
        let deadline = Instant::now() + END_TIMEOUT;
        loop {
            match self.channel.receive::<Report>(deadline) {
                Ok((Report::Serving, _)) => return true,
                Ok(_) => {}
                Err(error) => return is_timeout(&error),
            }
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.serves {
            self.end();
        }
    }
}

impl Report {
    /// Why this ends the upgrade.
    pub(super) fn unexpected(self) -> Failure {
        let name = match self {
            Self::Failed(why) => {
                return Failure::Other(format!("the new process cannot serve: {why}"));
            }
            Self::Stopping => return Failure::Stopping,
            Self::Ready(_) => "Ready",
            Self::Joined => "Joined",
            Self::Taken(_) => "Taken",
            Self::Serving => "Serving",
            Self::Steady => "Steady",
        };
        Failure::Other(misunderstood(&format!(
            "it reported {name:?} when something else was due"
        )))
    }
}

/// What is said if the other process does not keep to the form of the messages.
pub(super) fn misunderstood(what: &str) -> String {
    format!(
        "the new process cannot be understood: {what}; its version does not fit this one, restart \
         the broker instead"
    )
}

/// Whether a message did not come in time.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

/// Whether the other end was closed, with something unread or not.
fn has_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// The two ends of a TCP connection within this host.
pub(super) fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let loopback: [SocketAddr; 2] = [
        (Ipv4Addr::LOCALHOST, 0).into(),
        (Ipv6Addr::LOCALHOST, 0).into(),
    ];
    let listener = TcpListener::bind(&loopback[..])?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let own = ours.local_addr()?;
    for _ in 0..OTHERS_MAX {
        let (theirs, peer) = listener.accept()?;
        if peer == own {
            return Ok((ours, theirs));
        }
    }
    Err(io::Error::other("others use the port"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn both_ends_of_a_pair_are_connected_to_each_other() {
        let (mut one, mut other) = tcp_pair().unwrap();
        one.write_all(b"x").unwrap();
        let mut read = [0];
        other.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"x");
    }
}
