//! Listening on a Unix socket: a file with permissions that is removed when the broker ends.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use socket2::{Domain, SockAddr, Socket, Type};
use tracing::warn;

/// Length of the kernel's accept queue.
const BACKLOG: i32 = 64;

/// The file of a listening socket; removed when dropped.
pub struct SocketFile(PathBuf);

impl SocketFile {
    /// The file at `path`, of a socket that another process has handed over.
    pub(super) fn adopt(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Leaves the file to the process that has taken the socket over.
    pub(super) fn leave(self) {
        std::mem::forget(self);
    }
}

/// Listens at `path` with the permissions `mode`. Replaces the socket of a broker that has ended.
///
///  # Errors
///
/// Another kind of file exists there, another process listens, or the file system refuses.
pub fn bind(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    // The file gets the socket's permissions at its creation, so that there is no moment with wider
    // ones.
    let socket = File::from(OwnedFd::from(socket));
    socket.set_permissions(Permissions::from_mode(mode))?;
    let socket = Socket::from(OwnedFd::from(socket));
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile(path.to_owned());
    // The process' umask may have removed some.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok((UnixListener::from(OwnedFd::from(socket)), file))
}

/// Removes a socket that no process listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file of this name exists and is not a socket",
        ));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            warn!(
                "Unix socket {} could not be removed: {error}",
                self.0.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_its_permissions_and_is_removed_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.sock");
        for mode in [0o600, 0o660, 0o666] {
            let (_listener, file) = bind(&path, mode).unwrap();
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode);
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn only_a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.sock");
        let abandoned = UnixListener::bind(&path).unwrap();
        assert_eq!(
            bind(&path, 0o600).map(|_| ()).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(abandoned);
        assert!(path.exists());
        drop(bind(&path, 0o600).unwrap());
        fs::write(&path, "mine").unwrap();
        assert_eq!(
            bind(&path, 0o600).map(|_| ()).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
