//! Counting: the one place where a figure comes from.
//!
//! Counters on the way of a message have one writer each and are plain stores;
//! whoever shows a figure adds them up. Nothing here knows who shows it.

mod clock;
mod counter;
pub mod event;

pub use clock::Clock;
pub use counter::{Counter, Traffic};
use event::EventLog;

/// What a broker remembers of what happened to it.
#[derive(Default)]
pub struct Telemetry {
    /// Events, the last ones.
    pub events: EventLog,
}
