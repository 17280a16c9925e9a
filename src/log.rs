//! The log: `tracing` events as lines.
//!
//! A line has nats-server's form unless the configuration asks for JSON, logfmt or the fields of
//! the journal (see [`format`](mod@format)). Lines go to stderr, to a file that rotates and can be
//! reopened, or to a program that collects logs (see [`service`]). `main` calls [`init`] once and
//! keeps the [`LogHandle`] for SIGUSR1, reloads and the exit. A line about a connection begins
//! with [`about()`]; everything else uses the macros of `tracing`. A fatal line is an error event
//! with the target [`FATAL`].
//!
//! Invariants: logging never waits for a disk or a pipe (see [`writer`]); only midge's own events
//! are shown; a line is written completely or not at all; text from a peer cannot begin a new line;
//! a log that cannot be written never stops the broker: lost lines are counted, become a finding,
//! and are reported in the log as soon as it can be written again.

mod about;
mod destination;
mod file;
mod format;
mod record;
mod service;
mod sink;
mod writer;

use std::{
    fmt,
    io::{self, IsTerminal},
    panic,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::RwLock;
use tracing::{
    Event, Level, Metadata, Subscriber, level_filters::LevelFilter, span, subscriber::Interest,
};

pub use self::{
    about::{About, Ended, Line, Subject, about},
    destination::{Destination, Rotation},
    service::LogService,
    writer::{Loss, LossCause},
};
use self::{
    file::LogFile,
    format::Style,
    record::Record,
    service::Connection,
    sink::Sink,
    writer::{Losses, PreparedWriter, Writer},
};
use crate::{config::Options, telemetry::MonotonicMillis};

/// Target of the events that say why the broker exits; shown as `FTL`: `tracing::error!(target:
/// midge::log::FATAL, "…")`.
pub const FATAL: &str = "midge::fatal";

/// Target of the lines of a single client's trace that an operator requested: info events, shown as
/// `TRC` even if traces are off.
pub const TRACED: &str = "midge::traced";

/// Why the log could not be set up.
#[derive(Debug)]
pub enum InitError {
    /// The process already has a log.
    AlreadySet,
    /// The log file cannot be opened.
    Open(PathBuf, io::Error),
    /// The thread that writes it cannot be started.
    Thread(io::Error),
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitError::AlreadySet => f.write_str("the log is set up already"),
            InitError::Open(path, cause) => {
                write!(f, "cannot open the log file {}: {cause}", path.display())
            }
            InitError::Thread(cause) => {
                write!(f, "cannot start the thread that writes the log: {cause}")
            }
        }
    }
}

impl std::error::Error for InitError {}

/// Sets up the log of the process.
///
/// If the log server cannot be reached, the broker starts anyway: the log goes to stderr, and says
/// so, until the server can be reached.
pub fn init(options: &Options) -> Result<LogHandle, InitError> {
    let handle = LogHandle::new(options)?;
    let lines = LogSubscriber(handle.0.clone());
    tracing::subscriber::set_global_default(lines).map_err(|_| InitError::AlreadySet)?;
    // A panic, which is a defect, is logged as well: writing it to stderr directly might block the
    // thread and all others that write to stderr.
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("without a name");
        tracing::error!("defect: the thread {name} {panic}");
    }));
    handle.warn_if_unreached();
    Ok(handle)
}

/// The form of lines that go there.
fn style_of(options: &Options, destination: &Destination) -> Arc<Style> {
    let is_terminal = *destination == Destination::Stderr && io::stderr().is_terminal();
    Arc::new(Style::new(options, is_terminal))
}

/// Changes the log while the broker runs. Clones change the same log.
#[derive(Clone)]
pub struct LogHandle(Arc<Shared>);

/// A log that is open and not in use yet.
pub struct PreparedLog {
    /// `None`: the present one stays in use.
    current: Option<Current>,
    style: Arc<Style>,
    debug: bool,
    trace: bool,
}

/// The state of the log.
#[derive(Clone, Debug)]
pub struct LogState {
    /// The destination.
    pub destination: Destination,
    /// Bytes of queued lines.
    pub waiting: usize,
    /// Lines lost so far.
    pub lost: u64,
    /// The latest loss.
    pub last_lost: Option<Loss>,
    /// Why the last write failed.
    pub failure: Option<String>,
    /// Since when a write has been blocked.
    pub busy_since: Option<MonotonicMillis>,
}

impl LogHandle {
    fn new(options: &Options) -> Result<LogHandle, InitError> {
        let destination = Destination::of(options);
        let style = style_of(options, &destination);
        let losses = Arc::default();
        let current = Current::open(destination, &style, &losses)?;
        current.writer.begin(None);
        Ok(LogHandle(Arc::new(Shared {
            debug: AtomicBool::new(options.debug),
            trace: AtomicBool::new(options.trace),
            losses,
            current: RwLock::new(current),
        })))
    }

    /// Opens the log file again by its name, after it was moved away. `false`: the log is not a
    /// file. May wait for the disk.
    ///
    ///  # Errors
    ///
    /// It cannot be opened; the old file stays in use.
    pub fn reopen(&self) -> Result<bool, InitError> {
        let (destination, style) = {
            let current = self.0.current.read();
            (current.destination.clone(), current.style.clone())
        };
        if !matches!(destination, Destination::File { .. }) {
            return Ok(false);
        }
        let current = Current::open(destination, &style, &self.0.losses)?;
        self.0.replace_writer(current);
        Ok(true)
    }

