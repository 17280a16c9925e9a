//! The monitoring port from outside: what it answers is compared with a real
//! nats-server, and what it must withstand is done to it.

mod allowed_requests;
mod answers;
mod bounds;
mod compatibility;
mod endpoints;
mod errors_and_traces;
mod many_connections;
mod metrics;
mod secrets;
mod series;
mod socket_and_auth;
mod totals;
