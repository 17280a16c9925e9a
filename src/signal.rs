//! Delivers what `--signal` asks for to a running broker: stop, reload, upgrade and the like.
//!
//! `main` calls [`send`] or [`upgrade`] when the command line asks for it.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
};

use crate::{
    config::{Signal, Target},
    server::upgrade::request,
};

/// Names that a broker may have whose id is in a pid file.
const NAMES: [&str; 2] = ["midge", "nats-server"];

/// Bytes of a pid file that are read.
const PID_FILE_LEN_MAX: u64 = 64;

fn number(signal: Signal) -> libc::c_int {
    match signal {
        Signal::LameDuck => libc::SIGUSR2,
        Signal::Quit => libc::SIGINT,
        Signal::Reload => libc::SIGHUP,
        Signal::Reopen => libc::SIGUSR1,
        Signal::Stop => libc::SIGKILL,
        Signal::Term => libc::SIGTERM,
    }
}

/// Why no signal was delivered.
#[derive(Debug)]
pub enum SignalError {
    /// More than one broker runs.
    Ambiguous(String, Vec<i32>),
    /// Not the id of a single process.
    BadPid(i32),
    /// The pid file does not hold a process id.
    BadPidFile(PathBuf),
    /// The system refused, or the process is gone.
    Kill(i32, io::Error),
    /// The process of the pid file is no broker.
    NoBroker(PathBuf, i32),
    /// No broker runs, or none whose id begins like this.
    NotRunning(String, String),
    /// A file or the list of processes cannot be read.
    Read(PathBuf, io::Error),
    /// The process did not hand over.
    Upgrade(i32, request::AskError),
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignalError::Ambiguous(name, pids) => {
                let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
                let pids = pids.join(", ");
                write!(
                    f,
                    "more than one {name} is running ({pids}): give a process id or a pid file, or \
                     * for all"
                )
            }
            SignalError::BadPid(pid) => write!(f, "{pid} is not a process id"),
            SignalError::BadPidFile(path) => {
                write!(f, "{} does not hold a process id", path.display())
            }
            SignalError::Kill(pid, cause) => write!(f, "cannot signal process {pid}: {cause}"),
            SignalError::NoBroker(path, pid) => write!(
                f,
                "process {pid} of {} is not a broker: it has ended, or the file is old",
                path.display()
            ),
            SignalError::NotRunning(name, begin) if begin.is_empty() => {
                write!(f, "no {name} is running")
            }
            SignalError::NotRunning(name, begin) => {
                write!(
                    f,
                    "no {name} is running whose process id begins with {begin}"
                )
            }
            SignalError::Read(path, cause) => write!(f, "cannot read {}: {cause}", path.display()),
            SignalError::Upgrade(pid, cause) => write!(f, "process {pid}: {cause}"),
        }
    }
}

impl std::error::Error for SignalError {}

/// Delivers a signal to one broker or to several. `program` is the name that this
/// program was started by.
///
/// # Errors
///
/// What failed, after all brokers that can be signalled were.
pub fn send(signal: Signal, target: &Target, program: &str) -> Result<(), Vec<SignalError>> {
    Brokers::named(program).send(signal, target)
}

/// Has one broker or several hand over to new processes, one after the other. Returns what each of
/// them says.
pub fn upgrade(target: &Target, program: &str) -> Vec<Result<String, SignalError>> {
    let ask = |pid| request::ask(pid).map_err(|error| SignalError::Upgrade(pid, error));
    let found = Brokers::named(program).find(target).into_iter();
    found.map(|pid| pid.and_then(ask)).collect()
}

/// The broker of a pid file.
///
/// # Errors
///
/// The file cannot be read, or no broker has its number.
pub fn of_pid_file(path: &Path, program: &str) -> Result<i32, SignalError> {
    Brokers::named(program).broker_of(path)
}

/// The brokers that run, besides this process.
///
/// # Errors
///
/// The list of processes cannot be read.
pub fn running(program: &str) -> Result<Vec<i32>, SignalError> {
    let file = program_of("self");
    let name = program;
    Brokers { name, file }.brokers()
}

/// By what brokers are known among processes: they were started by the same name as
/// this one, or from the same file by another name, as `midge` and by its link
/// `nats-server`.
struct Brokers<'a> {
    name: &'a str,
    file: Option<Vec<u8>>,
}

impl<'a> Brokers<'a> {
    fn named(name: &'a str) -> Self {
        let file = program_of("self");
        Self { name, file }
    }
}

