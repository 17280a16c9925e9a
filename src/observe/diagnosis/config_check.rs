//! Whether the configuration file is what the broker runs with, looked up on a
//! thread of its own: a file may be on a disk that hangs, or be a pipe.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;

use crate::{
    config::Diagnosis,
    server::{Server, reload::Outcome},
    telemetry::threads,
};

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
        let end = AtEnd(last);
        // If there is no thread, it is tried again when it is due the next time.
        let _ = threads::spawn("config-check", threads::STACK_LEN, move || {
            let outcome = server.try_reload(None);
            end.0.lock().outcome = Some(outcome);
        });
    }
}

/// Lets the file be checked again, also after a check that panicked or got no thread.
struct AtEnd(Arc<Mutex<Last>>);

impl Drop for AtEnd {
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
        let thread = std::thread::spawn(move || {
            let _end = AtEnd(looking);
            panic!("a fault");
        });
        assert!(thread.join().is_err());
        assert!(!last.lock().is_under_way);
    }
}
