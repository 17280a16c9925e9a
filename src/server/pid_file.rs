//! The pid file: written at the start, and by a reload that names another one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

/// Bytes of a file that are put back if it is not to be the pid file after all.
const BEFORE_MAX: u64 = 4096;

/// A pid file that is written. What was there before comes back when it is dropped,
/// unless it is to be [kept](Self::keep).
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
    before: Before,
}

/// What was there before.
enum Before {
    /// No file.
    Nothing,
    /// A file with this text.
    Text(Vec<u8>),
    /// It is no matter any more, or nothing that can be put back.
    ClosedTotals,
}

impl PidFile {
    /// Writes the process id and nothing else. Written in its place, because the
    /// folder is often not ours.
    ///
    /// # Errors
    ///
    /// It cannot be opened for writing, or the disk is full; then it is as before.
    pub(super) fn write(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let (file, is_new) = match options.clone().create_new(true).open(path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => (options.open(path)?, false),
            Err(error) => return Err(error),
        };
        let is_file = file.metadata()?.is_file();
        let mut before = Before::ClosedTotals;
        if is_new {
            before = Before::Nothing;
        } else if is_file {
            let mut text = Vec::new();
            // Whoever may write it may not always read it.
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

    /// It is the pid file from now on.
    pub(super) fn keep(mut self) {
        self.before = Before::ClosedTotals;
    }

    /// The text first: who reads meanwhile finds no empty file. A device has no length
    /// to be set.
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
        // What fails here leaves a number that is true.
        match &self.before {
            Before::ClosedTotals => {}
            Before::Nothing => drop(fs::remove_file(&self.path)),
            Before::Text(text) => drop(self.put(text, true)),
        }
    }
}
