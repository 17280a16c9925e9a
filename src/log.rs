//! The log: `tracing` events as lines in nats-server's format.
//!
//! `[PID] YYYY/MM/DD HH:MM:SS.uuuuuu [INF] message`, to stderr or to a file that
//! rotates and can be reopened, or to a log server (see [`syslog`]). `main` calls
//! [`init`] once and keeps the [`LogHandle`] for SIGUSR1, reloads and the end;
//! everybody else uses the macros of `tracing`. A fatal line is an error event with
//! the target [`FATAL`].
//!
//! Invariants: whoever logs never waits for a disk or a pipe (see [`writer`]),
//! only midge's own events are shown, a line is written whole or not at all, text
//! from a peer cannot begin a new line, and a log that cannot be written never
//! stops the broker: lost lines are counted, are a finding, and are told as soon
//! as writing works again.

mod sink;
mod syslog;
mod writer;

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal},
    panic,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use chrono::{DateTime, Local, TimeZone, Utc};
use monitor_client::text::escaped;
use parking_lot::RwLock;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::Interest,
};

use self::{
    sink::Sink,
    syslog::Connection,
    writer::{Losses, Waiting, Writer},
};
pub use self::{
    syslog::Syslog,
    writer::{Loss, LossCause},
};
use crate::{config::Options, telemetry::MonotonicMillis};

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
    /// The thread that writes it cannot be had.
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
/// A log server that cannot be reached keeps no broker from starting: the log goes
/// to stderr until it can, and says so.
pub fn init(options: &Options) -> Result<LogHandle, InitError> {
    let handle = LogHandle::new(options)?;
    let lines = Lines(handle.0.clone());
    tracing::subscriber::set_global_default(lines).map_err(|_| InitError::AlreadySet)?;
    // A panic, which is a defect, goes the same way: written to standard error at
    // once it could hang the thread, and all that want to write there.
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("without a name");
        tracing::error!("defect: the thread {name} {panic}");
    }));
    handle.tell_unreached();
    Ok(handle)
}

/// Changes the log while the broker runs. Clones change the same log.
#[derive(Clone)]
pub struct LogHandle(Arc<Shared>);

/// A log that is open and not yet in use.
pub struct PreparedLog {
    /// `None`: the one in use stays.
    current: Option<Current>,
    style: Style,
    debug: bool,
    trace: bool,
}

/// How the log gets on.
#[derive(Clone, Debug)]
pub struct LogState {
    /// Where it goes.
    pub place: Place,
    /// Bytes of lines that wait to be written.
    pub waiting: usize,
    /// Lines lost so far.
    pub lost: u64,
    /// The last one that was lost.
    pub last_lost: Option<Loss>,
    /// Why the last write failed.
    pub failure: Option<String>,
    /// Since when a write has not come back.
    pub busy_since: Option<MonotonicMillis>,
}

impl LogHandle {
    fn new(options: &Options) -> Result<LogHandle, InitError> {
        let style = Arc::new(Style::of(options));
        let losses = Arc::default();
        let current = Current::open(Place::of(options), &style, &losses)?;
        current.writer.begin(None);
        Ok(LogHandle(Arc::new(Shared {
            debug: AtomicBool::new(options.debug),
            trace: AtomicBool::new(options.trace),
            style,
            losses,
            current: RwLock::new(current),
        })))
    }

    /// Opens the log file again under its name, after it was moved away.
    /// `false`: the log is no file. May wait for the disk.
    ///
    /// # Errors
    ///
    /// It cannot be opened; the old file stays in use.
    pub fn reopen(&self) -> Result<bool, InitError> {
        let place = self.0.current.read().place.clone();
        if !matches!(place, Place::File { .. }) {
            return Ok(false);
        }
        let current = Current::open(place, &self.0.style, &self.0.losses)?;
        self.0.renew(current);
        Ok(true)
    }

    /// Opens the log that these options ask for. May wait for the disk; nothing
    /// has changed before [`apply`](Self::apply).
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn prepare(&self, options: &Options) -> Result<PreparedLog, InitError> {
        let place = Place::of(options);
        let is_file = matches!(place, Place::File { .. });
        // A file may have been moved away. A connection that works is not given up, one
        // that does not is tried again anyway, and a pipe that takes nothing is not
        // given one more thread.
        let current = match !is_file && place == self.0.current.read().place {
            true => None,
            false => Some(Current::open(place, &self.0.style, &self.0.losses)?),
        };
        Ok(PreparedLog {
            current,
            style: Style::of(options),
            debug: options.debug,
            trace: options.trace,
        })
    }

    /// Puts a prepared log in use. Waits for nothing and cannot fail.
    pub fn apply(&self, prepared: PreparedLog) {
        let shared = &self.0;
        shared.style.become_like(&prepared.style);
        let is_new = prepared.current.is_some();
        if let Some(current) = prepared.current {
            shared.current.write().give_way_to(current);
        }
        shared.debug.store(prepared.debug, Ordering::Relaxed);
        shared.trace.store(prepared.trace, Ordering::Relaxed);
        // tracing remembers which events are wanted.
        tracing::callsite::rebuild_interest_cache();
        // In the log that is in use now.
        if is_new {
            self.tell_unreached();
        }
    }

