//! Destinations of log lines: stderr, a log server, or a file that is rotated by size.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use chrono::Local;

use super::syslog::Connection;

/// Permissions of log files: the owner writes, the group reads.
const FILE_MODE: u32 = 0o640;
/// Suffix of a rotated file.
const BACKUP_FORMAT: &str = "%Y.%m.%d.%H.%M.%S.%9f";

/// An open destination.
pub(super) enum Sink {
    File(LogFile),
    Stderr,
    Syslog(Connection),
}

/// Lines that were not written completely.
pub(super) struct Unwritten {
    /// Bytes that were written.
    pub(super) written: usize,
    pub(super) cause: io::Error,
}

/// Pause when a non-blocking destination accepts nothing.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// An open log file.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    size: u64,
    /// Size at which it is rotated; 0 for never.
    limit: u64,
    /// Limit of files, including this one; 0 keeps all.
    max_files: usize,
    /// Whether the file ends within a line.
    has_partial_line: bool,
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
            has_partial_line: false,
        }))
    }

    /// Bytes until the file must be rotated.
    pub(super) fn bytes_left(&self) -> u64 {
        match self {
            Sink::File(log) if log.limit > 0 => log.limit.saturating_sub(log.size),
            _ => u64::MAX,
        }
    }

    /// Opens the file again if another one has its name now.
    pub(super) fn reopen_if_moved(&mut self) {
        if let Sink::File(log) = self
            && !log.is_current()
        {
            // On failure the open file stays in use.
            let _ = log.reopen();
        }
    }

    /// Rotates the file if it is full; returns the new name of the full one. On failure the file
    /// stays in use.
    pub(super) fn rotate(&mut self) -> Option<io::Result<PathBuf>> {
        match self {
            Sink::File(log) if log.limit > 0 && log.size > log.limit => Some(log.rotate()),
            _ => None,
        }
    }

    /// Writes complete lines.
    ///
    ///  # Errors
    ///
    /// How much was written, and why no more.
    pub(super) fn append(&mut self, lines: &str) -> Result<(), Unwritten> {
        match self {
            Sink::File(log) => log.append(lines),
            Sink::Stderr => write(&mut io::stderr(), lines),
            Sink::Syslog(connection) => connection.append(lines),
        }
    }
}

impl LogFile {
    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size) = open_file(&self.path)?;
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

    fn append(&mut self, lines: &str) -> Result<(), Unwritten> {
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

    fn rotate(&mut self) -> io::Result<PathBuf> {
        let result = self.try_rotate();
        if result.is_err() {
            // Try again after the same number of bytes, not at each line.
            self.size = 0;
        }
        result
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
        // The time stamps sort by age.
        backups.sort();
        let excess = backups.len().saturating_sub(self.max_files - 1);
        backups[..excess].iter().try_for_each(fs::remove_file)
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

/// Writes a text, waiting while a non-blocking destination accepts nothing.
fn write(destination: &mut impl Write, text: &str) -> Result<(), Unwritten> {
    let mut written = 0;
    while written < text.len() {
        match destination.write(&text.as_bytes()[written..]) {
            Ok(0) => {
                let cause = io::ErrorKind::WriteZero.into();
                return Err(Unwritten { written, cause });
            }
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
            Err(cause) => return Err(Unwritten { written, cause }),
        }
    }
    Ok(())
}

/// Writes a text to stderr if it accepts it immediately, so that a blocked stderr does not block
/// other destinations.
///
///  # Errors
///
/// It accepts nothing now, or the write failed.
pub(super) fn write_to_ready_stderr(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    for part in text.as_bytes().chunks(libc::PIPE_BUF) {
        let mut ready = libc::pollfd {
            fd: stderr.as_raw_fd(),
            events: libc::POLLOUT,
            revents: 0,
        };
        // SAFETY: poll gets one entry, which lives as long as the call.
        match unsafe { libc::poll(&raw mut ready, 1, 0) } {
            0 => return Err(io::ErrorKind::WouldBlock.into()),
            count if count < 0 => return Err(io::Error::last_os_error()),
            _ => stderr.write_all(part)?,
        }
    }
    Ok(())
}

/// Whether a text has the form of [`BACKUP_FORMAT`].
fn is_stamp(text: &str) -> bool {
    let lengths = text.split('.').map(str::len);
    lengths.eq([4, 2, 2, 2, 2, 2, 9])
        && text
            .bytes()
            .all(|byte| byte == b'.' || byte.is_ascii_digit())
}

/// Opens a file for appending; also returns its size.
fn open_file(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}
