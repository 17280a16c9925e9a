//! Asking a running broker for an upgrade (`midge --signal upgrade`), or what a reload would do with
//! a file (`midge -t --diff`, where there is no monitoring socket).
//!
//! Each broker listens on a Unix socket of the abstract kind: there is no file that could be missing
//! or be left over. Its name contains the process id and a random number, so that nobody can take
//! it before the broker does. The asking side finds it among the sockets of the system, and connects
//! to no other one than the broker's: the system says which process has opened a socket, and whose
//! that is (SO_PEERCRED). Likewise the broker listens only to root and to its own user.

use std::{
    fmt, fs, io,
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use monitor_client::control::Reloaded;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, UCred, connect, socket_with,
    sockopt::socket_peercred,
};
use serde::{Deserialize, Serialize};

use super::{channel::Channel, hand_over::LONGEST};

/// How long an admitted process may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a comparison may take: the broker reads the file, which may be on a slow disk.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Deserialize, Serialize)]
pub(super) enum Request {
    /// An upgrade.
    Upgrade,
    /// What a reload would do with this file.
    Compare(PathBuf),
}

/// What came of it.
#[derive(Deserialize, Serialize)]
pub(super) enum Outcome {
    /// It has upgraded, in words.
    Done(String),
    /// It could not, in words.
    Failed(String),
    /// What a reload would do.
    Compared(Reloaded),
    /// A reload would be refused, and why.
    Refused(String),
}

/// Why there is no answer, or not the wanted one.
#[derive(Debug)]
pub enum AskError {
    /// The process does not listen.
    NoUpgrades(io::Error),
    /// It did not answer in time, or ended.
    NoAnswer(io::Error),
    /// It could not be done; what the broker says.
    Failed(String),
    /// The broker would refuse a reload.
    Refused(String),
    /// It answers something else.
    Misunderstood,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUpgrades(cause) => write!(
                f,
                "it takes no requests ({cause}): it is not a midge that can be upgraded, or it has \
                 just ended"
            ),
            Self::NoAnswer(cause) => write!(
                f,
                "it gave no answer ({cause}): you must be root or its user, and it must not have \
                 ended meanwhile; see its log"
            ),
            Self::Failed(why) => f.write_str(why),
            Self::Refused(why) => write!(f, "a reload would be refused: {why}"),
            Self::Misunderstood => f.write_str("its version does not fit this one"),
        }
    }
}

impl std::error::Error for AskError {}

/// Asks the broker with this process id to upgrade, and waits for the outcome, which is returned in
/// words.
///
///  # Errors
///
/// It was not upgraded, and serves on unless it has ended.
pub fn ask(pid: i32) -> Result<String, AskError> {
    match exchange(pid, &Request::Upgrade, LONGEST)? {
        Outcome::Done(text) => Ok(text),
        other => Err(other.unwanted()),
    }
}

/// Asks the broker with this process id what a reload would do with a file.
///
///  # Errors
///
/// It would be refused, or there is no answer.
pub fn compare(pid: i32, file: &Path) -> Result<Reloaded, AskError> {
    match exchange(pid, &Request::Compare(file.into()), COMPARE_TIMEOUT)? {
        Outcome::Compared(plan) => Ok(plan),
        other => Err(other.unwanted()),
    }
}

impl Outcome {
    fn unwanted(self) -> AskError {
        match self {
            Self::Failed(why) => AskError::Failed(why),
            Self::Refused(why) => AskError::Refused(why),
            Self::Done(_) | Self::Compared(_) => AskError::Misunderstood,
        }
    }
}

fn exchange(pid: i32, request: &Request, timeout: Duration) -> Result<Outcome, AskError> {
    let stream = connect_to(pid).map_err(AskError::NoUpgrades)?;
    let exchange = || {
        let mut channel = Channel::new(stream)?;
        channel.send(request, &[])?;
        channel.receive::<Outcome>(Instant::now() + timeout)
    };
    Ok(exchange().map_err(AskError::NoAnswer)?.0)
}

