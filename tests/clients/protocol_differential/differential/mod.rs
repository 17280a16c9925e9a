//! Compares two brokers: both get the same bytes, and their answers must be equal after
//! everything that may differ from run to run is masked.
//!
//! A [`Case`] is a script over one or more connections. [`run`] executes it on a new
//! broker and returns a [`Transcript`]; [`differences`] runs a table of cases on two
//! brokers and reports where the transcripts differ.

// Each test program that uses the tables compiles its own copy of this module.
#![allow(unreachable_pub)]

pub mod authentication;
pub mod connect;
pub mod framing;
pub mod keepalive;
pub mod limits;
pub mod normalise;
pub mod splits;
pub mod subjects;
pub mod subscriptions;
pub mod verbs;

use std::{collections::BTreeMap, fmt::Write as _, thread, time::Duration};

use test_support::{BrokerBuilder, Frame, PATIENCE, RawClient, raw_client::Next};

/// What each connection received, by its number in the script, one entry a frame, and
/// `closed` at the end.
pub type Transcript = BTreeMap<usize, Vec<String>>;

/// One script and how to compare its answers.
pub struct Case {
    /// Unique name, shown when the answers differ.
    pub name: String,
    /// Text of the configuration file.
    pub config: String,
    steps: Vec<Step>,
    any_member: bool,
    show_pings: bool,
}

enum Step {
    /// Answers this many PINGs of the broker.
    AnswerPings(usize, usize),
    /// Reads until the broker closes the connection.
    Closed(usize),
    /// Closes the connection from the client's side and waits until `/varz` shows this
    /// many open ones.
    Leave(usize, u64),
    /// Sends bytes; a connection opens with its first mention.
    Send(usize, Vec<u8>),
    /// Sends a PING and reads up to its PONG.
    Sync(usize),
}

/// Starts a script. Each connection that is still open at its end is synced twice.
pub fn case(name: impl Into<String>) -> Case {
    Case {
        name: name.into(),
        config: String::new(),
        steps: Vec::new(),
        any_member: false,
        show_pings: false,
    }
}

