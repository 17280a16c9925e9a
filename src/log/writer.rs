//! The threads that write the log; logging itself only puts a line into a queue.
//!
//! Each open destination has a [`Writer`]: a queue with a limit in bytes, and a thread. A disk or a
//! pipe that blocks only blocks that thread. A line that does not fit into the queue or cannot be
//! written is lost: it is counted in [`Losses`], and reported in the log as soon as that can be
//! written again. Lines that a log service does not accept go to stderr if that does.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use monitor_client::text::plural;
use parking_lot::Mutex;

use super::{
    format::Style,
    record::{Level, Record},
    sink::{Failure, Sink, write_to_ready_stderr},
};
use crate::telemetry::MonotonicMillis;

/// Limit of queued lines in bytes.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a queued line besides its text: its slot in the queue and the allocator's overhead.
const LINE_OVERHEAD: usize = 64;

/// Bytes that are written at a time.
const BATCH_BYTES: usize = 64 * 1024;

/// Interval of trying to report lost lines.
const RETRY: Duration = Duration::from_secs(1);

/// How long a new writer waits for the previous one to write its queue, so that lines keep their
/// order.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(1);

/// Limit of writers. One is enough, but previous ones may be blocked.
const WRITERS_MAX: usize = 8;

/// Interval of checking whether one of them has ended.
const WRITERS_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// Bytes of a thread's stack.
const STACK_LEN: usize = 256 * 1024;

/// Lines that were not written, by all writers of the process.
#[derive(Default)]
pub(super) struct Losses {
    total: AtomicU64,
    /// Those that were not reported in the log yet.
    unreported: AtomicU64,
    /// The latest of them.
    last: Mutex<Option<Loss>>,
    /// Writers whose threads are running.
    writers: AtomicUsize,
}

/// A line that was lost.
#[derive(Clone, Debug)]
pub struct Loss {
    /// When.
    pub at: MonotonicMillis,
    /// Why.
    pub cause: LossCause,
}

/// Why a line was lost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LossCause {
    /// The queue was full.
    QueueFull,
    /// The destination did not accept it.
    Unwritten(String),
}

impl Losses {
    pub(super) fn add(&self, lines: u64, cause: LossCause) {
        if lines > 0 {
            self.total.fetch_add(lines, Ordering::Relaxed);
            self.unreported.fetch_add(lines, Ordering::Relaxed);
            let at = MonotonicMillis::now();
            *self.last.lock() = Some(Loss { at, cause });
        }
    }

    /// Counts one more writer unless there are too many. Previous ones may be about to end, for
    /// instance after several changes of the log in a row: waits as long for them as a new writer
    /// would.
    fn count_writer(&self) -> bool {
        let deadline = Instant::now() + HANDOVER_TIMEOUT;
        while self.writers.fetch_add(1, Ordering::Relaxed) >= WRITERS_MAX {
            self.writers.fetch_sub(1, Ordering::Relaxed);
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(WRITERS_CHECK_INTERVAL);
        }
        true
    }

    /// The total and the latest loss.
    pub(super) fn totals(&self) -> (u64, Option<Loss>) {
        let total = self.total.load(Ordering::Relaxed);
        (total, self.last.lock().clone())
    }
}

/// The state of a writer.
#[derive(Default)]
struct Progress {
    /// Bytes that are queued.
    waiting: AtomicUsize,
    /// Whether a system call is in progress, and since when.
    is_busy: AtomicBool,
    busy_since: AtomicU64,
    /// Why the last write failed; `None` if it succeeded.
    failure: Mutex<Option<String>>,
}

enum Message {
    /// Begin writing; holds the end of the previous writer.
    Begin(Option<Receiver<()>>),
    /// A line.
    Line(Box<Record>),
    /// Reply when everything before it is written.
    Flush(Sender<()>),
}

/// The queue of a destination. When it is dropped, its thread writes what is queued and ends.
pub(super) struct Writer {
    messages: Sender<Message>,
    progress: Arc<Progress>,
    losses: Arc<Losses>,
    /// Closed when the thread has ended.
    ended: Mutex<Option<Receiver<()>>>,
}

/// A writer without a destination.
pub(super) struct PreparedWriter {
    writer: Writer,
    destination: Sender<Sink>,
}

