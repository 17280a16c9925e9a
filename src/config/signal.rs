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
    /// Those whose ids are in the files of this name, in which `*` stands for any
    /// characters.
    PidFiles(PathBuf),
}

impl Target {
    /// A process id or the path of a pid file.
    pub fn from_text(text: &str) -> Target {
        match text.parse() {
            Ok(pid) => Target::Pid(pid),
            // A file may have such a name.
            Err(_) if text.contains('*') && !Path::new(text).exists() => {
                Target::PidFiles(text.into())
            }
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

/// Delivers a signal to one process, or to those of several files.
pub fn send(signal: Signal, target: &Target) -> Result<(), SignalError> {
    match target {
        Target::Named(name) => send_to(signal, find_process(name)?),
        Target::Pid(pid) => send_to(signal, *pid),
        Target::PidFile(path) => send_to(signal, read_pid(path)?),
        Target::PidFiles(pattern) => {
            // All are told before the first failure is.
            let results: Vec<_> = matching(pattern)?
                .iter()
                .map(|path| send_to(signal, read_pid(path)?))
                .collect();
            results.into_iter().collect()
        }
    }
}

/// The files that a pattern stands for. Only the last part of it may have `*`.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, SignalError> {
    let folder = match pattern.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    let read = |cause| SignalError::Read(folder.into(), cause);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        if is_match(&name, &entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    match found.is_empty() {
        true => Err(SignalError::Read(
            pattern.into(),
            io::ErrorKind::NotFound.into(),
        )),
        false => Ok(found),
    }
}

/// Whether `name` is what `pattern` stands for.
fn is_match(pattern: &str, name: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(begin) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The first place of each part leaves most for those behind it.
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        match left.split_once(part) {
            Some((_, behind)) => left = behind,
            None => return false,
        }
    }
    left.ends_with(end)
}

fn send_to(signal: Signal, pid: i32) -> Result<(), SignalError> {
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

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name, expected) in [
            ("*.pid", "a.pid", true),
            ("*.pid", ".pid", true),
            ("*.pid", "a.pid.old", false),
            ("nats-*.pid", "nats-1.pid", true),
            ("nats-*.pid", "midge-1.pid", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("*", "x", true),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn all_processes_of_matching_files_are_told() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut sleepers = [
            Sleeper::start("midge-glob-a"),
            Sleeper::start("midge-glob-b"),
        ];
        for (number, sleeper) in sleepers.iter().enumerate() {
            let path = folder.path().join(format!("{number}.pid"));
            fs::write(path, sleeper.0.id().to_string()).expect("room for a file");
        }
        let pattern = folder.path().join("*.pid").display().to_string();
        let target = Target::from_text(&pattern);
        send(Signal::Stop, &target).expect("both are there");
        for sleeper in &mut sleepers {
            assert!(!sleeper.0.wait().expect("it ends").success());
        }
        let none = folder.path().join("*.none").display().to_string();
        assert!(send(Signal::Stop, &Target::from_text(&none)).is_err());
    }

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
