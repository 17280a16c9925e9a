//! What a reload did, or would do: the same for the log, the events, the findings, the answer of
//! `/reload` and `midge -t --diff`.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use monitor_client::control::Reloaded;

use crate::config::options::plan;

/// What a reload did, or would do in a dry run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When.
    pub at: DateTime<Utc>,
    /// The differences between the options that were in force and the new ones.
    pub changes: Vec<plan::Change>,
    /// Warnings of the new configuration, and warnings about the broker that it has caused.
    pub warnings: Vec<String>,
    /// Why nothing was changed.
    pub error: Option<String>,
    /// The file that was read, and the digest of its values.
    pub file: (PathBuf, String),
}

impl Outcome {
    /// A reload that changed nothing.
    pub(super) fn failed(error: String) -> Self {
        Self {
            at: Utc::now(),
            changes: Vec::new(),
            warnings: Vec::new(),
            error: Some(error),
            file: Default::default(),
        }
    }

    /// The same as the answer of `/reload` and as `midge -t --diff` shows it.
    pub fn answer(&self, dry_run: bool) -> Reloaded {
        let (file, digest) = &self.file;
        Reloaded {
            dry_run,
            warnings: self.warnings.clone(),
            config_file: file.display().to_string(),
            config_digest: digest.clone(),
            ..plan::answer(&self.changes)
        }
    }
}

/// What a reload is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// To do it.
    Apply,
    /// To report what it would do, perhaps with another file than the broker's own.
    Try(Option<PathBuf>),
}
