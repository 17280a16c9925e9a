//! The loaded files of one `tls` block while the broker runs, and whether they have changed on
//! disk.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{RwLock, RwLockWriteGuard};

use super::{
    options::TlsOptions,
    puppet,
    tls::{Material, TlsError},
};

/// A `tls` block and the last usable content of its files.
///
/// Files are read without holding the lock, and the result is swapped in under it. If another block
/// was put in force meanwhile, the result is dropped.
pub struct TlsStore(RwLock<State>);

struct State {
    current: Arc<Material>,
    /// The files' metadata at the last check.
    stamps: Vec<FileStamp>,
    /// Why the last change could not be used, if so.
    refused: Option<TlsError>,
}

/// Metadata that changes when a file is replaced or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl TlsStore {
    /// Loads a block for the first time.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        let Loaded { material, stamps } = Loaded::load(options)?;
        Ok(Self(RwLock::new(State {
            current: material,
            stamps,
            refused: None,
        })))
    }

    /// What is in force.
    pub fn current(&self) -> Arc<Material> {
        self.0.read().current.clone()
    }

    /// Why the present content of the files is not in force; `None` if it is.
    pub fn refused(&self) -> Option<TlsError> {
        self.0.read().refused.clone()
    }

    /// Whether a file has changed since the last check. Reads the files' metadata.
    pub fn has_changed(&self) -> bool {
        let before = self.current();
        let now = stamps(&before.options);
        let Some(mut state) = self.lock_if_current(&before) else {
            return false;
        };
        let changed = state.stamps != now;
        state.stamps = now;
        changed
    }

    /// Reads the files again. New handshakes use them; if they cannot be used, the old content
    /// stays in force. `None`: another block was put in force meanwhile, and that one stays.
    ///
    ///  # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub fn reload(&self) -> Result<Option<Arc<Material>>, TlsError> {
        let before = self.current();
        self.put_result(&before, Loaded::load(&before.options))
    }

    /// Puts the result for the block of `before` in force, unless another block has replaced it.
    fn put_result(
        &self,
        before: &Arc<Material>,
        result: Result<Loaded, TlsError>,
    ) -> Result<Option<Arc<Material>>, TlsError> {
        let Some(mut state) = self.lock_if_current(before) else {
            return Ok(None);
        };
        match result {
            Ok(loaded) => Ok(Some(state.put(loaded))),
            Err(error) => {
                state.refused = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Puts another block, or the same one with other files, in force.
    pub fn put(&self, loaded: Loaded) -> Arc<Material> {
        self.0.write().put(loaded)
    }

    /// Locks the state if `before` is still in force.
    fn lock_if_current(&self, before: &Arc<Material>) -> Option<RwLockWriteGuard<'_, State>> {
        let state = self.0.write();
        Arc::ptr_eq(&state.current, before).then_some(state)
    }
}

impl State {
    fn put(&mut self, loaded: Loaded) -> Arc<Material> {
        let Loaded { material, stamps } = loaded;
        *self = Self {
            current: material.clone(),
            stamps,
            refused: None,
        };
        material
    }
}

/// A block with its files, ready to be put in force.
pub struct Loaded {
    material: Arc<Material>,
    stamps: Vec<FileStamp>,
}

impl Loaded {
    /// Reads the files of a block.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        // Before reading, so that a change made meanwhile is noticed by the next check.
        let stamps = stamps(options);
        let material = Arc::new(Material::load(options)?);
        Ok(Self { material, stamps })
    }
}

impl TlsOptions {
    /// Completes the block with the files it leaves to be found (`puppet`).
    ///
    ///  # Errors
    ///
    /// What was not found, and where it was searched.
    pub fn find_files(&mut self) -> Result<(), TlsError> {
        match self.puppet {
            true => puppet::complete(self),
            false => Ok(()),
        }
    }

    /// The files that the block names.
    pub fn files(&self) -> Vec<PathBuf> {
        let pairs = self.certificates.iter();
        let mut files: Vec<PathBuf> = pairs
            .flat_map(|pair| [pair.cert_file.clone(), pair.key_file.clone()])
            .collect();
        files.extend(self.ca_file.clone());
        files.extend(self.crl_files.iter().cloned());
        files
    }
}

fn stamps(options: &TlsOptions) -> Vec<FileStamp> {
    options.files().iter().map(|file| stamp(file)).collect()
}

/// A missing file has a stamp too.
fn stamp(file: &Path) -> FileStamp {
    match fs::metadata(file) {
        Ok(metadata) => FileStamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        },
        Err(_) => FileStamp {
            device: 0,
            inode: 0,
            len: 0,
            modified: (0, 0),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::security::options::CertificateFiles;

    /// A block with a self-signed certificate, made by the openssl command.
    fn block(folder: &Path, place: &str) -> TlsOptions {
        let [cert_file, key_file] = ["cert", "key"].map(|name| folder.join(name));
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "3"])
            .args(["-subj", "/CN=localhost", "-keyout"])
            .args([&key_file, Path::new("-out"), &cert_file])
            .output();
        let output = output.expect("the openssl command; apt-get install openssl");
        assert!(output.status.success(), "{output:?}");
        let mut options = TlsOptions::new(place.into());
        options.certificates = vec![CertificateFiles {
            cert_file,
            key_file,
        }];
        options
    }

    /// A thread that reads a block's files while a reload replaces the block must not put its
    /// result in force.
    #[test]
    fn files_of_a_replaced_block_are_not_put_in_force() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let old = block(folder.path(), "old");
        let store = TlsStore::load(&old).expect("good files");
        let before = store.current();
        let late = [Loaded::load(&old), Err(TlsError::new("it cannot be read"))];
        let mut new = old.clone();
        new.place = "new".into();
        store.put(Loaded::load(&new).expect("good files"));
        for read in late {
            assert!(matches!(store.put_result(&before, read), Ok(None)));
            assert_eq!(store.current().options.place, "new");
            assert!(store.refused().is_none());
        }
        assert!(!store.has_changed());
        let now = store.current();
        let error = Err(TlsError::new("it cannot be read"));
        assert!(store.put_result(&now, error).is_err() && store.refused().is_some());
        assert!(matches!(store.reload(), Ok(Some(_))));
        assert!(store.refused().is_none());
    }
}
