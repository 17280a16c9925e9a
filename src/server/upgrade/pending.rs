//! The new process while it is not on its own yet: who asks the old process for a stop or for lame
//! duck mode means the broker, and so the request is passed on. `hand_over` notes the new process
//! here; `lifecycle::run` passes requests on.
//!
//! From [`Pending::hand_over`] on the new process is the broker: the service manager, the pid file
//! and the answer to the request for the upgrade name it. A stop of the old one then ends that one
//! alone, sooner than its lame duck mode would.

use std::{process::Child, sync::Arc};

use parking_lot::Mutex;
use tracing::{error, info};

/// The new process, if there is one that is not on its own yet.
#[derive(Default)]
pub(in crate::server) struct Pending(Mutex<State>);

#[derive(Default)]
struct State {
    child: Option<Arc<Mutex<Child>>>,
    /// Whether this process was asked to stop.
    stops: bool,
    /// The process that has taken over.
    successor: Option<u32>,
}

impl Pending {
    /// There is a new process; `false` if this one was asked to stop before.
    pub(super) fn begin(&self, child: &Arc<Mutex<Child>>) -> bool {
        let mut state = self.0.lock();
        state.child = Some(child.clone());
        !state.stops
    }

    /// The new process has failed.
    pub(super) fn end(&self) {
        self.0.lock().child = None;
    }

    /// The new process is the broker from now on, unless this one was asked to stop: then both stop.
    /// `tell` is done at the same moment, and must not wait.
    pub(super) fn hand_over(&self, pid: u32, tell: impl FnOnce()) -> bool {
        let mut state = self.0.lock();
        if !state.stops {
            tell();
            state.child = None;
            state.successor = Some(pid);
        }
        !state.stops
    }

    /// Whether this process was asked to stop.
    pub(super) fn stops(&self) -> bool {
        self.0.lock().stops
    }

    /// This process was asked to stop, and so is a new one that is not on its own yet.
    pub(in crate::server) fn stop(&self) {
        let mut state = self.0.lock();
        state.stops = true;
        match (&state.child, state.successor) {
            (Some(child), _) => pass_on(child, libc::SIGTERM, "stop"),
            (None, Some(pid)) => info!(
                "Upgrade: only this process stops; process {pid} has taken over and serves on"
            ),
            (None, None) => {}
        }
    }

    /// The same for lame duck mode.
    pub(in crate::server) fn leave(&self) {
        if let Some(child) = &self.0.lock().child {
            pass_on(child, libc::SIGUSR2, "enter lame duck mode");
        }
    }
}

/// Sends a signal to the new process, unless it has ended.
fn pass_on(child: &Mutex<Child>, signal: libc::c_int, what: &str) {
    // Nobody can be told the number of a process that is still waited for.
    let mut child = child.lock();
    let pid = child.id();
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    info!(
        "Upgrade: this process was asked to {what}, and so is process {pid}, which was about to \
         take over"
    );
    // SAFETY: kill takes two integers and touches no memory of this process.
    if unsafe { libc::kill(pid.cast_signed(), signal) } != 0 {
        let cause = std::io::Error::last_os_error();
        error!("Upgrade: process {pid} could not be asked to {what}: {cause}");
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use super::*;

    fn child() -> Arc<Mutex<Child>> {
        let child = Command::new("sleep").arg("600").spawn().expect("sleep");
        Arc::new(Mutex::new(child))
    }

    /// How it was ended.
    fn signal_of(child: &Mutex<Child>) -> Option<i32> {
        child.lock().wait().expect("its end").signal()
    }

    #[test]
    fn a_stop_is_for_both_until_the_new_process_is_the_broker() {
        let (pending, new) = (Pending::default(), child());
        assert!(pending.begin(&new));
        pending.stop();
        assert_eq!(signal_of(&new), Some(libc::SIGTERM));
        assert!(!pending.hand_over(1, || panic!("nobody is to be told")));
        // What it would start now ends at once.
        assert!(!pending.begin(&new) && pending.stops());

        let (pending, new) = (Pending::default(), child());
        assert!(pending.begin(&new));
        pending.leave();
        assert_eq!(signal_of(&new), Some(libc::SIGUSR2));

        let (pending, new) = (Pending::default(), child());
        let mut told = false;
        assert!(pending.begin(&new) && pending.hand_over(1, || told = true));
        pending.stop();
        pending.leave();
        assert!(told && matches!(new.lock().try_wait(), Ok(None)));
        new.lock().kill().expect("it runs");
        signal_of(&new);
    }
}
