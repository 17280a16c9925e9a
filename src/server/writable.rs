//! Whether a file could be written, without touching it: for what only says what a reload
//! would do.

use std::{ffi::CString, io, os::unix::ffi::OsStrExt, path::Path};

/// Whether the file can be written, or made if it does not exist.
///
///  # Errors
///
/// Why not.
pub(super) fn can_write(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if path.exists() {
        return allows(path, libc::W_OK);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    allows(folder, libc::W_OK | libc::X_OK)
}

fn allows(path: &Path, mode: libc::c_int) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: access reads the text, which ends with a zero and lives as long as the call.
    match unsafe { libc::access(path.as_ptr(), mode) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_cannot_be_made_are_known_before() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let there = folder.path().join("there");
        std::fs::write(&there, "").expect("it can be written");
        for path in [&there, &folder.path().join("new")] {
            assert!(can_write(path).is_ok(), "{}", path.display());
        }
        assert!(!folder.path().join("new").exists());
        for path in [
            folder.path(),
            &folder.path().join("none/new"),
            &there.join("new"),
        ] {
            assert!(can_write(path).is_err(), "{}", path.display());
        }
        assert!(can_write(Path::new("new")).is_ok());
    }
}
