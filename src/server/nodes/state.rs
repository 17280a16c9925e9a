//! The state file: when it is read and written, and what is wrong with it.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tracing::{error, warn};

use crate::{
    nodes::{
        Ledger,
        state_file::{self, RecallError},
    },
    telemetry::calls::Calls,
};

/// How often it is written if nodes come or go.
const WRITE_AFTER: Duration = Duration::from_secs(10);

/// How often at least, so that it says when those were seen that stay.
const WRITE_EVERY: Duration = Duration::from_secs(3600);

/// The state file of this run of the broker.
#[derive(Default)]
pub(super) struct State {
    path: Option<PathBuf>,
    /// Whether what an earlier run wrote was taken over: until then it is not written.
    is_read: bool,
    /// Where one that was damaged was put.
    set_aside: Option<PathBuf>,
    /// When it was tried last to write it.
    written: Option<Instant>,
    /// Whether the ledger has changed since it was written.
    changed: bool,
    /// Whether another process writes it.
    is_left: bool,
    read_error: String,
    write_error: String,
}

impl State {
    /// What is wrong with it; empty for nothing.
    pub(super) fn error(&self) -> String {
        let mut errors = vec![&*self.read_error, &*self.write_error];
        errors.retain(|error| !error.is_empty());
        errors.join("; ")
    }

    /// Writes nothing any more.
    pub(super) fn leave(&mut self) {
        self.is_left = true;
    }

    /// Takes over what an earlier run saw, if that is to be done still.
    pub(super) fn read(&mut self, calls: &Calls, path: Option<&Path>, ledger: &mut Ledger) {
        if self.path.as_deref() != path {
            *self = Self {
                path: path.map(Path::to_owned),
                is_left: self.is_left,
                ..Self::default()
            };
        }
        let Some(path) = path else {
            return;
        };
        let _call = calls.begin(
            "reading the nodes that were seen",
            path.display().to_string(),
        );
        if self.is_read {
            // The finding about it ends when somebody has taken it away.
            if self.set_aside.take_if(|bad| !bad.exists()).is_some() {
                self.read_error.clear();
            }
            return;
        }
        let error = match state_file::recall(path, ledger) {
            Ok(()) => {
                self.is_read = true;
                String::new()
            }
            Err(RecallError::Unreadable(error)) => {
                format!("{error}; it is not written until it can be read")
            }
            Err(RecallError::Damaged(error)) => match state_file::set_aside(path) {
                Ok(bad) => {
                    self.is_read = true;
                    let text = format!("{error}; it is kept as {}", bad.display());
                    self.set_aside = Some(bad);
                    text
                }
                Err(why) => format!(
                    "{error}; it is not written, because it cannot be renamed to end in .bad: {why}"
                ),
            },
        };
        if !error.is_empty() && error != self.read_error {
            warn!("State of the nodes: {error}");
        }
        self.read_error = error;
    }

    /// Writes it if nodes came or went, or after a while; `learn` is for how long nodes are
    /// remembered.
    pub(super) fn write_if_due(&mut self, calls: &Calls, ledger: &mut Ledger, learn: Duration) {
        self.changed |= ledger.take_changed();
        let age = self.written.map(|written| written.elapsed());
        if age.is_none_or(|age| is_due(age, self.changed, learn)) {
            self.write(calls, ledger);
        }
    }

    /// Writes it.
    pub(super) fn write(&mut self, calls: &Calls, ledger: &mut Ledger) {
        let Some(path) = self.path.as_ref().filter(|_| self.is_read && !self.is_left) else {
            return;
        };
        let _call = calls.begin(
            "writing the nodes that were seen",
            path.display().to_string(),
        );
        let error = state_file::write(path, ledger).err().unwrap_or_default();
        if !error.is_empty() && error != self.write_error {
            error!("State of the nodes: {error}");
        }
        self.changed = !error.is_empty();
        self.write_error = error;
        self.written = Some(Instant::now());
    }
}

/// Whether a file of this age is to be written. Of nodes that stay it must be newer than `learn`.
fn is_due(age: Duration, changed: bool, learn: Duration) -> bool {
    let often = match learn.is_zero() {
        true => WRITE_EVERY,
        false => WRITE_EVERY.min(learn / 4),
    };
    age >= often.max(WRITE_AFTER) || changed && age >= WRITE_AFTER
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::nodes::Last;

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        let last = Last {
            at: chrono::Utc::now(),
            member: "nats1".into(),
            address: "192.0.2.1:7".into(),
        };
        ledger.recall("a.example.net", last);
        ledger
    }

    #[test]
    fn what_cannot_be_read_is_not_lost() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, bad) = (folder.path().join("state"), folder.path().join("state.bad"));
        let (calls, learn) = (Calls::default(), Duration::ZERO);
        // A folder cannot be read, whoever runs this test.
        fs::create_dir(&path).expect("make a folder");
        let (mut state, mut nodes) = (State::default(), ledger());
        let round = |state: &mut State, nodes: &mut Ledger| {
            state.read(&calls, Some(&path), nodes);
            state.write_if_due(&calls, nodes, learn);
            state.error()
        };
        for _ in 0..2 {
            let error = round(&mut state, &mut nodes);
            assert!(error.contains("not written until"), "{error}");
        }
        fs::remove_dir(&path).expect("remove it");
        fs::write(&path, "nonsense\n").expect("write");
        for _ in 0..2 {
            let error = round(&mut state, &mut nodes);
            assert!(
                error.contains("state:1: ") && error.contains("state.bad"),
                "{error}"
            );
        }
        let text = |path: &Path| fs::read_to_string(path).expect("read");
        assert_eq!(text(&bad), "nonsense\n");
        assert!(text(&path).starts_with("a.example.net\t"));
        fs::remove_file(&bad).expect("remove it");
        assert_eq!(round(&mut state, &mut nodes), "");
        // An error of writing and one of reading are two.
        (state.read_error, state.write_error) = ("one".into(), "two".into());
        assert_eq!(state.error(), "one; two");
        // Another process writes it.
        fs::remove_file(&path).expect("remove it");
        state.leave();
        state.write(&calls, &mut nodes);
        assert!(!path.exists());
    }

    #[test]
    fn it_is_written_when_nodes_come_and_before_they_are_forgotten() {
        let [second, hour] = [1, 3600].map(Duration::from_secs);
        for (age, changed, learn, due) in [
            (9 * second, true, hour, false),
            (10 * second, true, hour, true),
            (899 * second, false, hour, false),
            (900 * second, false, hour, true),
            (3599 * second, false, Duration::ZERO, false),
            (hour, false, 720 * hour, true),
            (9 * second, false, second, false),
        ] {
            assert_eq!(
                is_due(age, changed, learn),
                due,
                "{age:?} {changed} {learn:?}"
            );
        }
    }
}
