//! Signals, handled by a thread of their own that waits for nothing else: whatever hangs in the
//! broker, a request to stop ends the process within [`STOP_BOUND`].
//!
//! The thread passes requests to [`super::lifecycle::run`], which stops gracefully. If the process
//! has not ended in time, or if a second stop is requested, the thread ends it with
//! [`HARD_EXIT_CODE`]. If the thread itself hangs, on a lock of the log or the allocator, the
//! system ends the process a moment later by SIGALRM.

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

/// Time limit of a graceful stop: more than all of its steps together may take.
pub const STOP_BOUND: Duration = Duration::from_secs(5);

/// The exit code of a broker that did not stop gracefully.
const HARD_EXIT_CODE: i32 = 1;

/// Time limit of writing the log line about that.
const LAST_LINE_TIMEOUT: Duration = Duration::from_millis(200);

/// How much later SIGALRM comes than the thread's own exit.
const LAST_RESORT_MARGIN: Duration = Duration::from_secs(1);

/// Time after which the system itself ends a process that was to stop.
pub const END_BOUND: Duration =
    Duration::from_secs(STOP_BOUND.as_secs() + LAST_RESORT_MARGIN.as_secs() + 1);

/// Requests that can be queued. More are no use if the main loop hangs.
const REQUESTS_MAX: usize = 16;

/// Bytes of the thread's stack.
const STACK_LEN: usize = 256 * 1024;

/// What a signal requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// Enter lame duck mode.
    LameDuck,
    /// Reload the configuration.
    Reload,
    /// Reopen the log file.
    ReopenLog,
    /// Stop.
    Stop,
}

/// The handled signals, with their names in the log.
const SIGNALS: [(i32, &str, Request); 5] = [
    (SIGINT, "interrupt", Request::Stop),
    (SIGTERM, "terminated", Request::Stop),
    (SIGUSR1, "user defined signal 1", Request::ReopenLog),
    (SIGUSR2, "user defined signal 2", Request::LameDuck),
    (SIGHUP, "hangup", Request::Reload),
];

/// The requests in the order of arrival.
pub struct Signals {
    requests: mpsc::Receiver<Request>,
    /// Those that came while only a stop was waited for, each once.
    deferred: Vec<Request>,
    exit_deadline: Arc<ExitDeadline>,
}

/// When a broker in lame duck mode must have exited.
struct ExitDeadline {
    until: Mutex<Option<Instant>>,
    /// Whether SIGTERM is ignored until then.
    ignores_term: AtomicBool,
    /// Wakes the thread.
    wake: UnixStream,
}

impl Signals {
    /// Installs the signal handlers.
    ///
    ///  # Errors
    ///
    /// The system refuses.
    pub fn listen(log: LogHandle) -> io::Result<Self> {
        let (woken, wake) = UnixStream::pair()?;
        // A signal handler must not block.
        wake.set_nonblocking(true)?;
        let mut arrived = Vec::new();
        for (number, name, request) in SIGNALS {
            let has_arrived = Arc::new(AtomicBool::new(false));
            // The flag is set before the thread that reads it is woken.
            flag::register(number, has_arrived.clone())?;
            low_level::pipe::register(number, wake.try_clone()?)?;
            arrived.push(PendingSignal {
                number,
                name,
                request,
                has_arrived,
            });
        }
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let exit_deadline = Arc::new(ExitDeadline {
            until: Mutex::default(),
            ignores_term: AtomicBool::new(false),
            wake,
        });
        let mut thread_state = SignalThread {
            woken,
            arrived,
            requests: sender,
            exit_deadline: exit_deadline.clone(),
            stop_by: None,
            log,
        };
        thread::Builder::new()
            .name("signals".into())
            .stack_size(STACK_LEN)
            .spawn(move || thread_state.run())?;
        Ok(Self {
            requests,
            deferred: Vec::new(),
            exit_deadline,
        })
    }

    /// The next request.
    pub(super) async fn next(&mut self) -> Request {
        if !self.deferred.is_empty() {
            return self.deferred.remove(0);
        }
        self.receive().await
    }

