//! What a peer may send before it is logged in, on the client port and on the route port: only
//! CONNECT and, between brokers, the INFO that follows it.
//!
//! [`BeforeLogin`] is a state machine without a socket and a clock: the caller passes in bytes and
//! the time, and gets the next thing to do. Everything that an unauthenticated peer can send is
//! bounded here: the length of a line, the number of lines without a meaning, the time. No byte is
//! searched twice for the end of its line. The session of a client and the handshake of a route
//! drive it.

use std::time::Instant;

use memchr::memchr;

use super::{
    parse::{self, Op, ParseError},
    route::{self, RouteOp},
};

/// Limit of CONNECT in bytes, unless `max_control_line` is smaller. Raising that for subscribers
/// must not let unauthenticated peers send more.
pub const CONNECT_LEN_MAX: usize = 32 * 1024;

/// The same for INFO, which lists every address of a large cluster.
pub const INFO_LEN_MAX: usize = 1024 * 1024;

/// Lines without a meaning that are accepted before INFO: a broker that waits for our INFO sends
/// PINGs meanwhile.
pub const IDLE_LINES_MAX: usize = 16;

/// Bytes of a line that its limit does not count: verb, blank, CRLF.
const LINE_EXTRA: usize = 16;

/// Bytes that are enough to identify a verb, including the byte that follows it.
const VERB_LEN_MAX: usize = 8;

/// What the peer must send next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// CONNECT, on the client port.
    ClientConnect,
    /// CONNECT, on the route port.
    RouteConnect,
    /// INFO, between brokers.
    RouteInfo,
    /// Between brokers, the answer to the PING that follows our CONNECT: a broker that refuses the
    /// CONNECT says so before it answers.
    RouteAnswer,
}

/// What the caller must do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Wait for more bytes, but no longer than until the deadline.
    Wait,
    /// CONNECT has arrived. Holds its JSON.
    Connect(Vec<u8>),
    /// INFO has arrived. Holds its JSON.
    Info(Vec<u8>),
    /// PING has arrived and must be answered.
    Ping,
    /// PONG has arrived, or an operation that a broker sends only after it has accepted us; the
    /// latter is left in the buffer.
    Answered,
}

/// Why the peer is refused.
#[derive(Debug, Eq, PartialEq)]
pub enum BeforeLoginError {
    /// The deadline has passed.
    Timeout,
    /// It sent CONNECT when INFO was expected.
    Connect,
    /// It sent INFO when CONNECT was expected.
    Info,
    /// It sent something else. On the client port this is left in the buffer
    /// ([`BeforeLogin::take_rest`]), because clients that need no login may omit CONNECT.
    Unexpected,
    /// The peer gave up with this error.
    Error(Vec<u8>),
    /// It sent more lines without a meaning than [`IDLE_LINES_MAX`].
    Idle,
    /// It sent more before its INFO than is kept.
    EarlyDataTooLong,
    /// It violated the protocol.
    Parse(ParseError),
}

impl From<ParseError> for BeforeLoginError {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

/// The state of a peer before login.
pub struct BeforeLogin {
    expected: Expected,
    /// Limit of the expected line in bytes, without its verb.
    len_max: usize,
    deadline: Instant,
    /// Bytes that were received and not handled.
    received: Vec<u8>,
    /// How many of them were searched without finding the end of a line.
    searched: usize,
    idle_lines: usize,
    work: usize,
    /// Whether operations that precede INFO are kept for the route.
    keeps_early: bool,
    /// The operations that were kept.
    early: Vec<u8>,
    /// Bytes of a payload among them that have not arrived yet.
    early_left: usize,
}

impl BeforeLogin {
    /// Expects `expected` until `deadline`.
    pub fn new(expected: Expected, max_control_line: usize, deadline: Instant) -> Self {
        Self {
            expected,
            len_max: len_max(expected, max_control_line),
            deadline,
            received: Vec::new(),
            searched: 0,
            idle_lines: 0,
            work: 0,
            keeps_early: false,
            early: Vec::new(),
            early_left: 0,
        }
    }

    /// Keeps what a broker that has logged in sends before its INFO, up to the limit of one line.
    /// At that point the broker is authenticated.
    pub fn keep_early(&mut self) {
        self.keeps_early = true;
    }

    /// Expects something else next. Bytes that were received beyond the last line are kept.
    pub fn expect(&mut self, expected: Expected, max_control_line: usize, deadline: Instant) {
        self.expected = expected;
        self.len_max = len_max(expected, max_control_line);
        self.deadline = deadline;
    }

    /// When the wait ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The buffer that received bytes are appended to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }

    /// Takes all bytes that were not handled. The state must not be used afterwards.
    pub fn take_rest(&mut self) -> Vec<u8> {
        self.searched = 0;
        let mut rest = std::mem::take(&mut self.early);
        match rest.is_empty() {
            true => std::mem::take(&mut self.received),
            false => {
                rest.append(&mut self.received);
                rest
            }
        }
    }

    /// Bytes that were searched, parsed or moved so far: the work that the peer has caused.
    pub fn work(&self) -> usize {
        self.work
    }

