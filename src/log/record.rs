//! A line of the log before it has a form: its level, time, text and fields.
//!
//! Made of each `tracing` event by the subscriber, given a form by the thread that writes it
//! (see [`super::format`]).

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use tracing::{
    Event, Metadata,
    field::{Field, Visit},
};

use super::{FATAL, TRACED, format::Style};

/// How serious a line is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Level {
    Fatal,
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

impl Level {
    pub(super) fn of(metadata: &Metadata<'_>) -> Self {
        match *metadata.level() {
            tracing::Level::ERROR if metadata.target() == FATAL => Self::Fatal,
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warning,
            tracing::Level::INFO if metadata.target() == TRACED => Self::Trace,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG => Self::Debug,
            tracing::Level::TRACE => Self::Trace,
        }
    }

    /// As nats-server writes it.
    pub(super) fn letters(self) -> &'static str {
        match self {
            Self::Fatal => "FTL",
            Self::Error => "ERR",
            Self::Warning => "WRN",
            Self::Info => "INF",
            Self::Debug => "DBG",
            Self::Trace => "TRC",
        }
    }

    /// As JSON and logfmt have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// Its colour on a terminal.
    pub(super) fn colour(self) -> u8 {
        match self {
            Self::Fatal | Self::Error => 31,
            Self::Warning => 33,
            Self::Info => 32,
            Self::Debug => 36,
            Self::Trace => 35,
        }
    }

    /// The severity of a system log. A line of normal operation is a notice there, as
    /// nats-server has it.
    pub(super) fn severity(self) -> u8 {
        match self {
            Self::Fatal => 2,
            Self::Error => 3,
            Self::Warning => 4,
            Self::Info => 5,
            Self::Debug | Self::Trace => 7,
        }
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Float(f64),
    Signed(i64),
    /// As it was given: each form escapes what would affect a display.
    Text(String),
    Unsigned(u64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
        }
    }
}

/// A line of the log.
pub(super) struct Record {
    /// The form that was in force when it was logged.
    pub(super) style: Arc<Style>,
    pub(super) level: Level,
    pub(super) time: DateTime<Utc>,
    /// The text, as it was given.
    pub(super) message: String,
    /// The fields in the order in which they were logged; see [`mod@super::about`].
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl Record {
    /// A line without fields.
    pub(super) fn new(style: Arc<Style>, level: Level, message: &str) -> Self {
        Self {
            style,
            level,
            time: Utc::now(),
            message: message.into(),
            fields: Vec::new(),
        }
    }

    pub(super) fn of(style: Arc<Style>, event: &Event<'_>) -> Self {
        let mut record = Self::new(style, Level::of(event.metadata()), "");
        event.record(&mut record);
        record
    }

    /// The text of a field; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        match self.field(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        let mut fields = self.fields.iter();
        fields.find(|(known, _)| *known == name).map(|it| &it.1)
    }

    /// Bytes that it occupies in a queue.
    pub(super) fn memory(&self) -> usize {
        let texts = self.fields.iter().map(|(_, value)| match value {
            Value::Text(text) => text.len(),
            _ => 0,
        });
        let fields = self.fields.capacity() * size_of::<(&str, Value)>();
        size_of::<Self>() + self.message.len() + fields + texts.sum::<usize>()
    }
}

impl Visit for Record {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push((field.name(), Value::Float(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), Value::Signed(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), Value::Unsigned(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), Value::Bool(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), Value::Text(value.into())));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.fields.push((field.name(), Value::Text(text))),
        }
    }
}
