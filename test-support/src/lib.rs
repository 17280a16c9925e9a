//! What every end-to-end test needs: brokers started as child processes
//! ([`broker`]), the bare protocol ([`wire`], [`raw_client`]), a small HTTP
//! client for the monitoring port ([`http`]), meshes ([`mesh`]), and where to find the
//! programs that the tests start and drive ([`tools`]).
//!
//! Every wait has a bound, and running into it fails the test.

pub mod broker;
pub mod held_threads;
pub mod http;
pub mod mesh;
pub mod pki;
pub mod raw_client;
pub mod tls_client;
pub mod tools;
pub mod wire;

pub use broker::{Broker, BrokerBuilder};
pub use held_threads::HeldThreads;
pub use http::HttpResponse;
pub use raw_client::RawClient;
pub use wire::Frame;

use std::time::{Duration, Instant};

/// The longest any single wait in a test lasts. Far above what a healthy
/// broker needs, so that a busy machine does not fail a test.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks `condition` until it holds; panics with `what` after [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Asks `probe` until it yields a value; panics with `what` after [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}
