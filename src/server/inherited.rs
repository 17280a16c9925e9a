//! Listening sockets that this process did not open itself, but was started with. A service manager
//! passes them (socket activation, `systemd.socket(5)`): their number is in `LISTEN_FDS`, their
//! names in `LISTEN_FDNAMES`, and `LISTEN_PID` says for which process they are. In an upgrade, the
//! old process passes its own ([`super::upgrade`]).
//!
//! `main` collects them once, before anything else has a descriptor
//! ([`Inherited::from_environment`]). `prepare::prepare` takes the one of each configured listener
//! ([`Inherited::take_tcp`], [`Inherited::take_unix`]) and binds those that were not passed. A
//! socket that is left then is an error ([`Inherited::refuse_rest`]): clients would connect to it,
//! and nobody would accept them.
//!
//! The configuration stays the one place that says where the broker listens. A socket is taken for
//! the listener whose address it has; if its name is that of a [`Role`], for that one only. Other
//! names (systemd's default is that of the unit) say nothing. So a socket on all addresses is not
//! taken for a listener that is to serve this host alone.

use std::{
    env, fs, io,
    net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs},
    os::{
        fd::{FromRawFd, OwnedFd, RawFd},
        unix::{fs::MetadataExt, net::UnixListener},
    },
    path::{Path, PathBuf},
    process,
};

use socket2::{Domain, Socket, Type};

use super::{listener::join, prepare::StartError};

/// The first descriptor that a service manager passes.
const FIRST_DESCRIPTOR: RawFd = 3;

/// More sockets than any configuration has listeners.
const SOCKETS_MAX: usize = 64;

/// What a listener serves; its name is the one that a passed socket may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Clients.
    Client,
    /// Routes.
    Cluster,
    /// Leafnodes.
    Leafnodes,
    /// Monitoring, on a port or on a Unix socket.
    Monitor,
    /// WebSockets.
    WebSocket,
}

impl Role {
    const ALL: [Self; 5] = [
        Self::Client,
        Self::Cluster,
        Self::Leafnodes,
        Self::Monitor,
        Self::WebSocket,
    ];

    /// The name of its sockets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Cluster => "cluster",
            Self::Leafnodes => "leafnodes",
            Self::Monitor => "monitor",
            Self::WebSocket => "websocket",
        }
    }
}

/// A listening socket that was passed.
struct Passed {
    /// Its name; empty for none.
    name: String,
    /// Its number when it was passed, for error texts.
    descriptor: RawFd,
    socket: Socket,
}

/// The sockets that nobody has taken yet.
#[derive(Default)]
pub struct Inherited {
    sockets: Vec<Passed>,
    /// The listeners that were asked for, for error texts.
    asked: Vec<String>,
    /// Whether some may be left: the process that this one takes over from (`upgrade`) may have had
    /// another configuration.
    may_be_left: bool,
}

