//! The monitoring port from outside: what it answers is compared with a real
//! nats-server, and what it must withstand is done to it.

mod support;

#[path = "monitor_room/answers.rs"]
mod answers;
#[path = "monitor_room/bounds.rs"]
mod bounds;
#[path = "monitor_room/likeness.rs"]
mod likeness;
#[path = "monitor_room/metrics.rs"]
mod metrics;
#[path = "monitor_room/who_may_ask.rs"]
mod who_may_ask;
