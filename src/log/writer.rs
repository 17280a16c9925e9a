//! The threads that write the log. Whoever logs only puts a line into a queue.
//!
//! Each place that is opened (stderr, a file) has a [`Writer`]: a queue with a
//! bound in bytes and a thread. A disk or a pipe that takes nothing holds up that
//! thread and nothing else. A line that finds no room, or that cannot be written,
//! is lost: it is counted in [`Losses`], and the log says so itself as soon as it
//! can be written again. What a log server does not take goes to stderr if that does.

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

use parking_lot::Mutex;

use super::{
    Label, Style,
    sink::{Sink, Unwritten, write_to_ready_stderr},
};
use crate::telemetry::MonotonicMillis;

/// Bytes that lines may take while they wait to be written.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that a waiting line takes besides its text: its place in the queue and
/// what the allocator adds.
const LINE_OVERHEAD: usize = 64;

/// Bytes that are written at a time.
const BATCH_BYTES: usize = 64 * 1024;

/// Between two tries to say that lines were lost.
const RETRY: Duration = Duration::from_secs(1);

/// How long a new writer waits for the one before to write what it still has, so
/// that lines keep their order.
const HANDOVER: Duration = Duration::from_secs(1);

/// Writers at a time. One is enough, but those before it may hang.
const WRITERS_MAX: usize = 8;

/// Between two looks whether one of them has ended.
const WRITERS_LOOK: Duration = Duration::from_millis(5);

/// Bytes of a thread's stack.
const STACK_LEN: usize = 256 * 1024;

/// Lines that were not written, by all writers of the process.
#[derive(Default)]
pub(super) struct Losses {
    total: AtomicU64,
    /// Those that the log does not tell of yet.
    owed: AtomicU64,
    /// The last one of them.
    last: Mutex<Option<Loss>>,
    /// Writers whose threads live.
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
    /// Too many waited already.
    NoRoom,
    /// The place did not take it.
    Unwritten(String),
}

impl Losses {
    pub(super) fn add(&self, lines: u64, cause: LossCause) {
        if lines > 0 {
            self.total.fetch_add(lines, Ordering::Relaxed);
            self.owed.fetch_add(lines, Ordering::Relaxed);
            let at = MonotonicMillis::now();
            *self.last.lock() = Some(Loss { at, cause });
        }
    }

    /// Counts one more writer unless there are too many. Those before it may be
    /// about to end, as with many changes of the log one behind the other: they are
    /// waited for as long as a new writer would wait for them.
    fn count_writer(&self) -> bool {
        let deadline = Instant::now() + HANDOVER;
        while self.writers.fetch_add(1, Ordering::Relaxed) >= WRITERS_MAX {
            self.writers.fetch_sub(1, Ordering::Relaxed);
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(WRITERS_LOOK);
        }
        true
    }

    /// How many so far, and the last one.
    pub(super) fn so_far(&self) -> (u64, Option<Loss>) {
        let total = self.total.load(Ordering::Relaxed);
        (total, self.last.lock().clone())
    }
}

/// How a writer gets on.
#[derive(Default)]
struct Progress {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// Whether a call of the system is under way, and since when.
    is_busy: AtomicBool,
    busy_since: AtomicU64,
    /// Why the last write failed; `None` if it did not.
    failure: Mutex<Option<String>>,
}

enum Message {
    /// From now on it is in use; the end of the writer before it.
    Begin(Option<Receiver<()>>),
    /// A whole line with its end.
    Line(String),
    /// Tell when all before it is written.
    Flush(Sender<()>),
}

/// The queue of a place's lines. Its thread writes what is left and ends when the
/// writer is dropped.
pub(super) struct Writer {
    messages: Sender<Message>,
    progress: Arc<Progress>,
    losses: Arc<Losses>,
    /// Closed when the thread has ended.
    ended: Mutex<Option<Receiver<()>>>,
}

/// A writer that waits for its place.
pub(super) struct Waiting {
    writer: Writer,
    place: Sender<Sink>,
}

impl Waiting {
    /// All that a writer needs but its place.
    ///
    /// # Errors
    ///
    /// The thread cannot be had, or too many of those before hang.
    pub(super) fn new(style: Arc<Style>, losses: Arc<Losses>) -> io::Result<Self> {
        if !losses.count_writer() {
            return Err(io::Error::other(
                "earlier places of the log hang, and too many threads wait for them; restart the \
                 broker",
            ));
        }
        let (messages, queue) = channel();
        let (place, sink) = channel();
        let (end, ended) = channel();
        let progress = Arc::new(Progress::default());
        let (counted, work_progress) = (Counted(losses.clone()), progress.clone());
        let work = move || {
            if let Ok(sink) = sink.recv() {
                let mut work = Work {
                    queue,
                    sink,
                    style,
                    progress: work_progress,
                    losses: counted,
                    elsewhere: 0,
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
            place,
        })
    }

    /// The writer of this place. It takes lines at once and writes them once it is
    /// told to [`begin`](Writer::begin).
    pub(super) fn write_to(self, sink: Sink) -> Writer {
        // The thread waits for it.
        let _ = self.place.send(sink);
        self.writer
    }
}

impl Writer {
    /// Lets the thread write, after `before` has written what it has.
    pub(super) fn begin(&self, before: Option<&Self>) {
        let before = before.and_then(|before| before.ended.lock().take());
        // A thread that is gone has nothing to begin.
        let _ = self.send(Message::Begin(before));
    }

    /// Puts a line into the queue, or counts it as lost.
    pub(super) fn put(&self, line: String) {
        let bytes = line.len() + LINE_OVERHEAD;
        let waiting = &self.progress.waiting;
        if waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES_MAX {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.losses.add(1, LossCause::NoRoom);
            return;
        }
        if !self.send(Message::Line(line)) {
            waiting.fetch_sub(bytes, Ordering::Relaxed);
            let cause = "the thread that writes it is gone".to_owned();
            self.losses.add(1, LossCause::Unwritten(cause));
        }
    }

