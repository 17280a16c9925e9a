//! Asking a running broker for an upgrade: `midge --signal upgrade`.
//!
//! Each broker listens on a Unix socket of the abstract kind whose name contains its process id:
//! there is no file that could be missing or be left over. Only root and the broker's own user are
//! listened to; and the asking side makes sure that it is the broker who answers. Both know it from
//! the system (SO_PEERCRED).

use std::{
    fmt, io,
    os::{
        fd::AsFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    time::{Duration, Instant},
};

use rustix::net::{UCred, sockopt::socket_peercred};
use serde::{Deserialize, Serialize};

use super::{channel::Channel, hand_over::LONGEST};

/// How long an admitted process may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Deserialize, Serialize)]
enum Request {
    Upgrade,
}

/// What came of it, in words.
#[derive(Deserialize, Serialize)]
enum Outcome {
    Done(String),
    Failed(String),
}

/// Why an upgrade was not done.
#[derive(Debug)]
pub enum AskError {
    /// The process does not listen.
    NoUpgrades(io::Error),
    /// Another process listens in its place.
    OtherProcess(i32),
    /// It did not answer in time, or ended.
    NoAnswer(io::Error),
    /// What the broker says.
    Failed(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUpgrades(cause) => write!(
                f,
                "it takes no requests for upgrades ({cause}): it is not a midge that can be \
                 upgraded, or it has just ended"
            ),
            Self::OtherProcess(pid) => write!(f, "process {pid} listens in its place"),
            Self::NoAnswer(cause) => write!(
                f,
                "it gave no answer ({cause}): you must be root or its user; see its log"
            ),
            Self::Failed(why) => f.write_str(why),
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
    let connected = address(pid).and_then(|address| UnixStream::connect_addr(&address));
    let stream = connected.map_err(AskError::NoUpgrades)?;
    let listening = peer(&stream).map_err(AskError::NoAnswer)?;
    let listening = listening.pid.as_raw_nonzero().get();
    if listening != pid {
        return Err(AskError::OtherProcess(listening));
    }
    let exchange = || {
        let mut channel = Channel::new(stream)?;
        channel.send(&Request::Upgrade, &[])?;
        channel.receive::<Outcome>(Instant::now() + LONGEST)
    };
    match exchange().map_err(AskError::NoAnswer)?.0 {
        Outcome::Done(text) => Ok(text),
        Outcome::Failed(why) => Err(AskError::Failed(why)),
    }
}

/// The socket on which this process takes requests.
pub(in crate::server) fn listen() -> io::Result<UnixListener> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    UnixListener::bind_addr(&address(own)?)
}

/// Answers one request by what `upgrade` says, if it comes from a user that may ask.
pub(super) fn answer(
    stream: UnixStream,
    upgrade: impl FnOnce() -> Result<String, String>,
) -> io::Result<()> {
    let user = peer(&stream)?.uid.as_raw();
    if !may_ask(user) {
        return Err(io::Error::other(format!(
            "user {user} may not ask for it, only root and the broker's user"
        )));
    }
    let mut channel = Channel::new(stream)?;
    let (Request::Upgrade, _) = channel.receive(Instant::now() + REQUEST_TIMEOUT)?;
    let outcome = match upgrade() {
        Ok(text) => Outcome::Done(text),
        Err(why) => Outcome::Failed(why),
    };
    channel.send(&outcome, &[])
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

fn address(pid: i32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("midge/upgrade/{pid}"))
}

#[cfg(test)]
mod tests {
    use std::thread;

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
            for outcome in [Ok("done".to_owned()), Err("no".to_owned())] {
                let (stream, _) = listener.accept().unwrap();
                answer(stream, || outcome).unwrap();
            }
        });
        assert_eq!(ask(own).unwrap(), "done");
        assert!(matches!(ask(own), Err(AskError::Failed(why)) if why == "no"));
        answering.join().unwrap();
        assert!(matches!(ask(own), Err(AskError::NoUpgrades(_))));
    }
}
