//! The protocol of leafnode connections.
//!
//! [`parse`] returns one operation that borrows from the read buffer, like the parser of routes;
//! the payload of a message is not part of it. A message has the form it has on a route, without an
//! account, as the connection is in one. The module `leafnode` reads this protocol; `delivery` and
//! `interest` write it with the lines of `encode`. It follows nats-server 2.15 (`server/leafnode.go`,
//! `server/parser.go`).

mod introduction;

#[cfg(test)]
mod tests;

use memchr::memchr;

pub use self::introduction::{HubInfo, INTRODUCTION_MAX, LeafConnect, LeafInfo, LeafRules};
use super::{
    parse::ParseError,
    route::{Form, RouteMessage, bad_arguments, field_ranges, is_blank, parse_message, parse_size},
};

/// What the subjects begin with by which brokers find out that leafnode connections go in a circle.
pub const LOOP_PREFIX: &[u8] = b"$LDS.";

/// Subjects of interest that permissions do not concern: brokers use them among each other.
pub const UNJUDGED: [&[u8]; 3] = [LOOP_PREFIX, b"$GR.", b"_GR_."];

/// What a broker says that refuses a connection because it closes a circle.
pub const LOOP_DETECTED: &str = "Loop detected";

/// What is in that if the circle is of two brokers, each of which dials the other one.
pub const IS_MUTUAL: &str = "connected already, the other way round";

/// One operation of the broker at the other end.
#[derive(Debug, Eq, PartialEq)]
pub enum LeafOp<'a> {
    /// `CONNECT {json}`: only from the side that dialled.
    Connect(&'a [u8]),
    /// `-ERR text`: the other side reports an error before it closes the connection.
    Err(&'a [u8]),
    /// `INFO {json}`.
    Info(&'a [u8]),
    /// `LS+ subject [queue weight]`.
    Interest {
        /// Subject, which may have wildcards; not validated yet.
        subject: &'a [u8],
        /// Queue group and number of its members behind the other side.
        queue: Option<(&'a [u8], u32)>,
    },
    /// `LMSG` or `HMSG`, without the payload.
    Message(RouteMessage<'a>),
    /// `LS- subject [queue]`.
    NoInterest {
        /// Subject, which may have wildcards.
        subject: &'a [u8],
        /// Queue group.
        queue: Option<&'a [u8]>,
    },
    /// `+OK`, which is ignored.
    Ignored,
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
}

/// The result of [`parse`].
#[derive(Debug, Eq, PartialEq)]
pub enum Parsed<'a> {
    /// An operation and its length in bytes (of a message: of its control line).
    Op(LeafOp<'a>, usize),
    /// The line is not complete yet.
    Incomplete,
}

/// Parses the operation at the beginning of `bytes`. A control line may have at most `line_max`
/// bytes, not counting its LF.
///
/// # Errors
///
/// The bytes are not valid; the connection must end.
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
    let verb_len = line.iter().position(|byte| is_blank(*byte));
    let (verb, arguments) = line.split_at(verb_len.unwrap_or(line.len()));
    let line_len = end + 1;
    let op = match verb.to_ascii_uppercase().as_slice() {
        b"LMSG" | b"HMSG" => {
            let form = match verb[0].eq_ignore_ascii_case(&b'H') {
                true => Form::LEAFNODE_WITH_HEADERS,
                false => Form::LEAFNODE,
            };
            let mut message = parse_message(arguments, form, line_len)?;
            message.canonical &= ends_in_crlf;
            LeafOp::Message(message)
        }
        b"LS+" => parse_interest(arguments)?,
        b"LS-" => parse_no_interest(arguments)?,
        b"PING" => LeafOp::Ping,
        b"PONG" => LeafOp::Pong,
        b"INFO" => LeafOp::Info(arguments.trim_ascii()),
        b"CONNECT" => LeafOp::Connect(arguments.trim_ascii()),
        b"-ERR" => LeafOp::Err(arguments.trim_ascii()),
        b"+OK" => LeafOp::Ignored,
        _ => return Err(ParseError::UnknownOperation),
    };
    Ok(Parsed::Op(op, line_len))
}

fn parse_interest(arguments: &[u8]) -> Result<LeafOp<'_>, ParseError> {
    let bad = || bad_arguments("LS+", arguments);
    let field_ranges = field_ranges(arguments);
    let field = |index: usize| &arguments[field_ranges[index].0..field_ranges[index].1];
    let queue = match field_ranges.len() {
        1 => None,
        3 => {
            let weight = parse_size(field(2)).ok_or_else(bad)?;
            Some((field(1), u32::try_from(weight).map_err(|_| bad())?))
        }
        _ => return Err(bad()),
    };
    Ok(LeafOp::Interest {
        subject: field(0),
        queue,
    })
}

fn parse_no_interest(arguments: &[u8]) -> Result<LeafOp<'_>, ParseError> {
    let field_ranges = field_ranges(arguments);
    let field = |index: usize| &arguments[field_ranges[index].0..field_ranges[index].1];
    if !(1..=2).contains(&field_ranges.len()) {
        return Err(bad_arguments("LS-", arguments));
    }
    Ok(LeafOp::NoInterest {
        subject: field(0),
        queue: (field_ranges.len() == 2).then(|| field(1)),
    })
}
