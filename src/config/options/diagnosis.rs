//! The block `diagnosis`: when something is worth a finding.

use std::{path::PathBuf, time::Duration};

use super::{
    Options,
    keys::{Key, Kind},
};

/// Thresholds of the diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Time between two looks at the broker.
    pub interval: Duration,
    /// How long a symptom must last to become a finding.
    pub appear_after: Duration,
    /// How long a symptom must be gone until its finding clears.
    pub clear_after: Duration,
    /// How long single incidents, such as a refused login, are held against the broker.
    pub incident_window: Duration,
    /// Time over which growth is measured.
    pub growth_window: Duration,
    /// A ceiling that is reached sooner than this, at the present growth, is a finding.
    pub exhausted_within: Duration,
    /// A queue that is full sooner than this, at the present growth, is a finding.
    pub queue_full_within: Duration,
    /// Time between two looks at the configuration file.
    pub config_check: Duration,
    /// How long work may wait for a thread of the broker.
    pub worker_delay: Duration,
    /// A round trip to another broker of the cluster that is worth a finding.
    pub route_rtt: Duration,
    /// How long another broker of the cluster may leave a question unanswered.
    pub route_silence: Duration,
    /// Losses of the route to a broker, within `incident_window`, that are a finding.
    pub route_losses: u64,
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
    /// Requests that nobody answers, within `incident_window`, that are a finding.
    pub no_responders: u64,
    /// Messages to one subject that reach nobody, within `incident_window`, that are a finding.
    pub no_interest: u64,
    /// Subscriptions that a connection gathers, steadily, within `growth_window`, that are a leak.
    pub leak_subscriptions: u64,
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
            route_losses: 3,
            storm_rate: 100,
            ceiling_warning: 80,
            ceiling_critical: 95,
            slow_percent: 25,
            payload_percent: 80,
            login_failures: 5,
            violations: 5,
            no_responders: 10,
            no_interest: 1000,
            leak_subscriptions: 1000,
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

