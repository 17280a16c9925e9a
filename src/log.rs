//! The log: `tracing` events as lines in nats-server's format.
//!
//! `[PID] YYYY/MM/DD HH:MM:SS.uuuuuu [INF] message`, to stderr or to a file that
//! rotates and can be reopened. `main` calls [`init`] once and keeps the
//! [`LogHandle`] for SIGUSR1 and reloads; everybody else uses the macros of
//! `tracing`. A fatal line is an error event with the target [`FATAL`].
//!
//! Invariants: only midge's own events are shown, a line is written whole or not
//! at all, text from a peer cannot begin a new line, and a log that cannot be
//! written never stops the broker: lost lines are counted and told as soon as
//! writing works again.

mod sink;

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal},
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Local, TimeZone, Utc};
use parking_lot::Mutex;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::Interest,
};

use self::sink::{Outcome, Sink};
use crate::config::Options;

/// Target of the events that say why the broker ends; shown as `FTL`:
/// `tracing::error!(target: midge::log::FATAL, "…")`.
pub const FATAL: &str = "midge::fatal";

/// Target of the lines of one client's trace, which an operator asked for: info
/// events, shown as `TRC` also where traces are off.
pub const TRACED: &str = "midge::traced";

/// Why the log could not be set up.
#[derive(Debug)]
pub enum InitError {
    /// The process has a log already.
    AlreadySet,
    /// The log file cannot be opened.
    Open(PathBuf, io::Error),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitError::AlreadySet => f.write_str("the log is set up already"),
            InitError::Open(path, cause) => {
                write!(f, "cannot open the log file {}: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for InitError {}

/// Sets up the log of the process.
pub fn init(options: &Options) -> Result<LogHandle, InitError> {
    let handle = LogHandle::new(options)?;
    let lines = Lines(handle.0.clone());
    tracing::subscriber::set_global_default(lines).map_err(|_| InitError::AlreadySet)?;
    Ok(handle)
}

/// Changes the log while the broker runs. Clones change the same log.
#[derive(Clone)]
pub struct LogHandle(Arc<Shared>);

impl LogHandle {
    fn new(options: &Options) -> Result<LogHandle, InitError> {
        Ok(LogHandle(Arc::new(Shared {
            debug: AtomicBool::new(options.debug),
            trace: AtomicBool::new(options.trace),
            writer: Mutex::new(Writer::open(options)?),
        })))
    }

    /// Opens the log file again under its name, after it was moved away.
    /// `false`: the log is no file. On an error the old file stays in use.
    pub fn reopen(&self) -> io::Result<bool> {
        self.0.writer.lock().sink.reopen()
    }

    /// Takes over changed settings. On an error the old ones stay.
    pub fn reconfigure(&self, options: &Options) -> Result<(), InitError> {
        let mut writer = self.0.writer.lock();
        *writer = Writer::open(options)?;
        drop(writer);
        self.0.debug.store(options.debug, Ordering::Relaxed);
        self.0.trace.store(options.trace, Ordering::Relaxed);
        // tracing remembers which events are wanted.
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }
}

struct Shared {
    debug: AtomicBool,
    trace: AtomicBool,
    writer: Mutex<Writer>,
}

impl Shared {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let own = metadata.target().strip_prefix("midge");
        own.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            && match *metadata.level() {
                Level::DEBUG => self.debug.load(Ordering::Relaxed),
                Level::TRACE => self.trace.load(Ordering::Relaxed),
                _ => true,
            }
    }
}

/// The subscriber. Spans are not used in midge and say nothing here.
struct Lines(Arc<Shared>);

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.0.wants(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if self.0.trace.load(Ordering::Relaxed) {
            LevelFilter::TRACE
        } else if self.0.debug.load(Ordering::Relaxed) {
            LevelFilter::DEBUG
        } else {
            LevelFilter::INFO
        })
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let label = Label::of(event.metadata());
        self.0.writer.lock().write(label, &text.message());
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The three letters of a level, and their colour on a terminal.
#[derive(Clone, Copy)]
struct Label {
    letters: &'static str,
    colour: u8,
}

impl Label {
    const ERROR: Label = Label {
        letters: "ERR",
        colour: 31,
    };
    const INFO: Label = Label {
        letters: "INF",
        colour: 32,
    };

    fn of(metadata: &Metadata<'_>) -> Label {
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
struct Text {
    message: String,
    fields: String,
}

impl Text {
    /// One line: control characters, which may come from a peer, are escaped.
    fn message(self) -> String {
        let text = self.message + &self.fields;
        if !text.contains(char::is_control) {
            return text;
        }
        let escape = |character: char| match character.is_control() && character != '\t' {
            true => character.escape_default().to_string(),
            false => character.to_string(),
        };
        text.chars().map(escape).collect()
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// Makes lines and keeps count of those that could not be written.
struct Writer {
    sink: Sink,
    colour: bool,
    time: bool,
    utc: bool,
    lost: u64,
}

impl Writer {
    fn open(options: &Options) -> Result<Writer, InitError> {
        let sink = match &options.log_file {
            None => Sink::Stderr,
            Some(path) => Sink::open(path, options.log_size_limit, options.log_max_num)
                .map_err(|cause| InitError::Open(path.clone(), cause))?,
        };
        Ok(Writer {
            colour: matches!(sink, Sink::Stderr) && io::stderr().is_terminal(),
            sink,
            time: options.logtime,
            utc: options.logtime_utc,
            lost: 0,
        })
    }

    fn write(&mut self, label: Label, message: &str) {
        let mut text = String::new();
        if self.lost > 0 {
            let lost = format!("{} lines of the log could not be written", self.lost);
            text = self.line(Label::ERROR, &lost);
        }
        text += &self.line(label, message);
        match self.sink.write(&text) {
            Ok(outcome) => {
                self.lost = 0;
                self.tell(outcome);
            }
            Err(_) => self.lost += 1,
        }
    }

    /// A line about a rotation. If it is lost, the next line says so.
    fn tell(&mut self, outcome: Outcome) {
        let (label, message) = match outcome {
            Outcome::Written => return,
            Outcome::Rotated(backup) => {
                let backup = backup.display();
                (
                    Label::INFO,
                    format!("Rotated log, backup saved as {backup}"),
                )
            }
            Outcome::NotRotated(cause) => {
                (Label::ERROR, format!("Unable to rotate the log: {cause}"))
            }
        };
        let line = self.line(label, &message);
        if self.sink.append(&line).is_err() {
            self.lost += 1;
        }
    }

    fn line(&self, label: Label, message: &str) -> String {
        let time = match (self.time, self.utc) {
            (false, _) => String::new(),
            (true, true) => time_text(&Utc::now()),
            (true, false) => time_text(&Local::now()),
        };
        let Label { letters, colour } = label;
        let pid = process::id();
        match self.colour {
            true => format!("[{pid}] {time}[\x1b[{colour}m{letters}\x1b[0m] {message}\n"),
            false => format!("[{pid}] {time}[{letters}] {message}\n"),
        }
    }
}

fn time_text<Zone: TimeZone<Offset: fmt::Display>>(time: &DateTime<Zone>) -> String {
    time.format("%Y/%m/%d %H:%M:%S%.6f ").to_string()
}

#[cfg(test)]
mod tests;
