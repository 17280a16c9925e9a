//! `log_format`: the form of log lines.

use super::written::Written;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// nats-server's line.
    #[default]
    Text,
    /// A JSON object on each line.
    Json,
    /// Pairs of name and value on each line.
    Logfmt,
    /// The fields of the systemd journal, which gets them directly.
    Journald,
}

impl LogFormat {
    const ALL: [Self; 4] = [Self::Text, Self::Json, Self::Logfmt, Self::Journald];

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Logfmt => "logfmt",
            Self::Journald => "journald",
        }
    }

    /// The form of a name; `None` for an empty one.
    ///
    /// # Errors
    ///
    /// There is no such form.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let known = Self::ALL.into_iter().find(|form| form.name() == text);
        let wrong = || format!("{text:?} is no log format: write text, json, logfmt or journald");
        known.ok_or_else(wrong).map(Some)
    }
}

impl Written for LogFormat {
    fn written(&self) -> String {
        self.name().written()
    }
}
