//! The files of one `tls` block while the broker runs: what is in force, and
//! what has changed.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};

use super::{
    options::TlsOptions,
    puppet,
    tls::{Material, TlsError},
};

/// A `tls` block and what its files held when they were last good.
pub struct TlsStore {
    current: RwLock<Arc<Material>>,
    /// The files as they were when they were last looked at.
    stamps: Mutex<Vec<Stamp>>,
    /// Why the last change was not taken over, if it was not.
    refused: Mutex<Option<TlsError>>,
}

/// What tells that a file is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
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
        Ok(Self {
            current: RwLock::new(material),
            stamps: Mutex::new(stamps),
            refused: Mutex::default(),
        })
    }

    /// What is in force.
    pub fn current(&self) -> Arc<Material> {
        self.current.read().clone()
    }

    /// Why what is in the files now is not in force; `None` if it is.
    pub fn refused(&self) -> Option<TlsError> {
        self.refused.lock().clone()
    }

    /// Whether a file has changed since the last look. Looks at the files.
    pub fn has_changed(&self) -> bool {
        let now = stamps(&self.current().options);
        let mut known = self.stamps.lock();
        let changed = *known != now;
        *known = now;
        changed
    }

    /// Reads the files again. Handshakes from now on go by them; if they cannot
    /// be used, what is in force stays.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub fn reload(&self) -> Result<Arc<Material>, TlsError> {
        match Loaded::load(&self.current().options) {
            Ok(loaded) => Ok(self.put(loaded)),
            Err(error) => {
                *self.refused.lock() = Some(error.clone());
                Err(error)
            }
        }
    }

    /// Puts another block, or the same with other files, in force.
    pub fn put(&self, loaded: Loaded) -> Arc<Material> {
        let Loaded { material, stamps } = loaded;
        *self.refused.lock() = None;
        *self.stamps.lock() = stamps;
        *self.current.write() = material.clone();
        material
    }
}

/// A block with its files, ready to be put in force.
pub struct Loaded {
    material: Arc<Material>,
    stamps: Vec<Stamp>,
}

impl Loaded {
    /// Reads the files of a block.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        // Looked at first: what changes meanwhile is noticed later.
        let stamps = stamps(options);
        let material = Arc::new(Material::load(options)?);
        Ok(Self { material, stamps })
    }
}

impl TlsOptions {
    /// Fills in the files that the block leaves to be found.
    ///
    /// # Errors
    ///
    /// What was not found, and where it was looked for.
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

fn stamps(options: &TlsOptions) -> Vec<Stamp> {
    options.files().iter().map(|file| stamp(file)).collect()
}

/// A file that is not there has a stamp too.
fn stamp(file: &Path) -> Stamp {
    match fs::metadata(file) {
        Ok(metadata) => Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        },
        Err(_) => Stamp {
            device: 0,
            inode: 0,
            len: 0,
            modified: (0, 0),
        },
    }
}
