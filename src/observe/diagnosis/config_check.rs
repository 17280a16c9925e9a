//! Whether the configuration file is what the broker runs with, looked up on a
//! thread of its own: a file may be on a disk that hangs, or be a pipe.

use std::{sync::Arc, thread, time::Instant};

use parking_lot::Mutex;

use crate::{
    config::Diagnosis,
    server::{Server, reload::Outcome},
};

/// Bytes of the thread's stack: a reload, which is tried out there, parses the
/// configuration.
const STACK_LEN: usize = 2 * 1024 * 1024;

/// The state of the file.
#[derive(Default)]
pub(super) struct ConfigCheck {
    begun: Option<Instant>,
    last: Arc<Mutex<Last>>,
}

#[derive(Default)]
struct Last {
    is_under_way: bool,
    /// What a reload would change; `None` before the file was first checked.
    outcome: Option<Outcome>,
}

impl ConfigCheck {
    /// What a reload would change, as of the last check of the file; `None` before
    /// the first.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.last.lock().outcome.clone()
    }

    /// Lets the file be checked if it is time, unless that is being done.
    pub(super) fn go_on(&mut self, server: &Arc<Server>, thresholds: &Diagnosis) {
        let is_due = self
            .begun
            .is_none_or(|begun| begun.elapsed() >= thresholds.config_check);
        if !is_due || server.options().config_file.is_none() {
            return;
        }
        if std::mem::replace(&mut self.last.lock().is_under_way, true) {
            return;
        }
        self.begun = Some(Instant::now());
        let (server, last) = (server.clone(), self.last.clone());
        let thread = thread::Builder::new()
            .name("config-check".into())
            .stack_size(STACK_LEN)
            .spawn(move || {
                let _end = AtEnd(&last);
                let outcome = server.try_reload(None);
                last.lock().outcome = Some(outcome);
            });
        if thread.is_err() {
            // Tried again when it is due the next time.
            self.last.lock().is_under_way = false;
        }
    }
}

/// Lets the file be checked again, also after a check that panicked.
struct AtEnd<'a>(&'a Mutex<Last>);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.lock().is_under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_panics_is_over() {
        let last = Arc::new(Mutex::new(Last {
            is_under_way: true,
            outcome: None,
        }));
        let looking = last.clone();
        let thread = thread::spawn(move || {
            let _end = AtEnd(&looking);
            panic!("a fault");
        });
        assert!(thread.join().is_err());
        assert!(!last.lock().is_under_way);
    }
}
