//! Files that the operator names: passwords, tokens, certificates and keys. Only regular files are
//! read, and only up to a limit, because a program that runs for months reads them again and
//! again. [`crate::Client`] calls this, and `check_nats` for the files of the client port.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use crate::Error;

/// Bits of the mode that let everybody on the host read.
const OTHERS_READ: u32 = 0o004;

/// A file's content, and what is wrong with its permissions.
pub struct Content {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether every user of the host can read the file.
    pub is_public: bool,
}

/// Reads a regular file of at most `limit` bytes.
///
///  # Errors
///
/// [`Error::File`]: it does not exist, is no regular file, may not be read by this user, or is
/// larger.
pub fn read(path: &Path, limit: u64) -> Result<Content, Error> {
    let explain = |error: io::Error| fault(path, unreadable(&error, path));
    let (file, metadata) = open_regular(path, 0).map_err(explain)?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(explain)?;
    if bytes.len() as u64 > limit {
        return Err(fault(path, format!("larger than {limit} bytes")));
    }
    Ok(Content {
        bytes,
        is_public: metadata.mode() & OTHERS_READ != 0,
    })
}

/// Opens a file for reading if it is a regular one. It never waits, whatever is put in its place:
/// a pipe is opened without its other end, and what was opened is looked at, not the path.
/// `flags` are further ones of open(2), such as `O_NOFOLLOW`.
///
///  # Errors
///
/// Those of open(2), and one of the kind `InvalidInput` for what is no regular file.
pub fn open_regular(path: &Path, flags: i32) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata)),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        )),
    }
}

/// The warning for a secret that every user of the host can read.
pub fn public_warning(path: &Path) -> String {
    format!(
        "{}: every user of this host can read it: chmod o= it",
        path.display()
    )
}

/// An error of this file.
pub(crate) fn fault(path: &Path, detail: String) -> Error {
    Error::File {
        path: path.display().to_string(),
        detail,
    }
}

/// Why a file cannot be read; a missing permission with the users concerned.
fn unreadable(error: &io::Error, path: &Path) -> String {
    match (error.kind(), fs::metadata(path)) {
        (io::ErrorKind::NotFound, _) => "there is no such file".to_owned(),
        (io::ErrorKind::PermissionDenied, Ok(metadata)) => format!(
            "this program runs as {} and may not read it: it belongs to user {} and group {} and \
             has the mode {:04o}",
            own_user(),
            metadata.uid(),
            metadata.gid(),
            metadata.mode() & 0o7777
        ),
        (io::ErrorKind::PermissionDenied, Err(_)) => format!(
            "this program runs as {} and may not enter one of its folders",
            own_user()
        ),
        _ => error.to_string(),
    }
}

/// The user that this program runs as.
fn own_user() -> String {
    // The system shows each process as owned by its effective user.
    match fs::metadata("/proc/self") {
        Ok(metadata) => format!("user {}", metadata.uid()),
        Err(_) => "another user".to_owned(),
    }
}

/// What changes when a file is written or replaced; `None` while it cannot be seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct FileVersion(Option<[i64; 6]>);

impl FileVersion {
    /// The present one.
    pub(crate) fn of(path: &Path) -> Self {
        Self(fs::metadata(path).ok().map(|metadata| {
            [
                metadata.dev() as i64,
                metadata.ino() as i64,
                metadata.size() as i64,
                metadata.mtime(),
                metadata.mtime_nsec(),
                // A change of the permissions counts as well.
                i64::from(metadata.mode()),
            ]
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_regular_files_of_limited_size_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "12345").expect("written");
        assert_eq!(read(&path, 5).expect("read").bytes, b"12345");
        let refusal = |path: &Path, limit| match read(path, limit) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{} was read", path.display()),
        };
        assert!(refusal(&path, 4).ends_with("file: larger than 4 bytes"));
        assert!(refusal(folder.path(), 9).ends_with(": not a regular file"));
        assert!(refusal(Path::new("/dev/zero"), 9).ends_with(": not a regular file"));
        assert!(refusal(&folder.path().join("none"), 9).ends_with("there is no such file"));
    }

    /// Nothing writes to the pipe: a call that opened it as a plain file would never return.
    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo of coreutils").success());
        let error = open_regular(&path, 0).expect_err("a pipe");
        assert_eq!(error.to_string(), "not a regular file");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc/hostname", &link).expect("a link");
        let error = open_regular(&link, libc::O_NOFOLLOW).expect_err("a link");
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn a_file_that_everybody_can_read_is_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, "x").expect("written");
        for (mode, is_public) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("own file");
            assert_eq!(read(&path, 9).expect("read").is_public, is_public);
        }
    }

    #[test]
    fn a_version_changes_with_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let none = FileVersion::of(&path);
        fs::write(&path, "one").expect("written");
        let first = FileVersion::of(&path);
        assert_ne!(first, none);
        assert_eq!(first, FileVersion::of(&path));
        let other = folder.path().join("other");
        fs::write(&other, "two").expect("written");
        fs::rename(&other, &path).expect("replaced");
        assert_ne!(first, FileVersion::of(&path));
    }
}
