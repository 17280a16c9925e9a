//! A line as a datagram for the systemd journal: a field on each line, its name in capital
//! letters.
//!
//! No value has a line break, since each is escaped before; so a value cannot begin a field.

use monitor_client::text::escaped;

use super::{
    super::record::{Record, Value},
    cut,
    text::about,
};

/// Limit of a value in bytes. A longer datagram would not be accepted everywhere.
const VALUE_LEN_MAX: usize = 32 * 1024;

/// Limit of other values than the text.
const FIELD_LEN_MAX: usize = 1024;

/// `identifier` is the program's name.
pub(in crate::log) fn journal_message(record: &Record, identifier: &str) -> String {
    let text = about(record);
    let mut message = format!(
        "PRIORITY={}\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER={identifier}\nMESSAGE={}\n",
        record.level.severity(),
        cut(&text, VALUE_LEN_MAX)
    );
    for (name, value) in &record.fields {
        let shown = match value {
            Value::Text(text) => escaped(cut(text, FIELD_LEN_MAX)).into_owned(),
            value => value.to_string(),
        };
        message += &format!("{}={shown}\n", name.to_ascii_uppercase());
    }
    message
}
