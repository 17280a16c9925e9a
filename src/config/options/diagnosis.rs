//! The block `diagnosis`: when something is worth a finding.

use std::time::Duration;

use super::{
    Options,
    keys::{Key, Kind},
};

/// Thresholds of the diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Time between two looks at the broker.
    pub interval: Duration,
    /// Connects and closes within a second that are a storm.
    pub storm_rate: u64,
}

impl Default for Diagnosis {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            storm_rate: 100,
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
    count(
        "storm_rate",
        "100",
        "Connects and closes within a second that are a storm.",
        |options, count| options.diagnosis.storm_rate = unsigned(count),
    ),
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

/// A count that the table has bounded from below.
fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
