//! The old process of an upgrade: starts the new one, hands the listening sockets over, and leaves
//! once the new one serves. `lifecycle::run` starts the thread that does it ([`HandOver::listen`])
//! and acts on what it reports ([`Handed`]).

use std::{
    env, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    process::{Child, Command, ExitStatus},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, sync::mpsc};
use tracing::{error, info, warn};

use super::{
    channel::{Channel, Decision, FORMAT, Offer, Ready, Report},
    request, service_manager,
    take_over::VARIABLE,
};
use crate::{
    VERSION,
    route::Sibling,
    server::{Server, inherited::Role, pid_file::PidFile},
    telemetry::event::EventKind,
};

/// How long the new process may take to read its configuration and to open what it needs.
const READY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long it may take to get its routes and to serve.
const SERVING_TIMEOUT: Duration = Duration::from_secs(15);

/// How long it must serve before the old process leaves.
const PROBATION: Duration = Duration::from_secs(2);

/// How long a process that was killed may take to be gone.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Upper limit of the time until the outcome of an upgrade is known.
pub(super) const LONGEST: Duration = Duration::from_secs(45);

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Strangers that may be in front of the own connection in the queue of a new listener.
const STRANGERS_MAX: usize = 1024;

/// Bytes of a thread's stack.
const STACK_LEN: usize = 256 * 1024;

/// Variables that a service manager set for this process alone.
const OWN_VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// What [`super::super::lifecycle::run`] has to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handed {
    /// The new process serves: leave.
    Over {
        /// Whether it has the Unix socket, so that its file must stay.
        has_unix_socket: bool,
    },
    /// The new process was asked to stop: stop as well.
    Stop,
}

/// Second descriptors of the listening sockets, in addition to those of the accept loops.
#[derive(Default)]
pub struct Listeners(Vec<(Role, OwnedFd)>);

impl Listeners {
    /// Adds one.
    ///
    ///  # Errors
    ///
    /// There is no free descriptor.
    pub fn add(&mut self, role: Role, listener: &impl AsFd) -> io::Result<()> {
        let descriptor = listener.as_fd().try_clone_to_owned()?;
        self.0.push((role, descriptor));
        Ok(())
    }
}

/// What an upgrade needs.
pub struct HandOver {
    /// The server of this process.
    pub server: Arc<Server>,
    /// Its sockets.
    pub listeners: Listeners,
    /// Whether the file of the Unix socket is its own.
    pub owns_socket_file: bool,
    /// Takes what is to be done.
    pub handed: mpsc::Sender<Handed>,
}

/// A new process. Dropping it ends it, unless it serves.
struct Successor {
    child: Child,
    channel: Channel,
    serves: bool,
}

impl HandOver {
    /// Takes requests for upgrades on a thread of its own.
    ///
    ///  # Errors
    ///
    /// The socket or the thread cannot be had.
    pub fn listen(self) -> io::Result<()> {
        let listener = request::listen()?;
        let runtime = Handle::current();
        thread::Builder::new()
            .name("upgrade".into())
            .stack_size(STACK_LEN)
            .spawn(move || self.run(&listener, &runtime))?;
        Ok(())
    }

    fn run(mut self, listener: &UnixListener, runtime: &Handle) {
        let mut handed_to = None;
        loop {
            let answered = listener.accept().and_then(|(stream, _)| {
                request::answer(stream, || self.upgrade(runtime, &mut handed_to))
            });
            if let Err(error) = answered {
                warn!("A request for an upgrade could not be answered: {error}");
                thread::sleep(ACCEPT_PAUSE);
            }
        }
    }

    /// Upgrades; returns what is to be said about it.
    fn upgrade(&mut self, runtime: &Handle, handed_to: &mut Option<u32>) -> Result<String, String> {
        if let Some(pid) = handed_to {
            return Err(format!("process {pid} has taken over already"));
        }
        info!("Upgrade: starting another process, which is to take over");
        match self.try_upgrade(runtime) {
            Ok((successor, ready)) => {
                let pid = successor.child.id();
                *handed_to = Some(pid);
                Ok(self.leave(successor, &ready))
            }
            Err(why) => {
                let text = format!("the upgrade failed, this process serves on: {why}");
                error!("{text}");
                self.record(&text);
                Err(text)
            }
        }
    }

