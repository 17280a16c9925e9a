//! What a peer says before it is let in, on the client port and on the route
//! port: nothing counts but the CONNECT that is due, and between brokers the INFO
//! behind it.
//!
//! [`BeforeLogin`] is a machine without a socket and without a clock: bytes and
//! the time go in, and it says what is to be done next. All that a stranger can
//! feed is bounded here: the bytes of a line, the lines that mean nothing, the
//! time. No byte is searched twice for the end of its line. The session of a client
//! and the handshake of a route drive it.

use std::time::Instant;

use memchr::memchr;

use super::{
    parse::{self, Op, ParseError},
    route::{self, RouteOp},
};

/// Bytes of the longest CONNECT that is waited for, if `max_control_line` is not
/// smaller anyway: who raises that for subscribers means no strangers.
pub const CONNECT_LEN_MAX: usize = 32 * 1024;

/// The same of an INFO, which names every address in a large cluster.
pub const INFO_LEN_MAX: usize = 1024 * 1024;

/// Lines without a meaning that are passed over before INFO comes: a broker that
/// waits for ours pings meanwhile.
pub const IDLE_LINES_MAX: usize = 16;

/// Bytes that a line has beside what its limit counts: verb, blank, CRLF.
const LINE_EXTRA: usize = 16;

/// Bytes that tell which verb it is, with the byte behind it.
const VERB_LEN_MAX: usize = 8;

/// What a peer has to say next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// CONNECT, on the client port.
    ClientConnect,
    /// CONNECT, on the route port.
    RouteConnect,
    /// INFO, between brokers.
    RouteInfo,
    /// Between brokers, the answer to a PING behind our CONNECT: whoever would
    /// refuse that says so before.
    RouteAnswer,
}

/// What is to be done next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// To wait for more, but no longer than until the deadline.
    Wait,
    /// CONNECT has come: its JSON.
    Connect(Vec<u8>),
    /// INFO has come: its JSON.
    Info(Vec<u8>),
    /// PING has come and is to be answered.
    Ping,
    /// PONG has come, or something that only a broker says which has let us in;
    /// that is still there to be taken.
    Answered,
}

/// Why a peer is not listened to any longer.
#[derive(Debug, Eq, PartialEq)]
pub enum Unfit {
    /// The time is over.
    Late,
    /// CONNECT where INFO is due.
    Connect,
    /// INFO where CONNECT is due.
    Info,
    /// Anything else but what is due. On the client port it is all still there to
    /// be taken ([`BeforeLogin::take_rest`]): some do not need to say CONNECT.
    NotDue,
    /// The peer gives up; what it says.
    Error(Vec<u8>),
    /// More lines without a meaning than [`IDLE_LINES_MAX`].
    Idle,
    /// More behind CONNECT than is kept until INFO comes.
    TooEarly,
    /// It is not the protocol.
    Parse(ParseError),
}

impl From<ParseError> for Unfit {
    fn from(error: ParseError) -> Self {
        Self::Parse(error)
    }
}

/// A peer that is not let in yet.
pub struct BeforeLogin {
    due: Due,
    /// Bytes of the longest line that is due, without its verb.
    len_max: usize,
    deadline: Instant,
    /// What has come and is not handled.
    received: Vec<u8>,
    /// Bytes of it in which there is no end of a line.
    searched: usize,
    idle_lines: usize,
    work: usize,
    /// Whether what comes before INFO is kept for the route.
    keeps_early: bool,
    /// What was kept.
    early: Vec<u8>,
    /// Bytes of a payload that belong to it and are not there yet.
    early_left: usize,
}

