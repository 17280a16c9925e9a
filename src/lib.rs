//! midge: a NATS-compatible message broker that is built to be watched.
//!
//! The rooms and who may use whom are drawn in `ARCHITECTURE.md`.

pub mod config;
pub mod log;

/// The nats-server version whose configuration, protocol and monitoring are
/// served; clients choose their features by it.
pub const COMPATIBLE_VERSION: &str = "2.15.1";
/// The version of midge.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The first digits of the commit that was built; empty if unknown.
pub const GIT_COMMIT: &str = env!("MIDGE_GIT_COMMIT");
