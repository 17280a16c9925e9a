//! The route protocol between brokers of a cluster.
//!
//! [`parse`] returns one operation that borrows from the read buffer, like the clients' parser; the
//! payload of a message is not part of it. `LMSG` and `LS+` are what a member sends for a leafnode of a
//! cluster, whose name they begin with, to a broker that announced that it takes them
//! ([`RouteInfo::lnoc`]); the protocol on leafnode connections themselves is [`super::leafnode`], which
//! shares the form of messages. The module `route` reads and writes this
//! protocol; `delivery` and `interest` write messages and interest. It follows nats-server 2.15
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
    /// `RS+ account subject [queue weight]`, `LS+ origin account subject [queue weight]`.
    Interest {
        /// The cluster of the leafnode whose interest it is; empty for none.
        origin: &'a [u8],
        /// The account.
        account: &'a [u8],
        /// Subject, which may have wildcards; not validated yet.
        subject: &'a [u8],
        /// Queue group and number of its members at the peer.
        queue: Option<(&'a [u8], u32)>,
    },
    /// `RMSG`, `HMSG` or `LMSG`, without the payload.
    Message(RouteMessage<'a>),
    /// `RS- account subject [queue]`, `LS- origin account subject [queue]`.
    NoInterest {
        /// The cluster of the leafnode whose interest it was; empty for none.
        origin: &'a [u8],
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

/// The control line of an `RMSG`, `HMSG` or `LMSG`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RouteMessage<'a> {
    /// The cluster of the leafnode that it comes from; empty if it comes from none.
    pub origin: &'a [u8],
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
    /// Bytes of the headers, which precede the payload; `None` if there are none.
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
            let form = match verb[0].eq_ignore_ascii_case(&b'H') {
                true => Form::ROUTE_WITH_HEADERS,
                false => Form::ROUTE,
            };
            let mut message = parse_message(arguments, form, line_len)?;
            message.canonical &= ends_in_crlf;
            RouteOp::Message(message)
        }
        b"LMSG" => {
            let mut message = parse_message(arguments, Form::OF_LEAFNODE, line_len)?;
            // Without headers it has a size of 0 for them, which is in no other line.
            let has_headers = message.header_len != Some(0);
            message.header_len = message.header_len.filter(|_| has_headers);
            message.canonical &= ends_in_crlf && has_headers;
            RouteOp::Message(message)
        }
        b"RS+" => parse_interest("RS+", arguments, 0)?,
        b"LS+" => parse_interest("LS+", arguments, 1)?,
        b"RS-" => parse_no_interest("RS-", arguments, 0)?,
        b"LS-" => parse_no_interest("LS-", arguments, 1)?,
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

/// What the control line of a message between brokers has besides the subject, the reply and the queue
/// groups.
pub(super) struct Form {
    verb: &'static str,
    /// Fields in front of the subject: none on a leafnode connection; the account on a route, and the
    /// origin before it.
    before: usize,
    /// Sizes at the end: one of everything, or one of the headers before it.
    sizes: usize,
}

impl Form {
    pub(super) const LEAFNODE: Self = Self::new("LMSG", 0, 1);
    pub(super) const LEAFNODE_WITH_HEADERS: Self = Self::new("HMSG", 0, 2);
    const ROUTE: Self = Self::new("RMSG", 1, 1);
    const ROUTE_WITH_HEADERS: Self = Self::new("HMSG", 1, 2);
    const OF_LEAFNODE: Self = Self::new("LMSG", 2, 2);

    const fn new(verb: &'static str, before: usize, sizes: usize) -> Self {
        Self {
            verb,
            before,
            sizes,
        }
    }
}

/// The control line of a message between brokers, behind its verb.
pub(super) fn parse_message(
    arguments: &[u8],
    form: Form,
    line_len: usize,
) -> Result<RouteMessage<'_>, ParseError> {
    let Form {
        verb,
        before: subject_at,
        sizes,
    } = form;
    let bad = || bad_arguments(verb, arguments);
    let field_ranges = field_ranges(arguments);
    let field = |index: usize| {
        let (start, end): (usize, usize) = field_ranges[index];
        &arguments[start..end]
    };
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
    let header_len = match sizes {
        2 => Some(parse_size(field(sizes_at)).ok_or_else(bad)?),
        _ => None,
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
        origin: if subject_at > 1 { field(0) } else { &[] },
        account: subject_at.checked_sub(1).map_or(&[], field),
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
            && (sizes == 1 || adjoins(sizes_at)),
    })
}

/// Interest, with the account at this place: there may be an origin before it.
fn parse_interest<'a>(
    verb: &str,
    arguments: &'a [u8],
    account_at: usize,
) -> Result<RouteOp<'a>, ParseError> {
    let bad = || bad_arguments(verb, arguments);
    let field_ranges = field_ranges(arguments);
    let field = |index: usize| &arguments[field_ranges[index].0..field_ranges[index].1];
    let queue = match field_ranges.len().checked_sub(account_at) {
        Some(2) => None,
        Some(4) => {
            let weight = parse_size(field(account_at + 3)).ok_or_else(bad)?;
            let weight = u32::try_from(weight).map_err(|_| bad())?;
            Some((field(account_at + 2), weight))
        }
        _ => return Err(bad()),
    };
    Ok(RouteOp::Interest {
        origin: account_at.checked_sub(1).map_or(&[], field),
        account: field(account_at),
        subject: field(account_at + 1),
        queue,
    })
}

fn parse_no_interest<'a>(
    verb: &str,
    arguments: &'a [u8],
    account_at: usize,
) -> Result<RouteOp<'a>, ParseError> {
    let field_ranges = field_ranges(arguments);
    let field = |index: usize| &arguments[field_ranges[index].0..field_ranges[index].1];
    let queue = match field_ranges.len().checked_sub(account_at) {
        Some(2) => None,
        Some(3) => Some(field(account_at + 2)),
        _ => return Err(bad_arguments(verb, arguments)),
    };
    Ok(RouteOp::NoInterest {
        origin: account_at.checked_sub(1).map_or(&[], field),
        account: field(account_at),
        subject: field(account_at + 1),
        queue,
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