/// The socket on which this process takes requests.
pub(in crate::server) fn listen() -> io::Result<UnixListener> {
    let mut random = [0; 16];
    rand::fill(&mut random).map_err(|_| io::Error::other("there are no random numbers"))?;
    let name = format!("{}{}", prefix(std::process::id()), HEXLOWER.encode(&random));
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// How the name of the socket of this process begins.
fn prefix(pid: impl fmt::Display) -> String {
    format!("midge/upgrade/{pid}/")
}

/// Connects to the socket of the broker with this process id.
fn connect_to(pid: i32) -> io::Result<UnixStream> {
    let user = user_of(pid)?;
    let mut why = io::Error::new(io::ErrorKind::NotFound, "it has no socket for them");
    for name in names(&fs::read_to_string("/proc/net/unix")?, pid) {
        match try_connect(name) {
            Ok((stream, listening)) => {
                // Anybody may have given a socket this name.
                if listening.pid.as_raw_nonzero().get() == pid && listening.uid.as_raw() == user {
                    return Ok(stream);
                }
            }
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The names of sockets that may be that of this process, in the system's list of sockets.
fn names(sockets: &str, pid: i32) -> impl Iterator<Item = &str> {
    let begin = format!("@{}", prefix(pid));
    let names = sockets
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7));
    names
        .filter(move |name| name.starts_with(&begin))
        .map(|name| &name[1..])
}

/// Connects to a socket, and says who listens there. Nobody is waited for: others may have filled
/// the queue of theirs.
fn try_connect(name: &str) -> io::Result<(UnixStream, UCred)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(
        &socket,
        &SocketAddrUnix::new_abstract_name(name.as_bytes())?,
    )?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    let listening = peer(&stream)?;
    Ok((stream, listening))
}

/// The user as which a process acts.
fn user_of(pid: i32) -> io::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    // The real one, then the effective one.
    let user = users.and_then(|users| users.split_whitespace().nth(1)?.parse().ok());
    user.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Answers one request by what `act` makes of it, if it comes from a user that may ask.
pub(super) fn answer(stream: UnixStream, act: impl FnOnce(Request) -> Outcome) -> io::Result<()> {
    let user = peer(&stream)?.uid.as_raw();
    if !may_ask(user) {
        return Err(io::Error::other(format!(
            "user {user} may not ask for it, only root and the broker's user"
        )));
    }
    let mut channel = Channel::new(stream)?;
    let (request, _) = channel.receive(Instant::now() + REQUEST_TIMEOUT)?;
    channel.send(&act(request), &[])
}

/// Whether this user may have this process replaced: it could end and start it anyway.
pub(super) fn may_ask(user: u32) -> bool {
    // SAFETY: takes nothing and cannot fail.
    let own = unsafe { libc::geteuid() };
    user == 0 || user == own
}

/// The process at the other end of a Unix socket.
pub(super) fn peer(stream: &impl AsFd) -> io::Result<UCred> {
    Ok(socket_peercred(stream)?)
}

#[cfg(test)]
mod tests {
    use std::{io::Read, iter, process::Command, thread};

    use super::*;

    #[test]
    fn only_root_and_the_own_user_may_ask() {
        // SAFETY: takes nothing and cannot fail.
        let own = unsafe { libc::geteuid() };
        assert!(may_ask(0) && may_ask(own));
        assert!(!may_ask(own + 1));
    }

    #[test]
    fn the_outcome_is_told_and_a_silent_process_is_noticed() {
        let listener = listen().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let answering = thread::spawn(move || {
            let accept = || listener.accept().unwrap().0;
            answer(accept(), |_| Outcome::Done("done".into())).unwrap();
            answer(accept(), |_| Outcome::Failed("no".into())).unwrap();
            answer(accept(), |asked| Outcome::Refused(format!("{asked:?}"))).unwrap();
        });
        assert_eq!(ask(own).unwrap(), "done");
        assert!(matches!(ask(own), Err(AskError::Failed(why)) if why == "no"));
        let asked = "Compare(\"/a\")";
        assert!(
            matches!(compare(own, Path::new("/a")), Err(AskError::Refused(why)) if why == asked)
        );
        answering.join().unwrap();
        assert!(matches!(ask(own), Err(AskError::NoUpgrades(_))));
    }

    /// Sockets of other processes with such a name, also where their queue is full, are passed over.
    #[test]
    fn nobody_else_can_take_the_place_of_a_process() {
        let mut sleeping = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(sleeping.id()).unwrap();
        let bind = |end: &str| {
            let name = format!("{}{end}", prefix(pid));
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
        };
        let (one, _other) = (bind(""), bind("0123"));
        assert_eq!(
            names(&fs::read_to_string("/proc/net/unix").unwrap(), pid).count(),
            2
        );
        assert!(matches!(ask(pid), Err(AskError::NoUpgrades(_))));
        // Nothing was said to it.
        let (mut stream, _) = one.accept().unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        // A short queue is soon full.
        rustix::net::listen(&one, 1).unwrap();
        let full: Vec<_> = iter::from_fn(|| try_connect(&prefix(pid)).ok()).collect();
        assert!(!full.is_empty());
        assert!(matches!(ask(pid), Err(AskError::NoUpgrades(_))));
        sleeping.kill().unwrap();
        sleeping.wait().unwrap();
    }

    #[test]
    fn a_socket_is_found_among_those_of_the_system() {
        let sockets = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 15872 @midge/upgrade/12/ab\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 15873 @midge/upgrade/121/ab\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 15874 /midge/upgrade/12/ab\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 15875\n";
        assert_eq!(
            names(sockets, 12).collect::<Vec<_>>(),
            ["midge/upgrade/12/ab"]
        );
    }
}
