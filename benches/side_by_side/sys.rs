//! System calls that std does not offer: CPU clocks of other processes and threads, epoll, limits.
//! All unsafe code is in this file.

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    os::unix::{process::CommandExt, thread::JoinHandleExt},
    process::Command,
    thread::JoinHandle,
    time::Duration,
};

/// A clock of CPU time (user + system).
#[derive(Clone, Copy)]
pub(crate) struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The clock of all threads of the process `pid`.
    pub(crate) fn of_process(pid: u32) -> io::Result<Self> {
        let mut clock = 0;
        // SAFETY: `clock` is valid memory for the result.
        match unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) } {
            0 => Ok(Self(clock)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// The clock of this process, the load generator.
    pub(crate) fn of_self() -> Self {
        Self(libc::CLOCK_PROCESS_CPUTIME_ID)
    }

    /// The clock of one thread; readable until the thread is joined.
    pub(crate) fn of_thread<T>(thread: &JoinHandle<T>) -> io::Result<Self> {
        let mut clock = 0;
        // SAFETY: the handle is not joined yet, so its pthread_t is valid.
        match unsafe { libc::pthread_getcpuclockid(thread.as_pthread_t(), &mut clock) } {
            0 => Ok(Self(clock)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// CPU time used so far; fails if the process has ended.
    pub(crate) fn now(self) -> io::Result<Duration> {
        // SAFETY: all zeroes is a valid timespec, and it is valid memory for the result.
        let (result, time) = unsafe {
            let mut time: libc::timespec = mem::zeroed();
            (libc::clock_gettime(self.0, &mut time), time)
        };
        check(result)?;
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

/// An epoll instance, level-triggered, for reading only.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer; its result is checked.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self {
            // SAFETY: `fd` was just created and has no other owner.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            events: vec![libc::epoll_event { events: 0, u64: 0 }; 1024],
        })
    }

    /// Watches `source`; [`Epoll::wait`] returns its `token`.
    pub(crate) fn add(&self, source: &impl AsRawFd, token: usize) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token as u64,
        };
        // SAFETY: both descriptors are open and `event` lives during the call.
        let result = unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                source.as_raw_fd(),
                &mut event,
            )
        };
        check(result).map(drop)
    }

    /// Tokens of the sources that are readable, after at most `timeout`.
    pub(crate) fn wait(&mut self, timeout: Duration) -> io::Result<impl Iterator<Item = usize>> {
        // SAFETY: the pointer and the length describe `events`.
        let result = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                timeout.as_millis() as i32,
            )
        };
        let count = match check(result) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        Ok(self.events[..count as usize]
            .iter()
            .map(|event| event.u64 as usize))
    }
}

/// Raises the limit of open files to the hard limit and returns it. Brokers started later inherit
/// it.
pub(crate) fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid memory for the result.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` lives during the call, which only reads it.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })?;
    Ok(limit.rlim_max)
}

/// Makes sleeps of this thread end on time, not up to 50 µs later.
pub(crate) fn sleep_precisely() -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) }).map(drop)
}

/// Gives every other thread of the machine precedence over this one, including preemption; even a
/// thread with the lowest nice value could finish its time slice.
pub(crate) fn lower_priority() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: `parameters` lives during the call, which only reads it; 0 is the calling thread.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) }).map(drop)
}

/// Makes the kernel kill the command when this process dies, however that happens.
pub(crate) fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe, and the closure allocates nothing.
    unsafe {
        command.pre_exec(|| check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)).map(drop));
    }
}

/// Kills the process `pid`.
pub(crate) fn kill(pid: u32) {
    // SAFETY: the call takes numbers only. The only likely error, that the process has ended, is
    // fine.
    unsafe {
        libc::kill(pid as libc::pid_t, libc::SIGKILL);
    }
}

/// Cores that this process may use, for the report.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// Kernel name and release, for the report.
pub(crate) fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map(|release| format!("Linux {}", release.trim()))
        .unwrap_or_else(|_| "unknown kernel".to_owned())
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
