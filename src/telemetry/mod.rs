//! Counting: the one place where a figure comes from.
//!
//! Counters on the way of a message have one writer each and are plain stores;
//! whoever shows a figure adds them up. Nothing here knows who shows it.

mod clock;
mod counter;
pub mod crowd;
pub mod event;
pub mod process;
pub mod tally;

pub use clock::Clock;
pub use counter::{Counter, Traffic};
use crowd::Crowd;
use event::EventLog;
use tally::Tally;

/// What a broker remembers of what happened to it.
pub struct Telemetry {
    /// Events, the last ones.
    pub events: EventLog,
    /// Clients that come and go.
    pub crowd: Crowd,
    /// Requests that nobody answers, by subject.
    pub unanswered: Tally,
    /// Messages close to the largest size or above it, by publisher; the
    /// amount is their size.
    pub large: Tally,
}

impl Telemetry {
    /// Nothing happened yet. `storm_rate` connects and closes within a second
    /// are a storm.
    pub fn new(storm_rate: u64) -> Self {
        Self {
            events: EventLog::default(),
            crowd: Crowd::new(storm_rate),
            unanswered: Tally::default(),
            large: Tally::default(),
        }
    }
}
