//! The monitoring port from outside: what it answers is compared with a real
//! nats-server, and what it must withstand is done to it.

mod answers;
mod bounds;
mod crowd;
mod doors;
mod endpoints;
mod likeness;
mod metrics;
mod secrets;
mod series;
mod totals;
mod who_may_ask;
mod words;