    /// The next thing to do at `now`. Call it until it returns [`Step::Wait`].
    ///
    ///  # Errors
    ///
    /// The peer is refused.
    pub fn step(&mut self, now: Instant) -> Result<Step, BeforeLoginError> {
        if self.deadline <= now {
            return Err(BeforeLoginError::Timeout);
        }
        match self.expected {
            Expected::ClientConnect => self.client_step(),
            Expected::RouteConnect | Expected::RouteInfo => self.route_step(),
            Expected::RouteAnswer => self.answer_step(),
        }
    }

    fn client_step(&mut self) -> Result<Step, BeforeLoginError> {
        match self.received.first() {
            None => return Ok(Step::Wait),
            Some(b'C' | b'c') => {}
            Some(_) => return Err(BeforeLoginError::Unexpected),
        }
        let Some(line) = self.take_line()? else {
            // Refuse at once if the bytes cannot become CONNECT.
            let verb = &self.received[..self.received.len().min(VERB_LEN_MAX)];
            parse::parse(verb, VERB_LEN_MAX)?;
            return Ok(Step::Wait);
        };
        match parse::parse(&line, self.len_max)? {
            parse::Parsed::Op(Op::Connect(json), _) => Ok(Step::Connect(json.to_vec())),
            _ => Err(BeforeLoginError::Unexpected),
        }
    }

    fn route_step(&mut self) -> Result<Step, BeforeLoginError> {
        loop {
            let payload = self.early_left.min(self.received.len());
            if payload > 0 {
                self.work += self.received.len();
                self.early.extend(self.received.drain(..payload));
                self.early_left -= payload;
            }
            if self.early_left > 0 {
                return Ok(Step::Wait);
            }
            let Some(line) = self.take_line()? else {
                return Ok(Step::Wait);
            };
            let route::Parsed::Op(op, _) = route::parse(&line, self.len_max)? else {
                return Err(ParseError::ControlLine.into());
            };
            match (op, self.expected) {
                (RouteOp::Connect(json), Expected::RouteConnect) => {
                    return Ok(Step::Connect(json.to_vec()));
                }
                (RouteOp::Info(json), Expected::RouteInfo) => return Ok(Step::Info(json.to_vec())),
                (RouteOp::Connect(_), _) => return Err(BeforeLoginError::Connect),
                (RouteOp::Info(_), _) => return Err(BeforeLoginError::Info),
                (RouteOp::Err(text), _) => return Err(BeforeLoginError::Error(text.to_vec())),
                (op @ (RouteOp::Ping | RouteOp::Pong | RouteOp::Ignored), Expected::RouteInfo) => {
                    self.idle_lines += 1;
                    if self.idle_lines > IDLE_LINES_MAX {
                        return Err(BeforeLoginError::Idle);
                    }
                    if op == RouteOp::Ping {
                        return Ok(Step::Ping);
                    }
                }
                (op, Expected::RouteInfo) if self.keeps_early => {
                    let payload = match op {
                        RouteOp::Message(message) => message.whole_len() - message.line_len,
                        _ => 0,
                    };
                    if self.early.len() + line.len() + payload > self.len_max {
                        return Err(BeforeLoginError::EarlyDataTooLong);
                    }
                    self.early.extend_from_slice(&line);
                    self.early_left = payload;
                }
                _ => return Err(BeforeLoginError::Unexpected),
            }
        }
    }

    fn answer_step(&mut self) -> Result<Step, BeforeLoginError> {
        while let Some(line) = self.take_line()? {
            let route::Parsed::Op(op, _) = route::parse(&line, self.len_max)? else {
                return Err(ParseError::ControlLine.into());
            };
            match op {
                RouteOp::Err(text) => return Err(BeforeLoginError::Error(text.to_vec())),
                RouteOp::Pong => return Ok(Step::Answered),
                RouteOp::Ping | RouteOp::Ignored => {
                    self.idle_lines += 1;
                    if self.idle_lines > IDLE_LINES_MAX {
                        return Err(BeforeLoginError::Idle);
                    }
                    if op == RouteOp::Ping {
                        return Ok(Step::Ping);
                    }
                }
                _ => {
                    self.received.splice(..0, line);
                    return Ok(Step::Answered);
                }
            }
        }
        Ok(Step::Wait)
    }

    /// Takes the first line, if it is complete.
    fn take_line(&mut self) -> Result<Option<Vec<u8>>, ParseError> {
        let new = &self.received[self.searched..];
        let found = memchr(b'\n', new).map(|at| at + 1);
        self.work += found.unwrap_or(new.len());
        let len = self.searched + found.unwrap_or(new.len());
        if len > self.len_max + LINE_EXTRA {
            return Err(ParseError::ControlLine);
        }
        if found.is_none() {
            self.searched = len;
            return Ok(None);
        }
        self.searched = 0;
        self.work += self.received.len();
        Ok(Some(self.received.drain(..len).collect()))
    }
}

fn len_max(expected: Expected, max_control_line: usize) -> usize {
    max_control_line.min(match expected {
        Expected::ClientConnect | Expected::RouteConnect => CONNECT_LEN_MAX,
        Expected::RouteInfo | Expected::RouteAnswer => INFO_LEN_MAX,
    })
}

#[cfg(test)]
mod tests;
