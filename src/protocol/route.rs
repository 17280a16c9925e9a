//! The route protocol between brokers of a cluster.
//!
//! [`parse`] returns one operation that borrows from the read buffer, like the clients' parser; the
//! payload of a message is not part of it. Verbs of leafnodes (`LS+`, `LMSG`) are unknown here: a
//! member sends them only to a broker that announced support ([`super::leafnode`] is their protocol,
//! which shares the form of messages). The module `route` reads and writes this
//! protocol; `connection` writes messages and interest. It follows nats-server 2.15
//! (`server/route.go`, `server/parser.go`), with one addition between brokers that announce it
//! ([`RouteInfo::queues_only`]): `|| queues` and `++ reply queues` in place of `| queues` and
//! `+ reply queues` mean that a message is for these queue groups alone.

mod introduction;

use memchr::memchr;

pub use self::introduction::{INTRODUCTION_MAX, RouteConnect, RouteInfo};

use super::{CRLF, parse::ParseError};

/// Limit of a control line from a peer in bytes, whatever the peer and this broker permit their
/// clients: enough for the names of forty thousand queue groups, or an extremely long subject.
/// Peers learn it from [`RouteInfo::max_line`].
pub const LINE_MAX: usize = 4 * 1024 * 1024;

/// The limit that is assumed for a broker that does not announce one: nats-server accepts
/// [`ROUTE_LINE_FACTOR`] times its `max_control_line`; this is the result for its default.
pub const ASSUMED_LINE_MAX: usize = ROUTE_LINE_FACTOR * 4096;

/// The version of the protocol between brokers since which messages are traced
/// ([`message_trace`](super::message_trace)).
pub const TRACING_PROTO: i64 = 3;

/// How many times `max_control_line` nats-server accepts in a line from a broker.
pub const ROUTE_LINE_FACTOR: usize = 16;

/// Bytes of invalid arguments that an error shows.
const SHOWN_MAX: usize = 256;

/// Digits of the longest size.
const SIZE_DIGITS_MAX: usize = 9;

