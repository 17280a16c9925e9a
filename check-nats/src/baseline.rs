//! State that a run stores for the next one: a small file per mode and target.
//!
//! The file belongs to the checking user alone, is replaced atomically, and is not trusted:
//! a symlink, another user's file or garbage is no baseline; that is reported and does not
//! end the check.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{modes::seconds_between, options::Options, target::Target};

/// Most bytes of a state file; an honest one has a few hundred.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The values of one sample, for the comparison with another one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Snapshot {
    /// Names the run of the broker: totals of another one cannot be compared. Empty
    /// as earlier versions wrote it.
    #[serde(default)]
    pub server_id: String,
    /// Start of the broker, RFC 3339, by its wall clock at the sample.
    pub start: String,
    /// Time of the sample on the broker's clock, RFC 3339.
    pub now: String,
    /// Slow consumers since the start.
    pub slow_consumers: f64,
    /// Messages received since the start.
    pub in_msgs: f64,
    /// Messages delivered since the start.
    pub out_msgs: f64,
    /// Bytes received since the start.
    pub in_bytes: f64,
    /// Bytes delivered since the start.
    pub out_bytes: f64,
}

impl Snapshot {
    /// Whether both are of the same run of a broker. The start does not decide it: that
    /// changes when the wall clock is set.
    pub fn is_of_run_of(&self, later: &Self) -> bool {
        match self.server_id.is_empty() {
            true => self.start == later.start,
            false => self.server_id == later.server_id,
        }
    }

    /// Seconds from this sample to a later one, even if the wall clock was set meanwhile.
    pub fn seconds_until(&self, later: &Self) -> Option<f64> {
        Some(later.uptime()? - self.uptime()?)
    }

    fn uptime(&self) -> Option<f64> {
        seconds_between(&self.start, &self.now)
    }
}