impl Inherited {
    /// The sockets that the service manager passed to this process; usually none. To be called once,
    /// while the process has no other descriptors than those it was started with.
    ///
    ///  # Errors
    ///
    /// The variables contradict each other, or a descriptor is not a listening socket.
    pub fn from_environment() -> Result<Self, StartError> {
        let variable = |name| env::var(name).unwrap_or_default();
        let (pid, count) = (variable("LISTEN_PID"), variable("LISTEN_FDS"));
        // They stay in the environment of a process that was started by the one they are for.
        if pid.parse() != Ok(process::id()) {
            return Ok(Self::default());
        }
        let count = count.parse().ok().filter(|count| *count <= SOCKETS_MAX);
        let count = count.ok_or_else(|| {
            error(
                "Error reading LISTEN_FDS",
                format!(
                    "{:?} is not a number of sockets",
                    env::var_os("LISTEN_FDS").unwrap_or_default()
                ),
            )
        })?;
        let names = env::var("LISTEN_FDNAMES").ok().filter(|_| count > 0);
        let names = names_of(names.as_deref(), count)?;
        let mut inherited = Self::default();
        for (descriptor, name) in (FIRST_DESCRIPTOR..).zip(names) {
            // SAFETY: takes no pointer; a number that is no descriptor is an error.
            if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
                let text = io::Error::last_os_error();
                return Err(refused(descriptor, &name, &text.to_string()));
            }
            // SAFETY: it is open, as was just seen. It was passed to this process for this use, the
            // caller promises that the process has opened nothing yet that could have its number,
            // and it is taken over once.
            let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
            inherited.add(name, descriptor, socket)?;
        }
        Ok(inherited)
    }

    /// For the sockets of the process that this one takes over from.
    pub fn of_predecessor() -> Self {
        Self {
            may_be_left: true,
            ..Self::default()
        }
    }

    /// Adds a socket that was passed as `descriptor`.
    ///
    ///  # Errors
    ///
    /// It is not a listening stream socket.
    pub fn add(
        &mut self,
        name: String,
        descriptor: RawFd,
        socket: OwnedFd,
    ) -> Result<(), StartError> {
        let socket = Socket::from(socket);
        let usable = make_usable(&socket);
        usable.map_err(|error| refused(descriptor, &name, &error.to_string()))?;
        self.sockets.push(Passed {
            name,
            descriptor,
            socket,
        });
        Ok(())
    }

    /// The socket for the listener of `role` at `host:port`, with the requested address and the
    /// actual port. `None` if there is none: then the caller binds one.
    ///
    ///  # Errors
    ///
    /// The host does not resolve, or there are two such sockets.
    pub fn take_tcp(
        &mut self,
        role: Role,
        host: &str,
        port: u16,
    ) -> io::Result<Option<(SocketAddr, TcpListener)>> {
        if self.sockets.is_empty() {
            return Ok(None);
        }
        self.asked
            .push(format!("{} {}", role.name(), join(host, port)));
        let wanted: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        let found = self.take(role, |passed| passed.serves(role, &wanted))?;
        Ok(found.map(|(address, socket)| (address, TcpListener::from(OwnedFd::from(socket)))))
    }

    /// Adds to the error of binding `port` that a socket was passed which has it, but which is for
    /// another role or on another address.
    pub fn explain(&self, error: io::Error, role: Role, port: u16) -> io::Error {
        let has_port = |it: &&Passed| it.ip_address().is_some_and(|own| own.port() == port);
        let Some(passed) = self.sockets.iter().find(has_port) else {
            return error;
        };
        let text = format!(
            "{error}. Descriptor {}{} was passed for {}, and is not for {}: address and name must \
             be those of the configuration",
            passed.descriptor,
            quoted(&passed.name),
            passed.address_text(),
            role.name()
        );
        io::Error::new(error.kind(), text)
    }

    /// The socket for monitoring at `path`. Its file belongs to the service manager, which also
    /// decides on its permissions.
    ///
    ///  # Errors
    ///
    /// There are two.
    pub fn take_unix(&mut self, path: &Path) -> io::Result<Option<UnixListener>> {
        let role = Role::Monitor;
        self.asked
            .push(format!("{} {}", role.name(), path.display()));
        let found = self.take(role, |passed| {
            let own = passed.path()?;
            is_same_file(&own, path).then_some(())
        })?;
        Ok(found.map(|((), socket)| UnixListener::from(OwnedFd::from(socket))))
    }

    /// Refuses what nobody has taken.
    ///
    ///  # Errors
    ///
    /// There is such a socket.
    pub fn refuse_rest(self) -> Result<(), StartError> {
        let Some(passed) = self.sockets.first().filter(|_| !self.may_be_left) else {
            return Ok(());
        };
        let what = match Role::ALL.iter().any(|role| role.name() == passed.name) {
            true => "address and name",
            false => "address",
        };
        let text = format!(
            "it is on {}; no configured listener has this {what}, only {}",
            passed.address_text(),
            self.asked.join(", ")
        );
        Err(refused(passed.descriptor, &passed.name, &text))
    }

    /// Takes the one socket for `role` that `matches`.
    fn take<T>(
        &mut self,
        role: Role,
        matches: impl Fn(&Passed) -> Option<T>,
    ) -> io::Result<Option<(T, Socket)>> {
        let mut found = None;
        for (index, passed) in self.sockets.iter().enumerate() {
            if passed.is_for_another(role) {
                continue;
            }
            if let Some(what) = matches(passed) {
                if found.is_some() {
                    return Err(io::Error::other(format!(
                        "the service manager passed two sockets for it; the second one is \
                         descriptor {}, on {}",
                        passed.descriptor,
                        passed.address_text()
                    )));
                }
                found = Some((index, what));
            }
        }
        Ok(found.map(|(index, what)| (what, self.sockets.remove(index).socket)))
    }
}

