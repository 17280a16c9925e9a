//! The monitoring port end to end: its answers are compared with those of a real
//! nats-server, and it is tested under abuse.

mod alerts;
mod allowed_requests;
mod answers;
mod bounds;
mod compatibility;
mod errors_and_traces;
mod figures;
mod foreign_names;
mod many_connections;
mod metrics;
mod secrets;
mod series;
mod socket_and_auth;
mod totals;
