//! A line as a message of RFC 3164, for the system's log and log servers.

use std::fmt;

use super::{super::record::Record, cut};

/// The facility for daemons.
const FACILITY: u8 = 3;

/// Limit of a message's text in bytes; servers cut messages at 8 KiB.
const TEXT_LEN_MAX: usize = 7 * 1024;

/// `origin` names the program, and for servers the host.
pub(in crate::log) fn syslog_message(
    record: &Record,
    origin: &str,
    time: &impl fmt::Display,
) -> String {
    let priority = FACILITY * 8 + record.level.severity();
    let text = record.body();
    format!("<{priority}>{time} {origin}: {}", cut(&text, TEXT_LEN_MAX))
}
