//! The block `diagnosis`: when something is worth a finding. The table of its keys is
//! in [`keys`].

mod keys;
mod subjects;

use std::{path::PathBuf, time::Duration};

pub(super) use keys::DIAGNOSIS;

/// Thresholds of the diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Interval between two samples of the broker.
    pub interval: Duration,
    /// How long a symptom must last to become a finding.
    pub appear_after: Duration,
    /// How long a symptom must be absent until its finding clears.
    pub clear_after: Duration,
    /// How long single incidents, such as a refused login, count.
    pub incident_window: Duration,
    /// Time over which growth is measured.
    pub growth_window: Duration,
    /// A ceiling that is reached sooner than this, at the present growth, is a finding.
    pub exhausted_within: Duration,
    /// A queue that is full sooner than this, at the present growth, is a finding.
    pub queue_full_within: Duration,
    /// Interval between two checks of the configuration file.
    pub config_check: Duration,
    /// How long work may wait for a thread of the broker.
    pub worker_delay: Duration,
    /// A round trip to another broker of the cluster that is worth a finding.
    pub route_rtt: Duration,
    /// How long another broker of the cluster may leave a question unanswered.
    pub route_silence: Duration,
    /// How long another broker may be gone that said that it leaves.
    pub planned_absence: Duration,
    /// Losses of the route to a broker, within `incident_window`, that are a finding.
    pub route_losses: u64,
    /// Clients beyond an even share that a member of the cluster may have.
    pub uneven_clients: u64,
    /// Connects and closes within a second that are a storm.
    pub storm_rate: u64,
    /// Percent of a ceiling that are worth a warning.
    pub ceiling_warning: u64,
    /// Percent of a ceiling that are critical.
    pub ceiling_critical: u64,
    /// Percent of `max_pending` that make a reader a slow one.
    pub slow_percent: u64,
    /// Percent of `max_payload` that make a message a large one.
    pub payload_percent: u64,
    /// Refused logins, within `incident_window`, that are a finding.
    pub login_failures: u64,
    /// Permission violations, within `incident_window`, that are a finding.
    pub violations: u64,
    /// Unanswered requests, within `incident_window`, that are a finding.
    pub no_responders: u64,
    /// Messages to one subject without receivers, within `incident_window`, that are a
    /// finding.
    pub no_interest: u64,
    /// Subjects whose messages need no subscriber.
    pub may_be_unheard: Vec<String>,
    /// Subscriptions that a connection gathers, steadily, within `growth_window`, that are a leak.
    pub leak_subscriptions: u64,
    /// Subjects to which clients subscribe for replies.
    pub reply_subjects: Vec<String>,
    /// A certificate or CA that ends sooner than this is a finding.
    pub certificate_warning: Duration,
    /// A certificate or CA that ends sooner than this is a critical one.
    pub certificate_critical: Duration,
    /// A CRL whose successor is due sooner than this is a finding.
    pub crl_warning: Duration,
    /// A CRL whose successor is due sooner than this is a critical one.
    pub crl_critical: Duration,
    /// TLS handshakes that fail, within `incident_window`, that are a finding.
    pub handshake_failures: u64,
    /// Connections without an answer to pings, within `incident_window`, that are a finding.
    pub stale_peers: u64,
    /// Starts of the broker, within `incident_window`, that are a finding.
    pub restarts: u64,
    /// File that remembers the last starts of the broker; `None` for none.
    pub starts_file: Option<PathBuf>,
}

impl Default for Diagnosis {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            appear_after: Duration::from_secs(2),
            clear_after: Duration::from_secs(10),
            incident_window: Duration::from_secs(600),
            growth_window: Duration::from_secs(300),
            exhausted_within: Duration::from_secs(1800),
            queue_full_within: Duration::from_secs(60),
            config_check: Duration::from_secs(10),
            worker_delay: Duration::from_millis(250),
            route_rtt: Duration::from_millis(250),
            route_silence: Duration::from_secs(10),
            planned_absence: Duration::from_secs(600),
            route_losses: 3,
            uneven_clients: 50,
            storm_rate: 100,
            ceiling_warning: 80,
            ceiling_critical: 95,
            slow_percent: 25,
            payload_percent: 80,
            login_failures: 5,
            violations: 5,
            no_responders: 10,
            no_interest: 1000,
            may_be_unheard: subjects::owned(subjects::MAY_BE_UNHEARD),
            leak_subscriptions: 1000,
            reply_subjects: subjects::owned(subjects::REPLY_SUBJECTS),
            certificate_warning: Duration::from_secs(30 * 24 * 3600),
            certificate_critical: Duration::from_secs(7 * 24 * 3600),
            crl_warning: Duration::from_secs(72 * 3600),
            crl_critical: Duration::from_secs(12 * 3600),
            handshake_failures: 10,
            stale_peers: 3,
            restarts: 3,
            starts_file: None,
        }
    }
}
