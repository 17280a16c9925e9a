//! Meshes of brokers: midge with midge, with nats-server 2.15 and with 2.9. Every mesh
//! consists of real processes on free ports of this machine.
//!
//! `MIDGE_FAULT_SECONDS` extends the random faults; `MIDGE_FAULT_SEED` repeats those of a
//! failed run, which prints its seed.

mod account_limits;
mod borders;
mod bounds;
mod delivery;
mod departures;
mod faults;
mod formation;
mod hostile_peers;
mod legacy;
mod names;
mod queues;
mod replacement;
mod route_port;
mod scripted_clients;
mod services;
mod settings;
mod simultaneous_dials;
#[allow(dead_code)]
mod streams;
pub mod tls;
mod upgrades;
