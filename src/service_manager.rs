//! What the broker tells the service manager that started it: that it is ready, reloads, stops,
//! still works, how it is, and which process is the broker after an upgrade (`sd_notify(3)`; systemd
//! with `Type=notify`, and others that speak this protocol). After that only the new process speaks.
//!
//! The manager names a datagram socket in `NOTIFY_SOCKET`; without it nothing is ever sent.
//! `server::lifecycle` and `server::reload` announce states, `observe::service_status` sends the
//! status line and feeds the watchdog, `main` says why a start failed.
//!
//! Sending never blocks: the manager may be busy, its queue full, its socket gone. A status line or
//! a sign of life that cannot be sent is dropped, since the next one follows. A state is kept and
//! sent again by [`ServiceManager::retry`], because a manager that missed `READY=1` would end the
//! broker.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    process,
    sync::Arc,
    time::Duration,
};

use monitor_client::text;
use parking_lot::Mutex;

use crate::telemetry::pool;

/// Longest status line in bytes: managers show it in one line of a terminal.
const STATUS_LEN_MAX: usize = 200;

/// States that wait for a manager whose queue is full. More of them can only be
/// reloads, of which the last one counts.
const WAITING_MAX: usize = 16;

/// The service manager, if there is one that wants to be told.
#[derive(Default)]
pub struct ServiceManager {
    channel: Option<Channel>,
    /// Within this time, it wants a sign of life.
    watchdog: Option<Duration>,
    state: Mutex<State>,
}

struct Channel {
    socket: UnixDatagram,
    manager: SocketAddr,
}

#[derive(Default)]
struct State {
    /// States that could not be sent yet, the oldest first.
    waiting: Vec<String>,
    /// The last status line.
    status: String,
    /// It was told that the broker stops; after that nothing is ready any more.
    stops: bool,
    /// Another process is the main one: this one has nothing to say any more.
    handed_over: bool,
}

impl ServiceManager {
    /// The one that the environment names. If its socket cannot be used, there is none: the error
    /// text is for the log.
    pub fn from_environment() -> (Arc<Self>, Option<String>) {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return (Arc::default(), None);
        };
        match Channel::open(&name) {
            Ok(channel) => {
                let variable = |name| env::var(name).ok();
                let watchdog = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"));
                (Arc::new(Self::new(channel, watchdog)), None)
            }
            Err(error) => {
                let why = format!(
                    "The service manager cannot be told that the broker is ready: NOTIFY_SOCKET is \
                     {name:?}: {error}"
                );
                (Arc::default(), Some(why))
            }
        }
    }

    fn new(channel: Channel, watchdog: Option<Duration>) -> Self {
        Self {
            channel: Some(channel),
            watchdog,
            state: Mutex::default(),
        }
    }

    /// Whether there is anybody to tell.
    pub fn is_there(&self) -> bool {
        self.channel.is_some()
    }

    /// Within which time it wants a sign of life; `None` if it wants none.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// All listeners are open, or a reload has ended.
    pub fn ready(&self) {
        let mut state = self.state.lock();
        if !state.stops {
            self.tell(&mut state, "READY=1".into());
        }
    }

    /// A reload begins. It needs the time of that to distinguish the reload that it asked for from
    /// one before.
    pub fn reloading(&self) {
        let mut state = self.state.lock();
        if !state.stops {
            let text = format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_micros());
            self.tell(&mut state, text);
        }
    }

    /// The broker stops, and may take `time` for it, whatever the manager's own limit is.
    pub fn stopping(&self, time: Duration) {
        let mut state = self.state.lock();
        state.stops = true;
        let text = format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", time.as_micros());
        self.tell(&mut state, text);
    }

    /// The process `pid` is the main one from now on: it takes over from this one, which ends, and
    /// of which the manager hears nothing more.
    pub fn main_process_is(&self, pid: u32) {
        let mut state = self.state.lock();
        self.tell(&mut state, format!("MAINPID={pid}"));
        state.handed_over = true;
    }

    /// The broker ends because of an error.
    pub fn failed(&self, error: &str, number: Option<i32>) {
        let number = number.map_or(String::new(), |number| format!("\nERRNO={number}"));
        let text = format!("STATUS={}{number}", status_line(error));
        self.tell(&mut self.state.lock(), text);
    }

    /// How the broker is, in one line; sent only if it is another one than before.
    pub fn status(&self, text: &str) {
        let line = status_line(text);
        let mut state = self.state.lock();
        if state.status != line
            && !state.handed_over
            && self.send(&format!("STATUS={line}")).is_ok()
        {
            state.status = line;
        }
    }

    /// The broker still does its work.
    pub fn is_alive(&self) {
        if self.state.lock().handed_over {
            return;
        }
        // Another sign of life follows in time.
        let _ = self.send("WATCHDOG=1");
    }

    /// Sends what waits; whether nothing waits any more.
    pub fn retry(&self) -> bool {
        let mut state = self.state.lock();
        while let Some(text) = state.waiting.first() {
            if is_full(&self.send(text)) {
                return false;
            }
            state.waiting.remove(0);
        }
        true
    }

    /// Sends a state, after those that wait.
    fn tell(&self, state: &mut State, text: String) {
        if state.handed_over {
            return;
        }
        let is_first = state.waiting.is_empty();
        if is_first && !is_full(&self.send(&text)) {
            return;
        }
        if state.waiting.len() == WAITING_MAX {
            state.waiting.remove(0);
        }
        state.waiting.push(text);
    }

    fn send(&self, text: &str) -> io::Result<()> {
        let Some(Channel { socket, manager }) = &self.channel else {
            return Ok(());
        };
        socket.send_to_addr(text.as_bytes(), manager).map(drop)
    }
}