/// Path of the snapshot of one mode and target.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    /// The state file of this run for one broker; makes its folder if need be.
    ///
    /// # Errors
    /// A sentence naming the folder when it cannot be made, or when the default
    /// one belongs to another user.
    pub fn open(options: &Options, target: &Target) -> Result<Self, String> {
        let folder = match &options.state_dir {
            Some(folder) => folder.clone(),
            None => PathBuf::from(format!("/var/tmp/check_nats-{}", own_uid())),
        };
        let fail = |why: &str| {
            format!(
                "state folder {}: {why}; give another --state-dir, or --sample",
                folder.display()
            )
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| fail(&error.to_string()))?;
        // Anybody could have made a folder of this name in a shared place.
        if options.state_dir.is_none() {
            let metadata =
                fs::symlink_metadata(&folder).map_err(|error| fail(&error.to_string()))?;
            if !metadata.is_dir() || metadata.uid() != own_uid() {
                return Err(fail("it is not a folder of this user"));
            }
        }
        let name = file_name(options.mode.name, &target.monitor_place());
        Ok(Self {
            path: folder.join(name),
        })
    }

    /// The snapshot of the run before; `None` on the first run.
    ///
    /// # Errors
    /// A sentence naming the file when there is one that cannot be used.
    pub fn read(&self) -> Result<Option<Snapshot>, String> {
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

    /// Replaces the snapshot.
    ///
    /// # Errors
    /// A sentence naming the file; the old one is then still in place.
    pub fn write(&self, snapshot: &Snapshot) -> Result<(), String> {
        let fail = |error: &dyn std::fmt::Display| {
            format!("state file {} not written: {error}", self.path.display())
        };
        let text = serde_json::to_vec(snapshot).map_err(|error| fail(&error))?;
        // A file name of its own for each writer: two simultaneous checks replace each
        // other's result, but never mix it.
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
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a plain file".into());
    }
    if metadata.uid() != own_uid() {
        return Err("it belongs to another user".into());
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    match bytes.len() as u64 <= FILE_BYTES_MAX {
        true => Ok(bytes),
        false => Err("it is too large".into()),
    }
}

/// `slow-127.0.0.1:8222.json`; other bytes of the URL become `%2F`, so that no
/// two targets share a file.
fn file_name(mode: &str, url: &str) -> String {
    let target = url.strip_prefix("http://").unwrap_or(url);
    let mut name = format!("{mode}-");
    for byte in target.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b':' | b'-' => {
                name.push(char::from(byte));
            }
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name.push_str(".json");
    name
}

fn own_uid() -> u32 {
    // SAFETY: geteuid has no arguments, touches no memory and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn state_file() -> (tempfile::TempDir, StateFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slow-x.json");
        (folder, StateFile { path })
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            start: "2026-01-01T00:00:00Z".into(),
            slow_consumers: 3.0,
            ..Snapshot::default()
        }
    }

    #[test]
    fn written_is_read_back_and_private() {
        let (folder, file) = state_file();
        assert_eq!(file.read(), Ok(None));
        file.write(&snapshot()).unwrap();
        file.write(&snapshot()).unwrap();
        assert_eq!(file.read(), Ok(Some(snapshot())));
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn garbage_is_reported_and_replaced() {
        for garbage in [&b""[..], b"{}", b"[1]", b"\xff\xfe", &[b' '; 70_000]] {
            let (_folder, file) = state_file();
            fs::write(&file.path, garbage).unwrap();
            let error = file.read().unwrap_err();
            assert!(error.contains("slow-x.json not used: "), "{error}");
            file.write(&snapshot()).unwrap();
            assert_eq!(file.read(), Ok(Some(snapshot())));
        }
    }

    #[test]
    fn a_clock_that_was_set_is_no_other_run() {
        let snapshot_of = |server_id: &str, start: &str, now: &str| Snapshot {
            server_id: server_id.into(),
            start: format!("2026-01-01T{start}Z"),
            now: format!("2026-01-01T{now}Z"),
            ..Snapshot::default()
        };
        let then = snapshot_of("N1", "10:00:00", "10:05:00");
        for now in [
            snapshot_of("N1", "10:00:00", "10:06:00"),
            snapshot_of("N1", "09:00:00", "09:06:00"),
            snapshot_of("N1", "11:00:00", "11:06:00"),
        ] {
            assert!(then.is_of_run_of(&now), "{now:?}");
            assert_eq!(then.seconds_until(&now), Some(60.0), "{now:?}");
        }
        assert!(!then.is_of_run_of(&snapshot_of("N2", "10:00:00", "10:06:00")));
        // As earlier versions wrote it.
        let text = r#"{"start":"2026-01-01T10:00:00Z","now":"2026-01-01T10:05:00Z",
            "slow_consumers":0.0,"in_msgs":0.0,"out_msgs":0.0,"in_bytes":0.0,"out_bytes":0.0}"#;
        let old: Snapshot = serde_json::from_str(text).unwrap();
        assert!(old.is_of_run_of(&snapshot_of("N1", "10:00:00", "10:06:00")));
        assert!(!old.is_of_run_of(&snapshot_of("N1", "10:00:01", "10:06:00")));
    }

    /// Neither the link nor what it points to is used or changed.
    #[test]
    fn a_symlink_is_not_followed() {
        let (folder, file) = state_file();
        let target = folder.path().join("target");
        fs::write(&target, serde_json::to_vec(&snapshot()).unwrap()).unwrap();
        symlink(&target, &file.path).unwrap();
        assert!(file.read().unwrap_err().contains("symbolic link"));
        file.write(&Snapshot::default()).unwrap();
        assert!(fs::symlink_metadata(&file.path).unwrap().is_file());
        let untouched: Snapshot = serde_json::from_slice(&fs::read(&target).unwrap()).unwrap();
        assert_eq!(untouched, snapshot());
    }

    #[test]
    fn a_folder_in_its_place_is_reported() {
        let (_folder, file) = state_file();
        fs::create_dir(&file.path).unwrap();
        assert!(file.read().unwrap_err().contains("not a plain file"));
        assert!(file.write(&snapshot()).unwrap_err().contains("not written"));
    }

    #[test]
    fn each_target_has_its_own_file() {
        assert_eq!(
            file_name("slow", "http://127.0.0.1:8222"),
            "slow-127.0.0.1:8222.json"
        );
        assert_eq!(
            file_name("slow", "http://h/a/../b"),
            "slow-h%2Fa%2F..%2Fb.json"
        );
    }
}
