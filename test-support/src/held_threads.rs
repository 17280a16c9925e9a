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
            wait_until("a thread waits for work", || stop_in(&task, &IDLE));
            held.0.push(id_of(&task));
        }
        assert!(!held.0.is_empty(), "the broker has no thread {name:?}");
        held
    }

    /// Stops one of the threads with this name, of a broker with much traffic, while it reads.
    pub fn hold_at_work(broker: &Broker, name: &str) -> Self {
        let task = wait_for("a thread reads", || {
            let mut tasks = threads(broker, name).into_iter();
            tasks.find(|task| stop_in(task, &READING))
        });
        Self(vec![id_of(&task)])
    }
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

/// Stops a thread if it is in one of these system calls. Anywhere else it may hold a lock, such as
/// the allocator's, without which the other threads cannot continue.
fn stop_in(task: &Path, calls: &[libc::c_long]) -> bool {
    let id = id_of(task);
    trace(libc::PTRACE_SEIZE, id);
    trace(libc::PTRACE_INTERRUPT, id);
    // SAFETY: a null pointer for the state is permitted.
    let stopped = unsafe { libc::waitpid(id, std::ptr::null_mut(), libc::__WALL) };
    assert_eq!(stopped, id, "waitpid: {}", std::io::Error::last_os_error());
    let call = fs::read_to_string(task.join("syscall")).expect("a stopped thread's system call");
    let mut words = call.split(' ');
    let number = words.next().and_then(|word| word.parse().ok());
    let is_there = match number {
        Some(libc::SYS_futex) => calls.contains(&libc::SYS_futex) && waits(words.nth(1)),
        Some(number) => calls.contains(&number),
        None => false,
    };
    if !is_there {
        trace(libc::PTRACE_DETACH, id);
    }
    is_there
}

/// Whether a call of futex(2) with this operation waits. One that wakes another thread may do that with
/// a lock in its hands, and be put aside for the woken one.
fn waits(operation: Option<&str>) -> bool {
    let hex = operation.and_then(|word| word.strip_prefix("0x"));
    let operation = hex.and_then(|word| i32::from_str_radix(word, 16).ok());
    let flags = libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME;
    operation.is_some_and(|operation| {
        matches!(
            operation & !flags,
            libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET
        )
    })
}

/// The system calls in which a thread takes what a client has sent.
const READING: [libc::c_long; 4] = [
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_read,
    libc::SYS_readv,
];

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
