//! The pid file, written at the start and by a reload that names another one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

/// Size limit of previous content that can be restored, in bytes.
const BEFORE_MAX: u64 = 4096;

/// A pid file that was written. Dropping it restores the previous state, unless
/// [`keep`](Self::keep) was called.
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
    before: Before,
}

/// The previous state.
enum Before {
    /// There was no file.
    Absent,
    /// A file with this content.
    Text(Vec<u8>),
    /// Not to be restored, or impossible to restore.
    Unrestorable,
}

impl PidFile {
    /// Writes the process id. Overwrites the file in place, because the folder often belongs to
    /// another user.
    ///
    ///  # Errors
    ///
    /// It cannot be opened for writing, or the disk is full; the previous state is restored.
    pub(super) fn write(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let (file, is_new) = match options.clone().create_new(true).open(path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => (options.open(path)?, false),
            Err(error) => return Err(error),
        };
        let is_file = file.metadata()?.is_file();
        let mut before = Before::Unrestorable;
        if is_new {
            before = Before::Absent;
        } else if is_file {
            let mut text = Vec::new();
            // A file may be writable and not readable.
            if let Ok(readable) = File::open(path) {
                readable.take(BEFORE_MAX).read_to_end(&mut text)?;
                before = Before::Text(text);
            }
        }
        let written = Self {
            path: path.to_owned(),
            file,
            before,
        };
        let text = process::id().to_string();
        written.put(text.as_bytes(), is_file)?;
        Ok(written)
    }

    /// Keeps the pid file.
    pub(super) fn keep(mut self) {
        self.before = Before::Unrestorable;
    }

    /// Writes before truncating, so that readers never see an empty file. The length of a device
    /// cannot be set.
    fn put(&self, text: &[u8], is_file: bool) -> io::Result<()> {
        self.file.write_all_at(text, 0)?;
        match is_file {
            true => self.file.set_len(text.len() as u64),
            false => Ok(()),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // If restoring fails, the file still holds the right process id.
        match &self.before {
            Before::Unrestorable => {}
            Before::Absent => drop(fs::remove_file(&self.path)),
            Before::Text(text) => drop(self.put(text, true)),
        }
    }
}
