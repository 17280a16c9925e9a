//! What all accept loops share: waiting after a failed accept, and file descriptors
//! reserved by priority.
//!
//! When descriptors run out, clients are refused first, then routes, then monitoring, so
//! that an operator still has monitoring and members can still connect.

use std::{
    io,
    net::SocketAddr,
    os::fd::AsRawFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::error;

use super::admission::Places;
use crate::telemetry::process::open_files_max;

/// Waits after a failed accept: doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Interval between two log lines about accepts that keep failing.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The system's errors that say that it lacks something, for the process or for all. Others are
/// about the one connection.
const SHORTAGES: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];

/// Number of checks for a freed descriptor, and the time before each.
const DESCRIPTOR_TRIES: u32 = 20;
const DESCRIPTOR_WAIT: Duration = Duration::from_millis(1);

/// Whose connections are accepted: how many descriptors they leave to others.
#[derive(Clone, Copy, Debug)]
pub enum Port {
    /// Clients leave some to routes, monitoring and files.
    Clients,
    /// Routes leave some to monitoring and files.
    Routes,
    /// Monitoring leaves some to files: the log, the configuration, certificates.
    Monitoring,
}

impl Port {
    fn left_to_others(self) -> u64 {
        match self {
            Self::Clients => 128,
            Self::Routes => 64,
            Self::Monitoring => 24,
        }
    }

    /// Whether `accepted` may be served. If it uses one of the reserved descriptors, a
    /// connection that has not logged in is cut, and its descriptor is waited for: so a
    /// burst does not exceed what is being closed for it.
    pub async fn has_free_descriptor(
        self,
        accepted: &impl AsRawFd,
        counted: &OpenSocket,
        places: &Places,
    ) -> bool {
        if !self.is_short_of_files(accepted, counted) {
            return true;
        }
        let closed = CLOSED_SOCKETS.load(Ordering::Relaxed);
        let mut is_cut = false;
        for _ in 0..DESCRIPTOR_TRIES {
            is_cut = is_cut || places.cut_one();
            sleep(DESCRIPTOR_WAIT).await;
            if is_cut && CLOSED_SOCKETS.load(Ordering::Relaxed) > closed {
                return true;
            }
        }
        false
    }

    fn is_short_of_files(self, accepted: &impl AsRawFd, _counted: &OpenSocket) -> bool {
        let number = u64::try_from(accepted.as_raw_fd()).unwrap_or(0);
        let others = *BESIDE_SOCKETS.get_or_init(|| number);
        let taken = others.saturating_add(OPEN_SOCKETS.load(Ordering::Relaxed));
        // The system assigns the lowest free number: all below are in use. Where some below
        // are free, the count is the number in use.
        open_files_max().is_some_and(|max| self.is_beyond(number.max(taken), max))
    }

    fn is_beyond(self, number: u64, max: u64) -> bool {
        number >= self.share_of(max)
    }

    /// How many of `max` descriptors it may use, together with what the broker itself has open.
    pub fn share_of(self, max: u64) -> u64 {
        let kept = self.left_to_others();
        // With few descriptors, in the same proportion.
        max - kept.min(max.saturating_mul(kept) / 512)
    }
}

/// Sockets of clients, routes and monitoring that are open.
static OPEN_SOCKETS: AtomicU64 = AtomicU64::new(0);

/// Those that were closed since the start.
static CLOSED_SOCKETS: AtomicU64 = AtomicU64::new(0);

/// Descriptors that were taken when the first one was accepted: listeners, log and
/// the like.
static BESIDE_SOCKETS: OnceLock<u64> = OnceLock::new();

/// Counts an open socket, until it is dropped with the socket.
pub struct OpenSocket(());

impl OpenSocket {
    /// One more.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        OPEN_SOCKETS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        OPEN_SOCKETS.fetch_sub(1, Ordering::Relaxed);
        CLOSED_SOCKETS.fetch_add(1, Ordering::Relaxed);
    }
}

/// A peer's address as it is usually written: a socket that serves both families gives
/// those of version 4 as mapped ones.
pub fn as_shown(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        ip if ip == peer.ip() => peer,
        ip => SocketAddr::new(ip, peer.port()),
    }
}

/// Failed accepts of one listener.
pub struct AcceptFailures {
    what: &'static str,
    /// Where those are counted that are a lack of something.
    places: Arc<Places>,
    wait: Duration,
    logged: Option<Instant>,
    suppressed: u64,
}

impl AcceptFailures {
    /// None so far, of the listener that is called `what`.
    pub fn new(what: &'static str, places: &Arc<Places>) -> Self {
        Self {
            what,
            places: places.clone(),
            wait: RETRY.0,
            logged: None,
            suppressed: 0,
        }
    }

    /// An accept went well.
    pub fn end(&mut self) {
        self.wait = RETRY.0;
    }

    /// Logs a failed accept at intervals, and waits. Most likely the descriptors are used
    /// up, and some are freed meanwhile.
    pub async fn pause(&mut self, failure: &io::Error) {
        if let Some(number) = failure.raw_os_error().filter(|it| SHORTAGES.contains(it)) {
            self.places.note_failed_accept(number);
        }
        let now = Instant::now();
        if self
            .logged
            .is_none_or(|logged| now - logged >= LOG_INTERVAL)
        {
            let (what, suppressed) = (self.what, std::mem::take(&mut self.suppressed));
            error!("Accept error on {what}: {failure} ({suppressed} more since the last line)");
            self.logged = Some(now);
        } else {
            self.suppressed += 1;
        }
        sleep(self.wait).await;
        self.wait = (self.wait * 2).min(RETRY.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_refused_first_and_monitoring_last() {
        for max in [64, 256, 1024, 65_536] {
            let first = |port: Port| (0..).find(|number| port.is_beyond(*number, max));
            let [clients, routes, monitoring] = [Port::Clients, Port::Routes, Port::Monitoring]
                .map(|port| first(port).unwrap_or(0));
            assert!(max / 2 < clients && clients < routes, "{max}");
            assert!(routes < monitoring && monitoring < max, "{max}");
        }
        assert!(!Port::Clients.is_beyond(895, 1024));
        assert!(Port::Clients.is_beyond(896, 1024));
    }
}