impl Passed {
    /// Whether its name is that of another role.
    fn is_for_another(&self, role: Role) -> bool {
        let mut roles = Role::ALL.into_iter();
        roles.any(|it| it != role && it.name() == self.name)
    }

    /// Which of the `wanted` addresses it serves; port 0 of them stands for any, but only for a
    /// socket of this name.
    fn serves(&self, role: Role, wanted: &[SocketAddr]) -> Option<SocketAddr> {
        let own = self.ip_address()?;
        let serves_both = self.socket.domain().ok()? == Domain::IPV6
            && self.socket.only_v6().is_ok_and(|only| !only);
        let ip_serves = |wanted: IpAddr| {
            let is_wildcard = wanted.is_unspecified() && own.ip().is_unspecified();
            own.ip() == wanted || is_wildcard && own.is_ipv6() && serves_both
        };
        let port_serves = |wanted: u16| match wanted {
            0 => self.name == role.name(),
            wanted => own.port() == wanted,
        };
        let mut wanted = wanted.iter();
        let found = wanted.find(|it| ip_serves(it.ip()) && port_serves(it.port()))?;
        Some(SocketAddr::new(found.ip(), own.port()))
    }

    fn ip_address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
    }

    /// The path of a Unix socket that has one.
    fn path(&self) -> Option<PathBuf> {
        let address = self.socket.local_addr().ok()?;
        address.as_pathname().map(Path::to_owned)
    }

    fn address_text(&self) -> String {
        match (self.ip_address(), self.path()) {
            (Some(ip), _) => ip.to_string(),
            (None, Some(path)) => path.display().to_string(),
            (None, None) => "an address that midge does not know".into(),
        }
    }
}

/// Checks that it is a listening socket and prepares it for the runtime.
fn make_usable(socket: &Socket) -> io::Result<()> {
    let is_stream = socket.r#type()? == Type::STREAM;
    if !is_stream || !socket.is_listener()? {
        return Err(io::Error::other(
            "it is not a listening stream socket; in the socket unit, use ListenStream= and \
             Accept=no",
        ));
    }
    socket.set_nonblocking(true)
}

/// One name for each of `count` sockets.
fn names_of(names: Option<&str>, count: usize) -> Result<Vec<String>, StartError> {
    let Some(text) = names else {
        return Ok(vec![String::new(); count]);
    };
    let names: Vec<String> = text.split(':').map(str::to_owned).collect();
    match names.len() == count {
        true => Ok(names),
        false => Err(error(
            "Error reading LISTEN_FDNAMES",
            format!("{text:?} has {} names for {count} sockets", names.len()),
        )),
    }
}

/// Whether both paths lead to one file, as `/run/x` and `/var/run/x` do.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let file = |path| fs::metadata(path).map(|it| (it.dev(), it.ino()));
    one == other || matches!((file(one), file(other)), (Ok(one), Ok(other)) if one == other)
}

fn refused(descriptor: RawFd, name: &str, why: &str) -> StartError {
    let name = quoted(name);
    error(
        &format!("Error using the socket that was passed as descriptor {descriptor}{name}"),
        why.to_owned(),
    )
}

/// A socket's name in an error text.
fn quoted(name: &str) -> String {
    match name {
        "" => String::new(),
        name => format!(" ({name:?})"),
    }
}

fn error(what: &str, why: String) -> StartError {
    StartError {
        what: what.to_owned(),
        error: io::Error::other(why),
    }
}

#[cfg(test)]
mod tests;