    /// Hands over to a new process.
    fn try_upgrade(&self, runtime: &Handle) -> Result<(Successor, Ready), String> {
        let server = &self.server;
        if server.stopping.load(std::sync::atomic::Ordering::Acquire) {
            return Err("it is stopping".into());
        }
        if server.cluster_or_link().is_some_and(|it| it.has_sibling()) {
            return Err(
                "the process that it has taken over from still has clients; wait until it has ended"
                    .into(),
            );
        }
        service_manager::check()?;
        let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let (mut successor, ours, theirs) = start()
            .and_then(|successor| tcp_pair().map(|(ours, theirs)| (successor, ours, theirs)))
            .map_err(failed("the new process cannot be started"))?;
        let sibling = {
            let _entered = runtime.enter();
            Sibling::new(server.link(), ours).map_err(failed("the route to the new process"))?
        };
        self.offer(&mut successor, &sibling, theirs)?;
        let ready = successor.ready()?;
        let info = serde_json::from_str(&ready.info)
            .map_err(|error| format!("the new process spoke nonsense: {error}"))?;
        runtime.spawn(sibling.serve(info));
        let served = self.wait_for_service(&mut successor);
        match served {
            Ok(()) => Ok((successor, ready)),
            Err(why) => {
                // First, so that it accepts nothing more.
                drop(successor);
                self.restore();
                Err(why)
            }
        }
    }

    /// Offers the sockets.
    fn offer(
        &self,
        successor: &mut Successor,
        sibling: &Sibling,
        link: TcpStream,
    ) -> Result<(), String> {
        let server = &self.server;
        let cluster = server.cluster.as_ref();
        let name = cluster.map(|cluster| cluster.name());
        let listeners = &self.listeners.0;
        let offer = Offer {
            format: FORMAT,
            version: VERSION.into(),
            server_id: server.id.clone(),
            cluster_name: name.filter(|name| name.dynamic).map(|name| name.text),
            listeners: listeners
                .iter()
                .map(|(role, _)| role.name().into())
                .collect(),
            owns_socket_file: self.owns_socket_file,
            peers: cluster.map(|cluster| cluster.peers()).unwrap_or_default(),
            // A struct of texts and numbers always serialises.
            info: serde_json::to_string(&sibling.info()).unwrap_or_default(),
        };
        let mut descriptors: Vec<BorrowedFd<'_>> =
            listeners.iter().map(|(_, socket)| socket.as_fd()).collect();
        descriptors.push(link.as_fd());
        let sent = successor.channel.send(&offer, &descriptors);
        sent.map_err(|error| successor.lost(&error))
    }

    /// Has the new process serve, and watches it for a moment.
    fn wait_for_service(&self, successor: &mut Successor) -> Result<(), String> {
        let sent = successor.channel.send(&Decision::Go, &[]);
        sent.map_err(|error| successor.lost(&error))?;
        match successor.report(SERVING_TIMEOUT)? {
            Report::Serving => {}
            other => return Err(other.unexpected()),
        }
        self.server.broker.gate.hold();
        let deadline = Instant::now() + PROBATION;
        match successor.channel.receive::<Report>(deadline) {
            Err(error) if is_timeout(&error) => Ok(()),
            Err(error) => Err(successor.lost(&error)),
            Ok((report, _)) => Err(report.unexpected()),
        }
    }

    /// Serves on after a new process has failed that may have been about to serve.
    fn restore(&self) {
        self.server.broker.gate.open();
        if let Some(path) = &self.server.options().pid_file
            && let Err(error) = PidFile::write(path).map(PidFile::keep)
        {
            error!(
                "The pid file {} could not be written again: {error}",
                path.display()
            );
        }
    }