    /// Opens the log that these options ask for, without using it before [`apply`](Self::apply).
    /// May wait for the disk.
    ///
    ///  # Errors
    ///
    /// It cannot be opened.
    pub fn prepare(&self, options: &Options) -> Result<PreparedLog, InitError> {
        let destination = Destination::of(options);
        let style = style_of(options, &destination);
        let is_file = matches!(destination, Destination::File { .. });
        // A file is opened again because it may have been moved away. Other destinations are kept:
        // a connection that works should not be replaced, one that does not is retried anyway, and
        // a pipe that blocks should not get another thread.
        let current = match !is_file && destination == self.0.current.read().destination {
            true => None,
            false => Some(Current::open(destination, &style, &self.0.losses)?),
        };
        Ok(PreparedLog {
            current,
            style,
            debug: options.debug,
            trace: options.trace,
        })
    }

    /// Uses a prepared log. Does not wait and cannot fail.
    pub fn apply(&self, prepared: PreparedLog) {
        let shared = &self.0;
        let is_new = prepared.current.is_some();
        match prepared.current {
            Some(current) => shared.current.write().replace_with(current),
            None => shared.current.write().style = prepared.style,
        }
        shared.debug.store(prepared.debug, Ordering::Relaxed);
        shared.trace.store(prepared.trace, Ordering::Relaxed);
        // tracing caches which events are enabled.
        tracing::callsite::rebuild_interest_cache();
        // Logged to the new destination.
        if is_new {
            self.warn_if_unreached();
        }
    }

    /// Logs that the log server could not be reached when it was put in use.
    fn warn_if_unreached(&self) {
        let current = self.0.current.read();
        let unreached = current.unreached.clone();
        let destination = current.destination.clone();
        // Logging takes this lock again.
        drop(current);
        if let Some(cause) = unreached {
            tracing::warn!(
                "The log goes to stderr, because {destination} cannot be reached: {cause}"
            );
        }
    }

    /// Waits until everything logged so far is written, but not longer than `time`.
    pub fn flush(&self, time: Duration) {
        let writer = self.0.current.read().writer.clone();
        writer.flush(time);
    }

    /// The present state.
    pub fn state(&self) -> LogState {
        let current = self.0.current.read();
        let (lost, last_lost) = self.0.losses.totals();
        LogState {
            destination: current.destination.clone(),
            waiting: current.writer.waiting(),
            lost,
            last_lost,
            failure: current.writer.failure(),
            busy_since: current.writer.busy_since(),
        }
    }
}

struct Shared {
    debug: AtomicBool,
    trace: AtomicBool,
    losses: Arc<Losses>,
    current: RwLock<Current>,
}

impl Shared {
    /// Replaces the writer by another one for the same destination, unless the destination has
    /// changed meanwhile.
    fn replace_writer(&self, new: Current) {
        let mut current = self.current.write();
        if current.destination == new.destination {
            let style = current.style.clone();
            current.replace_with(Current { style, ..new });
        }
    }

    fn is_enabled(&self, metadata: &Metadata<'_>) -> bool {
        let own = metadata.target().strip_prefix("midge");
        own.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            && match *metadata.level() {
                Level::DEBUG => self.debug.load(Ordering::Relaxed),
                Level::TRACE => self.trace.load(Ordering::Relaxed),
                _ => true,
            }
    }
}

/// The destination in use and its writer.
struct Current {
    destination: Destination,
    /// Why the destination could not be reached when it was opened.
    unreached: Option<String>,
    /// The form of lines.
    style: Arc<Style>,
    writer: Arc<Writer>,
}

impl Current {
    fn open(
        destination: Destination,
        style: &Arc<Style>,
        losses: &Arc<Losses>,
    ) -> Result<Self, InitError> {
        // First what can fail: otherwise a new file would be left behind.
        let waiting =
            PreparedWriter::new(style.clone(), losses.clone()).map_err(InitError::Thread)?;
        let sink = match &destination {
            Destination::Stderr => Sink::Stderr,
            Destination::Service(service) => Sink::Service(Connection::open(service.clone())),
            Destination::File { path, rotation } => LogFile::open(path, *rotation)
                .map(Sink::File)
                .map_err(|cause| InitError::Open(path.clone(), cause))?,
        };
        let unreached = match &sink {
            Sink::Service(connection) => connection.failure(),
            Sink::File(_) | Sink::Stderr => None,
        };
        let writer = waiting.write_to(sink);
        Ok(Self {
            destination,
            unreached,
            style: style.clone(),
            writer: Arc::new(writer),
        })
    }

    /// Replaces this one; it writes what it has queued and ends.
    fn replace_with(&mut self, new: Self) {
        new.writer.begin(Some(&self.writer));
        *self = new;
    }
}

/// The `tracing` subscriber. midge does not use spans, so they are ignored.
struct LogSubscriber(Arc<Shared>);

impl Subscriber for LogSubscriber {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.0.is_enabled(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.is_enabled(metadata)
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
        let style = self.0.current.read().style.clone();
        let line = Record::of(style, event);
        self.0.current.read().writer.put(line);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[cfg(test)]
mod tests;
