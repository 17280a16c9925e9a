//! `--signal`: tells a running broker to stop, reload and the like.
//!
//! `main` calls [`send`] when the command line asks for it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process,
};

/// What a running broker is told.
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
    /// `stop`: end at once, without cleaning up.
    Stop,
    /// `term`: stop, unless lame duck mode is on already.
    Term,
}

impl Signal {
    /// The names on the command line.
    pub const NAMES: &str = "ldm, quit, reload, reopen, stop, term";

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

    fn number(self) -> libc::c_int {
        match self {
            Signal::LameDuck => libc::SIGUSR2,
            Signal::Quit => libc::SIGINT,
            Signal::Reload => libc::SIGHUP,
            Signal::Reopen => libc::SIGUSR1,
            Signal::Stop => libc::SIGKILL,
            Signal::Term => libc::SIGTERM,
        }
    }
}

/// Which process is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The only process that was started under this name.
    Named(String),
    /// A process id.
    Pid(i32),
    /// The process whose id is in this file.
    PidFile(PathBuf),
}

impl Target {
    /// A process id or the path of a pid file.
    pub fn from_text(text: &str) -> Target {
        match text.parse() {
            Ok(pid) => Target::Pid(pid),
            Err(_) => Target::PidFile(text.into()),
        }
    }
}

/// Why no signal was delivered.
#[derive(Debug)]
pub enum SignalError {
    /// More than one process has the name.
    Ambiguous(String, Vec<i32>),
    /// The pid file does not hold a process id.
    BadPidFile(PathBuf),
    /// The system refused, or the process is gone.
    Kill(i32, io::Error),
    /// No process has the name.
    NotRunning(String),
    /// Not the id of a single process.
    BadPid(i32),
    /// A file or the list of processes cannot be read.
    Read(PathBuf, io::Error),
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalError::Ambiguous(name, pids) => {
                let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
                let pids = pids.join(", ");
                write!(
                    f,
                    "more than one {name} is running ({pids}): give a process id or a pid file"
                )
            }
            SignalError::BadPid(pid) => write!(f, "{pid} is not a process id"),
            SignalError::BadPidFile(path) => {
                write!(f, "{} does not hold a process id", path.display())
            }
            SignalError::Kill(pid, cause) => write!(f, "cannot signal process {pid}: {cause}"),
            SignalError::NotRunning(name) => write!(f, "no {name} is running"),
            SignalError::Read(path, cause) => write!(f, "cannot read {}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for SignalError {}

/// Delivers a signal to one process.
pub fn send(signal: Signal, target: &Target) -> Result<(), SignalError> {
    let pid = match target {
        Target::Named(name) => find_process(name)?,
        Target::Pid(pid) => *pid,
        Target::PidFile(path) => read_pid(path)?,
    };
    // 0 and negative ids are groups of processes.
    if pid <= 0 {
        return Err(SignalError::BadPid(pid));
    }
    kill(pid, signal.number()).map_err(|cause| SignalError::Kill(pid, cause))
}

fn kill(pid: i32, number: libc::c_int) -> io::Result<()> {
    // SAFETY: kill takes two integers and touches no memory of this process.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn read_pid(path: &Path) -> Result<i32, SignalError> {
    let text = fs::read_to_string(path).map_err(|cause| SignalError::Read(path.into(), cause))?;
    let pid = text.trim().parse();
    pid.map_err(|_| SignalError::BadPidFile(path.into()))
}

/// The only other process whose first argument has `name` as its last part.
fn find_process(name: &str) -> Result<i32, SignalError> {
    let table = Path::new("/proc");
    let processes = fs::read_dir(table).map_err(|cause| SignalError::Read(table.into(), cause))?;
    let own = i32::try_from(process::id()).unwrap_or(0);
    // A process that ends while the table is read is none.
    let mut pids: Vec<i32> = processes
        .flatten()
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own && is_named(*pid, name))
        .collect();
    pids.sort_unstable();
    match pids[..] {
        [] => Err(SignalError::NotRunning(name.into())),
        [pid] => Ok(pid),
        _ => Err(SignalError::Ambiguous(name.into(), pids)),
    }
}

fn is_named(pid: i32, name: &str) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
    let base = first.rsplit(|byte| *byte == b'/').next();
    base == Some(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::{
        process::{Child, Command},
        time::{Duration, Instant},
    };

    use super::*;

    /// A process under a name that no other one has, killed at the end.
    struct Sleeper(Child);

    impl Sleeper {
        fn start(name: &str) -> Sleeper {
            use std::os::unix::process::CommandExt;
            let child = Command::new("sleep").arg0(name).arg("600").spawn();
            let sleeper = Sleeper(child.expect("sleep starts"));
            let pid = i32::try_from(sleeper.0.id()).expect("a process id");
            let base = name.rsplit('/').next().expect("a name");
            // The system shows the arguments only a moment after the start.
            let deadline = Instant::now() + Duration::from_secs(10);
            while !is_named(pid, base) {
                assert!(Instant::now() < deadline, "{name} does not show up");
                std::thread::yield_now();
            }
            sleeper
        }

        fn signal_that_ended_it(mut self) -> Option<i32> {
            use std::os::unix::process::ExitStatusExt;
            self.0.wait().expect("a child can be waited for").signal()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn own_name(test: &str) -> String {
        format!("signal-test-{test}-{}", process::id())
    }

    #[test]
    fn the_only_process_of_a_name_is_told() {
        let name = own_name("one");
        let sleeper = Sleeper::start(&format!("/some/where/{name}"));
        send(Signal::Term, &Target::Named(name)).expect("one process has the name");
        assert_eq!(sleeper.signal_that_ended_it(), Some(libc::SIGTERM));
    }

    #[test]
    fn two_processes_of_a_name_are_listed_and_left_alone() {
        let name = own_name("two");
        let sleepers = [Sleeper::start(&name), Sleeper::start(&name)];
        let error = send(Signal::Stop, &Target::Named(name)).expect_err("two have the name");
        for sleeper in &sleepers {
            let pid = sleeper.0.id().to_string();
            assert!(error.to_string().contains(&pid), "{error}");
        }
    }

    #[test]
    fn a_name_nobody_has_is_an_error() {
        let error = send(Signal::Quit, &Target::Named(own_name("none")));
        assert!(matches!(error, Err(SignalError::NotRunning(_))));
    }

    /// nats-server refuses a pid file with a line end; it is allowed here.
    #[test]
    fn a_pid_file_may_end_in_a_new_line() {
        let sleeper = Sleeper::start(&own_name("file"));
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), format!("{}\n", sleeper.0.id())).expect("it is writable");
        let target = Target::from_text(&file.path().display().to_string());
        // Not SIGINT: what a shell starts in the background may ignore it.
        send(Signal::Term, &target).expect("the file holds a pid");
        assert_eq!(sleeper.signal_that_ended_it(), Some(libc::SIGTERM));
    }

    /// kill(0) and kill(-1) would hit every process of the group or the user.
    #[test]
    fn groups_of_processes_are_never_told() {
        for pid in ["0", "-1"] {
            let error = send(Signal::Stop, &Target::from_text(pid));
            assert!(matches!(error, Err(SignalError::BadPid(_))), "{pid}");
        }
    }
}