    /// Leaves: the new process serves. Returns what is to be said about it.
    fn leave(&self, mut successor: Successor, ready: &Ready) -> String {
        successor.serves = true;
        let pid = successor.child.id();
        if let Err(error) = service_manager::tell_main_pid(pid) {
            warn!("systemd could not be told that process {pid} is the main one now: {error}");
        }
        let text = format!(
            "process {pid} (midge {}) has taken over from process {} (midge {VERSION}), which \
             moves its clients within {:?} and ends",
            ready.version,
            std::process::id(),
            self.server.options().lame_duck_duration
        );
        info!("Upgrade: {text}");
        self.record(&text);
        let has_unix_socket = ready.has_unix_socket;
        self.hand(Handed::Over { has_unix_socket });
        let handed = self.handed.clone();
        let watching = thread::Builder::new()
            .name("upgrade-watch".into())
            .stack_size(STACK_LEN)
            .spawn(move || successor.watch(&handed));
        if let Err(error) = watching {
            warn!(
                "The end of process {pid} will not be noticed: no thread could be started: {error}"
            );
        }
        text
    }

    fn hand(&self, what: Handed) {
        // The main loop ends with the process only.
        let _ = self.handed.blocking_send(what);
    }

    fn record(&self, text: &str) {
        let events = &self.server.broker.telemetry.events;
        events.record(EventKind::Server, 0, "upgrade", text);
    }
}

/// Starts the program that this process was started as, with the same arguments.
fn start() -> io::Result<Successor> {
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
    Ok(Successor {
        child,
        channel: Channel::new(ours)?,
        serves: false,
    })
}

impl Successor {
    /// Waits until it is ready.
    fn ready(&mut self) -> Result<Ready, String> {
        match self.report(READY_TIMEOUT)? {
            Report::Ready(ready) => Ok(ready),
            other => Err(other.unexpected()),
        }
    }

    fn report(&mut self, timeout: Duration) -> Result<Report, String> {
        match self.channel.receive(Instant::now() + timeout) {
            Ok((report, _)) => Ok(report),
            Err(error) if is_timeout(&error) => Err(format!(
                "the new process did not become ready within {timeout:?}"
            )),
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// Why nothing can be said to it or be heard of it.
    fn lost(&mut self, error: &io::Error) -> String {
        match self.ended_within(END_TIMEOUT) {
            Some(status) => format!("the new process has ended ({status}); see its log"),
            None if has_closed(error) => {
                "the new process does not take part; is it a midge that can upgrade?".into()
            }
            None => format!("the new process spoke nonsense: {error}"),
        }
    }

    /// Its exit status, if it ends in this time.
    fn ended_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(10));
                }
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Waits for its end, as long as this process lives.
    fn watch(mut self, handed: &mpsc::Sender<Handed>) {
        let pid = self.child.id();
        loop {
            match self.channel.receive::<Report>(Instant::now() + LONGEST) {
                Ok((Report::Stopping, _)) => {
                    info!("Upgrade: process {pid} stops, and so does this one");
                    // The main loop ends with the process only.
                    let _ = handed.blocking_send(Handed::Stop);
                    return;
                }
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(_) => {
                    let status = self.child.wait();
                    let status = status.map_or_else(|error| error.to_string(), |it| it.to_string());
                    error!("Upgrade: process {pid}, which had taken over, has ended: {status}");
                    return;
                }
            }
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if self.serves {
            return;
        }
        // Fails if it has ended.
        let _ = self.child.kill();
        if self.ended_within(END_TIMEOUT).is_none() {
            warn!(
                "Process {} was killed and has not ended yet",
                self.child.id()
            );
        }
    }
}

impl Report {
    /// Why this ends the upgrade.
    fn unexpected(self) -> String {
        match self {
            Self::Failed(why) => format!("the new process cannot serve: {why}"),
            Self::Stopping => "the new process was asked to stop".into(),
            Self::Ready(_) | Self::Serving => "the new process spoke out of turn".into(),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
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
fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let loopback: [SocketAddr; 2] = [
        (Ipv4Addr::LOCALHOST, 0).into(),
        (Ipv6Addr::LOCALHOST, 0).into(),
    ];
    let listener = TcpListener::bind(&loopback[..])?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let own = ours.local_addr()?;
    for _ in 0..STRANGERS_MAX {
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
