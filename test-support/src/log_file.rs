//! The log of a broker under test.
//!
//! A thread of the broker writes the lines, a moment after what they report has happened.
//! So a test waits for a line ([`LogFile::wait_for`]), and what it sees at a moment
//! ([`LogFile::so_far`]) tells only what is not there. `tests/harness` checks that no
//! assertion asks whether something is there already.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::{wait_for, wait_until};

/// The file that a broker's log goes to.
pub struct LogFile(PathBuf);

impl LogFile {
    /// The log in this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Waits until it has this text.
    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("the log says {text:?}"), || {
            self.so_far().already_has(text)
        });
    }

    /// Waits until a line has all these texts, and returns it.
    pub fn wait_for_line(&self, texts: &[&str]) -> String {
        wait_for(&format!("a line of the log has each of {texts:?}"), || {
            let log = self.so_far();
            let mut lines = log.lines();
            let line = lines.find(|line| texts.iter().all(|text| line.contains(text)));
            line.map(str::to_owned)
        })
    }

    /// Waits until it has this text so many times. More of them fail the test.
    pub fn wait_for_count(&self, text: &str, count: usize) {
        wait_until(&format!("the log says {text:?} {count} times"), || {
            self.so_far().count(text) >= count
        });
        let log = self.so_far();
        assert_eq!(log.count(text), count, "{text:?} in the log:\n{log}");
    }

    /// Checks that it does not have this text.
    pub fn assert_lacks(&self, text: &str) {
        let log = self.so_far();
        assert!(log.lacks(text), "{text:?} in the log:\n{log}");
    }

    /// What was written until now.
    pub fn so_far(&self) -> LogSoFar {
        LogSoFar(read_lossy(&self.0))
    }
}

/// What was written until now.
impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.so_far().fmt(f)
    }
}

/// What a broker had written at a moment. A line that is missing may just come.
#[derive(Debug)]
pub struct LogSoFar(String);

impl LogSoFar {
    /// Whether it does not have this text.
    pub fn lacks(&self, text: &str) -> bool {
        !self.0.contains(text)
    }

    /// Whether it has this text: for conditions that are waited for, never for assertions.
    pub fn already_has(&self, text: &str) -> bool {
        self.0.contains(text)
    }

    /// How many times it has this text: to be waited for, or compared with a limit.
    pub fn count(&self, text: &str) -> usize {
        self.0.matches(text).count()
    }

    /// Its lines.
    pub fn lines(&self) -> std::str::Lines<'_> {
        self.0.lines()
    }

    /// What was written after `earlier`.
    pub fn since(mut self, earlier: &Self) -> Self {
        Self(self.0.split_off(earlier.0.len()))
    }

    /// Whether it ends with a whole line.
    pub fn is_whole(&self) -> bool {
        self.0.ends_with('\n')
    }
}

impl fmt::Display for LogSoFar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a file says; if it cannot be read, why.
pub(crate) fn read_lossy(file: &Path) -> String {
    fs::read(file).map_or_else(
        |error| format!("cannot read {}: {error}\n", file.display()),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}