    /// Waits until everything that was logged so far is written, or for the time.
    pub(super) fn flush(&self, time: Duration) {
        let (done, is_done) = channel();
        if self.send(Message::Flush(done)) {
            let _ = is_done.recv_timeout(time);
        }
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.progress.waiting.load(Ordering::Relaxed)
    }

    /// Since when the system has not come back from a call.
    pub(super) fn busy_since(&self) -> Option<MonotonicMillis> {
        let since = MonotonicMillis(self.progress.busy_since.load(Ordering::Relaxed));
        let is_busy = self.progress.is_busy.load(Ordering::Acquire);
        is_busy.then_some(since)
    }

    /// Why the last write failed.
    pub(super) fn failure(&self) -> Option<String> {
        self.progress.failure.lock().clone()
    }

    /// `false`: the thread is gone, by a panic alone.
    fn send(&self, message: Message) -> bool {
        self.messages.send(message).is_ok()
    }
}

/// Counts the thread as living.
struct Counted(Arc<Losses>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the thread of a writer works with.
struct Work {
    queue: Receiver<Message>,
    sink: Sink,
    style: Arc<Style>,
    progress: Arc<Progress>,
    losses: Counted,
    /// Lines that went to stderr, as the log server did not take them, and of which it
    /// is not told yet.
    elsewhere: u64,
}

impl Work {
    fn run(&mut self) {
        // A writer that is never told to begin ends here.
        let Ok(Message::Begin(before)) = self.queue.recv() else {
            return;
        };
        if let Some(before) = before {
            let _ = before.recv_timeout(HANDOVER);
            self.timed(Sink::follow_name);
        }
        while self.write_next() {}
    }

    /// Writes the lines that wait, as many as go at once; `false` at the end.
    fn write_next(&mut self) -> bool {
        let mut flushes = Vec::new();
        let mut lines = String::new();
        let mut bytes = 0;
        let room = self.sink.room().min(BATCH_BYTES as u64);
        let has_news = self.elsewhere + self.losses.0.owed.load(Ordering::Relaxed) > 0;
        let mut next = match has_news {
            false => self
                .queue
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
            true => self.queue.recv_timeout(RETRY),
        };
        let goes_on = !matches!(next, Err(RecvTimeoutError::Disconnected));
        while let Ok(message) = next {
            match message {
                Message::Line(line) => {
                    bytes += line.len() + LINE_OVERHEAD;
                    lines += &line;
                }
                Message::Flush(done) => flushes.push(done),
                Message::Begin(_) => {}
            }
            next = match lines.len() as u64 <= room {
                true => self.queue.try_recv().map_err(|_| RecvTimeoutError::Timeout),
                false => Err(RecvTimeoutError::Timeout),
            };
        }
        self.write(&lines);
        self.progress.waiting.fetch_sub(bytes, Ordering::Relaxed);
        drop(flushes);
        goes_on
    }

    /// Writes lines, and before them how many were lost.
    fn write(&mut self, lines: &str) {
        // Taken out at once: a writer before this one may come back and tell too.
        let owed = self.losses.0.owed.swap(0, Ordering::Relaxed);
        let mut notice = String::new();
        for (count, what) in [
            (self.elsewhere, "went to stderr"),
            (owed, "could not be written"),
        ] {
            if count > 0 {
                let text = format!("{count} lines of the log {what}");
                notice += &self.style.line(Label::ERROR, &text);
            }
        }
        let text = notice + lines;
        if text.is_empty() {
            return;
        }
        let notice_len = text.len() - lines.len();
        let unwritten = self.timed(|sink| sink.append(&text)).err();
        let written = unwritten.as_ref().map_or(text.len(), |it| it.written);
        if written < notice_len {
            self.losses.0.owed.fetch_add(owed, Ordering::Relaxed);
        } else {
            self.elsewhere = 0;
        }
        let cause = unwritten.map(|it| it.cause.to_string());
        self.progress.failure.lock().clone_from(&cause);
        match cause {
            Some(cause) => self.spill(&text.as_bytes()[written.max(notice_len)..], cause),
            None => self.rotate(),
        }
    }

    /// What becomes of lines that the place does not take. They are counted as lost but
    /// for those of a log server that stderr takes.
    fn spill(&mut self, lines: &[u8], cause: String) {
        let mut lost = count_lines(lines);
        if let Sink::Syslog(_) = self.sink {
            for line in String::from_utf8_lossy(lines).split_inclusive('\n') {
                let line = self.style.begin() + line;
                if self.timed(|_| write_to_ready_stderr(&line)).is_err() {
                    break;
                }
                self.elsewhere += 1;
                lost = lost.saturating_sub(1);
            }
        }
        self.losses.0.add(lost, LossCause::Unwritten(cause));
    }

    /// Rotates the file if it is full, and tells of it.
    fn rotate(&mut self) {
        let Some(outcome) = self.timed(Sink::rotate) else {
            return;
        };
        let line = match outcome {
            Ok(backup) => {
                let text = format!("Rotated log, backup saved as {}", backup.display());
                self.style.line(Label::INFO, &text)
            }
            Err(cause) => {
                let text = format!("Unable to rotate the log: {cause}");
                self.style.line(Label::ERROR, &text)
            }
        };
        if let Err(Unwritten { cause, .. }) = self.timed(|sink| sink.append(&line)) {
            let cause = LossCause::Unwritten(cause.to_string());
            self.losses.0.add(1, cause);
        }
    }

    /// Lets the sink do something that may take long, and shows that it does.
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

fn count_lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}
