//! The destinations that a log can have.

use std::{
    env, fmt,
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::PathBuf,
    time::Duration,
};

use super::LogService;
use crate::config::{Options, options::LogFormat};

/// A destination of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// When it is rotated, and which files are kept.
        rotation: Rotation,
    },
    /// A program that collects logs.
    Service(LogService),
    /// Standard error.
    Stderr,
}

/// When a log file is rotated, and which files are kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rotation {
    /// Size in bytes at which the file is rotated; 0 for never.
    pub size: u64,
    /// Age at which it is rotated and at which a rotated one is removed; zero for never.
    pub age: Duration,
    /// Limit of files, including the present one; 0 keeps all.
    pub files: usize,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "the log file {}", path.display()),
            Self::Stderr => f.write_str("standard error"),
            Self::Service(service) => service.fmt(f),
        }
    }
}

impl Destination {
    pub(super) fn of(options: &Options) -> Self {
        if let Some(path) = &options.log_file {
            return Self::File {
                path: path.clone(),
                rotation: Rotation {
                    size: options.log_size_limit,
                    age: options.log_max_age,
                    files: options.log_max_num,
                },
            };
        }
        match (&options.remote_syslog, options.log_format) {
            (Some(remote), _) => Self::Service(LogService::Remote(remote.clone())),
            (None, _) if options.syslog => Self::Service(LogService::Local),
            (None, Some(LogFormat::Journald)) => Self::Service(LogService::journal()),
            (None, None) if is_journal(env::var("JOURNAL_STREAM").ok().as_deref()) => {
                Self::Service(LogService::journal())
            }
            (None, _) => Self::Stderr,
        }
    }

    /// Its address, as in the configuration.
    pub fn address(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Stderr => "stderr".to_owned(),
            Self::Service(service) => service.address(),
        }
    }
}

/// Whether standard error goes to the journal: `stream` names the device and inode of the
/// socket that systemd has made for that.
fn is_journal(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else {
        return false;
    };
    let own = stderr_file();
    own.is_ok_and(|(own_device, own_inode)| {
        device.parse() == Ok(own_device) && inode.parse() == Ok(own_inode)
    })
}

/// Device and inode of standard error.
fn stderr_file() -> io::Result<(u64, u64)> {
    let copy = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let metadata = copy.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_recognised_by_the_file_of_stderr() {
        let (device, inode) = stderr_file().expect("it is open");
        assert!(is_journal(Some(&format!("{device}:{inode}"))));
        for other in [
            format!("{device}:{}", inode + 1),
            format!("{}:{inode}", device + 1),
            format!("{device}"),
            "x:y".into(),
            String::new(),
        ] {
            assert!(!is_journal(Some(&other)), "{other}");
        }
        assert!(!is_journal(None));
    }
}
