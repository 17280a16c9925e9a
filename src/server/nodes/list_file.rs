//! The file of expected nodes as it was read last.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use tracing::error;

use crate::{
    nodes::list::{self, Stamp},
    telemetry::{Telemetry, event::EventKind},
};

/// The names of the last file that could be read.
#[derive(Default)]
pub(super) struct ListFile {
    path: Option<PathBuf>,
    stamp: Option<Stamp>,
    /// Whether a file could be read.
    was_read: bool,
    names: BTreeSet<Arc<str>>,
    error: String,
}

impl ListFile {
    /// The expected nodes.
    pub(super) fn names(&self) -> &BTreeSet<Arc<str>> {
        &self.names
    }

    /// What is wrong with the file; empty for nothing.
    pub(super) fn error(&self) -> &str {
        &self.error
    }

    /// Reads it if it is another one, has changed or could not be used before. What cannot be used
    /// leaves the names as they were.
    pub(super) fn read(&mut self, telemetry: &Telemetry, path: Option<&Path>) {
        let Some(path) = path else {
            *self = Self::default();
            return;
        };
        let subject = path.display().to_string();
        let _call = telemetry
            .calls
            .begin("reading the expected nodes", &*subject);
        let stamp = Stamp::of(path);
        let is_other = self.path.as_deref() != Some(path);
        if !is_other && stamp == self.stamp && self.error.is_empty() {
            return;
        }
        self.path = Some(path.to_owned());
        self.stamp = stamp;
        match list::read(path) {
            Ok(names) => {
                if self.was_read && (names != self.names || !self.error.is_empty()) {
                    let (before, now) = (self.names.len(), names.len());
                    let text = format!("the file was read again: {now} nodes, before {before}");
                    telemetry
                        .events
                        .record(EventKind::Reload, 0, &subject, &text);
                }
                self.names = names;
                self.was_read = true;
                self.error.clear();
            }
            // The file is tried again in each round: it is told once.
            Err(error) if error == self.error => {}
            Err(error) => {
                match self.was_read {
                    true => error!(
                        "Expected nodes: {error}; those of the last readable file stay in force"
                    ),
                    false => error!("Expected nodes: {error}; none of this file is watched"),
                }
                self.error = error;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_tried_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let telemetry = Telemetry::new(10);
        let mut file = ListFile::default();
        let names = |file: &ListFile| {
            let names = file.names().iter().map(ToString::to_string);
            names.collect::<Vec<_>>()
        };
        fs::write(path("a"), "one\n").expect("write");
        file.read(&telemetry, Some(&path("a")));
        assert_eq!((names(&file), file.error()), (vec!["one".into()], ""));
        // Another one, which is not there yet.
        file.read(&telemetry, Some(&path("b")));
        assert!(file.error().contains("cannot read it"), "{}", file.error());
        assert_eq!(names(&file), ["one"], "what was read stays in force");
        // As after a transient error: the stamp of what is there is known already.
        fs::write(path("b"), "two\n").expect("write");
        file.stamp = Stamp::of(&path("b"));
        file.read(&telemetry, Some(&path("b")));
        assert_eq!((names(&file), file.error()), (vec!["two".into()], ""));
        // Of the same length and time, but another file.
        let times = fs::metadata(path("b")).and_then(|it| it.modified());
        fs::write(path("new"), "new\n").expect("write");
        let new = fs::File::options().write(true).open(path("new"));
        let new = new.expect("open");
        new.set_modified(times.expect("its time")).expect("set it");
        fs::rename(path("new"), path("b")).expect("rename");
        file.read(&telemetry, Some(&path("b")));
        assert_eq!(names(&file), ["new"]);
        file.read(&telemetry, None);
        assert!(names(&file).is_empty());
    }
}
