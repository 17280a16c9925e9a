//! The table of the keys at the top of the configuration file, in the order of the example
//! file. Those of inner blocks are next to their readers.

mod broker;
mod clients;
mod log;
mod unserved;

use std::{ops::RangeInclusive, time::Duration};

use super::{
    ANY_HOST, DEFAULT_PORT, Options,
    table::{Block, Key, Section, Table, all_tables},
};
use crate::config::syntax::Value;

/// The keys at the top of the file.
pub static TOP: Block<Options> = Block {
    name: "top",
    title: "At the top",
    place: "",
    sections: &[
        section("Client listener", clients::LISTENER),
        section("Monitoring", broker::MONITORING),
        section("Limits", clients::LIMITS),
        section("Connections", clients::CONNECTIONS),
        section("Logins", clients::LOGINS),
        section("TLS", broker::SECURED),
        section("WebSocket", broker::WEB),
        section("Accounts", broker::ACCOUNTS),
        section("Cluster", broker::MESH),
        section("Other sites", broker::SITES),
        section("Lame duck mode", broker::LAME_DUCK),
        section("Log", log::LOG),
        section("Files", log::FILES),
        section("Description", broker::DESCRIBED),
        section("Diagnosis", broker::DIAGNOSED),
        section(
            "Keys of nats-server that are not served",
            unserved::UNSERVED,
        ),
    ],
};

const fn section(title: &'static str, keys: &'static [Key<Options>]) -> Section<Options> {
    Section { title, keys }
}

/// The tables of all blocks, the one of the top first.
pub fn tables() -> Vec<Table> {
    all_tables(&TOP)
}

impl Key<Options> {
    /// The settings that a value of this key decides. Two keys that share one
    /// contradict each other.
    pub(in crate::config) fn settings(&'static self, value: &Value) -> &'static [&'static str] {
        match (self.name, value) {
            ("listen", Value::Integer(_)) | ("port", _) => &["port"],
            ("listen", _) => &["host", "port"],
            ("http" | "https", Value::Integer(_)) | ("http_port" | "https_port", _) => {
                &["http port"]
            }
            ("http" | "https", _) => &["http host", "http port"],
            _ => std::slice::from_ref(&self.name),
        }
    }
}

const LISTENS: &str = "the client port is opened at the start";
const MONITORS: &str = "the monitoring port is opened at the start";

const ANY: RangeInclusive<i64> = i64::MIN..=i64::MAX;
const NOT_NEGATIVE: RangeInclusive<i64> = 0..=i64::MAX;
const FIT_32_BITS: RangeInclusive<i64> = 0..=i32::MAX as i64;

fn set_host(options: &mut Options, host: &str) {
    options.host = non_empty(host).unwrap_or_else(|| ANY_HOST.into());
    options.host_is_safe_default = false;
}

fn client_port(port: i64) -> u16 {
    match port {
        0 => DEFAULT_PORT,
        port => u16::try_from(port).unwrap_or(0),
    }
}

/// The text, or `None` for an empty one.
pub(super) fn non_empty(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The number, or 0 if it is negative.
fn or_zero(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// The number, or what `default` finds in the defaults if it is 0.
fn or_default(number: i64, default: fn(Options) -> usize) -> usize {
    match or_zero(number) {
        0 => default(Options::default()),
        number => number,
    }
}

fn or_default_time(time: Duration, default: fn(Options) -> Duration) -> Duration {
    match time {
        Duration::ZERO => default(Options::default()),
        time => time,
    }
}
