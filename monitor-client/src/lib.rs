//! The answers of a NATS broker's monitoring port (8222) as types, and a small
//! blocking client that fetches them.
//!
//! The broker fills these types and serialises them; the collectd plugin,
//! `check_nats` and the tests read them. Field names and types follow
//! nats-server 2.15 (`server/monitor.go`); what only midge answers is optional,
//! so that answers of a real nats-server parse as well. No async code lives
//! here: the readers are small blocking programs.

pub mod client;
pub mod connz;
pub mod healthz;
pub mod subsz;
pub mod varz;

pub use client::{Client, Error};
pub use connz::{ConnInfo, Connz, SubDetail};
pub use healthz::Healthz;
pub use subsz::Subsz;
pub use varz::{KindCounts, Varz};