/// One operation of a peer broker.
#[derive(Debug, Eq, PartialEq)]
pub enum RouteOp<'a> {
    /// `CONNECT {json}`: only from the side that dialled.
    Connect(&'a [u8]),
    /// `-ERR text`: the peer reports an error before it closes the connection.
    Err(&'a [u8]),
    /// `INFO {json}`.
    Info(&'a [u8]),
    /// `RS+ account subject [queue weight]`.
    Interest {
        /// The account.
        account: &'a [u8],
        /// Subject, which may have wildcards; not validated yet.
        subject: &'a [u8],
        /// Queue group and number of its members at the peer.
        queue: Option<(&'a [u8], u32)>,
    },
    /// `RMSG` or `HMSG`, without the payload.
    Message(RouteMessage<'a>),
    /// `RS- account subject [queue]`.
    NoInterest {
        /// The account.
        account: &'a [u8],
        /// Subject, which may have wildcards.
        subject: &'a [u8],
        /// Queue group.
        queue: Option<&'a [u8]>,
    },
    /// A line that is ignored: `+OK`, `A+`, `A-`.
    Ignored,
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
}

/// What the replies to which messages of streams are acknowledged begin with.
const ACK_PREFIX: &[u8] = b"$JS.ACK.";

/// The control line of an `RMSG` or `HMSG`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RouteMessage<'a> {
    /// The account; empty on a leafnode connection, which is in one account.
    pub account: &'a [u8],
    /// The subject.
    pub subject: &'a [u8],
    /// The reply subject.
    pub reply: Option<&'a [u8]>,
    /// The queue groups to deliver to, one member each, separated by blanks; empty for none.
    pub queues: &'a [u8],
    /// Whether it is for those queue groups alone: subscribers outside of them have it already.
    pub queues_only: bool,
    /// Bytes of the headers, which precede the payload; `None` for `RMSG`.
    pub header_len: Option<usize>,
    /// Bytes of headers and payload together.
    pub total_len: usize,
    /// The size or sizes as the peer wrote them.
    pub sizes: &'a [u8],
    /// Bytes of the control line including its end: the payload begins here.
    pub line_len: usize,
    /// Whether `[reply ]sizes CRLF` is contiguous and has the form that a delivery needs.
    pub canonical: bool,
}

impl<'a> RouteMessage<'a> {
    /// The subject that a stream's message is to be shown with, and its reply without it: it goes to
    /// the consumer's inbox, and its reply names the other subject behind an `@`.
    pub fn shown_subject(&self) -> Option<(&'a [u8], &'a [u8])> {
        let reply = self.reply?;
        if !reply.starts_with(ACK_PREFIX) {
            return None;
        }
        let at = memchr::memrchr(b'@', reply)?;
        let (reply, subject) = (&reply[..at], &reply[at + 1..]);
        (!subject.is_empty()).then_some((subject, reply))
    }

    /// Bytes of the whole operation: control line, payload and the final CRLF.
    pub fn whole_len(&self) -> usize {
        self.line_len + self.total_len + CRLF.len()
    }
}

/// The result of [`parse`].
#[derive(Debug, Eq, PartialEq)]
pub enum Parsed<'a> {
    /// An operation and its length in bytes (of a message: of its control line).
    Op(RouteOp<'a>, usize),
    /// The line is not complete yet.
    Incomplete,
}

/// Parses the operation at the beginning of `bytes`. A control line may have at most `line_max`
/// bytes, not counting its LF.
///
///  # Errors
///
/// The bytes are not valid; the route must end.
pub fn parse(bytes: &[u8], line_max: usize) -> Result<Parsed<'_>, ParseError> {
    let Some(end) = memchr(b'\n', &bytes[..bytes.len().min(line_max + 1)]) else {
        return match bytes.len() > line_max {
            true => Err(ParseError::ControlLine),
            false => Ok(Parsed::Incomplete),
        };
    };
    let line = &bytes[..end];
    let (line, ends_in_crlf) = match line.strip_suffix(b"\r") {
        Some(line) => (line, true),
        None => (line, false),
    };
    let verb_len = line
        .iter()
        .position(|byte| is_blank(*byte))
        .unwrap_or(line.len());
    let (verb, arguments) = line.split_at(verb_len);
    let line_len = end + 1;
    let op = match verb.to_ascii_uppercase().as_slice() {
        b"RMSG" | b"HMSG" => {
            let with_headers = verb[0].eq_ignore_ascii_case(&b'H');
            let mut message = parse_message(arguments, with_headers, line_len, true)?;
            message.canonical &= ends_in_crlf;
            RouteOp::Message(message)
        }
        b"RS+" => parse_interest(arguments)?,
        b"RS-" => parse_no_interest(arguments)?,
        b"PING" => RouteOp::Ping,
        b"PONG" => RouteOp::Pong,
        b"INFO" => RouteOp::Info(arguments.trim_ascii()),
        b"CONNECT" => RouteOp::Connect(arguments.trim_ascii()),
        b"-ERR" => RouteOp::Err(arguments.trim_ascii()),
        b"+OK" | b"A+" | b"A-" => RouteOp::Ignored,
        _ => return Err(ParseError::UnknownOperation),
    };
    Ok(Parsed::Op(op, line_len))
}

/// Recognises `<head><size>CRLF` with the head of the previous message, which busy peers send
/// repeatedly, without parsing it again. Returns the size and its number of digits.
pub fn parse_repeated_message(bytes: &[u8], head: &[u8]) -> Option<(usize, usize)> {
    let rest = bytes.strip_prefix(head)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let size = parse_size(&rest[..digits])?;
    rest[digits..].starts_with(CRLF).then_some((size, digits))
}

/// The control line of a message between brokers, behind its verb. On a route it begins with the
/// account; on a leafnode connection there is none (`with_account`).
pub(super) fn parse_message(
    arguments: &[u8],
    with_headers: bool,
    line_len: usize,
    with_account: bool,
) -> Result<RouteMessage<'_>, ParseError> {
    let verb = match (with_headers, with_account) {
        (true, _) => "HMSG",
        (false, true) => "RMSG",
        (false, false) => "LMSG",
    };
    let bad = || bad_arguments(verb, arguments);
    let field_ranges = field_ranges(arguments);
    let field = |index: usize| {
        let (start, end): (usize, usize) = field_ranges[index];
        &arguments[start..end]
    };
    let sizes = if with_headers { 2 } else { 1 };
    let subject_at = usize::from(with_account);
    // The place behind the subject: of the reply, or of what says that queue groups follow.
    let next = subject_at + 1;
    let sizes_at = field_ranges.len().checked_sub(sizes);
    let Some(sizes_at) = sizes_at.filter(|at| *at >= next) else {
        return Err(bad());
    };
    // At least one queue group must follow the reply.
    let follows_reply = sizes_at > next + 2;
    let (reply, queues, queues_only) = match sizes_at - next {
        0 => (None, None, false),
        1 => (Some(next), None, false),
        _ => match field(next) {
            b"|" => (None, Some(next + 1), false),
            b"||" => (None, Some(next + 1), true),
            b"+" if follows_reply => (Some(next + 1), Some(next + 2), false),
            b"++" if follows_reply => (Some(next + 1), Some(next + 2), true),
            _ => return Err(bad()),
        },
    };
    let total_len = parse_size(field(field_ranges.len() - 1)).ok_or_else(bad)?;
    let header_len = match with_headers {
        true => Some(parse_size(field(sizes_at)).ok_or_else(bad)?),
        false => None,
    };
    if header_len.is_some_and(|header_len| header_len > total_len) {
        return Err(bad());
    }
    let adjoins = |left: usize| {
        field_ranges[left].1 + 1 == field_ranges[left + 1].0
            && arguments[field_ranges[left].1] == b' '
    };
    let in_one_piece = match (reply, queues) {
        (Some(_), Some(_)) => false,
        (Some(reply), None) => adjoins(reply),
        (None, _) => true,
    };
    let last = field_ranges.len() - 1;
    Ok(RouteMessage {
        account: if with_account { field(0) } else { &[] },
        subject: field(subject_at),
        reply: reply.map(field),
        queues: queues.map_or(&[], |first| {
            &arguments[field_ranges[first].0..field_ranges[sizes_at - 1].1]
        }),
        queues_only,
        header_len,
        total_len,
        sizes: &arguments[field_ranges[sizes_at].0..field_ranges[last].1],
        line_len,
        canonical: in_one_piece
            && field_ranges[last].1 == arguments.len()
            && (!with_headers || adjoins(sizes_at)),
    })
}

fn parse_interest(arguments: &[u8]) -> Result<RouteOp<'_>, ParseError> {
    let bad = || bad_arguments("RS+", arguments);
    let field_ranges = field_ranges(arguments);
    let field = |index: usize| &arguments[field_ranges[index].0..field_ranges[index].1];
    let queue = match field_ranges.len() {
        2 => None,
        4 => {
            let weight = parse_size(field(3)).ok_or_else(bad)?;
            Some((field(2), u32::try_from(weight).map_err(|_| bad())?))
        }
        _ => return Err(bad()),
    };
    Ok(RouteOp::Interest {
        account: field(0),
        subject: field(1),
        queue,
    })
}