impl PreparedWriter {
    /// Prepares a writer.
    ///
    ///  # Errors
    ///
    /// The thread cannot be started, or too many previous ones are blocked.
    pub(super) fn new(style: Arc<Style>, losses: Arc<Losses>) -> io::Result<Self> {
        if !losses.count_writer() {
            return Err(io::Error::other(
                "earlier places of the log hang, and too many threads wait for them; restart the \
                 broker",
            ));
        }
        let (messages, queue) = channel();
        let (destination, sink) = channel();
        let (end, ended) = channel();
        let progress = Arc::new(Progress::default());
        let (counted, work_progress) = (RunningThread(losses.clone()), progress.clone());
        let work = move || {
            if let Ok(sink) = sink.recv() {
                let mut work = WriterThread {
                    queue,
                    sink,
                    style,
                    progress: work_progress,
                    losses: counted,
                    diverted: 0,
                };
                work.run();
            }
            drop::<Sender<()>>(end);
        };
        thread::Builder::new()
            .name("log".into())
            .stack_size(STACK_LEN)
            .spawn(work)?;
        Ok(Self {
            writer: Writer {
                messages,
                progress,
                losses,
                ended: Mutex::new(Some(ended)),
            },
            destination,
        })
    }

    /// Sets the destination. The writer accepts lines immediately and writes them after
    /// [`begin`](Writer::begin).
    pub(super) fn write_to(self, sink: Sink) -> Writer {
        // The thread waits for it.
        let _ = self.destination.send(sink);
        self.writer
    }
}

impl Writer {
    /// Lets the thread write, once `before` has written its queue.
    pub(super) fn begin(&self, before: Option<&Self>) {
        let before = before.and_then(|before| before.ended.lock().take());
        // A thread that has ended need not begin.
        let _ = self.send(Message::Begin(before));
    }

    /// Queues a line, or counts it as lost.
    pub(super) fn put(&self, line: Record) {
        let bytes = line.memory() + LINE_OVERHEAD;
        let waiting = &self.progress.waiting;
        if waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.losses.add(1, LossCause::QueueFull);
            return;
        }
        if !self.send(Message::Line(Box::new(line))) {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            let cause = "the thread that writes it is gone".to_owned();
            self.losses.add(1, LossCause::Unwritten(cause));
        }
    }

    /// Waits until everything queued so far is written, but not longer than `time`.
    pub(super) fn flush(&self, time: Duration) {
        let (done, is_done) = channel();
        if self.send(Message::Flush(done)) {
            let _ = is_done.recv_timeout(time);
        }
    }

    /// Bytes that are queued.
    pub(super) fn waiting(&self) -> usize {
        self.progress.waiting.load(Ordering::Relaxed)
    }

    /// Since when a system call has been blocked.
    pub(super) fn busy_since(&self) -> Option<MonotonicMillis> {
        let since = MonotonicMillis(self.progress.busy_since.load(Ordering::Relaxed));
        let is_busy = self.progress.is_busy.load(Ordering::Acquire);
        is_busy.then_some(since)
    }

    /// Why the last write failed.
    pub(super) fn failure(&self) -> Option<String> {
        self.progress.failure.lock().clone()
    }

    /// `false`: the thread has ended, which only a panic can cause.
    fn send(&self, message: Message) -> bool {
        self.messages.send(message).is_ok()
    }
}

/// Counts the thread as running.
struct RunningThread(Arc<Losses>);

impl Drop for RunningThread {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The state of a writer's thread.
struct WriterThread {
    queue: Receiver<Message>,
    sink: Sink,
    /// The form of the latest line, for lines about the log itself.
    style: Arc<Style>,
    progress: Arc<Progress>,
    losses: RunningThread,
    /// Lines that went to stderr because the log service did not accept them, and that were not
    /// reported yet.
    diverted: u64,
}

/// A line, and the form in which it is written.
struct Formed {
    record: Record,
    line: String,
}

impl WriterThread {
    fn run(&mut self) {
        // A writer that never begins ends here.
        let Ok(Message::Begin(before)) = self.queue.recv() else {
            return;
        };
        if let Some(before) = before {
            let _ = before.recv_timeout(HANDOVER_TIMEOUT);
            self.timed(Sink::reopen_if_moved);
        }
        while self.write_batch() {}
    }

