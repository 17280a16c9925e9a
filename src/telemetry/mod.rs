//! Counting: the one place where a figure comes from.
//!
//! Counters on the way of a message have one writer each and are plain stores;
//! whoever shows a figure adds them up. Threads have histograms and sketches of
//! their own ([`metrics`]). Nothing here knows who shows a figure.

pub mod allocator;
pub mod calls;
pub mod churn;
mod clock;
mod counter;
pub mod event;
pub mod held;
pub mod histogram;
mod kind;
pub mod latency;
pub mod load;
pub mod log_throttle;
pub mod logins;
pub mod loss;
mod message_totals;
pub mod metrics;
pub mod process;
pub mod producers;
pub mod sketch;
pub mod slow;
pub mod subjects;
pub mod tally;

use std::sync::Arc;

use calls::Calls;
use churn::ConnectionChurn;
pub use clock::{MonotonicMicros, MonotonicMillis, WallClock};
pub use counter::{Counter, Traffic};
use event::EventLog;
pub use kind::{ByKind, Kind};
use latency::Latency;
use load::Loads;
use log_throttle::LogThrottle;
use logins::Logins;
pub use message_totals::MessageTotals;
use slow::SlowLog;
use subjects::Subjects;
use tally::Tally;

/// What a broker remembers of what happened to it.
pub struct Telemetry {
    /// Events, the last ones.
    pub events: EventLog,
    /// Clients that come and go.
    pub churn: ConnectionChurn,
    /// Who was let in, and who not.
    pub logins: Arc<Logins>,
    /// How often the log tells of strangers that were sent away.
    pub strangers: LogThrottle,
    /// How often the log tells of connections beyond `connection_rate_limit`.
    pub beyond_rate: LogThrottle,
    /// Readers that fell behind.
    pub slow: SlowLog,
    /// How long messages stay.
    pub latency: Latency,
    /// What connections, users and accounts move.
    pub loads: Loads,
    /// What subjects carry.
    pub subjects: Subjects,
    /// Requests that nobody answers, by subject.
    pub unanswered: Tally,
    /// Requests to other accounts that were refused because too many replies are
    /// waited for already, by the account that asks.
    pub replies_full: Tally,
    /// Messages close to the largest size or above it, by publisher; the
    /// amount is their size.
    pub large: Tally,
    /// Connections closed because their certificate was revoked meanwhile, by
    /// client or route.
    pub revoked: Tally,
    /// Calls of the system that are under way.
    pub calls: Calls,
}

impl Telemetry {
    /// Nothing happened yet. `storm_rate` connects and closes within a second
    /// are a storm.
    pub fn new(storm_rate: u64) -> Self {
        Self {
            events: EventLog::default(),
            churn: ConnectionChurn::new(storm_rate),
            logins: Arc::default(),
            strangers: LogThrottle::default(),
            beyond_rate: LogThrottle::once(),
            slow: SlowLog::default(),
            latency: Latency::default(),
            loads: Loads::default(),
            subjects: Subjects::default(),
            unanswered: Tally::default(),
            replies_full: Tally::default(),
            large: Tally::default(),
            revoked: Tally::default(),
            calls: Calls::default(),
        }
    }
}
