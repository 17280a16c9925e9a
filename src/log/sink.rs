//! An open destination of log lines: stderr, a file, or a service.

use std::{
    io::{self, Write},
    os::fd::AsRawFd,
    path::PathBuf,
    thread,
    time::Duration,
};

use super::{file::LogFile, record::Record, service::Connection};

/// An open destination.
pub(super) enum Sink {
    File(LogFile),
    Service(Connection),
    Stderr,
}

/// Bytes that were not written completely.
pub(super) struct Unwritten {
    /// Bytes that were written.
    pub(super) written: usize,
    pub(super) cause: io::Error,
}

/// Lines that were not written.
pub(super) struct Failure {
    /// Lines that were written completely, the first ones.
    pub(super) written: usize,
    pub(super) cause: io::Error,
}

/// Pause when a non-blocking destination accepts nothing.
const FULL_PAUSE: Duration = Duration::from_millis(10);

impl Sink {
    /// Bytes until the file must be rotated.
    pub(super) fn bytes_left(&self) -> u64 {
        match self {
            Self::File(log) => log.bytes_left(),
            Self::Service(_) | Self::Stderr => u64::MAX,
        }
    }

    /// Opens the file again if another one has its name now.
    pub(super) fn reopen_if_moved(&mut self) {
        if let Self::File(log) = self {
            log.reopen_if_moved();
        }
    }

    /// Rotates the file if it is time; returns the new name of the old one. On failure the file
    /// stays in use.
    pub(super) fn rotate(&mut self) -> Option<io::Result<PathBuf>> {
        match self {
            Self::File(log) => log.rotate(),
            Self::Service(_) | Self::Stderr => None,
        }
    }

    /// A line in the form that is written here.
    pub(super) fn form(&self, record: &Record) -> String {
        match self {
            Self::File(_) | Self::Stderr => record.line() + "\n",
            Self::Service(connection) => connection.message(record),
        }
    }

    /// Writes lines in their form.
    pub(super) fn append(&mut self, lines: &[String]) -> Result<(), Failure> {
        let written = match self {
            Self::File(log) => log.append(&lines.concat()),
            Self::Stderr => write(&mut io::stderr(), &lines.concat()),
            Self::Service(connection) => {
                for (written, message) in lines.iter().enumerate() {
                    if let Err(cause) = connection.send(message) {
                        return Err(Failure { written, cause });
                    }
                }
                return Ok(());
            }
        };
        written.map_err(|Unwritten { written, cause }| {
            let mut left = written;
            let whole = lines.iter().take_while(|line| {
                let fits = line.len() <= left;
                left = left.saturating_sub(line.len());
                fits
            });
            Failure {
                written: whole.count(),
                cause,
            }
        })
    }
}

/// Writes a text, waiting while a non-blocking destination accepts nothing.
pub(super) fn write(destination: &mut impl Write, text: &str) -> Result<(), Unwritten> {
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
