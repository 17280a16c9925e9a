//! The monitoring port from outside: what it answers is compared with a real
//! nats-server, and what it must withstand is done to it.

mod support;

// Each test program uses a part of it.
#[allow(dead_code)]
#[path = "cluster/mesh.rs"]
mod mesh;

#[path = "monitor_room/answers.rs"]
mod answers;
#[path = "monitor_room/bounds.rs"]
mod bounds;
#[path = "monitor_room/crowd.rs"]
mod crowd;
#[path = "monitor_room/doors.rs"]
mod doors;
#[path = "monitor_room/endpoints.rs"]
mod endpoints;
#[path = "monitor_room/likeness.rs"]
mod likeness;
#[path = "monitor_room/metrics.rs"]
mod metrics;
#[path = "monitor_room/secrets.rs"]
mod secrets;
#[path = "monitor_room/series.rs"]
mod series;
#[path = "monitor_room/totals.rs"]
mod totals;
#[path = "monitor_room/who_may_ask.rs"]
mod who_may_ask;
#[path = "monitor_room/words.rs"]
mod words;