impl Channel {
    fn open(name: &OsStr) -> io::Result<Self> {
        let manager = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::other("neither a path nor an abstract name (@…)")),
        };
        // Not connected: a manager that opens its socket anew is found again.
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, manager })
    }
}

/// Whether the manager takes the text later. Any other failure is final.
fn is_full(sent: &io::Result<()>) -> bool {
    let full = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
    sent.as_ref()
        .is_err_and(|error| full.contains(&error.kind()) || is_out_of_buffers(error))
}

fn is_out_of_buffers(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}

/// The time of a watchdog that is meant for this process.
fn watchdog(micros: Option<String>, pid: Option<String>) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(process::id()));
    let micros = micros?.parse().ok().filter(|micros| *micros > 0)?;
    is_ours.then(|| Duration::from_micros(micros))
}

/// A text as one line without characters that a terminal obeys, cut if it is long.
fn status_line(text: &str) -> String {
    let line = text::escaped(text).replace('\t', " ");
    pool::shorten_to(&line, STATUS_LEN_MAX).into_owned()
}

/// The system's monotonic clock, which the manager uses too.
fn monotonic_micros() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid memory for the result during the whole call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager, and what tells it.
    fn pair(name: &str) -> (UnixDatagram, ServiceManager) {
        let name = format!("{name}-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let channel = Channel::open(OsStr::new(&format!("@{name}"))).unwrap();
        (socket, ServiceManager::new(channel, None))
    }

    /// The next thing that the manager was told.
    fn next(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 1000];
        let len = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    #[test]
    fn states_that_a_full_manager_did_not_take_are_sent_again_in_their_order() {
        let (manager, broker) = pair("full");
        let filler = "x".repeat(8);
        while broker.send(&filler).is_ok() {}
        broker.reloading();
        broker.ready();
        broker.status("lost");
        broker.is_alive();
        broker.retry();
        while next(&manager).is_some_and(|text| text == filler) {}
        broker.retry();
        let reloading = next(&manager).unwrap();
        assert!(
            reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{reloading}"
        );
        assert_eq!(next(&manager).as_deref(), Some("READY=1"));
        // It was not taken, so it is not known.
        broker.status("lost");
        assert_eq!(next(&manager).as_deref(), Some("STATUS=lost"));
        assert_eq!(next(&manager), None);
    }

    #[test]
    fn a_manager_that_is_gone_costs_nothing_and_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let broker = ServiceManager::new(Channel::open(path.as_os_str()).unwrap(), None);
        broker.ready();
        assert!(broker.state.lock().waiting.is_empty());
        let manager = UnixDatagram::bind(&path).unwrap();
        broker.is_alive();
        assert_eq!(next(&manager).as_deref(), Some("WATCHDOG=1"));
        assert!(Channel::open(OsStr::new("vsock:2:1")).is_err());
    }

    #[test]
    fn nothing_is_ready_after_a_stop() {
        let (manager, broker) = pair("stop");
        broker.stopping(Duration::from_secs(2));
        broker.ready();
        broker.reloading();
        assert_eq!(
            next(&manager).as_deref(),
            Some("STOPPING=1\nEXTEND_TIMEOUT_USEC=2000000")
        );
        assert_eq!(next(&manager), None);
    }

    #[test]
    fn the_new_main_process_is_told_although_the_queue_is_full_and_is_the_last_word() {
        let (manager, broker) = pair("main");
        let filler = "x".repeat(8);
        while broker.send(&filler).is_ok() {}
        broker.main_process_is(77);
        assert!(!broker.retry());
        broker.ready();
        broker.stopping(Duration::from_secs(2));
        while next(&manager).is_some_and(|text| text == filler) {}
        assert!(broker.retry());
        broker.status("lost");
        broker.is_alive();
        broker.failed("lost", None);
        assert_eq!(next(&manager).as_deref(), Some("MAINPID=77"));
        assert_eq!(next(&manager), None);
    }

    #[test]
    fn a_status_is_one_short_line_and_is_sent_once() {
        let (manager, broker) = pair("status");
        for _ in 0..3 {
            broker.status("a\nREADY=1\t\u{202e}b");
        }
        let line = next(&manager).unwrap();
        assert_eq!(line, "STATUS=a\\nREADY=1 \\u{202e}b");
        assert_eq!(next(&manager), None);
        broker.status(&"ä".repeat(200));
        let line = next(&manager).unwrap();
        let line = line.strip_prefix("STATUS=").unwrap();
        assert!(
            line.len() <= STATUS_LEN_MAX && line.ends_with("ä…"),
            "{line}"
        );
        broker.failed("no port", Some(98));
        assert_eq!(next(&manager).as_deref(), Some("STATUS=no port\nERRNO=98"));
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        let text = |number: u32| Some(number.to_string());
        let (ours, other) = (process::id(), process::id() + 1);
        let time = Some(Duration::from_secs(1));
        assert_eq!(watchdog(text(1_000_000), None), time);
        assert_eq!(watchdog(text(1_000_000), text(ours)), time);
        assert_eq!(watchdog(text(1_000_000), text(other)), None);
        assert_eq!(watchdog(text(0), None), None);
        assert_eq!(watchdog(None, text(ours)), None);
    }
}