fn parse_no_interest(arguments: &[u8]) -> Result<RouteOp<'_>, ParseError> {
    let bad = || bad_arguments("RS-", arguments);
    let field_ranges = field_ranges(arguments);
    let field = |index: usize| &arguments[field_ranges[index].0..field_ranges[index].1];
    if !(2..=3).contains(&field_ranges.len()) {
        return Err(bad());
    }
    Ok(RouteOp::NoInterest {
        account: field(0),
        subject: field(1),
        queue: (field_ranges.len() == 3).then(|| field(2)),
    })
}

pub(super) fn bad_arguments(verb: &str, arguments: &[u8]) -> ParseError {
    let shown = &arguments[..arguments.len().min(SHOWN_MAX)];
    let more = match arguments.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more bytes"),
    };
    let shown = String::from_utf8_lossy(shown);
    let shown = shown.escape_debug();
    ParseError::Arguments(format!("bad arguments of {verb}: {shown}{more}"))
}

/// The byte ranges of the blank-separated fields.
pub(super) fn field_ranges(arguments: &[u8]) -> Vec<(usize, usize)> {
    let mut field_ranges = Vec::with_capacity(6);
    let mut start = None;
    for (at, byte) in arguments.iter().enumerate() {
        match (is_blank(*byte), start) {
            (true, Some(from)) => {
                field_ranges.push((from, at));
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    if let Some(from) = start {
        field_ranges.push((from, arguments.len()));
    }
    field_ranges
}

pub(super) fn parse_size(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX {
        return None;
    }
    digits.iter().try_fold(0, |size, digit| match digit {
        b'0'..=b'9' => Some(size * 10 + usize::from(digit - b'0')),
        _ => None,
    })
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

#[cfg(test)]
mod tests;
