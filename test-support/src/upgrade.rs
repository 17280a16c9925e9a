//! Upgrades: the process that takes over from a broker is not a child of the test.

use std::{
    fs,
    process::{Command, Output},
};

use crate::{Broker, tools, wait_until};

/// The process that has taken over from a broker. It ends with the broker of the test, at the
/// latest.
pub struct Successor {
    /// Its process id.
    pub pid: i32,
}

/// Asks a process to hand over to a new one, and waits for the outcome.
pub fn ask(pid: u32) -> Output {
    Command::new(tools::midge())
        .arg("--signal")
        .arg(format!("upgrade={pid}"))
        .output()
        .expect("run midge --signal")
}

impl Broker {
    /// Asks the process `pid` of this broker to hand over to a new one.
    pub fn ask_for_upgrade(&self, pid: u32) -> Output {
        ask(pid)
    }

    /// Has the process that was started hand over to a new one.
    pub fn upgrade(&self) -> Successor {
        self.upgrade_again(self.pid())
    }

    /// Has the process `pid` hand over to a new one.
    pub fn upgrade_again(&self, pid: u32) -> Successor {
        let output = self.ask_for_upgrade(pid);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        let pid = text.split_once("process ").and_then(|(_, rest)| {
            let (pid, _) = rest.split_once(' ')?;
            pid.parse().ok()
        });
        Successor {
            pid: pid.unwrap_or_else(|| panic!("no process is named: {text}")),
        }
    }

    /// Ids of the processes that were started with this broker's arguments.
    pub fn processes(&self) -> Vec<i32> {
        let folder = self.folder().to_string_lossy().into_owned();
        let processes = fs::read_dir("/proc").expect("the list of processes");
        let ids = processes.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        ids.filter(|pid: &i32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&arguments).contains(&folder)
        })
        .collect()
    }
}

impl Successor {
    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        kill(self.pid, signal);
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // One that has ended may wait for its parent to notice.
        let state = stat.rsplit_once(") ").map(|(_, state)| state);
        state.is_some_and(|state| !state.starts_with('Z'))
    }

    /// Stops it, and waits for its end.
    pub fn stop(&self) {
        self.signal(libc::SIGTERM);
        wait_until("the process that has taken over ends", || {
            !self.is_running()
        });
    }
}

/// Sends a signal to a process, if it is still there.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: kill takes two integers and touches no memory of ours.
    unsafe { libc::kill(pid, signal) };
}
