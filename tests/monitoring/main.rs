//! All ways to observe a broker: port 8222 with its page and its events, findings, the
//! flight recorder, `check_nats` and what schedules it, and `midge top`.

mod check_nats;
mod dashboard;
mod events;
mod findings;
mod flight_recorder;
mod monitor;
mod nats_cli;
mod schedulers;
mod top;