/// A script of one connection that sends these bytes in one write.
pub fn one(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Case {
    case(name).send(0, bytes)
}

impl Case {
    /// Starts the brokers with this configuration.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = text.into();
        self
    }

    /// Sends bytes on a connection.
    pub fn send(self, connection: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(connection, bytes.as_ref().to_vec()))
    }

    /// Waits until the broker has processed everything the connection sent, and reads its
    /// answers.
    pub fn sync(self, connection: usize) -> Self {
        self.step(Step::Sync(connection))
    }

    /// Waits until the broker closes the connection.
    pub fn closed(self, connection: usize) -> Self {
        self.step(Step::Closed(connection))
    }

    /// Closes the connection and waits until the broker counts `left` open ones.
    pub fn leave(self, connection: usize, left: u64) -> Self {
        self.step(Step::Leave(connection, left))
    }

    /// Waits for PINGs of the broker and answers each.
    pub fn answer_pings(mut self, connection: usize, count: usize) -> Self {
        self.show_pings = true;
        self.step(Step::AnswerPings(connection, count))
    }

    /// Keeps the broker's own PINGs in the transcript. They are normally omitted, because
    /// on a slow machine they arrive earlier in a script.
    pub fn show_pings(mut self) -> Self {
        self.show_pings = true;
        self
    }

    /// A message may go to any member of a queue group: subscription ids are masked and
    /// the messages of all connections are compared as one set.
    pub fn any_member(mut self) -> Self {
        self.any_member = true;
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

/// Runs the cases on both brokers, of which the right one is the reference; returns each
/// difference, by case.
pub fn differences(
    cases: &[Case],
    left: fn() -> BrokerBuilder,
    right: fn() -> BrokerBuilder,
) -> BTreeMap<String, String> {
    let mut differences = BTreeMap::new();
    for case in cases {
        let (left, right) = thread::scope(|scope| {
            let left = scope.spawn(|| run(left(), case));
            let right = run(right(), case);
            // The panic message has the reason; the other cases continue.
            let refused = |_| [(0, vec!["the script could not be played".to_owned()])].into();
            (left.join().unwrap_or_else(refused), right)
        });
        assert!(
            !right
                .values()
                .flatten()
                .any(|line| line == normalise::NOTHING),
            "the script of {:?} awaits what the reference does not send: {right:?}",
            case.name
        );
        if left != right {
            let text = describe(&left, &right);
            let before = differences.insert(case.name.clone(), text);
            assert!(before.is_none(), "two cases are named {:?}", case.name);
        }
    }
    differences
}

/// Fails unless both brokers answer all cases identically.
pub fn assert_alike(cases: &[Case], left: fn() -> BrokerBuilder, right: fn() -> BrokerBuilder) {
    let found = differences(cases, left, right);
    let mut report = String::new();
    for (name, difference) in &found {
        writeln!(report, "== {name}\n{difference}").expect("write to a string");
    }
    assert!(
        found.is_empty(),
        "{} of {} cases differ\n{report}",
        found.len(),
        cases.len()
    );
}

/// Runs a case on a new broker.
pub fn run(broker: BrokerBuilder, case: &Case) -> Transcript {
    let broker = broker.config(&case.config).start();
    // The connection that tested the start may still be counted.
    if case.config.contains("max_connections") {
        broker.wait_for_connections(0);
    }
    let mut players: BTreeMap<usize, Player> = BTreeMap::new();
    for step in &case.steps {
        let number = step.connection();
        let player = players
            .entry(number)
            .or_insert_with(|| Player::new(RawClient::connect_silently(broker.client_addr())));
        match step {
            Step::AnswerPings(_, count) => player.answer_pings(*count),
            Step::Closed(_) => player.read(|_| false),
            Step::Leave(_, left) => {
                player.sync();
                player.leave();
                broker.wait_for_connections(*left);
            }
            Step::Send(_, bytes) => player.send(bytes),
            Step::Sync(_) => player.sync(),
        }
    }
    // One PONG may be followed by an INFO, which is read before the second one.
    for _ in 0..2 {
        players.values_mut().for_each(Player::sync);
    }
    let seen = players
        .into_iter()
        .map(|(number, player)| (number, player.seen))
        .collect();
    let port = broker.client_addr().port();
    normalise::transcript(seen, port, case.any_member, case.show_pings)
}

impl Step {
    fn connection(&self) -> usize {
        match self {
            Self::AnswerPings(number, _)
            | Self::Closed(number)
            | Self::Leave(number, _)
            | Self::Send(number, _)
            | Self::Sync(number) => *number,
        }
    }
}

/// An event on a connection.
pub enum Event {
    /// The broker closed it.
    Closed,
    /// A frame was received.
    Frame(Frame),
    /// An expected frame was not received.
    Nothing,
}

/// One connection of a running script.
pub struct Player {
    client: Option<RawClient>,
    /// Everything received so far.
    pub seen: Vec<Event>,
    sent: Vec<u8>,
    pings_answered: usize,
}

impl Player {
    /// Takes over a connection of which nothing has been read.
    pub fn new(client: RawClient) -> Self {
        Self {
            client: Some(client),
            seen: Vec::new(),
            sent: Vec::new(),
            pings_answered: 0,
        }
    }

    /// Sends bytes and remembers them, to know how many PONGs are expected.
    pub fn send(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
        if let Some(client) = &mut self.client {
            client.send(bytes);
        }
    }

    /// Sends the bytes so that the broker reads them separately from what follows. A busy
    /// broker may still read both together: then this proves less.
    pub fn send_alone(&mut self, bytes: &[u8]) {
        self.send(bytes);
        thread::sleep(Duration::from_micros(200));
    }

    /// Sends a PING and reads until all PINGs so far are answered.
    pub fn sync(&mut self) {
        self.send(b"PING\r\n");
        let awaited = pings(&self.sent);
        self.read(|seen| {
            let pongs = seen.iter().filter(|event| event.is(b"PONG")).count();
            pongs >= awaited
        });
    }

    fn answer_pings(&mut self, count: usize) {
        for _ in 0..count {
            self.pings_answered += 1;
            let awaited = self.pings_answered;
            self.read(|seen| seen.iter().filter(|event| event.is(b"PING")).count() >= awaited);
            self.send(b"PONG\r\n");
        }
    }

    fn leave(&mut self) {
        self.client = None;
    }

    /// Reads until `enough` accepts what was received, or the connection closes.
    fn read(&mut self, enough: impl Fn(&[Event]) -> bool) {
        while !enough(&self.seen) {
            let Some(client) = &mut self.client else {
                return;
            };
            match client.poll_frame(PATIENCE) {
                Next::Frame(frame) => self.seen.push(Event::Frame(frame)),
                Next::Closed => {
                    self.seen.push(Event::Closed);
                    self.client = None;
                }
                Next::Nothing => {
                    self.seen.push(Event::Nothing);
                    self.client = None;
                }
            }
        }
    }
}

impl Event {
    fn is(&self, line: &[u8]) -> bool {
        matches!(self, Self::Frame(frame) if frame.line == line)
    }
}

/// Number of complete lines that are PINGs. Payloads in scripts do not begin like one.
fn pings(sent: &[u8]) -> usize {
    sent.split_inclusive(|&byte| byte == b'\n')
        .filter(|line| line.ends_with(b"\n"))
        .filter(|line| {
            line.get(..4)
                .is_some_and(|verb| verb.eq_ignore_ascii_case(b"PING"))
        })
        .count()
}

fn describe(left: &Transcript, right: &Transcript) -> String {
    let mut text = String::new();
    for number in left
        .keys()
        .chain(right.keys().filter(|n| !left.contains_key(n)))
    {
        let empty = Vec::new();
        let (left, right) = (
            left.get(number).unwrap_or(&empty),
            right.get(number).unwrap_or(&empty),
        );
        if left == right {
            continue;
        }
        let same = left.iter().zip(right).take_while(|(l, r)| l == r).count();
        writeln!(text, "  connection {number}, after {same} equal frames:").expect("write");
        writeln!(text, "    left:  {}", shorten(&left[same..])).expect("write");
        writeln!(text, "    right: {}", shorten(&right[same..])).expect("write");
    }
    text
}

fn shorten(frames: &[String]) -> String {
    let text = format!("[{}]", frames.join(" ⏎ "));
    match text.char_indices().nth(600) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
