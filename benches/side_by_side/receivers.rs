//! All receiving connections of a load, served by one thread with epoll.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::{
    failure::{During, Result, fail},
    inbox::Inbox,
    sys::Epoll,
    wire::PATIENCE,
};

/// Bytes taken by one read, beside the unfinished message before it.
const READ: usize = 256 * 1024;
/// The longest unfinished message, header included.
const TAIL: usize = 80 * 1024;
/// How often a waiting receiver looks whether the sender has finished.
const TICK: Duration = Duration::from_millis(10);

/// How the messages are counted against what was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tally {
    /// Every receiver gets everything that one publisher sends: the slowest
    /// counts.
    Each,
    /// The receivers share what is delivered: the sum counts.
    Sum,
}

/// The receiving connections and their thread's means.
pub(crate) struct Receivers {
    pub(crate) inboxes: Vec<Inbox>,
    tally: Tally,
    epoll: Epoll,
    scratch: Vec<u8>,
}

/// What the sending and the receiving thread tell each other during a run.
pub(crate) struct Progress {
    received: AtomicU64,
    /// The tally at which the run is over; not known before sending ends.
    goal: AtomicU64,
    /// One of the two gave up.
    broken: AtomicBool,
    /// The sender sleeps until `received` is at least this.
    wanted: AtomicU64,
    sender: Thread,
}

impl Receivers {
    pub(crate) fn new(inboxes: Vec<Inbox>, tally: Tally) -> Result<Self> {
        let epoll = Epoll::new().during("epoll")?;
        for (token, inbox) in inboxes.iter().enumerate() {
            epoll.add(&inbox.stream, token).during("epoll")?;
        }
        Ok(Self {
            inboxes,
            tally,
            epoll,
            scratch: vec![0; READ + TAIL],
        })
    }

    /// What was received so far, counted as the tally says.
    pub(crate) fn received(&self) -> u64 {
        let counts = self.inboxes.iter().map(|inbox| inbox.received);
        match self.tally {
            Tally::Each => counts.min().unwrap_or(0),
            Tally::Sum => counts.sum(),
        }
    }

    /// How many deliveries a tally of one stands for.
    pub(crate) fn deliveries_per_tally(&self) -> u64 {
        match self.tally {
            Tally::Each => self.inboxes.len() as u64,
            Tally::Sum => 1,
        }
    }

    /// Receives until the goal is reached and returns when the last message
    /// came.
    pub(crate) fn run(&mut self, progress: &Progress) -> Result<Instant> {
        let result = self.receive(progress);
        if result.is_err() {
            progress.give_up();
        }
        result
    }

    /// Lets the broker answer a PING on every connection: nothing that was not
    /// expected comes before the answers.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let before = self.received();
        for inbox in &mut self.inboxes {
            inbox.pongs = 0;
            inbox.stream.write_all(b"PING\r\n").during("sending PING")?;
        }
        let start = Instant::now();
        while self.inboxes.iter().any(|inbox| inbox.pongs == 0) {
            self.poll()?;
            if start.elapsed() > PATIENCE {
                fail!("no answer to PING on a receiver's connection");
            }
        }
        match self.received() - before {
            0 => Ok(()),
            more => fail!("{more} messages more than were published came"),
        }
    }

    fn receive(&mut self, progress: &Progress) -> Result<Instant> {
        let mut last = Instant::now();
        let mut received = self.received();
        loop {
            self.poll()?;
            let now_received = self.received();
            if now_received != received {
                received = now_received;
                last = Instant::now();
                progress.publish(received);
            }
            let goal = progress.goal.load(SeqCst);
            if received == goal {
                return Ok(last);
            }
            if received > goal {
                fail!("{received} messages came of {goal} that were published");
            }
            if progress.broken.load(SeqCst) {
                fail!("the sender gave up");
            }
            if goal != u64::MAX && last.elapsed() > PATIENCE {
                fail!("only {received} messages came of {goal} that were published");
            }
        }
    }

    /// Waits a little for messages and takes those that are there.
    fn poll(&mut self) -> Result<()> {
        for token in self.epoll.wait(TICK).during("epoll")? {
            let inbox = &mut self.inboxes[token];
            inbox
                .read(&mut self.scratch)
                .map_err(|failure| failure.prefixed(format_args!("receiver {token}")))?;
        }
        Ok(())
    }
}

impl Progress {
    /// For a run that this thread sends.
    pub(crate) fn new(received: u64) -> Self {
        Self {
            received: AtomicU64::new(received),
            goal: AtomicU64::new(u64::MAX),
            broken: AtomicBool::new(false),
            wanted: AtomicU64::new(u64::MAX),
            sender: thread::current(),
        }
    }

    /// Sleeps until at least `wanted` was received.
    pub(crate) fn await_received(&self, wanted: u64) -> Result<()> {
        if self.received.load(SeqCst) >= wanted {
            return Ok(());
        }
        let start = Instant::now();
        self.wanted.store(wanted, SeqCst);
        while self.received.load(SeqCst) < wanted {
            if self.broken.load(SeqCst) {
                fail!("the receiver gave up");
            }
            if start.elapsed() > PATIENCE {
                fail!(
                    "no {wanted} messages within {} s, only {}",
                    PATIENCE.as_secs(),
                    self.received.load(SeqCst)
                );
            }
            thread::park_timeout(TICK);
        }
        self.wanted.store(u64::MAX, SeqCst);
        Ok(())
    }

    /// Tells the receiver at which tally the run is over.
    pub(crate) fn set_goal(&self, goal: u64) {
        self.goal.store(goal, SeqCst);
    }

    /// Ends the run for the other side.
    pub(crate) fn give_up(&self) {
        self.broken.store(true, SeqCst);
    }

    fn publish(&self, received: u64) {
        self.received.store(received, SeqCst);
        if received >= self.wanted.load(SeqCst) {
            self.sender.unpark();
        }
    }
}