    /// What `step` yields; `None` if a stop is requested before. Other requests are the next ones
    /// afterwards.
    pub(super) async fn unless_stopped<T>(&mut self, step: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(step);
        loop {
            let request = tokio::select! {
                biased;
                request = self.receive() => request,
                done = &mut step => return Some(done),
            };
            match request {
                Request::Stop => return None,
                other if self.deferred.contains(&other) => {}
                other => self.deferred.push(other),
            }
        }
    }

    async fn receive(&mut self) -> Request {
        match self.requests.recv().await {
            Some(request) => request,
            // The thread lives as long as the process.
            None => std::future::pending().await,
        }
    }

    /// Ends the process after this time at the latest. With `ignores_term`, until then only SIGINT
    /// stops the broker immediately, as in nats-server.
    pub(super) fn exit_within(&self, time: Duration, ignores_term: bool) {
        self.exit_deadline
            .ignores_term
            .store(ignores_term, Ordering::Relaxed);
        set_alarm(time + STOP_BOUND);
        *self.exit_deadline.until.lock() = Some(Instant::now() + time + STOP_BOUND);
        // If the pipe is full, the thread is about to wake anyway.
        let _ = (&self.exit_deadline.wake).write(&[0]);
    }
}

struct PendingSignal {
    number: i32,
    name: &'static str,
    request: Request,
    has_arrived: Arc<AtomicBool>,
}

/// The state of the thread.
struct SignalThread {
    woken: UnixStream,
    arrived: Vec<PendingSignal>,
    requests: mpsc::Sender<Request>,
    exit_deadline: Arc<ExitDeadline>,
    stop_by: Option<Instant>,
    log: LogHandle,
}

impl SignalThread {
    fn run(&mut self) {
        loop {
            let exit_by = *self.exit_deadline.until.lock();
            let end = self.stop_by.into_iter().chain(exit_by).min();
            self.wait_until(end);
            if end.is_some_and(|end| Instant::now() >= end) {
                self.exit_hard("The broker did not stop in time: something in it hangs");
            }
            for index in 0..self.arrived.len() {
                let ignores_term = self.exit_deadline.ignores_term.load(Ordering::Relaxed);
                self.handle(index, exit_by.is_some() && ignores_term);
            }
        }
    }

    /// Waits for a signal or the deadline.
    fn wait_until(&mut self, end: Option<Instant>) {
        let left = end.map(|end| {
            let left = end.saturating_duration_since(Instant::now());
            left.max(Duration::from_millis(1))
        });
        // An error here counts as a wake-up, but must not become a busy loop.
        let waited = self.woken.set_read_timeout(left);
        let woken = waited.and_then(|()| self.woken.read(&mut [0; 64]));
        let is_expected = |error: &io::Error| {
            use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
            matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
        };
        if woken.is_err_and(|error| !is_expected(&error)) {
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn handle(&mut self, index: usize, ignores_term: bool) {
        let PendingSignal {
            number,
            name,
            request,
            ref has_arrived,
        } = self.arrived[index];
        if !has_arrived.swap(false, Ordering::AcqRel) {
            return;
        }
        let is_ignored = ignores_term && number == SIGTERM && self.stop_by.is_none();
        if request == Request::Stop && !is_ignored {
            // Before anything that takes a lock.
            set_alarm(match self.stop_by {
                None => STOP_BOUND,
                Some(_) => Duration::ZERO,
            });
        }
        info!("Trapped \"{name}\" signal");
        if request == Request::Stop {
            if self.stop_by.is_some() {
                self.exit_hard("Asked to stop again: the broker ends at once");
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

    fn exit_hard(&self, why: &str) -> ! {
        error!(target: log::FATAL, "{why}");
        self.log.flush(LAST_LINE_TIMEOUT);
        low_level::exit(HARD_EXIT_CODE)
    }
}

/// Lets the system end the process after this time plus a margin. A later call replaces it.
fn set_alarm(time: Duration) {
    let seconds = (time + LAST_RESORT_MARGIN).as_secs_f64().ceil();
    // SAFETY: neither call takes a pointer. Nothing else in the process uses SIGALRM; its default
    // action, which a parent process may have disabled, ends the process.
    unsafe {
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        // A float that is out of range becomes the largest number.
        libc::alarm(seconds as libc::c_uint);
    }
}
