//! The file that a run leaves for the next one.
//!
//! Its name holds all that the verdict depends on, so that no two services eat each other's
//! events, or the name that the operator gave. It belongs to the checking user alone, is
//! locked while a run uses it and replaced as a whole, and is not trusted: a symlink, another
//! user's file or garbage is no baseline, which is reported.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use clap::ArgMatches;

use super::{
    args::verdict_arguments,
    baseline::State,
    modes::{Compares, Mode},
    options::parse_duration,
};

/// Most bytes of a state file; the largest that is written has half of it.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The longest time that an alert may be held.
const HOLD_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Characters of a name of `--state`.
const NAME_CHARS_MAX: usize = 64;

/// State files that no run has written for this long are removed when a new one is made:
/// each change of a check's options begins a new one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(90 * 86_400);

/// Files of the folder that are looked at for that.
const LOOKED_AT_MAX: usize = 10_000;

/// What a mode that compares with the last run keeps, and where.
#[derive(Clone, Debug)]
pub struct StateOptions {
    /// Folder of the state files; `None` for the default one.
    folder: Option<PathBuf>,
    /// Name of the file, without the part that is the same for all of a user.
    name: String,
    /// Whether the next run is to compare with this one.
    pub is_updated: bool,
    /// For how long an alert is said again.
    pub hold: Duration,
}

impl StateOptions {
    /// From the command line. `target` names what is checked.
    ///
    /// # Errors
    /// A sentence that names the option.
    pub fn new(matches: &ArgMatches, mode: &Mode, target: &str) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        for option in ["hold", "state"] {
            if text(option).is_none() {
                continue;
            }
            if mode.compares == Compares::Nothing {
                return Err(format!(
                    "--{option} has no effect in mode {}: it compares nothing",
                    mode.name
                ));
            }
            if text("sample").is_some() {
                return Err(format!("--{option} has no effect with --sample"));
            }
        }
        let hold = match text("hold") {
            Some(_) if mode.compares == Compares::Rates => {
                return Err(format!(
                    "--hold has no effect in mode {}: a rate is no event",
                    mode.name
                ));
            }
            Some(time) => parse_duration("--hold", time)?,
            None => Duration::ZERO,
        };
        if hold > HOLD_MAX {
            return Err("--hold: at most 7d".to_owned());
        }
        let name = match text("state") {
            Some(name) => {
                check_name(name)?;
                format!("{}-{name}-{}", mode.name, hash(target))
            }
            None => {
                let key = format!("{target}\n{}", verdict_arguments(matches));
                format!("{}-{}", mode.name, hash(&key))
            }
        };
        Ok(Self {
            folder: matches.get_one("state-dir").cloned(),
            name,
            is_updated: !matches.get_flag("no-state-update"),
            hold,
        })
    }
}

/// A name that is a part of a file's name.
fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(()),
        false => Err(format!(
            "--state: a name has 1 to {NAME_CHARS_MAX} letters, digits, dots, hyphens and \
             underscores"
        )),
    }
}

/// The beginning of the SHA-256, in hexadecimal: the same in all versions.
fn hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let bytes = hash.as_ref().iter().take(16);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// Where the state of one check is.
#[derive(Debug)]
pub struct StateFile {
    folder: PathBuf,
    /// Whether the folder is the default one, whose name anybody can guess.
    is_default: bool,
    path: PathBuf,
}

/// Keeps other runs with the same state waiting until it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing it ends the lock")] File);

impl StateFile {
    /// The state file of this run; nothing is opened yet.
    pub fn new(options: &StateOptions) -> Self {
        let folder = match &options.folder {
            Some(folder) => folder.clone(),
            None => PathBuf::from(format!("/var/tmp/check_nats-{}", own_uid())),
        };
        Self {
            path: folder.join(format!("{}{}.json", file_prefix(), options.name)),
            is_default: options.folder.is_none(),
            folder,
        }
    }

    /// Makes the folder if need be.
    ///
    /// # Errors
    /// A sentence naming the folder when it cannot be made, or when the default
    /// one belongs to another user.
    pub fn make_folder(&self) -> Result<(), String> {
        let fail = |why: &str| {
            format!(
                "state folder {}: {why}; give another --state-dir, or --sample",
                self.folder.display()
            )
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| fail(&error.to_string()))?;
        // Anybody could have made a folder of this name in a shared place.
        if self.is_default {
            let metadata =
                fs::symlink_metadata(&self.folder).map_err(|error| fail(&error.to_string()))?;
            if !metadata.is_dir() || metadata.uid() != own_uid() {
                return Err(fail("it is not a folder of this user"));
            }
        }
        Ok(())
    }

