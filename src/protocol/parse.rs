//! The parser of the client protocol.
//!
//! [`parse`] takes the unread bytes and returns one operation that borrows from them, or says that
//! more bytes are needed. It is as tolerant as nats-server: verbs in any case, several blanks, a
//! bare LF at the end of a control line. The payload of a publish is not part of the operation,
//! since a large payload does not fit the read buffer: the caller finds it by
//! [`Publish::line_len`].

use memchr::memchr;

/// One operation of a client.
#[derive(Debug, Eq, PartialEq)]
pub enum Op<'a> {
    /// `CONNECT {json}`.
    Connect(&'a [u8]),
    /// `-ERR text`: the client reports an error before it closes the connection.
    Err(&'a [u8]),
    /// `INFO {json}`: checked and ignored.
    Info(&'a [u8]),
    /// `+OK`: ignored.
    Ok,
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `PUB` or `HPUB`, without the payload.
    Publish(Publish<'a>),
    /// `SUB subject [queue] sid`.
    Subscribe {
        /// Subject, which may have wildcards; not validated yet.
        subject: &'a [u8],
        /// Queue group.
        queue: Option<&'a [u8]>,
        /// The client's id for the subscription.
        sid: &'a [u8],
    },
    /// `UNSUB sid [max]`.
    Unsubscribe {
        /// The subscription's id.
        sid: &'a [u8],
        /// Total number of deliveries after which it ends; `None` to end it now.
        max: Option<u64>,
    },
}

/// The control line of a `PUB` or `HPUB`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Publish<'a> {
    /// The subject.
    pub subject: &'a [u8],
    /// The reply subject.
    pub reply: Option<&'a [u8]>,
    /// Bytes of the headers, which precede the payload; `None` for `PUB`.
    pub header_len: Option<usize>,
    /// Bytes of headers and payload together.
    pub total_len: usize,
    /// The size or sizes as the client wrote them; deliveries copy them.
    pub sizes: &'a [u8],
    /// Bytes of the control line including its end: the payload begins here.
    pub line_len: usize,
    /// Whether everything after the subject has exactly the form it has in a delivery, so that it
    /// can be copied in one piece.
    pub canonical: bool,
}

impl Publish<'_> {
    /// Bytes of the whole operation: control line, payload and the final CRLF.
    pub fn whole_len(&self) -> usize {
        self.line_len + self.total_len + 2
    }
}

/// The result of [`parse`].
#[derive(Debug, Eq, PartialEq)]
pub enum Parsed<'a> {
    /// An operation and its length in bytes (of a publish: of its control line).
    Op(Op<'a>, usize),
    /// The line is not complete yet.
    Incomplete,
}

/// Why a client's bytes are not valid. Each of these ends the connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ParseError {
    /// Wrong number or form of arguments: the connection is closed without a `-ERR`. The text names
    /// the verb; the caller adds as much of the line as may be shown.
    Arguments(String),
    /// The control line is longer than `max_control_line`.
    ControlLine,
    /// No such verb.
    UnknownOperation,
}

/// Bytes that are always permitted after a verb without arguments. They are ignored, and
/// nats-server accepts any number.
const IGNORED_LEN_MAX: usize = 32 * 1024;

/// Digits of the longest size.
const SIZE_DIGITS_MAX: usize = 9;

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Connect,
    Err,
    Hpub,
    Info,
    Ok,
    Ping,
    Pong,
    Pub,
    Sub,
    Unsub,
}

/// The verbs. No verb is the beginning of another one.
const VERBS: [(&[u8], Verb); 10] = [
    (b"PUB", Verb::Pub),
    (b"HPUB", Verb::Hpub),
    (b"SUB", Verb::Sub),
    (b"UNSUB", Verb::Unsub),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"CONNECT", Verb::Connect),
    (b"INFO", Verb::Info),
    (b"+OK", Verb::Ok),
    (b"-ERR", Verb::Err),
];