impl BeforeLogin {
    /// Waits for what is `due` until `deadline`.
    pub fn new(due: Due, max_control_line: usize, deadline: Instant) -> Self {
        Self {
            due,
            len_max: len_max(due, max_control_line),
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

    /// Keeps what a broker that has logged in says before its INFO, as much as a line
    /// may have: nobody else needs it by then.
    pub fn keep_early(&mut self) {
        self.keeps_early = true;
    }

    /// Waits for something else with what was received behind the last.
    pub fn expect(&mut self, due: Due, max_control_line: usize, deadline: Instant) {
        self.due = due;
        self.len_max = len_max(due, max_control_line);
        self.deadline = deadline;
    }

    /// When the time is over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Where bytes that come are to be appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }

    /// Takes what is not handled; it is over with this machine.
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

    /// Bytes that were searched, parsed or moved so far: the work that the peer's
    /// bytes made.
    pub fn work(&self) -> usize {
        self.work
    }

    /// What is to be done at `now`. To be called until there is nothing to do but
    /// to wait.
    ///
    /// # Errors
    ///
    /// The peer is not let in.
    pub fn step(&mut self, now: Instant) -> Result<Step, Unfit> {
        if self.deadline <= now {
            return Err(Unfit::Late);
        }
        match self.due {
            Due::ClientConnect => self.client_step(),
            Due::RouteConnect | Due::RouteInfo => self.route_step(),
            Due::RouteAnswer => self.answer_step(),
        }
    }

    fn client_step(&mut self) -> Result<Step, Unfit> {
        match self.received.first() {
            None => return Ok(Step::Wait),
            Some(b'C' | b'c') => {}
            Some(_) => return Err(Unfit::NotDue),
        }
        let Some(line) = self.take_line()? else {
            // What cannot become CONNECT is not waited for.
            let verb = &self.received[..self.received.len().min(VERB_LEN_MAX)];
            parse::parse(verb, VERB_LEN_MAX)?;
            return Ok(Step::Wait);
        };
        match parse::parse(&line, self.len_max)? {
            parse::Parsed::Op(Op::Connect(json), _) => Ok(Step::Connect(json.to_vec())),
            _ => Err(Unfit::NotDue),
        }
    }

    fn route_step(&mut self) -> Result<Step, Unfit> {
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
            match (op, self.due) {
                (RouteOp::Connect(json), Due::RouteConnect) => {
                    return Ok(Step::Connect(json.to_vec()));
                }
                (RouteOp::Info(json), Due::RouteInfo) => return Ok(Step::Info(json.to_vec())),
                (RouteOp::Connect(_), _) => return Err(Unfit::Connect),
                (RouteOp::Info(_), _) => return Err(Unfit::Info),
                (RouteOp::Err(text), _) => return Err(Unfit::Error(text.to_vec())),
                (op @ (RouteOp::Ping | RouteOp::Pong | RouteOp::Nothing), Due::RouteInfo) => {
                    self.idle_lines += 1;
                    if self.idle_lines > IDLE_LINES_MAX {
                        return Err(Unfit::Idle);
                    }
                    if op == RouteOp::Ping {
                        return Ok(Step::Ping);
                    }
                }
                (op, Due::RouteInfo) if self.keeps_early => {
                    let payload = match op {
                        RouteOp::Message(message) => message.whole_len() - message.line_len,
                        _ => 0,
                    };
                    if self.early.len() + line.len() + payload > self.len_max {
                        return Err(Unfit::TooEarly);
                    }
                    self.early.extend_from_slice(&line);
                    self.early_left = payload;
                }
                _ => return Err(Unfit::NotDue),
            }
        }
    }

    fn answer_step(&mut self) -> Result<Step, Unfit> {
        while let Some(line) = self.take_line()? {
            let route::Parsed::Op(op, _) = route::parse(&line, self.len_max)? else {
                return Err(ParseError::ControlLine.into());
            };
            match op {
                RouteOp::Err(text) => return Err(Unfit::Error(text.to_vec())),
                RouteOp::Pong => return Ok(Step::Answered),
                RouteOp::Ping | RouteOp::Nothing => {
                    self.idle_lines += 1;
                    if self.idle_lines > IDLE_LINES_MAX {
                        return Err(Unfit::Idle);
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

    /// The line at the beginning, if its end has come.
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

fn len_max(due: Due, max_control_line: usize) -> usize {
    max_control_line.min(match due {
        Due::ClientConnect | Due::RouteConnect => CONNECT_LEN_MAX,
        Due::RouteInfo | Due::RouteAnswer => INFO_LEN_MAX,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MAX: usize = 4096;

    fn begin(due: Due) -> (BeforeLogin, Instant) {
        let now = Instant::now();
        (
            BeforeLogin::new(due, MAX, now + Duration::from_secs(2)),
            now,
        )
    }

    /// What comes of these bytes when they come in pieces of `piece` bytes.
    fn feed(due: Due, bytes: &[u8], piece: usize) -> (Vec<Step>, Option<Unfit>, BeforeLogin) {
        let (mut peer, now) = begin(due);
        let mut steps = Vec::new();
        for piece in bytes.chunks(piece) {
            peer.buffer().extend_from_slice(piece);
            loop {
                match peer.step(now) {
                    Ok(Step::Wait) => break,
                    Ok(step) => steps.push(step),
                    Err(unfit) => return (steps, Some(unfit), peer),
                }
            }
        }
        (steps, None, peer)
    }

    #[test]
    fn nothing_but_what_is_due_is_taken() {
        let others = [
            "PING\r\n",
            "PONG\r\n",
            "+OK\r\n",
            "RS+ $G a\r\n",
            "RMSG $G a 0\r\n\r\n",
            "A+ x\r\n",
        ];
        for other in others {
            for due in [Due::ClientConnect, Due::RouteConnect] {
                let (steps, unfit, _) = feed(due, other.as_bytes(), 1);
                assert_eq!(
                    (steps, unfit),
                    (vec![], Some(Unfit::NotDue)),
                    "{due:?} {other}"
                );
            }
        }
        for line in ["CONNECT {}\r\n", "connect\t{}\n"] {
            for due in [Due::ClientConnect, Due::RouteConnect] {
                let (steps, unfit, _) = feed(due, line.as_bytes(), 1);
                assert_eq!((steps, unfit), (vec![Step::Connect(b"{}".into())], None));
            }
        }
        let (_, unfit, _) = feed(Due::RouteConnect, b"INFO {}\r\n", 9);
        assert_eq!(unfit, Some(Unfit::Info));
        let (_, unfit, _) = feed(Due::RouteInfo, b"CONNECT {}\r\n", 9);
        assert_eq!(unfit, Some(Unfit::Connect));
        let (_, unfit, _) = feed(Due::RouteInfo, b"-ERR 'x'\r\n", 9);
        assert_eq!(unfit, Some(Unfit::Error(b"'x'".into())));
    }

    #[test]
    fn what_cannot_become_connect_is_not_waited_for() {
        let (_, unfit, _) = feed(Due::ClientConnect, b"CONNEKT", 1);
        assert_eq!(unfit, Some(Unfit::Parse(ParseError::UnknownOperation)));
    }

    #[test]
    fn a_few_pings_may_come_before_info() {
        for piece in [1, 7, 4096] {
            let flood = "PING\r\n+OK\r\n".repeat(100);
            let (steps, unfit, _) = feed(Due::RouteInfo, flood.as_bytes(), piece);
            assert_eq!(steps, vec![Step::Ping; IDLE_LINES_MAX / 2]);
            assert_eq!(unfit, Some(Unfit::Idle));
            let few = "PING\r\n".repeat(IDLE_LINES_MAX) + "INFO {}\r\n";
            let (steps, unfit, _) = feed(Due::RouteInfo, few.as_bytes(), piece);
            assert_eq!(steps.last(), Some(&Step::Info(b"{}".into())));
            assert_eq!(unfit, None);
        }
    }

    /// What a broker says between CONNECT and INFO is kept in its order, within the
    /// bound of a line, however it comes.
    #[test]
    fn what_comes_before_info_is_kept() {
        let (first, last) = ("RS+ $G a\r\nRMSG $G a 5\r\nPING\n\r\n", "RS- $G a\r\n");
        for piece in [1, 7, 4096] {
            let feed = |bytes: &str| {
                let (mut peer, now) = begin(Due::RouteInfo);
                peer.keep_early();
                let mut steps = Vec::new();
                for piece in bytes.as_bytes().chunks(piece) {
                    peer.buffer().extend_from_slice(piece);
                    loop {
                        match peer.step(now) {
                            Ok(Step::Wait) => break,
                            Ok(step) => steps.push(step),
                            Err(unfit) => return (steps, Some(unfit), peer),
                        }
                    }
                }
                (steps, None, peer)
            };
            let (steps, unfit, mut peer) = feed(&format!("{first}PING\r\n{last}INFO {{}}\r\n"));
            assert_eq!(steps, vec![Step::Ping, Step::Info(b"{}".into())]);
            assert_eq!(unfit, None);
            assert_eq!(peer.take_rest(), format!("{first}{last}").as_bytes());
            for flood in ["RS+ $G a\r\n".repeat(MAX), format!("RMSG $G a {MAX}\r\n")] {
                let (steps, unfit, peer) = feed(&flood);
                assert_eq!((steps, unfit), (vec![], Some(Unfit::TooEarly)));
                assert!(peer.early.len() <= MAX);
            }
        }
        let (_, unfit, _) = feed(Due::RouteInfo, b"RS+ $G a\r\n", 1);
        assert_eq!(unfit, Some(Unfit::NotDue), "of whom we dial");
    }

    #[test]
    fn a_refusal_comes_before_the_answer_and_what_is_no_answer_is_kept() {
        for piece in [1, 4096] {
            let (steps, unfit, _) = feed(Due::RouteAnswer, b"PING\r\nPONG\r\n", piece);
            assert_eq!((steps, unfit), (vec![Step::Ping, Step::Answered], None));
            let (steps, unfit, _) = feed(Due::RouteAnswer, b"-ERR 'x'\r\nPONG\r\n", piece);
            assert_eq!((steps, unfit), (vec![], Some(Unfit::Error(b"'x'".into()))));
            let (_, unfit, _) = feed(Due::RouteAnswer, "PING\r\n".repeat(99).as_bytes(), piece);
            assert_eq!(unfit, Some(Unfit::Idle));
        }
        let (mut peer, now) = begin(Due::RouteAnswer);
        peer.buffer().extend(b"RS+ $G a\r\nPONG\r\n");
        assert_eq!(peer.step(now), Ok(Step::Answered));
        assert_eq!(peer.take_rest(), b"RS+ $G a\r\nPONG\r\n");
    }

    #[test]
    fn a_line_is_bounded_and_no_byte_costs_more_than_another() {
        for due in [Due::ClientConnect, Due::RouteConnect, Due::RouteInfo] {
            for fill in [b' ', b'\t', b'x', b'\r'] {
                for piece in [1, 100, 4096] {
                    let flood = [b"CONNECT ".as_slice(), &vec![fill; 4 * MAX]].concat();
                    let (steps, unfit, mut peer) = feed(due, &flood, piece);
                    assert!(steps.is_empty());
                    assert_eq!(unfit, Some(Unfit::Parse(ParseError::ControlLine)));
                    assert!(peer.work() <= peer.buffer().len());
                    assert!(peer.buffer().len() <= MAX + LINE_EXTRA + piece);
                }
            }
        }
    }

    #[test]
    fn the_longest_line_is_taken_however_it_comes() {
        let line = |len: usize| {
            let json = format!("{{\"name\":\"{}\"}}", "x".repeat(len - 11));
            assert_eq!(json.len(), len);
            format!("CONNECT {json}\r\n")
        };
        for piece in [1, 100, 9000] {
            let (steps, unfit, _) = feed(Due::ClientConnect, line(MAX).as_bytes(), piece);
            assert_eq!((steps.len(), unfit), (1, None));
            let (steps, unfit, _) = feed(Due::ClientConnect, line(MAX + 1).as_bytes(), piece);
            let refused = Some(Unfit::Parse(ParseError::ControlLine));
            assert_eq!((steps.len(), unfit), (0, refused));
        }
    }

    #[test]
    fn a_raised_limit_is_not_for_strangers() {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(2);
        for due in [Due::ClientConnect, Due::RouteConnect] {
            let mut peer = BeforeLogin::new(due, usize::MAX / 2, deadline);
            peer.buffer().extend(b"CONNECT ");
            peer.buffer().resize(CONNECT_LEN_MAX + 100, b'x');
            assert!(peer.step(now).is_err());
        }
    }

    #[test]
    fn time_ends_it_whatever_is_there() {
        let (mut peer, now) = begin(Due::RouteConnect);
        peer.buffer().extend(b"CONNECT {}\r\n");
        assert_eq!(peer.step(now + Duration::from_secs(2)), Err(Unfit::Late));
    }

    #[test]
    fn what_comes_behind_is_left_for_the_session() {
        let (mut peer, now) = begin(Due::RouteConnect);
        peer.buffer()
            .extend(b"CONNECT {}\r\nINFO {}\r\nRS+ $G a\r\n");
        assert_eq!(peer.step(now), Ok(Step::Connect(b"{}".into())));
        peer.expect(Due::RouteInfo, MAX, now + Duration::from_secs(5));
        assert_eq!(peer.step(now), Ok(Step::Info(b"{}".into())));
        assert_eq!(peer.take_rest(), b"RS+ $G a\r\n");
    }
}