impl Brokers<'_> {
    /// The processes that are meant.
    fn find(&self, target: &Target) -> Vec<Result<i32, SignalError>> {
        let one = |pid| vec![pid];
        match target {
            Target::Only => one(self.only()),
            Target::Pid(pid) => one(Ok(*pid)),
            Target::Pids(begin) => self.starting_with(begin),
            Target::PidFile(path) => one(self.broker_of(path)),
            Target::PidFiles(pattern) => match matching(pattern) {
                Ok(paths) => paths.iter().map(|path| self.broker_of(path)).collect(),
                Err(error) => one(Err(error)),
            },
        }
    }

    fn send(&self, signal: Signal, target: &Target) -> Result<(), Vec<SignalError>> {
        let failed: Vec<SignalError> = self
            .find(target)
            .into_iter()
            .filter_map(|pid| pid.and_then(|pid| send_to(signal, pid)).err())
            .collect();
        match failed.is_empty() {
            true => Ok(()),
            false => Err(failed),
        }
    }

    /// The process of a pid file. A file may be older than the process that has its id
    /// now, and a pattern may match what is no pid file at all.
    fn broker_of(&self, path: &Path) -> Result<i32, SignalError> {
        let pid = read_pid(path)?;
        let is_broker = || {
            let mut names = NAMES.into_iter();
            self.is_broker(pid) || names.any(|name| is_named(pid, name))
        };
        match pid <= 0 || is_broker() {
            true => Ok(pid),
            false => Err(SignalError::NoBroker(path.into(), pid)),
        }
    }

    /// The only broker besides this process.
    fn only(&self) -> Result<i32, SignalError> {
        let pids = self.brokers()?;
        match pids[..] {
            [] => Err(SignalError::NotRunning(self.name.into(), String::new())),
            [pid] => Ok(pid),
            _ => Err(SignalError::Ambiguous(self.name.into(), pids)),
        }
    }

    /// The brokers whose ids begin like this.
    fn starting_with(&self, begin: &str) -> Vec<Result<i32, SignalError>> {
        let pids = match self.brokers() {
            Ok(pids) => pids,
            Err(error) => return vec![Err(error)],
        };
        let begins = |pid: &i32| pid.to_string().starts_with(begin);
        let found: Vec<_> = pids.into_iter().filter(begins).map(Ok).collect();
        match found.is_empty() {
            true => vec![Err(SignalError::NotRunning(self.name.into(), begin.into()))],
            false => found,
        }
    }

    /// All brokers besides this process.
    fn brokers(&self) -> Result<Vec<i32>, SignalError> {
        let table = Path::new("/proc");
        let processes =
            fs::read_dir(table).map_err(|cause| SignalError::Read(table.into(), cause))?;
        let own = i32::try_from(process::id()).unwrap_or(0);
        // A process that ends while the table is read is none.
        let mut pids: Vec<i32> = processes
            .flatten()
            .filter_map(|process| process.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != own && self.is_broker(*pid))
            .collect();
        pids.sort_unstable();
        Ok(pids)
    }

    fn is_broker(&self, pid: i32) -> bool {
        is_named(pid, self.name) || self.file.is_some() && program_of(&pid.to_string()) == self.file
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
    kill(pid, number(signal)).map_err(|cause| SignalError::Kill(pid, cause))
}

fn kill(pid: i32, number: libc::c_int) -> io::Result<()> {
    // SAFETY: kill takes two integers and touches no memory of this process.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn read_pid(path: &Path) -> Result<i32, SignalError> {
    let read = || {
        // Opening a pipe that nobody writes would block otherwise.
        let mut options = File::options();
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut text = Vec::new();
        file.take(PID_FILE_LEN_MAX).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|cause| SignalError::Read(path.into(), cause))?;
    let pid = str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    pid.ok_or_else(|| SignalError::BadPidFile(path.into()))
}

/// Whether the last part of the process' first argument is this name.
fn is_named(pid: i32, name: &str) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
    let base = first.rsplit(|byte| *byte == b'/').next();
    base == Some(name.as_bytes())
}

/// The file that a process runs. It has its name also after another one took its
/// place.
fn program_of(process: &str) -> Option<Vec<u8>> {
    let path = fs::read_link(format!("/proc/{process}/exe")).ok()?;
    let bytes = path.as_os_str().as_encoded_bytes();
    Some(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes).to_vec())
}

#[cfg(test)]
mod tests;