/// Parses the operation at the beginning of `bytes`. `max_control_line` limits the bytes of the
/// arguments and, separately, the blanks before them, of which nats-server accepts any number.
pub fn parse(bytes: &[u8], max_control_line: usize) -> Result<Parsed<'_>, ParseError> {
    let Some((verb, verb_len)) = find_verb(bytes)? else {
        return Ok(Parsed::Incomplete);
    };
    let after = &bytes[verb_len..];
    let needs_blank = !matches!(
        verb,
        Verb::Connect | Verb::Info | Verb::Ok | Verb::Ping | Verb::Pong
    );
    match after.first() {
        None => return Ok(Parsed::Incomplete),
        Some(b' ' | b'\t') => {}
        Some(_) if needs_blank => return Err(ParseError::UnknownOperation),
        Some(_) => {}
    }
    let blanks = after.iter().take_while(|byte| is_blank(**byte)).count();
    let found = memchr(b'\n', after);
    let end = found.unwrap_or(after.len());
    let arguments = drop_carriage_return(&after[blanks..end]);
    let max = match verb {
        Verb::Ok | Verb::Ping | Verb::Pong => max_control_line.max(IGNORED_LEN_MAX),
        _ => max_control_line,
    };
    if arguments.len() > max || blanks > max {
        return Err(ParseError::ControlLine);
    }
    if found.is_none() {
        return Ok(Parsed::Incomplete);
    }
    let line_len = verb_len + end + 1;
    let op = match verb {
        Verb::Ping => Op::Ping,
        Verb::Pong => Op::Pong,
        Verb::Ok => Op::Ok,
        Verb::Pub | Verb::Hpub => Op::Publish(parse_publish(
            arguments,
            verb == Verb::Hpub,
            line_len,
            after[..end].last() == Some(&b'\r'),
        )?),
        Verb::Sub => parse_subscribe(arguments)?,
        Verb::Unsub => parse_unsubscribe(arguments)?,
        Verb::Connect => Op::Connect(arguments),
        Verb::Info => Op::Info(arguments),
        _ => Op::Err(arguments),
    };
    Ok(Parsed::Op(op, line_len))
}

/// Recognises `PUB <subject> <size>` CRLF with the subject of the previous publish, which busy
/// clients send most, without scanning the bytes twice. `None`: use [`parse`].
pub fn parse_repeated_publish<'a>(bytes: &'a [u8], subject: &[u8]) -> Option<Publish<'a>> {
    let rest = bytes.strip_prefix(b"PUB ")?.strip_prefix(subject)?;
    let rest = rest.strip_prefix(b" ")?;
    let mut total_len = 0usize;
    let mut digits = 0;
    while let Some(digit @ b'0'..=b'9') = rest.get(digits) {
        total_len = total_len
            .wrapping_mul(10)
            .wrapping_add(usize::from(digit - b'0'));
        digits += 1;
    }
    if digits == 0 || digits > SIZE_DIGITS_MAX || !rest[digits..].starts_with(b"\r\n") {
        return None;
    }
    let subject_start = b"PUB ".len();
    Some(Publish {
        subject: &bytes[subject_start..subject_start + subject.len()],
        reply: None,
        header_len: None,
        total_len,
        sizes: &rest[..digits],
        line_len: subject_start + subject.len() + 1 + digits + 2,
        canonical: true,
    })
}

/// The verb at the beginning and its length; `None` if the bytes may be the beginning of one.
fn find_verb(bytes: &[u8]) -> Result<Option<(Verb, usize)>, ParseError> {
    for (text, verb) in VERBS {
        if bytes.len() >= text.len() && bytes[..text.len()].eq_ignore_ascii_case(text) {
            return Ok(Some((verb, text.len())));
        }
    }
    let may_become = VERBS.iter().any(|(text, _)| {
        bytes.len() < text.len() && text[..bytes.len()].eq_ignore_ascii_case(bytes)
    });
    match may_become {
        true => Ok(None),
        false => Err(ParseError::UnknownOperation),
    }
}

