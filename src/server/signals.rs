//! Signals, on a thread of their own that waits for nothing else: whatever hangs
//! in the broker, a request to stop ends the process within [`STOP_BOUND`].
//!
//! The thread hands what is asked for to [`super::lifecycle::run`], which stops
//! gently. If that has not ended the process in time, or if whoever asked asks
//! once more, the thread ends it with [`HARD_EXIT_CODE`]. Should the thread hang as
//! well, in a lock of the log or of the allocator whose holder does not run, the
//! system ends the process a moment later, by SIGALRM.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2},
    flag, low_level,
};
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::log::{self, LogHandle};

/// How long a stop may take: more than all that it waits for, one after the other.
pub const STOP_BOUND: Duration = Duration::from_secs(5);

/// The exit code of a broker that could not stop gently.
const HARD_EXIT_CODE: i32 = 1;

/// How long the line that says so may take to be written.
const LAST_LINE_TIMEOUT: Duration = Duration::from_millis(200);

/// How much later the system ends the process than the thread would.
const LAST_RESORT_MARGIN: Duration = Duration::from_secs(1);

/// Requests that wait to be acted on. A loop that hangs does not need more.
const REQUESTS_MAX: usize = 16;

/// Bytes of the thread's stack.
const STACK_LEN: usize = 256 * 1024;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// Leave gently.
    LameDuck,
    /// Read the configuration again.
    Reload,
    /// Open the log file anew.
    ReopenLog,
    /// End.
    Stop,
}

/// The signals that the broker obeys, by their names in the log.
const SIGNALS: [(i32, &str, Request); 5] = [
    (SIGINT, "interrupt", Request::Stop),
    (SIGTERM, "terminated", Request::Stop),
    (SIGUSR1, "user defined signal 1", Request::ReopenLog),
    (SIGUSR2, "user defined signal 2", Request::LameDuck),
    (SIGHUP, "hangup", Request::Reload),
];

/// What the signals ask for, in the order of their arrival.
pub struct Signals {
    requests: mpsc::Receiver<Request>,
    leaving: Arc<Leaving>,
}

/// When a broker that leaves has to be gone.
struct Leaving {
    until: Mutex<Option<Instant>>,
    /// Wakes the thread.
    wake: UnixStream,
}

impl Signals {
    /// Takes the signals over.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn listen(log: LogHandle) -> io::Result<Self> {
        let (woken, wake) = UnixStream::pair()?;
        // A handler must not wait for room.
        wake.set_nonblocking(true)?;
        let mut arrived = Vec::new();
        for (number, name, request) in SIGNALS {
            let has_arrived = Arc::new(AtomicBool::new(false));
            // First the flag, then what wakes the thread that looks at it.
            flag::register(number, has_arrived.clone())?;
            low_level::pipe::register(number, wake.try_clone()?)?;
            arrived.push(Arrived {
                number,
                name,
                request,
                has_arrived,
            });
        }
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let leaving = Arc::new(Leaving {
            until: Mutex::default(),
            wake,
        });
        let mut watch = Watch {
            woken,
            arrived,
            requests: sender,
            leaving: leaving.clone(),
            stop_by: None,
            log,
        };
        thread::Builder::new()
            .name("signals".into())
            .stack_size(STACK_LEN)
            .spawn(move || watch.run())?;
        Ok(Self { requests, leaving })
    }

    /// The next request.
    pub(super) async fn next(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            // The thread never ends before the process.
            None => std::future::pending().await,
        }
    }

    /// The broker leaves and is gone after this time, whatever happens; until then
    /// only an interrupt makes it stop at once, as nats-server has it.
    pub(super) fn leave_within(&self, time: Duration) {
        end_by_system_after(time + STOP_BOUND);
        *self.leaving.until.lock() = Some(Instant::now() + time + STOP_BOUND);
        // If there is no room, the thread is about to wake anyway.
        let _ = (&self.leaving.wake).write(&[0]);
    }
}

struct Arrived {
    number: i32,
    name: &'static str,
    request: Request,
    has_arrived: Arc<AtomicBool>,
}

/// What the thread works with.
struct Watch {
    woken: UnixStream,
    arrived: Vec<Arrived>,
    requests: mpsc::Sender<Request>,
    leaving: Arc<Leaving>,
    stop_by: Option<Instant>,
    log: LogHandle,
}

impl Watch {
    fn run(&mut self) {
        loop {
            let leave_by = *self.leaving.until.lock();
            let end = self.stop_by.into_iter().chain(leave_by).min();
            self.wait_until(end);
            if end.is_some_and(|end| Instant::now() >= end) {
                self.end_hard("The broker did not stop in time: something in it hangs");
            }
            for index in 0..self.arrived.len() {
                self.obey(index, leave_by.is_some());
            }
        }
    }

    /// Waits for a signal or another end.
    fn wait_until(&mut self, end: Option<Instant>) {
        let left = end.map(|end| {
            let left = end.saturating_duration_since(Instant::now());
            left.max(Duration::from_millis(1))
        });
        // What fails here is as good as a wake; it must not turn into a spin.
        let waited = self.woken.set_read_timeout(left);
        let woken = waited.and_then(|()| self.woken.read(&mut [0; 64]));
        let is_usual = |error: &io::Error| {
            use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
            matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
        };
        if woken.is_err_and(|error| !is_usual(&error)) {
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn obey(&mut self, index: usize, is_leaving: bool) {
        let Arrived {
            number,
            name,
            request,
            ref has_arrived,
        } = self.arrived[index];
        if !has_arrived.swap(false, Ordering::AcqRel) {
            return;
        }
        let is_ignored = is_leaving && number == SIGTERM && self.stop_by.is_none();
        if request == Request::Stop && !is_ignored {
            // Before anything that takes a lock.
            end_by_system_after(match self.stop_by {
                None => STOP_BOUND,
                Some(_) => Duration::ZERO,
            });
        }
        info!("Trapped \"{name}\" signal");
        if request == Request::Stop {
            if self.stop_by.is_some() {
                self.end_hard("Asked to stop again: the broker ends at once");
            }
            if is_ignored {
                info!("The broker is already stopping; an interrupt ends it at once");
                return;
            }
            self.stop_by = Some(Instant::now() + STOP_BOUND);
        }
        if self.requests.try_send(request).is_err() {
            error!("The {name} signal is ignored: {REQUESTS_MAX} others wait before it");
        }
    }

    fn end_hard(&self, why: &str) -> ! {
        error!(target: log::FATAL, "{why}");
        self.log.flush(LAST_LINE_TIMEOUT);
        low_level::exit(HARD_EXIT_CODE)
    }
}

/// Has the system end the process after this time and a margin, unless it ends or
/// says so again before.
fn end_by_system_after(time: Duration) {
    let seconds = (time + LAST_RESORT_MARGIN).as_secs_f64().ceil();
    // SAFETY: neither call takes a pointer. Nobody else in the process uses SIGALRM;
    // its default action, which a parent may have turned off, ends the process.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        // A float beyond the range becomes the largest number.
        libc::alarm(seconds as libc::c_uint);
    }
}
