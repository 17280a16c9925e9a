//! The forms of a line: nats-server's text, JSON, logfmt, and what log services take.

mod journal;
mod json;
mod logfmt;
mod syslog;
mod text;

use std::process;

use chrono::{DateTime, Local, SecondsFormat, Utc};

pub(super) use self::{journal::journal_message, syslog::syslog_message};
use super::record::{Record, Value};
use crate::config::options::{LogFormat, Options};

/// Fields that stand before the text.
const HEAD: [&str; 5] = ["code", "kind", "cid", "ip", "port"];

/// How lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Style {
    pub(super) format: LogFormat,
    pub(super) colour: bool,
    pub(super) time: bool,
    pub(super) utc: bool,
}

impl Style {
    pub(super) fn new(options: &Options, is_terminal: bool) -> Self {
        Self {
            format: options.log_format.unwrap_or_default(),
            colour: is_terminal,
            time: options.logtime,
            utc: options.logtime_utc,
        }
    }
}

impl Record {
    /// The line as a file or standard error gets it, without a line break.
    pub(super) fn line(&self) -> String {
        match self.style.format {
            LogFormat::Json => json::line(self),
            LogFormat::Logfmt => logfmt::line(self),
            // What the journal does not accept goes to standard error as text.
            LogFormat::Text | LogFormat::Journald => text::line(self),
        }
    }

    /// The line for a program that adds time and process id itself.
    fn body(&self) -> String {
        match self.style.format {
            LogFormat::Json | LogFormat::Logfmt => self.line(),
            LogFormat::Text | LogFormat::Journald => text::body(self),
        }
    }

    /// What stands before the text: nothing that a peer chose, so that a program can
    /// recognise a line by its beginning.
    fn head(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let time = self
            .style
            .time
            .then(|| ("time", Value::Text(rfc3339(self.time, self.style.utc))));
        let level = ("level", Value::Text(self.level.name().into()));
        let pid = ("pid", Value::Unsigned(process::id().into()));
        let fields = HEAD
            .into_iter()
            .filter_map(move |name| Some((name, self.field(name)?.clone())));
        time.into_iter().chain([level, pid]).chain(fields)
    }

    /// The other fields, which stand after the text.
    fn tail(&self) -> impl Iterator<Item = &(&'static str, Value)> {
        self.fields.iter().filter(|(name, _)| !HEAD.contains(name))
    }
}

fn rfc3339(time: DateTime<Utc>, utc: bool) -> String {
    match utc {
        true => time.to_rfc3339_opts(SecondsFormat::Micros, true),
        false => time
            .with_timezone(&Local)
            .to_rfc3339_opts(SecondsFormat::Micros, true),
    }
}

/// The beginning of a text, up to this many bytes.
fn cut(text: &str, len_max: usize) -> &str {
    let mut end = text.len().min(len_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
