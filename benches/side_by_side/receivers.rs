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
    wire::TIMEOUT,
};

/// Bytes per read, in addition to the incomplete message before it.
const READ: usize = 256 * 1024;
/// Limit of an incomplete message, header included.
const TAIL: usize = 80 * 1024;
/// How often a waiting receiver checks whether the sender has finished.
const TICK: Duration = Duration::from_millis(10);

/// How received messages are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tally {
    /// Every receiver gets all messages of one publisher: the slowest one counts.
    Each,
    /// The receivers share the deliveries: the sum counts.
    Sum,
}

/// The receiving connections and the state of their thread.
pub(crate) struct Receivers {
    pub(crate) inboxes: Vec<Inbox>,
    tally: Tally,
    epoll: Epoll,
    scratch: Vec<u8>,
}

/// The state that the sending and the receiving thread share during a run.
pub(crate) struct Progress {
    received: AtomicU64,
    /// The count at which the run ends; unknown until sending has ended.
    goal: AtomicU64,
    /// One of the two has failed.
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

    /// The count so far, according to the tally.
    pub(crate) fn received(&self) -> u64 {
        let counts = self.inboxes.iter().map(|inbox| inbox.received);
        match self.tally {
            Tally::Each => counts.min().unwrap_or(0),
            Tally::Sum => counts.sum(),
        }
    }

    /// Number of deliveries per count.
    pub(crate) fn deliveries_per_tally(&self) -> u64 {
        match self.tally {
            Tally::Each => self.inboxes.len() as u64,
            Tally::Sum => 1,
        }
    }

    /// Receives until the goal is reached and returns when the last message arrived.
    pub(crate) fn run(&mut self, progress: &Progress) -> Result<Instant> {
        let result = self.receive(progress);
        if result.is_err() {
            progress.give_up();
        }
        result
    }

    /// Sends a PING on every connection and checks that nothing unexpected precedes the answers.
    pub(crate) fn check_no_extra(&mut self) -> Result<()> {
        let before = self.received();
        for inbox in &mut self.inboxes {
            inbox.pongs = 0;
            inbox.stream.write_all(b"PING\r\n").during("sending PING")?;
        }
        let start = Instant::now();
        while self.inboxes.iter().any(|inbox| inbox.pongs == 0) {
            self.poll()?;
            if start.elapsed() > TIMEOUT {
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
            if goal != u64::MAX && last.elapsed() > TIMEOUT {
                fail!("only {received} messages came of {goal} that were published");
            }
        }
    }

    /// Waits briefly for messages and takes those received.
    fn poll(&mut self) -> Result<()> {
        for token in self.epoll.wait(TICK).during("epoll")? {
            let inbox = &mut self.inboxes[token];
            loop {
                inbox
                    .read(&mut self.scratch)
                    .map_err(|failure| failure.prefixed(format_args!("receiver {token}")))?;
                if !inbox.stream.has_ready() {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Progress {
    /// For a run in which this thread sends.
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
            if start.elapsed() > TIMEOUT {
                fail!(
                    "no {wanted} messages within {} s, only {}",
                    TIMEOUT.as_secs(),
                    self.received.load(SeqCst)
                );
            }
            thread::park_timeout(TICK);
        }
        self.wanted.store(u64::MAX, SeqCst);
        Ok(())
    }

    /// Sets the count at which the receiver's run ends.
    pub(crate) fn set_goal(&self, goal: u64) {
        self.goal.store(goal, SeqCst);
    }

    /// Ends the run for the other thread.
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
