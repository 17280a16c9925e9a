//! Counting: the one place where metrics come from.
//!
//! Counters on the path of a message have one writer each and are plain stores; readers add them
//! up. Threads have histograms and sketches of their own ([`metrics`]). Nothing here knows who
//! shows a metric.

pub mod allocator;
pub mod calls;
pub mod churn;
mod clock;
mod counter;
pub mod event;
pub mod histogram;
mod kind;
pub mod latency;
pub mod load;
pub mod log_throttle;
pub mod logins;
pub mod loss;
mod message_totals;
pub mod metrics;
pub mod pool;
pub mod process;
pub mod producers;
pub mod sketch;
pub mod slow;
pub mod subject_groups;
pub mod subjects;
pub mod tally;
pub mod threads;

use std::sync::{Arc, atomic::AtomicU64};

use calls::Calls;
use churn::ConnectionChurn;
pub use clock::{MonotonicMicros, MonotonicMillis, WallClock};
pub use counter::{Counter, Traffic};
use event::EventLog;
pub use kind::{ByKind, Kind};
use latency::Latency;
use load::Loads;
use log_throttle::{LogOncePerName, LogThrottle};
use logins::Logins;
pub use message_totals::MessageTotals;
use slow::SlowLog;
use subjects::Subjects;
use tally::Tally;

/// Log lines in a second about clients that were let in: enough for a fleet that leaves, and few
/// enough for a log that a client floods.
const SESSION_LINES_MAX: u32 = 100;

/// What the broker records about its operation.
pub struct Telemetry {
    /// The latest events.
    pub events: EventLog,
    /// Connects and disconnects.
    pub churn: ConnectionChurn,
    /// Successful and refused logins.
    pub logins: Arc<Logins>,
    /// Throttles log lines about connections refused before login.
    pub refused_connections: LogThrottle,
    /// Throttles log lines about connections above `connection_rate_limit`.
    pub over_rate: LogThrottle,
    /// Throttles log lines about clients that were let in: any of them can connect, misbehave
    /// and connect again.
    pub sessions: LogThrottle,
    /// Slow consumer incidents.
    pub slow: SlowLog,
    /// How long messages stay in the broker.
    pub latency: Latency,
    /// Traffic of connections, users and accounts.
    pub loads: Loads,
    /// Traffic by subject.
    pub subjects: Subjects,
    /// Requests without a responder, by subject.
    pub unanswered: Tally,
    /// Requests to other accounts that were refused because too many replies are outstanding, by
    /// the requesting account.
    pub replies_full: Tally,
    /// Connections of leafnodes that were refused because they closed a circle, by the name of the other
    /// broker.
    pub leafnode_loops: Tally,
    /// Connections to leafnodes and hubs that were lost, likewise.
    pub leafnode_losses: Tally,
    /// Messages close to or above the maximum size, by publisher, with their size.
    pub large: Tally,
    /// Connections closed because their certificate was revoked, by client or route.
    pub revoked: Tally,
    /// Handshakes refused because the certificate is revoked, by its subject.
    pub refused_as_revoked: Tally,
    /// Which of them are logged.
    pub revoked_lines: LogOncePerName,
    /// Monitoring requests for another host: which of them are logged.
    pub misdirected_lines: LogOncePerName,
    /// Publishes and subscriptions of clients that were refused for lack of a permission.
    pub permission_violations: AtomicU64,
    /// System calls in progress.
    pub calls: Calls,
}

impl Telemetry {
    /// Empty. More than `storm_rate` connects and closes within a second are a storm.
    pub fn new(storm_rate: u64) -> Self {
        Self {
            events: EventLog::default(),
            churn: ConnectionChurn::new(storm_rate),
            logins: Arc::default(),
            refused_connections: LogThrottle::default(),
            over_rate: LogThrottle::of(1),
            sessions: LogThrottle::of(SESSION_LINES_MAX),
            slow: SlowLog::default(),
            latency: Latency::default(),
            loads: Loads::default(),
            subjects: Subjects::default(),
            unanswered: Tally::default(),
            replies_full: Tally::default(),
            leafnode_loops: Tally::default(),
            leafnode_losses: Tally::default(),
            large: Tally::default(),
            revoked: Tally::default(),
            refused_as_revoked: Tally::default(),
            revoked_lines: LogOncePerName::default(),
            misdirected_lines: LogOncePerName::default(),
            permission_violations: AtomicU64::default(),
            calls: Calls::default(),
        }
    }
}
