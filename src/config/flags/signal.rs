//! The value of the flag `--signal`: what is asked of which running broker. Delivering
//! it is for [`crate::signal`].

use std::path::{Path, PathBuf};

/// The one that is none of the system's signals: the broker is to hand over to a new process.
pub const UPGRADE: &str = "upgrade";

/// The request of `--signal` to a running broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `ldm`: let the clients go one by one, then stop.
    LameDuck,
    /// `quit`: stop.
    Quit,
    /// `reload`: read the configuration again.
    Reload,
    /// `reopen`: open the log file again.
    Reopen,
    /// `stop`: end immediately, without cleaning up.
    Stop,
    /// `term`: stop, unless lame duck mode is on already.
    Term,
}

impl Signal {
    /// The names on the command line, with that of the request which is no signal of the system:
    /// [`UPGRADE`].
    pub const NAMES: &str = "ldm, quit, reload, reopen, stop, term, upgrade";

    /// The signal of a name.
    pub fn from_name(name: &str) -> Option<Signal> {
        Some(match name {
            "ldm" => Signal::LameDuck,
            "quit" => Signal::Quit,
            "reload" => Signal::Reload,
            "reopen" => Signal::Reopen,
            "stop" => Signal::Stop,
            "term" => Signal::Term,
            _ => return None,
        })
    }
}

/// Which process is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The only broker that runs.
    Only,
    /// A process id.
    Pid(i32),
    /// The brokers whose ids begin with these digits.
    Pids(String),
    /// The broker whose id is in this file.
    PidFile(PathBuf),
    /// Those whose ids are in the files of this name, in which `*` matches any characters.
    PidFiles(PathBuf),
}

impl Target {
    /// As with nats-server: a process id; the first digits of some, which may be empty,
    /// and `*`; or the path of a pid file. The path may have `*` in its last part.
    pub fn from_text(text: &str) -> Target {
        let begin = text.strip_suffix('*');
        let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        if text.is_empty() {
            return Target::Only;
        }
        match (text.parse(), begin.filter(is_number)) {
            (Ok(pid), _) => Target::Pid(pid),
            (_, Some(begin)) => Target::Pids(begin.into()),
            // A file may have such a name.
            _ if text.contains('*') && !Path::new(text).exists() => Target::PidFiles(text.into()),
            _ => Target::PidFile(text.into()),
        }
    }
}
