//! Support for all end-to-end tests: brokers started as child processes ([`broker`]), the
//! NATS protocol without a library ([`wire`], [`raw_client`], [`websocket`]), their logs ([`log_file`]), a small HTTP client for
//! the monitoring port ([`http`]) and its paths ([`endpoints`]), meshes ([`mesh`]), processes
//! that take over from a broker ([`upgrade`]), a real [`collectd`] with the plugin, a [`browser`], free
//! [`ports`], and the paths of the programs that the tests start and drive ([`tools`]).
//!
//! Every wait has a timeout, and a timeout fails the test.

pub mod broker;
pub mod browser;
pub mod collectd;
pub mod dns;
pub mod endpoints;
pub mod generated;
pub mod held_threads;
pub mod http;
pub mod log_file;
pub mod mesh;
pub mod pki;
pub mod ports;
pub mod puppet_ca;
pub mod raw_client;
pub mod tls_client;
pub mod tools;
pub mod traffic;
pub mod upgrade;
pub mod websocket;
pub mod wire;

pub use broker::{Broker, BrokerBuilder};
pub use held_threads::HeldThreads;
pub use http::HttpResponse;
pub use log_file::LogFile;
pub use ports::{free_address, free_port};
pub use raw_client::RawClient;
pub use traffic::Traffic;
pub use upgrade::Successor;
pub use wire::Frame;

use std::time::{Duration, Instant};

/// Timeout of every single wait in a test. A wait ends as soon as the condition holds, so
/// this only bounds the time of a failing test; it is long enough for a very busy
/// machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Pauses between two checks of a condition: short at first, later long enough not to
/// slow the broker down.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(25)];

/// Calls `condition` until it holds; panics with `what` after [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Calls `probe` until it returns a value; panics with `what` after [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, &mut probe)
}

/// The same with its own timeout.
pub fn wait_within<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    let [shortest, longest] = PAUSES;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        let waited = begin.elapsed();
        assert!(waited < patience, "waited {patience:?} in vain: {what}");
        std::thread::sleep((waited / 50).clamp(shortest, longest));
    }
}