/// The keys of the block.
pub const DIAGNOSIS_KEYS: &[Key] = &[
    time(
        "interval",
        "\"1s\"",
        "Time between two looks at the broker.",
        |options, time| options.diagnosis.interval = time,
    ),
    time(
        "appear_after",
        "\"2s\"",
        "How long a symptom must last to become a finding.",
        |options, time| options.diagnosis.appear_after = time,
    ),
    time(
        "clear_after",
        "\"10s\"",
        "How long a symptom must be gone until its finding clears.",
        |options, time| options.diagnosis.clear_after = time,
    ),
    time(
        "incident_window",
        "\"10m\"",
        "How long single incidents, such as a refused login, are held against the broker.",
        |options, time| options.diagnosis.incident_window = time,
    ),
    time(
        "growth_window",
        "\"5m\"",
        "Time over which growth is measured.",
        |options, time| options.diagnosis.growth_window = time,
    ),
    time(
        "exhausted_within",
        "\"30m\"",
        "A ceiling that is reached sooner than this, at the present growth, is a finding.",
        |options, time| options.diagnosis.exhausted_within = time,
    ),
    time(
        "queue_full_within",
        "\"1m\"",
        "A queue that is full sooner than this, at the present growth, is a finding.",
        |options, time| options.diagnosis.queue_full_within = time,
    ),
    time(
        "config_check",
        "\"10s\"",
        "Time between two looks at the configuration file.",
        |options, time| options.diagnosis.config_check = time,
    ),
    time(
        "worker_delay",
        "\"250ms\"",
        "How long work may wait for a thread of the broker.",
        |options, time| options.diagnosis.worker_delay = time,
    ),
    time(
        "route_rtt",
        "\"250ms\"",
        "A round trip to another broker of the cluster that is worth a finding.",
        |options, time| options.diagnosis.route_rtt = time,
    ),
    time(
        "route_silence",
        "\"10s\"",
        "How long another broker of the cluster may leave a question unanswered.",
        |options, time| options.diagnosis.route_silence = time,
    ),
    count(
        "route_losses",
        "3",
        "Losses of the route to a broker, within `incident_window`, that are a finding.",
        |options, number| options.diagnosis.route_losses = unsigned(number),
    ),
    count(
        "storm_rate",
        "100",
        "Connects and closes within a second that are a storm.",
        |options, number| options.diagnosis.storm_rate = unsigned(number),
    ),
    percent(
        "ceiling_warning",
        "80",
        "Percent of a ceiling that are worth a warning.",
        |options, number| options.diagnosis.ceiling_warning = unsigned(number),
    ),
    percent(
        "ceiling_critical",
        "95",
        "Percent of a ceiling that are critical.",
        |options, number| options.diagnosis.ceiling_critical = unsigned(number),
    ),
    percent(
        "slow_percent",
        "25",
        "Percent of `max_pending` that make a reader a slow one.",
        |options, number| options.diagnosis.slow_percent = unsigned(number),
    ),
    percent(
        "payload_percent",
        "80",
        "Percent of `max_payload` that make a message a large one.",
        |options, number| options.diagnosis.payload_percent = unsigned(number),
    ),
    count(
        "login_failures",
        "5",
        "Refused logins, within `incident_window`, that are a finding.",
        |options, number| options.diagnosis.login_failures = unsigned(number),
    ),
    count(
        "violations",
        "5",
        "Permission violations, within `incident_window`, that are a finding.",
        |options, number| options.diagnosis.violations = unsigned(number),
    ),
    count(
        "no_responders",
        "10",
        "Requests that nobody answers, within `incident_window`, that are a finding.",
        |options, number| options.diagnosis.no_responders = unsigned(number),
    ),
    count(
        "no_interest",
        "1000",
        "Messages to one subject that reach nobody, within `incident_window`, that are a finding.",
        |options, number| options.diagnosis.no_interest = unsigned(number),
    ),
    count(
        "leak_subscriptions",
        "1000",
        "Subscriptions that a connection gathers, steadily, within `growth_window`, that are a leak.",
        |options, number| options.diagnosis.leak_subscriptions = unsigned(number),
    ),
    time(
        "certificate_warning",
        "\"720h\"",
        "A certificate or CA that ends sooner than this is a finding.",
        |options, time| options.diagnosis.certificate_warning = time,
    ),
    time(
        "certificate_critical",
        "\"168h\"",
        "A certificate or CA that ends sooner than this is a critical one.",
        |options, time| options.diagnosis.certificate_critical = time,
    ),
    time(
        "crl_warning",
        "\"72h\"",
        "A CRL whose successor is due sooner than this is a finding.",
        |options, time| options.diagnosis.crl_warning = time,
    ),
    time(
        "crl_critical",
        "\"12h\"",
        "A CRL whose successor is due sooner than this is a critical one.",
        |options, time| options.diagnosis.crl_critical = time,
    ),
    count(
        "handshake_failures",
        "10",
        "TLS handshakes that fail, within `incident_window`, that are a finding.",
        |options, number| options.diagnosis.handshake_failures = unsigned(number),
    ),
    count(
        "stale_peers",
        "3",
        "Connections without an answer to pings, within `incident_window`, that are a finding.",
        |options, number| options.diagnosis.stale_peers = unsigned(number),
    ),
    count(
        "restarts",
        "3",
        "Starts of the broker, within `incident_window`, that are a finding.",
        |options, number| options.diagnosis.restarts = unsigned(number),
    ),
    Key {
        name: "starts_file",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            options.diagnosis.starts_file = Some(PathBuf::from(text)).filter(|_| !text.is_empty());
            Ok(())
        }),
        default: "",
        doc: "File that remembers the last starts of the broker; if not set, `starts` in the \
              folder that systemd names in STATE_DIRECTORY.",
    },
];

const fn time(
    name: &'static str,
    default: &'static str,
    doc: &'static str,
    set: fn(&mut Options, Duration),
) -> Key {
    Key {
        name,
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::from_millis(10),
            seconds: false,
            set,
        },
        default,
        doc,
    }
}

const fn count(
    name: &'static str,
    default: &'static str,
    doc: &'static str,
    set: fn(&mut Options, i64),
) -> Key {
    Key {
        name,
        aliases: &[],
        kind: Kind::Integer(1..=i32::MAX as i64, set),
        default,
        doc,
    }
}

const fn percent(
    name: &'static str,
    default: &'static str,
    doc: &'static str,
    set: fn(&mut Options, i64),
) -> Key {
    Key {
        name,
        aliases: &[],
        kind: Kind::Integer(1..=100, set),
        default,
        doc,
    }
}

/// A number that the table has bounded from below.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
