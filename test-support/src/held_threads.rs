//! Stops single threads of a broker with ptrace, as a debugger does, while the rest of
//! the process continues.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{Broker, wait_for, wait_until};

/// Threads of a broker that are stopped until this is dropped, by the thread that stopped
/// them.
pub struct HeldThreads(Vec<i32>);

impl HeldThreads {
    /// Stops the threads with this name, each once it waits for work.
    pub fn hold(broker: &Broker, name: &str) -> Self {
        let mut held = Self(Vec::new());
        for task in threads(broker, name) {
            stop_while_idle(id_of(&task), &task.join("syscall"));
            held.0.push(id_of(&task));
        }
        assert!(!held.0.is_empty(), "the broker has no thread {name:?}");
        held
    }

    /// Stops the first thread with this name that is seen computing, and no other one. It may
    /// have begun to wait for work when it stops.
    pub fn hold_running(broker: &Broker, name: &str) -> Self {
        let mut held = Self(Vec::new());
        let running = wait_for(&format!("a thread {name:?} computes"), || {
            threads(broker, name).into_iter().find(|task| {
                let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
                stat.rsplit_once(") ")
                    .is_some_and(|(_, state)| state.starts_with('R'))
            })
        });
        held.stop(id_of(&running));
        held
    }

    fn stop(&mut self, id: i32) {
        trace(libc::PTRACE_SEIZE, id);
        self.0.push(id);
        trace(libc::PTRACE_INTERRUPT, id);
        // SAFETY: a null pointer for the state is permitted.
        let stopped = unsafe { libc::waitpid(id, std::ptr::null_mut(), libc::__WALL) };
        assert_eq!(stopped, id, "waitpid: {}", std::io::Error::last_os_error());
    }
}

/// The folders in `/proc` of the threads with this name.
fn threads(broker: &Broker, name: &str) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{}/task", broker.pid())).expect("threads");
    let tasks = tasks.filter_map(|task| Some(task.ok()?.path()));
    let has_name = |task: &PathBuf| {
        let comm = fs::read_to_string(task.join("comm")).unwrap_or_default();
        comm.trim_end() == name
    };
    tasks.filter(has_name).collect()
}

fn id_of(task: &Path) -> i32 {
    let name = task.file_name().expect("a name").to_string_lossy();
    name.parse().expect("an id")
}

impl HeldThreads {
    /// Waits for the exit of the threads, for a process that exits within this time: a
    /// traced thread exists until then.
    pub fn reap(mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while let Some(id) = self.0.last() {
            let flags = libc::__WALL | libc::WNOHANG;
            // SAFETY: a null pointer for the state is permitted.
            match unsafe { libc::waitpid(*id, std::ptr::null_mut(), flags) } {
                0 => assert!(Instant::now() < deadline, "the thread does not end"),
                reaped => {
                    let error = std::io::Error::last_os_error();
                    assert_eq!(reaped, *id, "waitpid: {error}");
                    self.0.pop();
                    continue;
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for HeldThreads {
    fn drop(&mut self) {
        for id in &self.0 {
            trace(libc::PTRACE_DETACH, *id);
        }
    }
}

/// Stops a thread that waits for work. One that is stopped at work may hold a lock, such as
/// the allocator's, without which the other threads cannot continue.
fn stop_while_idle(id: i32, syscall: &Path) {
    wait_until("a thread waits for work", || {
        trace(libc::PTRACE_SEIZE, id);
        trace(libc::PTRACE_INTERRUPT, id);
        // SAFETY: a null pointer for the state is permitted.
        let stopped = unsafe { libc::waitpid(id, std::ptr::null_mut(), libc::__WALL) };
        assert_eq!(stopped, id, "waitpid: {}", std::io::Error::last_os_error());
        let call = fs::read_to_string(syscall).expect("a stopped thread's system call");
        let number = call.split(' ').next().and_then(|word| word.parse().ok());
        let idle = number.is_some_and(|number| IDLE.contains(&number));
        if !idle {
            trace(libc::PTRACE_DETACH, id);
        }
        idle
    });
}

/// The system calls in which a thread waits for work or for a time.
const IDLE: [libc::c_long; 5] = [
    libc::SYS_futex,
    libc::SYS_epoll_pwait,
    EPOLL_WAIT,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
];

#[cfg(target_arch = "x86_64")]
const EPOLL_WAIT: libc::c_long = libc::SYS_epoll_wait;
#[cfg(not(target_arch = "x86_64"))]
const EPOLL_WAIT: libc::c_long = libc::SYS_epoll_pwait;

/// A ptrace request for one thread of a child.
fn trace(request: libc::c_uint, thread: i32) {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: these requests read and write no memory of ours.
    let result = unsafe { libc::ptrace(request, thread, none, none) };
    assert_eq!(result, 0, "ptrace: {}", std::io::Error::last_os_error());
}