    /// Writes queued lines, as many as fit into one write; `false` at the end.
    fn write_batch(&mut self) -> bool {
        let mut flushes = Vec::new();
        let mut lines = Vec::new();
        let mut bytes = 0;
        let mut bytes_left = self.sink.bytes_left().min(BATCH_BYTES as u64);
        let has_report = self.diverted + self.losses.0.unreported.load(Ordering::Relaxed) > 0;
        let mut next = match has_report {
            false => self
                .queue
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
            true => self.queue.recv_timeout(RETRY),
        };
        let is_open = !matches!(next, Err(RecvTimeoutError::Disconnected));
        let mut is_full = false;
        while let Ok(message) = next {
            match message {
                Message::Line(record) => {
                    bytes += record.memory() + LINE_OVERHEAD;
                    let formed = self.form(*record);
                    let len = formed.line.len() as u64;
                    is_full = len > bytes_left;
                    bytes_left = bytes_left.saturating_sub(len);
                    lines.push(formed);
                }
                Message::Flush(done) => flushes.push(done),
                Message::Begin(_) => {}
            }
            next = match is_full {
                false => self.queue.try_recv().map_err(|_| RecvTimeoutError::Timeout),
                true => Err(RecvTimeoutError::Timeout),
            };
        }
        self.write(lines);
        self.progress.waiting.fetch_sub(bytes, Ordering::Relaxed);
        drop(flushes);
        is_open
    }

    fn form(&mut self, record: Record) -> Formed {
        if !Arc::ptr_eq(&self.style, &record.style) {
            self.style = record.style.clone();
        }
        let line = self.sink.form(&record);
        Formed { record, line }
    }

    /// A line about the log itself.
    fn own_line(&self, level: Level, text: &str) -> Formed {
        let record = Record::new(self.style.clone(), level, text);
        let line = self.sink.form(&record);
        Formed { record, line }
    }

    /// Writes lines, preceded by a report of lost ones.
    fn write(&mut self, lines: Vec<Formed>) {
        // Taken first, because a previous writer may resume and report as well.
        let unreported = self.losses.0.unreported.swap(0, Ordering::Relaxed);
        let mut all = Vec::new();
        for (count, what) in [
            (self.diverted, "went to stderr"),
            (unreported, "could not be written"),
        ] {
            if count > 0 {
                let text = format!("{} of the log {what}", plural(count, "line"));
                all.push(self.own_line(Level::Error, &text));
            }
        }
        let notices = all.len();
        all.extend(lines);
        if all.is_empty() {
            return;
        }
        let (records, texts): (Vec<_>, Vec<_>) =
            all.into_iter().map(|it| (it.record, it.line)).unzip();
        let failure = self.timed(|sink| sink.append(&texts)).err();
        let written = failure.as_ref().map_or(texts.len(), |it| it.written);
        if written < notices {
            self.losses
                .0
                .unreported
                .fetch_add(unreported, Ordering::Relaxed);
        } else {
            self.diverted = 0;
        }
        let cause = failure.map(|it| it.cause.to_string());
        self.progress.failure.lock().clone_from(&cause);
        match cause {
            Some(cause) => self.divert(&records[written.max(notices)..], cause),
            None => self.rotate(),
        }
    }

    /// Handles lines that the destination did not accept: they are lost, except those for a log
    /// service that stderr accepts.
    fn divert(&mut self, lines: &[Record], cause: String) {
        let mut lost = lines.len() as u64;
        if let Sink::Service(_) = self.sink {
            for line in lines {
                let line = line.line() + "\n";
                if self.timed(|_| write_to_ready_stderr(&line)).is_err() {
                    break;
                }
                self.diverted += 1;
                lost = lost.saturating_sub(1);
            }
        }
        self.losses.0.add(lost, LossCause::Unwritten(cause));
    }

    /// Rotates the file if it is time, and logs that.
    fn rotate(&mut self) {
        let Some(outcome) = self.timed(Sink::rotate) else {
            return;
        };
        let line = match outcome {
            Ok(backup) => {
                let text = format!("Rotated log, backup saved as {}", backup.display());
                self.own_line(Level::Info, &text)
            }
            Err(cause) => {
                let text = format!("Unable to rotate the log: {cause}");
                self.own_line(Level::Error, &text)
            }
        };
        if let Err(Failure { cause, .. }) = self.timed(|sink| sink.append(&[line.line])) {
            let cause = LossCause::Unwritten(cause.to_string());
            self.losses.0.add(1, cause);
        }
    }

    /// Calls the sink for something that may take long, and records that meanwhile.
    fn timed<T>(&mut self, work: impl FnOnce(&mut Sink) -> T) -> T {
        let progress = &self.progress;
        progress
            .busy_since
            .store(MonotonicMillis::now().0, Ordering::Relaxed);
        progress.is_busy.store(true, Ordering::Release);
        let done = work(&mut self.sink);
        progress.is_busy.store(false, Ordering::Release);
        done
    }
}
