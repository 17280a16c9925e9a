//! A log file: it is rotated by size and age, and opened again when it was moved away.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use chrono::Local;

use super::{
    destination::Rotation,
    sink::{Unwritten, write},
};

/// Permissions of log files: the owner writes, the group reads.
const FILE_MODE: u32 = 0o640;
/// Suffix of a rotated file.
const BACKUP_FORMAT: &str = "%Y.%m.%d.%H.%M.%S.%9f";

/// An open log file.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    size: u64,
    /// When it was made; if the file system does not know, when it was opened.
    made: SystemTime,
    rotation: Rotation,
    /// Whether the file ends within a line.
    has_partial_line: bool,
}

impl LogFile {
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let (file, size, made) = open_file(path)?;
        Ok(Self {
            path: path.into(),
            file,
            size,
            made,
            rotation,
            has_partial_line: false,
        })
    }

    /// Bytes until the file must be rotated.
    pub(super) fn bytes_left(&self) -> u64 {
        match self.rotation.size {
            0 => u64::MAX,
            limit => limit.saturating_sub(self.size),
        }
    }

    /// Opens the file again if another one has its name now.
    pub(super) fn reopen_if_moved(&mut self) {
        if !self.is_current() {
            // On failure the open file stays in use.
            let _ = self.reopen();
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size, self.made) = open_file(&self.path)?;
        Ok(())
    }

    /// Whether the open file is the one with its name.
    fn is_current(&self) -> bool {
        let same = || -> io::Result<bool> {
            let (open, named) = (self.file.metadata()?, fs::metadata(&self.path)?);
            Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
        };
        same().unwrap_or(false)
    }

    /// Writes complete lines.
    ///
    ///  # Errors
    ///
    /// How much was written, and why no more.
    pub(super) fn append(&mut self, lines: &str) -> Result<(), Unwritten> {
        if self.has_partial_line {
            let ended = write(&mut self.file, "\n");
            self.has_partial_line = ended.is_err();
            ended?;
        }
        let result = write(&mut self.file, lines);
        let written = match &result {
            Ok(()) => lines.len(),
            Err(unwritten) => unwritten.written,
        };
        self.size = self.size.saturating_add(written as u64);
        self.has_partial_line = written > 0 && lines.as_bytes()[written - 1] != b'\n';
        result
    }

    /// Rotates the file if it is full or old; returns the new name of the old one. On failure
    /// the file stays in use.
    pub(super) fn rotate(&mut self) -> Option<io::Result<PathBuf>> {
        let Rotation { size, age, .. } = self.rotation;
        let is_full = size > 0 && self.size > size;
        let is_old = age > Duration::ZERO && is_older(self.made, age);
        if !is_full && !is_old {
            return None;
        }
        let result = self.try_rotate();
        if result.is_err() {
            // Try again after the same number of bytes or the same time, not at each line.
            self.size = 0;
            self.made = SystemTime::now();
        }
        Some(result)
    }

    fn try_rotate(&mut self) -> io::Result<PathBuf> {
        let stamp = Local::now().format(BACKUP_FORMAT);
        let mut backup = self.path.clone().into_os_string();
        backup.push(format!(".{stamp}"));
        let backup = PathBuf::from(backup);
        fs::rename(&self.path, &backup)?;
        self.reopen()?;
        self.remove_old_backups()?;
        Ok(backup)
    }

    fn remove_old_backups(&self) -> io::Result<()> {
        let Rotation { age, files, .. } = self.rotation;
        let mut backups = self.backups()?;
        // The time stamps sort by age.
        backups.sort();
        let excess = match files {
            0 => 0,
            files => backups.len().saturating_sub(files - 1),
        };
        for (number, backup) in backups.iter().enumerate() {
            // A file is as old as its last line.
            let is_old = || -> io::Result<bool> {
                Ok(age > Duration::ZERO && is_older(fs::metadata(backup)?.modified()?, age))
            };
            if number < excess || is_old()? {
                fs::remove_file(backup)?;
            }
        }
        Ok(())
    }

    fn backups(&self) -> io::Result<Vec<PathBuf>> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let mut backups = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let entry_name = entry.file_name();
            let stamp = entry_name
                .to_str()
                .and_then(|entry_name| entry_name.strip_prefix(&*name)?.strip_prefix('.'));
            if stamp.is_some_and(is_stamp) {
                backups.push(entry.path());
            }
        }
        Ok(backups)
    }
}

/// Whether this was so long ago. A time in the future was not.
fn is_older(time: SystemTime, age: Duration) -> bool {
    time.elapsed().is_ok_and(|elapsed| elapsed > age)
}

/// Whether a text has the form of [`BACKUP_FORMAT`].
fn is_stamp(text: &str) -> bool {
    let lengths = text.split('.').map(str::len);
    lengths.eq([4, 2, 2, 2, 2, 2, 9])
        && text
            .bytes()
            .all(|byte| byte == b'.' || byte.is_ascii_digit())
}

/// Opens a file for appending; also returns its size and when it was made.
fn open_file(path: &Path) -> io::Result<(File, u64, SystemTime)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)?;
    let metadata = file.metadata()?;
    let made = metadata.created().unwrap_or_else(|_| SystemTime::now());
    Ok((file, metadata.len(), made))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A file that is old is rotated, and rotated ones that are old are removed.
    #[test]
    fn an_old_file_is_rotated_and_old_ones_are_removed() {
        const AGE: Duration = Duration::from_millis(20);
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("log");
        let old = folder.path().join("log.2020.01.01.00.00.00.000000000");
        let other = folder.path().join("log.2020.notes");
        for file in [&old, &other] {
            fs::write(file, "x").expect("it can be written");
        }
        let rotation = Rotation {
            age: AGE,
            ..Rotation::default()
        };
        let mut log = LogFile::open(&path, rotation).expect("it can be opened");
        while !is_older(log.made, AGE) {
            thread::sleep(AGE);
        }
        assert!(log.append("a line\n").is_ok());
        let backup = log
            .rotate()
            .expect("it is time")
            .expect("it can be rotated");
        assert!(backup.exists() && path.exists() && other.exists());
        assert!(!old.exists());
        // Never without a limit.
        let mut log = LogFile::open(&path, Rotation::default()).expect("it can be opened");
        thread::sleep(AGE);
        assert!(log.rotate().is_none());
    }
}
