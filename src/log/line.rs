//! The format of log lines.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal},
    process,
    sync::atomic::{AtomicBool, Ordering},
};

use chrono::{DateTime, Local, TimeZone, Utc};
use monitor_client::text::escaped;
use tracing::{
    Level, Metadata,
    field::{Field, Visit},
};

use super::{Destination, FATAL, TRACED};
use crate::config::Options;

/// The three letters of a level, and their colour on a terminal.
#[derive(Clone, Copy)]
pub(super) struct Label {
    letters: &'static str,
    colour: u8,
}

impl Label {
    pub(super) const ERROR: Label = Label {
        letters: "ERR",
        colour: 31,
    };
    pub(super) const INFO: Label = Label {
        letters: "INF",
        colour: 32,
    };

    pub(super) fn of(metadata: &Metadata<'_>) -> Label {
        let (letters, colour) = match *metadata.level() {
            Level::ERROR if metadata.target() == FATAL => ("FTL", 31),
            Level::ERROR => return Label::ERROR,
            Level::WARN => ("WRN", 33),
            Level::INFO if metadata.target() == TRACED => ("TRC", 35),
            Level::INFO => return Label::INFO,
            Level::DEBUG => ("DBG", 36),
            Level::TRACE => ("TRC", 35),
        };
        Label { letters, colour }
    }
}

/// The message of an event and its other fields.
#[derive(Default)]
pub(super) struct MessageVisitor {
    message: String,
    fields: String,
}

impl MessageVisitor {
    /// The text as one line; characters from peers that would affect the display are escaped.
    pub(super) fn message(self) -> String {
        escaped(&(self.message + &self.fields)).into_owned()
    }
}

impl Visit for MessageVisitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// The format of lines.
pub(super) struct Style {
    colour: AtomicBool,
    time: AtomicBool,
    utc: AtomicBool,
    /// Without time and process id, because the log server adds them.
    plain: AtomicBool,
}

impl Style {
    pub(super) fn of(options: &Options) -> Self {
        let destination = Destination::of(options);
        let colour = destination == Destination::Stderr && io::stderr().is_terminal();
        Self {
            plain: AtomicBool::new(matches!(destination, Destination::Syslog(_))),
            colour: AtomicBool::new(colour),
            time: AtomicBool::new(options.logtime),
            utc: AtomicBool::new(options.logtime_utc),
        }
    }

    pub(super) fn copy_from(&self, other: &Self) {
        for (own, other) in [
            (&self.colour, &other.colour),
            (&self.time, &other.time),
            (&self.utc, &other.utc),
            (&self.plain, &other.plain),
        ] {
            own.store(other.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(super) fn line(&self, label: Label, message: &str) -> String {
        let Label { letters, colour } = label;
        if self.plain.load(Ordering::Relaxed) {
            return format!("[{letters}] {message}\n");
        }
        let begin = self.begin();
        match self.colour.load(Ordering::Relaxed) {
            true => format!("{begin}[\x1b[{colour}m{letters}\x1b[0m] {message}\n"),
            false => format!("{begin}[{letters}] {message}\n"),
        }
    }

    /// The beginning of a line that does not go to a log server.
    pub(super) fn begin(&self) -> String {
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let time = match (is_set(&self.time), is_set(&self.utc)) {
            (false, _) => String::new(),
            (true, true) => time_text(&Utc::now()),
            (true, false) => time_text(&Local::now()),
        };
        format!("[{}] {time}", process::id())
    }
}

fn time_text<Zone: TimeZone<Offset: fmt::Display>>(time: &DateTime<Zone>) -> String {
    time.format("%Y/%m/%d %H:%M:%S%.6f ").to_string()
}
