//! The notification about a finding, in collectd's terms: a short text that names the culprit first,
//! and everything in metadata.

use monitor_client::{
    Finding,
    text::{cut, escaped, plural},
};

use super::{Event, Level};
use crate::daemon::Severity;

/// Limit of collectd for a message, in bytes.
const MESSAGE_MAX: usize = 255;

/// Bytes of the code and the subject in a message; the metadata has all of them.
const CODE_MAX: usize = 40;
const SUBJECT_MAX: usize = 60;

/// Bytes of the text in a message: some are left for what to do.
const TEXT_MAX: usize = 90;

/// A notification about findings of one severity.
#[derive(Debug)]
pub(crate) struct Message {
    /// The findings that it is about.
    pub(crate) level: Level,
    pub(crate) severity: Severity,
    pub(crate) text: String,
    /// Names and values.
    pub(crate) metadata: Vec<(&'static str, String)>,
}

impl Message {
    /// The type instance under which it is sent: that of the metric.
    pub(crate) fn type_instance(&self) -> &'static str {
        match self.level {
            Level::Info => "findings_info",
            Level::Warning => "findings_warning",
            Level::Critical => "findings_critical",
        }
    }

    /// There is no finding of this severity.
    pub(super) fn nothing(level: Level) -> Self {
        Self {
            level,
            severity: Severity::Okay,
            text: format!("no {} findings", level.name()),
            metadata: vec![("Change", "none".to_owned())],
        }
    }

    /// More findings changed than are reported one by one.
    pub(super) fn more(level: Level, severity: Severity, count: usize) -> Self {
        Self {
            level,
            severity,
            text: format!(
                "{} changed: see /explainz",
                plural(count, &format!("more {} finding", level.name()))
            ),
            metadata: vec![("Change", "more".to_owned())],
        }
    }
}

impl Event {
    /// The notification; `severity` is that of the identifier afterwards, for which `count` findings
    /// are left.
    pub(super) fn message(&self, severity: Severity, count: usize) -> Message {
        Message {
            level: self.level,
            severity,
            text: self.text(count),
            metadata: self.metadata(),
        }
    }

    fn text(&self, count: usize) -> String {
        let Finding {
            code,
            subject,
            since,
            text,
            remedy,
            ..
        } = &self.finding;
        let who = match &**subject {
            "" => String::new(),
            subject => format!(": {}", shortened(&escaped(subject), SUBJECT_MAX)),
        };
        let (code, since) = (shortened(code, CODE_MAX), seconds_of(since));
        let level = self.level.name();
        let message = match self.change {
            "cleared" => {
                let left = match count {
                    0 => format!("no {level} findings"),
                    1 => format!("1 {level} finding is left"),
                    count => format!("{count} {level} findings are left"),
                };
                format!("over: {code}{who}, since {since}; {left}")
            }
            change => {
                let how = match (change, self.before) {
                    ("flapping", _) => ", comes and goes".to_owned(),
                    (_, Some(before)) => format!(", was {}", before.name()),
                    (_, None) => String::new(),
                };
                let text = shortened(escaped(text).trim_end_matches('.'), TEXT_MAX);
                format!("{level} {code}{who}, since {since}{how}: {text}; do: {remedy}")
            }
        };
        // Nagios takes what follows a bar for performance data.
        let message = escaped(&message).replace('|', "_");
        shortened(&message, MESSAGE_MAX)
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        let Finding {
            code,
            subject,
            cid,
            since,
            text,
            cause,
            remedy,
            link,
            ..
        } = &self.finding;
        let cid = match cid {
            0 => String::new(),
            cid => cid.to_string(),
        };
        let all = [
            ("Change", self.change.to_owned()),
            ("Code", code.clone()),
            ("Level", self.level.name().to_owned()),
            ("Subject", subject.clone()),
            ("Cid", cid),
            ("Since", since.clone()),
            ("Text", text.clone()),
            ("Cause", cause.clone()),
            ("Remedy", remedy.clone()),
            ("Link", link.clone()),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect()
    }
}

/// The beginning of a text in at most `max` bytes; what is missing shows as dots.
fn shortened(text: &str, max: usize) -> String {
    match text.len() <= max {
        true => text.to_owned(),
        false => format!("{}...", cut(text, max - 3)),
    }
}

/// A time of RFC 3339, in UTC without fractions of a second.
fn seconds_of(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, rest)) if rest.ends_with('Z') => format!("{seconds}Z"),
        _ => time.to_owned(),
    }
}
