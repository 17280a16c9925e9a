//! The destinations that a log can have.

use std::{fmt, path::PathBuf};

use super::Syslog;
use crate::config::Options;

/// A destination of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Size in bytes at which it is rotated; 0 for never.
        limit: u64,
        /// Limit of files, including this one; 0 keeps all.
        max_files: usize,
    },
    /// Standard error.
    Stderr,
    /// The system's log, or a log server.
    Syslog(Syslog),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "the log file {}", path.display()),
            Self::Stderr => f.write_str("standard error"),
            Self::Syslog(destination) => destination.fmt(f),
        }
    }
}

impl Destination {
    pub(super) fn of(options: &Options) -> Self {
        if let Some(path) = &options.log_file {
            return Self::File {
                path: path.clone(),
                limit: options.log_size_limit,
                max_files: options.log_max_num,
            };
        }
        match &options.remote_syslog {
            Some(remote) => Self::Syslog(Syslog::Remote(remote.clone())),
            None if options.syslog => Self::Syslog(Syslog::Local),
            None => Self::Stderr,
        }
    }

    /// Its address, as in the configuration.
    pub fn address(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Stderr => "stderr".to_owned(),
            Self::Syslog(destination) => destination.address(),
        }
    }
}