    /// Takes the lock, unless another run has it.
    ///
    /// # Errors
    /// A sentence naming the lock file when it cannot be used.
    pub fn try_lock(&self) -> Result<Option<Lock>, String> {
        let path = self.path.with_extension("lock");
        let fail = |why: String| format!("lock file {}: {why}", path.display());
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .map_err(|error| fail(error.to_string()))?;
        // Whoever else could make the file could also keep it locked.
        check_own(&file).map_err(fail)?;
        // SAFETY: flock gets an open descriptor and touches no memory.
        match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } {
            0 => Ok(Some(Lock(file))),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(fail(error.to_string())),
            },
        }
    }

    /// The state of the run before; `None` on the first run.
    ///
    /// # Errors
    /// A sentence naming the file when there is one that cannot be used.
    pub fn read(&self) -> Result<Option<State>, String> {
        let fail = |why: String| format!("state file {} not used: {why}", self.path.display());
        let file = match OpenOptions::new()
            .read(true)
            // Non-blocking, so that a pipe put in its place cannot hold the run.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&self.path)
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(fail("it is a symbolic link".into()));
            }
            Err(error) => return Err(fail(error.to_string())),
        };
        let text = read_own(file).map_err(fail)?;
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| fail(error.to_string()))
    }

    /// Replaces the state. The lock is that of this file.
    ///
    /// # Errors
    /// A sentence naming the file; the old one is then still in place.
    pub fn write(&self, state: &State, _lock: &Lock) -> Result<(), String> {
        let fail = |error: &dyn std::fmt::Display| {
            format!("state file {} not written: {error}", self.path.display())
        };
        if !self.path.exists() {
            self.remove_forgotten();
        }
        let text = serde_json::to_vec(state).map_err(|error| fail(&error))?;
        let new = self
            .path
            .with_extension(format!("{:016x}.new", fastrand::u64(..)));
        let written = create_and_write(&new, &text).and_then(|()| fs::rename(&new, &self.path));
        written.map_err(|error| {
            // It may not even be there; the first error is the one to report.
            let _ = fs::remove_file(&new);
            fail(&error)
        })
    }

    /// Removes this user's state files that no check uses any more. What cannot be removed
    /// stays: this run does not need it gone.
    fn remove_forgotten(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten().take(LOOKED_AT_MAX) {
            let name = entry.file_name();
            let is_ours = name
                .to_str()
                .is_some_and(|name| name.starts_with(&file_prefix()) && !name.ends_with(".lock"));
            if is_ours && is_forgotten(&entry.path()) {
                let _ = fs::remove_file(entry.path());
                let _ = fs::remove_file(entry.path().with_extension("lock"));
            }
        }
    }
}

impl fmt::Display for StateFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the state file {}", self.path.display())
    }
}

/// The beginning of the names of all state files of this user, so that users who share a
/// folder do not get in each other's way.
fn file_prefix() -> String {
    format!("check_nats-{}-", own_uid())
}

fn is_forgotten(path: &Path) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return false;
    };
    let age = metadata
        .modified()
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    metadata.is_file()
        && metadata.uid() == own_uid()
        && age.is_some_and(|age| age > FORGOTTEN_AFTER)
}

fn create_and_write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}

fn read_own(file: File) -> Result<Vec<u8>, String> {
    check_own(&file)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    match bytes.len() as u64 <= FILE_BYTES_MAX {
        true => Ok(bytes),
        false => Err("it is too large".into()),
    }
}

/// Refuses what is no plain file of this user.
fn check_own(file: &File) -> Result<(), String> {
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a plain file".into());
    }
    match metadata.uid() == own_uid() {
        true => Ok(()),
        false => Err("it belongs to another user".into()),
    }
}

