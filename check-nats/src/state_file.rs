//! The file that a run leaves for the next one.
//!
//! Its name holds all that the verdict depends on, so that no two services eat each other's
//! events, or the name that the operator gave. It belongs to the checking user alone, is
//! locked while a run uses it and replaced as a whole, and is not trusted: a symlink, another
//! user's file or garbage is no baseline, which is reported.

mod options;
#[cfg(test)]
mod tests;

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

use monitor_client::files::open_regular;

pub use options::StateOptions;

use super::baseline::State;

/// Most bytes of a state file; the largest that is written has half of it.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// State files that no run has written for this long are removed when a new one is made:
/// each change of a check's options begins a new one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(90 * 86_400);

/// Files of the folder that are looked at for that.
const LOOKED_AT_MAX: usize = 10_000;

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
    /// The state file of this run for the broker at this monitoring port; nothing is opened yet.
    pub fn new(options: &StateOptions, target: &str) -> Self {
        let folder = match &options.folder {
            Some(folder) => folder.clone(),
            None => PathBuf::from(format!("/var/tmp/check_nats-{}", own_uid())),
        };
        Self {
            path: folder.join(format!("{}{}.json", file_prefix(), options.name(target))),
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
        // Another user who could make the file could also keep it locked.
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
        let file = match open_regular(&self.path, libc::O_NOFOLLOW) {
            Ok((file, _)) => file,
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

/// Refuses what is no regular file of this user.
fn check_own(file: &File) -> Result<(), String> {
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".into());
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