    /// Tells of a log server that could not be reached when it was put in use.
    fn tell_unreached(&self) {
        let current = self.0.current.read();
        let unreached = current.unreached.clone();
        let place = current.place.clone();
        // Who logs takes the lock again.
        drop(current);
        if let Some(cause) = unreached {
            tracing::warn!("The log goes to stderr, because {place} cannot be reached: {cause}");
        }
    }

    /// Waits until what was logged so far is written, at most for the time.
    pub fn flush(&self, time: Duration) {
        let writer = self.0.current.read().writer.clone();
        writer.flush(time);
    }

    /// How it gets on.
    pub fn look(&self) -> LogState {
        let current = self.0.current.read();
        let (lost, last_lost) = self.0.losses.so_far();
        LogState {
            place: current.place.clone(),
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
    style: Arc<Style>,
    losses: Arc<Losses>,
    current: RwLock<Current>,
}

impl Shared {
    /// Puts another writer of the same place in use, unless another place was put
    /// in use meanwhile.
    fn renew(&self, new: Current) {
        let mut current = self.current.write();
        if current.place == new.place {
            current.give_way_to(new);
        }
    }

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

/// Where the log goes, and who writes it.
struct Current {
    place: Place,
    /// Why the place could not be reached when it was opened.
    unreached: Option<String>,
    writer: Arc<Writer>,
}

impl Current {
    fn open(place: Place, style: &Arc<Style>, losses: &Arc<Losses>) -> Result<Self, InitError> {
        // What can fail before a file is made, which would stay behind.
        let waiting = Waiting::new(style.clone(), losses.clone()).map_err(InitError::Thread)?;
        let sink = match &place {
            Place::Stderr => Sink::Stderr,
            Place::Syslog(place) => Sink::Syslog(Connection::open(place.clone())),
            Place::File {
                path,
                limit,
                max_files,
            } => Sink::open(path, *limit, *max_files)
                .map_err(|cause| InitError::Open(path.clone(), cause))?,
        };
        let unreached = match &sink {
            Sink::Syslog(connection) => connection.failure(),
            Sink::File(_) | Sink::Stderr => None,
        };
        let writer = waiting.write_to(sink);
        Ok(Self {
            place,
            unreached,
            writer: Arc::new(writer),
        })
    }

    /// Puts another one in use; this one writes what it has and ends.
    fn give_way_to(&mut self, new: Self) {
        new.writer.begin(Some(&self.writer));
        *self = new;
    }
}

/// Where the log goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A file.
    File {
        /// Its name.
        path: PathBuf,
        /// Bytes at which it is rotated; 0 is never.
        limit: u64,
        /// Most files, this one included; 0 keeps all.
        max_files: usize,
    },
    /// Standard error.
    Stderr,
    /// The system's log or a log server.
    Syslog(Syslog),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "the log file {}", path.display()),
            Self::Stderr => f.write_str("standard error"),
            Self::Syslog(place) => place.fmt(f),
        }
    }
}

impl Place {
    fn of(options: &Options) -> Self {
        if let Some(path) = &options.log_file {
            return Self::File {
                path: path.clone(),
                limit: options.log_size_limit,
                max_files: options.log_max_num,
            };
        }
        match &options.remote_syslog {
            Some(remote) => Self::Syslog(Syslog::Remote(remote.clone())),
            None if options.syslog => Self::Syslog(Syslog::Local),
            None => Self::Stderr,
        }
    }

    /// Where it is, as the configuration has it.
    pub fn address(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Stderr => "stderr".to_owned(),
            Self::Syslog(place) => place.address(),
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
        let line = self.0.style.line(label, &text.message());
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
    /// One line: what may come from a peer is made safe to show.
    fn message(self) -> String {
        escaped(&(self.message + &self.fields)).into_owned()
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

/// How lines look.
struct Style {
    colour: AtomicBool,
    time: AtomicBool,
    utc: AtomicBool,
    /// The log server adds time and process.
    bare: AtomicBool,
}

impl Style {
    fn of(options: &Options) -> Self {
        let place = Place::of(options);
        let colour = place == Place::Stderr && io::stderr().is_terminal();
        Self {
            bare: AtomicBool::new(matches!(place, Place::Syslog(_))),
            colour: AtomicBool::new(colour),
            time: AtomicBool::new(options.logtime),
            utc: AtomicBool::new(options.logtime_utc),
        }
    }

    fn become_like(&self, other: &Self) {
        for (own, other) in [
            (&self.colour, &other.colour),
            (&self.time, &other.time),
            (&self.utc, &other.utc),
            (&self.bare, &other.bare),
        ] {
            own.store(other.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn line(&self, label: Label, message: &str) -> String {
        let Label { letters, colour } = label;
        if self.bare.load(Ordering::Relaxed) {
            return format!("[{letters}] {message}\n");
        }
        let begin = self.begin();
        match self.colour.load(Ordering::Relaxed) {
            true => format!("{begin}[\x1b[{colour}m{letters}\x1b[0m] {message}\n"),
            false => format!("{begin}[{letters}] {message}\n"),
        }
    }

    /// What stands before the letters of a line that goes to no log server.
    fn begin(&self) -> String {
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

#[cfg(test)]
mod tests;