fn own_uid() -> u32 {
    // SAFETY: geteuid has no arguments, touches no memory and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{PermissionsExt, symlink},
        time::SystemTime,
    };

    use super::*;
    use crate::{args, baseline::Look, options::Options};

    fn state_file() -> (tempfile::TempDir, StateFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile {
            path: folder.path().join(format!("{}x.json", file_prefix())),
            is_default: false,
            folder: folder.path().into(),
        };
        (folder, file)
    }

    fn state() -> State {
        let mut state = State::default();
        state.remember(Look {
            server_id: "N1".into(),
            ..Look::default()
        });
        state
    }

    fn write(file: &StateFile) -> Result<(), String> {
        let lock = file.try_lock()?.expect("nobody else has it");
        file.write(&state(), &lock)
    }

    fn name_for(arguments: &[&str]) -> Result<String, String> {
        let arguments = ["check_nats"].iter().chain(arguments);
        match args::read(arguments.map(Into::into), "") {
            args::Asked::Check(matches) => Ok(Options::new(&matches)?.state.name),
            _ => Err("no check".to_owned()),
        }
    }

    #[test]
    fn written_is_read_back_and_private() {
        let (folder, file) = state_file();
        assert_eq!(file.read(), Ok(None));
        write(&file).unwrap();
        write(&file).unwrap();
        assert_eq!(file.read(), Ok(Some(state())));
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(files.len(), 2, "the state and its lock");
        for file in files {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn one_run_at_a_time_uses_it() {
        let (_folder, file) = state_file();
        let lock = file.try_lock().unwrap();
        assert!(lock.is_some());
        assert!(file.try_lock().unwrap().is_none());
        drop(lock);
        assert!(file.try_lock().unwrap().is_some());
    }

    #[test]
    fn garbage_is_reported_and_replaced() {
        for garbage in [&b""[..], b"{}", b"[1]", b"\xff\xfe", &[b' '; 70_000]] {
            let (_folder, file) = state_file();
            fs::write(&file.path, garbage).unwrap();
            let error = file.read().unwrap_err();
            assert!(error.contains("x.json not used: "), "{error}");
            write(&file).unwrap();
            assert_eq!(file.read(), Ok(Some(state())));
        }
    }

    /// Neither the link nor what it points to is used or changed.
    #[test]
    fn a_symlink_is_not_followed() {
        let (folder, file) = state_file();
        let target = folder.path().join("target");
        fs::write(&target, "{}").unwrap();
        symlink(&target, &file.path).unwrap();
        assert!(file.read().unwrap_err().contains("symbolic link"));
        write(&file).unwrap();
        assert!(fs::symlink_metadata(&file.path).unwrap().is_file());
        assert_eq!(fs::read(&target).unwrap(), b"{}");
        let lock = file.path.with_extension("lock");
        fs::remove_file(&lock).unwrap();
        symlink(&target, &lock).unwrap();
        assert!(file.try_lock().unwrap_err().contains("lock file "));
    }

    #[test]
    fn what_is_no_file_is_reported() {
        let (_folder, file) = state_file();
        fs::create_dir(&file.path).unwrap();
        assert!(file.read().unwrap_err().contains("not a plain file"));
        assert!(write(&file).unwrap_err().contains("not written"));
    }

    #[test]
    fn old_files_of_other_checks_are_removed() {
        let (folder, file) = state_file();
        let old = SystemTime::now() - FORGOTTEN_AFTER - Duration::from_secs(60);
        let make = |name: &str, at: SystemTime| {
            let path = folder.path().join(name);
            File::create(&path).unwrap().set_modified(at).unwrap();
            path
        };
        let ours = |name: &str| format!("{}{name}", file_prefix());
        let gone = [
            make(&ours("a.json"), old),
            make(&ours("a.lock"), old),
            make(&ours("b.1234.new"), old),
        ];
        let kept = [
            make(&ours("c.json"), SystemTime::now()),
            // In use: a run does not change its lock file.
            make(&ours("c.lock"), old),
            make("check_nats-other.json", old),
            make("something", old),
        ];
        write(&file).unwrap();
        for path in gone {
            assert!(!path.exists(), "{}", path.display());
        }
        for path in kept {
            assert!(path.exists(), "{}", path.display());
        }
    }

    #[test]
    fn a_state_belongs_to_all_that_the_verdict_depends_on() {
        let slow = |more: &[&str]| name_for(&[&["--mode", "slow"], more].concat()).unwrap();
        let plain = slow(&[]);
        assert_eq!(plain, slow(&["-v", "-t", "20", "--format", "json"]));
        assert_eq!(plain, slow(&["--no-state-update"]));
        let others = [
            &["--service-name", "NOC"][..],
            &["-w", "10"],
            &["-w", "10", "-c", "20"],
            &["--hold", "15m"],
            &["-m", "8223"],
            &["-u", "http://127.0.0.1:8222/base"],
            &["-H", "localhost"],
            &["-p", "4223"],
            // Text of one option that looks like two.
            &["--service-name", "NOC\"\nwarning=\"10"],
        ];
        let mut names: Vec<String> = others.map(slow).into();
        names.extend([plain, name_for(&["--mode", "traffic"]).unwrap()]);
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        for name in &names {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_state_with_a_name_is_shared() {
        let slow = |more: &[&str]| name_for(&[&["--mode", "slow"], more].concat());
        let shared = slow(&["--state", "both", "-w", "1"]).unwrap();
        assert_eq!(shared, slow(&["--state", "both", "-w", "2"]).unwrap());
        assert_ne!(shared, slow(&["--state", "other"]).unwrap());
        assert_ne!(shared, slow(&["--state", "both", "-m", "1"]).unwrap());
        for name in ["", "a/b", "../x", "ä", &"x".repeat(65)] {
            let error = slow(&["--state", name]).unwrap_err();
            assert!(error.starts_with("--state: a name has"), "{error}");
        }
    }

    #[test]
    fn options_without_effect_are_refused() {
        for (arguments, words) in [
            (&["--mode", "health", "--hold", "1m"][..], "mode health"),
            (&["--mode", "health", "--state", "x"], "mode health"),
            (&["--mode", "traffic", "--hold", "1m"], "no event"),
            (&["--mode", "slow", "--hold", "8d"], "at most 7d"),
            (&["--mode", "slow", "--hold", "x"], "--hold"),
            (
                &["--mode", "slow", "--hold", "1m", "--sample", "1s"],
                "with --sample",
            ),
        ] {
            let error = name_for(arguments).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
