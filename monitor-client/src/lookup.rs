//! Looks up host names within a time limit. The system's resolver has none, so a lookup runs on a
//! thread of its own. One that hangs is waited for again by the next request, so that a client
//! never has more than one such thread.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Instant,
};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// The lookups of one host.
#[derive(Debug, Default)]
pub(crate) struct Lookup(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_running: bool,
    /// Lookups that have ended.
    ended: u64,
    /// The result of the last one; the error as a text, since several requests may want it.
    result: Option<Result<Vec<SocketAddr>, String>>,
}

/// Why there is no address.
#[derive(Debug)]
pub(crate) enum LookupError {
    /// The resolver does not answer.
    Late,
    /// The resolver's reason.
    Failed(String),
}

impl Lookup {
    /// Addresses of the host, in the order in which they are to be tried.
    ///
    ///  # Errors
    ///
    /// The name does not exist, or the resolver has not answered until `end`.
    pub(crate) fn addresses(
        &self,
        host: &str,
        port: u16,
        end: Instant,
    ) -> Result<Vec<SocketAddr>, LookupError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![(address, port).into()]);
        }
        let before = self.join(|| start(&self.0, host.to_owned(), port))?;
        self.result(before, end)
    }

    /// Takes part in the lookup that is running; `start` begins one if none is. Returns how many
    /// had ended before it, for [`Lookup::result`].
    fn join(&self, start: impl FnOnce() -> io::Result<()>) -> Result<u64, LookupError> {
        let mut state = lock(&self.0);
        if !state.is_running {
            start().map_err(|error| LookupError::Failed(format!("no thread: {error}")))?;
            state.is_running = true;
        }
        Ok(state.ended)
    }

    /// Waits until more lookups have ended than `before`.
    fn result(&self, before: u64, end: Instant) -> Result<Vec<SocketAddr>, LookupError> {
        let mut state = lock(&self.0);
        while state.ended == before {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LookupError::Late);
            }
            let waited = self.0.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        match &state.result {
            Some(Ok(addresses)) => Ok(addresses.clone()),
            Some(Err(reason)) => Err(LookupError::Failed(reason.clone())),
            None => Err(LookupError::Late),
        }
    }
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins a lookup on a thread of its own.
fn start(shared: &Arc<Shared>, host: String, port: u16) -> io::Result<()> {
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name("lookup".to_owned())
        .spawn(move || finish(&shared, resolve(&host, port)))
        .map(|_| ())
}

fn finish(shared: &Shared, result: Result<Vec<SocketAddr>, String>) {
    let mut state = lock(shared);
    state.is_running = false;
    state.ended += 1;
    state.result = Some(result);
    drop(state);
    shared.ended.notify_all();
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    match (host, port).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.take(ADDRESSES_MAX).collect()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PATIENT: Duration = Duration::from_secs(20);

    #[test]
    fn addresses_and_names_are_resolved() {
        let lookup = Lookup::default();
        let end = Instant::now() + PATIENT;
        for (host, text) in [("192.0.2.1", "192.0.2.1:1"), ("::1", "[::1]:1")] {
            let found = lookup.addresses(host, 1, end).expect("an address");
            assert_eq!(found, [text.parse().expect("an address")]);
        }
        let found = lookup.addresses("localhost", 1, end).expect("known");
        assert!(found.iter().all(|address| address.ip().is_loopback()));
    }

    /// Requests that come while a lookup hangs start no other one, and get its result.
    #[test]
    fn a_lookup_that_hangs_is_the_only_one() {
        let lookup = Lookup::default();
        let mut started = 0;
        for _ in 0..3 {
            let joined = lookup.join(|| {
                started += 1;
                Ok(())
            });
            let late = lookup.result(joined.expect("joined"), Instant::now());
            assert!(matches!(late, Err(LookupError::Late)), "{late:?}");
        }
        assert_eq!(started, 1);
        let before = lookup.join(|| unreachable!("one is running"));
        let before = before.expect("joined");
        let shared = Arc::clone(&lookup.0);
        // It may begin to wait before the lookup ends, or after that.
        let waiter = thread::spawn(move || Lookup(shared).result(before, Instant::now() + PATIENT));
        let address: SocketAddr = "192.0.2.1:1".parse().expect("an address");
        finish(&lookup.0, Ok(vec![address]));
        assert_eq!(waiter.join().expect("no panic").expect("found"), [address]);
    }
}
