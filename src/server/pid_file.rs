//! The pid file: written at the start, and by a reload that names another one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

/// A pid file that is open and has not been written to.
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
    /// It was not there before: it goes again unless it is written.
    is_new: bool,
}

impl PidFile {
    /// Opens the file; what is in it stays. Written in its place, because the
    /// folder is often not ours.
    ///
    /// # Errors
    ///
    /// It cannot be opened for writing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let (file, is_new) = match options.clone().create_new(true).open(path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => (options.open(path)?, false),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            is_new,
        })
    }

    /// Writes the process id and nothing else.
    ///
    /// # Errors
    ///
    /// The disk is full.
    pub(super) fn write(mut self) -> io::Result<()> {
        self.is_new = false;
        let text = process::id().to_string();
        // The number first: who reads meanwhile finds no empty file. A device
        // has no length to be set.
        self.file.write_all_at(text.as_bytes(), 0)?;
        match self.file.metadata()?.is_file() {
            true => self.file.set_len(text.len() as u64),
            false => Ok(()),
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.is_new {
            // It is empty, and as good as not there.
            let _ = fs::remove_file(&self.path);
        }
    }
}