fn parse_publish(
    arguments: &[u8],
    with_headers: bool,
    line_len: usize,
    ends_in_crlf: bool,
) -> Result<Publish<'_>, ParseError> {
    let bad = || {
        let verb = if with_headers { "HPUB" } else { "PUB" };
        ParseError::Arguments(format!("bad arguments of {verb}"))
    };
    let mut fields = Fields::<4>::split(arguments).ok_or_else(bad)?;
    let sizes = if with_headers { 2 } else { 1 };
    let has_reply = match fields.count.checked_sub(sizes) {
        Some(1) => false,
        Some(2) => true,
        _ => return Err(bad()),
    };
    let total_text = fields.pop();
    let header_text = if with_headers {
        Some(fields.pop())
    } else {
        None
    };
    let reply = if has_reply { Some(fields.pop()) } else { None };
    let subject = fields.pop();

    let total_len = parse_size(&arguments[total_text.0..total_text.1]).ok_or_else(bad)?;
    let header_len = match header_text {
        None => None,
        Some((start, end)) => Some(parse_size(&arguments[start..end]).ok_or_else(bad)?),
    };
    if header_len.is_some_and(|header_len| header_len > total_len) {
        return Err(bad());
    }
    let first_size = header_text.unwrap_or(total_text);
    let adjoins = |part: (usize, usize), previous: (usize, usize)| {
        part.0 == previous.1 + 1 && arguments[previous.1] == b' '
    };
    let canonical = ends_in_crlf
        && total_text.1 == arguments.len()
        && header_text.is_none_or(|header| adjoins(total_text, header))
        && match reply {
            Some(reply) => adjoins(reply, subject) && adjoins(first_size, reply),
            None => adjoins(first_size, subject),
        };
    Ok(Publish {
        subject: &arguments[subject.0..subject.1],
        reply: reply.map(|(start, end)| &arguments[start..end]),
        header_len,
        total_len,
        sizes: &arguments[first_size.0..total_text.1],
        line_len,
        canonical,
    })
}

fn parse_subscribe(arguments: &[u8]) -> Result<Op<'_>, ParseError> {
    let bad = || ParseError::Arguments("bad arguments of SUB".into());
    let mut fields = Fields::<3>::split(arguments).ok_or_else(bad)?;
    let has_queue = match fields.count {
        2 => false,
        3 => true,
        _ => return Err(bad()),
    };
    let field = |(start, end): (usize, usize)| &arguments[start..end];
    let sid = field(fields.pop());
    let queue = if has_queue {
        Some(field(fields.pop()))
    } else {
        None
    };
    let subject = field(fields.pop());
    Ok(Op::Subscribe {
        subject,
        queue,
        sid,
    })
}

fn parse_unsubscribe(arguments: &[u8]) -> Result<Op<'_>, ParseError> {
    let bad = || ParseError::Arguments("bad arguments of UNSUB".into());
    let mut fields = Fields::<2>::split(arguments).ok_or_else(bad)?;
    let has_max = match fields.count {
        1 => false,
        2 => true,
        _ => return Err(bad()),
    };
    let field = |(start, end): (usize, usize)| &arguments[start..end];
    let max = match has_max {
        // Zero or an invalid number ends the subscription immediately.
        true => parse_size(field(fields.pop())).filter(|max| *max > 0),
        false => None,
    };
    let sid = field(fields.pop());
    Ok(Op::Unsubscribe {
        sid,
        max: max.map(|max| max as u64),
    })
}

/// The byte ranges of at most `N` blank-separated fields; they are taken from the last one.
struct Fields<const N: usize> {
    ranges: [(usize, usize); N],
    count: usize,
}

impl<const N: usize> Fields<N> {
    /// `None` if there are more than `N` fields.
    fn split(arguments: &[u8]) -> Option<Self> {
        let mut fields = Self {
            ranges: [(0, 0); N],
            count: 0,
        };
        let mut start = None;
        for (at, byte) in arguments.iter().enumerate() {
            match (is_separator(*byte), start) {
                (true, Some(from)) => {
                    fields.push(from, at)?;
                    start = None;
                }
                (false, None) => start = Some(at),
                _ => {}
            }
        }
        if let Some(from) = start {
            fields.push(from, arguments.len())?;
        }
        Some(fields)
    }

    fn push(&mut self, start: usize, end: usize) -> Option<()> {
        *self.ranges.get_mut(self.count)? = (start, end);
        self.count += 1;
        Some(())
    }

    /// Takes the last field; an empty range if there is none left.
    fn pop(&mut self) -> (usize, usize) {
        match self.count.checked_sub(1) {
            Some(last) => {
                self.count = last;
                self.ranges[last]
            }
            None => (0, 0),
        }
    }
}

fn parse_size(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX {
        return None;
    }
    let mut size = 0;
    for digit in digits {
        match digit {
            b'0'..=b'9' => size = size * 10 + usize::from(digit - b'0'),
            _ => return None,
        }
    }
    Some(size)
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A CR within the arguments separates like a blank.
fn is_separator(byte: u8) -> bool {
    is_blank(byte) || byte == b'\r'
}

fn drop_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests;
