//! midge: a NATS-compatible message broker that is built to be watched.
//!
//! `ARCHITECTURE.md` describes the modules and which of them may use which.

pub mod account;
pub mod broker;
pub mod client;
pub mod config;
pub mod connection;
pub mod delivery;
pub mod diff;
pub mod federation;
pub mod interest;
pub mod leafnode;
pub mod log;
pub mod monitor;
pub mod nodes;
pub mod observe;
pub mod peer;
pub mod protocol;
pub mod route;
pub mod security;
pub mod server;
pub mod service_manager;
pub mod signal;
pub mod subject;
pub mod sublist;
pub mod system;
pub mod telemetry;

/// The version of midge itself.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The nats-server version whose client features midge serves. Client
/// libraries gate features on it.
pub const COMPATIBLE_VERSION: &str = "2.15.1";

/// The commit midge was built from; empty when it was built outside of a
/// repository.
pub const GIT_COMMIT: &str = env!("MIDGE_GIT_COMMIT");
