//! `midge -t --diff`: what a reload would do with a configuration file, as the running broker
//! says, which alone knows what is in force.
//!
//! `main` calls [`run`]. The broker is asked through its monitoring socket; where that is, the file
//! says, else the process that `--signal` would find, or that of the pid file. A broker without such
//! a socket is asked by its process id, as for an upgrade: by root and by its own user. Not by its
//! monitoring port: the broker reads the file with its own rights, and shows parts of it. The exit
//! codes are in [`Code`].

use std::{
    env,
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::HEXLOWER;
use monitor_client::{Client, Error, control::Reloaded};

use crate::{
    config::{self, Diff, Invocation, Options, options::plan},
    server::upgrade::request::{self, AskError},
    signal,
};

/// How long the broker may take: it reads the file, which may be on a slow disk.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The exit codes, for scripts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Code {
    /// The file says what is in force.
    Same = 0,
    /// The file has an error, or a reload would be refused.
    Refused = 1,
    /// A reload applies all that differs.
    Reload = 2,
    /// Something that differs needs a restart.
    Restart = 3,
    /// There is no broker to ask, or more than one.
    NotAsked = 4,
}

/// Compares, and prints the result. Returns the exit code.
pub fn run(diff: &Diff, program: &str) -> Code {
    let answer = match &diff.against {
        Some(against) => Ok(between(against, diff)),
        None => ask_running(diff, program),
    };
    match answer {
        Ok(answer) => {
            match diff.json {
                // A plain tree of texts.
                true => println!(
                    "{}",
                    serde_json::to_string_pretty(&answer).unwrap_or_default()
                ),
                false => print!("{answer}"),
            }
            match (answer.needs_restart.is_empty(), answer.is_empty()) {
                (_, true) => Code::Same,
                (true, false) => Code::Reload,
                (false, false) => Code::Restart,
            }
        }
        Err((code, text)) => {
            eprintln!("{program}: {text}");
            code
        }
    }
}

fn between(before: &Options, diff: &Diff) -> Reloaded {
    let (changes, _) = plan::changes(before, &diff.options);
    Reloaded {
        dry_run: true,
        config_file: diff.file.display().to_string(),
        config_digest: diff.options.config_digest.clone(),
        ..plan::answer(&changes)
    }
}

fn ask_running(diff: &Diff, program: &str) -> Result<Reloaded, (Code, String)> {
    let not_asked = |text: String| (Code::NotAsked, text);
    let file = fs::canonicalize(&diff.file).map_err(|error| {
        let text = format!("cannot find {}: {error}", diff.file.display());
        (Code::Refused, text)
    })?;
    let own = diff.options.monitor.unix.clone();
    let way = match own.filter(|socket| socket.exists()) {
        Some(socket) => Way::Socket(socket),
        None => way_to_running(&file, diff, program).map_err(not_asked)?,
    };
    let socket = match way {
        Way::Socket(socket) => socket,
        Way::Process(pid) => {
            return request::compare(pid, &file).map_err(|error| match error {
                AskError::Refused(_) => (Code::Refused, error.to_string()),
                error => not_asked(format!("the broker {pid} cannot be asked: {error}")),
            });
        }
    };
    let path = format!(
        "{}/reload?dry_run=1&file={}",
        diff.options.http_base_path.trim_end_matches('/'),
        percent_encoded(&file)
    );
    let client = Client::new(&format!("unix:{}", socket.display()), TIMEOUT);
    match client.and_then(|client| client.post(&path)) {
        Ok(answer) => Ok(answer),
        Err(Error::Status {
            code: 422, detail, ..
        }) => Err((
            Code::Refused,
            format!("a reload would be refused: {detail}"),
        )),
        Err(error) => Err(not_asked(format!(
            "the running broker cannot be asked: {error}"
        ))),
    }
}

/// How a broker is asked.
enum Way {
    /// By its monitoring socket.
    Socket(PathBuf),
    /// By its process id.
    Process(i32),
}

/// How the broker is asked that runs with this file, or whose id is in the file's pid file, or that
/// is the only one.
fn way_to_running(file: &Path, diff: &Diff, program: &str) -> Result<Way, String> {
    let pid_file = diff.options.pid_file.as_deref();
    if let Some(pid) = pid_file.and_then(|path| signal::of_pid_file(path, program).ok()) {
        return Ok(Way::Process(pid));
    }
    let found = signal::running(program).map_err(|error| error.to_string())?;
    let brokers: Vec<Running> = found
        .iter()
        .filter_map(|pid| Running::of(*pid).ok())
        .collect();
    let with_file = |broker: &&Running| broker.file.as_deref() == Some(file);
    let same: Vec<&Running> = brokers.iter().filter(with_file).collect();
    let broker = match (&same[..], &brokers[..]) {
        ([broker], _) => *broker,
        ([], [broker]) => broker,
        ([], []) => return Err(format!("no {program} is running")),
        _ => {
            let pids: Vec<String> = found.iter().map(ToString::to_string).collect();
            return Err(format!(
                "more than one {program} is running ({}): name its socket in the file, with unix \
                 in the block monitor, or its pid_file",
                pids.join(", ")
            ));
        }
    };
    let socket = broker.socket.clone().filter(|socket| socket.exists());
    Ok(socket.map_or(Way::Process(broker.pid), Way::Socket))
}

/// A running broker, as its command line and its file say.
struct Running {
    pid: i32,
    file: Option<PathBuf>,
    socket: Option<PathBuf>,
}

impl Running {
    fn of(pid: i32) -> io::Result<Self> {
        let place = PathBuf::from(format!("/proc/{pid}"));
        let folder = fs::read_link(place.join("cwd"))?;
        let line = fs::read(place.join("cmdline"))?;
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        let args = line.split(|byte| *byte == 0);
        let args: Vec<_> = args.map(|arg| OsString::from_vec(arg.to_vec())).collect();
        // Relative paths of its command line are those of its folder.
        env::set_current_dir(&folder)?;
        let options = match config::parse(args).map(|parsed| parsed.invocation) {
            Ok(Invocation::Run(options)) => options,
            Ok(_) | Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        };
        let file = options.config_file.as_deref().map(fs::canonicalize);
        Ok(Self {
            pid,
            file: file.transpose()?,
            socket: options.monitor.unix.as_ref().map(|it| folder.join(it)),
        })
    }
}

/// A path as a value of a query.
fn percent_encoded(path: &Path) -> String {
    let mut encoded = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                encoded.push(char::from(*byte));
            }
            _ => {
                encoded.push('%');
                encoded += &HEXLOWER.encode(&[*byte]);
            }
        }
    }
    encoded
}
