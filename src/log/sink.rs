//! Where log lines go: stderr, or a file that is rotated by size.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use chrono::Local;

/// Who may read the log: its owner writes, its group reads.
const FILE_MODE: u32 = 0o640;
/// What is added to the name of a rotated file.
const BACKUP_FORMAT: &str = "%Y.%m.%d.%H.%M.%S.%9f";

/// The place of the log.
pub(super) enum Sink {
    File(LogFile),
    Stderr,
}

/// What happened beside the writing of a line.
pub(super) enum Outcome {
    /// Nothing.
    Written,
    /// The file was full and is now kept under this name.
    Rotated(PathBuf),
    /// The file is full and stays in use.
    NotRotated(io::Error),
}

/// An open log file.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    size: u64,
    /// Bytes at which it is rotated; 0 is never.
    limit: u64,
    /// Most files, this one included; 0 keeps all.
    max_files: usize,
}

impl Sink {
    pub(super) fn open(path: &Path, limit: u64, max_files: usize) -> io::Result<Sink> {
        let (file, size) = open_file(path)?;
        Ok(Sink::File(LogFile {
            path: path.into(),
            file,
            size,
            limit,
            max_files,
        }))
    }

    /// Opens the file again under its name; `false` for stderr.
    pub(super) fn reopen(&mut self) -> io::Result<bool> {
        match self {
            Sink::File(log) => log.reopen().map(|()| true),
            Sink::Stderr => Ok(false),
        }
    }

    /// Writes whole lines and rotates the file if they have filled it.
    pub(super) fn write(&mut self, lines: &str) -> io::Result<Outcome> {
        self.append(lines)?;
        match self {
            Sink::File(log) if log.limit > 0 && log.size > log.limit => Ok(log.rotate()),
            _ => Ok(Outcome::Written),
        }
    }

    /// Writes whole lines.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        match self {
            Sink::File(log) => {
                log.file.write_all(lines.as_bytes())?;
                log.size = log.size.saturating_add(lines.len() as u64);
                Ok(())
            }
            Sink::Stderr => io::stderr().write_all(lines.as_bytes()),
        }
    }
}

impl LogFile {
    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size) = open_file(&self.path)?;
        Ok(())
    }

    fn rotate(&mut self) -> Outcome {
        match self.try_rotate() {
            Ok(backup) => Outcome::Rotated(backup),
            Err(cause) => {
                // The next try comes after as many bytes again, not at each line.
                self.size = 0;
                Outcome::NotRotated(cause)
            }
        }
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
        if self.max_files == 0 {
            return Ok(());
        }
        let mut backups = self.backups()?;
        // The stamps sort by age.
        backups.sort();
        let surplus = backups.len().saturating_sub(self.max_files - 1);
        backups[..surplus].iter().try_for_each(fs::remove_file)
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

/// Whether a text has the shape of [`BACKUP_FORMAT`].
fn is_stamp(text: &str) -> bool {
    let lengths = text.split('.').map(str::len);
    lengths.eq([4, 2, 2, 2, 2, 2, 9])
        && text
            .bytes()
            .all(|byte| byte == b'.' || byte.is_ascii_digit())
}

/// Opens a file for appending; gives its present size too.
fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}
