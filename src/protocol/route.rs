//! The route protocol between brokers of a cluster.
//!
//! [`parse`] returns one operation that borrows from the read buffer, like the clients' parser; the
//! payload of a message is not part of it. Verbs of leafnodes (`LS+`, `LMSG`) are unknown: a peer
//! sends them only to a broker that announced support. The module `route` reads and writes this
//! protocol; `connection` writes messages and interest. It follows nats-server 2.15
//! (`server/route.go`, `server/parser.go`).

use memchr::memchr;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{CRLF, parse::ParseError};

/// Limit of a control line from a peer in bytes, whatever the peer and this broker permit their
/// clients: enough for the names of forty thousand queue groups, or an extremely long subject.
/// Peers learn it from [`RouteInfo::max_line`].
pub const LINE_MAX: usize = 4 * 1024 * 1024;

/// The limit that is assumed for a broker that does not announce one: nats-server accepts
/// [`ROUTE_LINE_FACTOR`] times its `max_control_line`; this is the result for its default.
pub const ASSUMED_LINE_MAX: usize = ROUTE_LINE_FACTOR * 4096;

/// How many times `max_control_line` nats-server accepts in a line from a broker.
pub const ROUTE_LINE_FACTOR: usize = 16;

/// Limit of a line in bytes before the route is active; our own INFO respects it.
pub const INTRODUCTION_MAX: usize = ASSUMED_LINE_MAX;

/// Length in bytes from which an optional entry is left out of an INFO that is too long.
const ENTRY_LONG: usize = 256;

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

/// The control line of an `RMSG` or `HMSG`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RouteMessage<'a> {
    /// The account.
    pub account: &'a [u8],
    /// The subject.
    pub subject: &'a [u8],
    /// The reply subject.
    pub reply: Option<&'a [u8]>,
    /// The queue groups to deliver to, one member each, separated by blanks; empty for none.
    pub queues: &'a [u8],
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

impl RouteMessage<'_> {
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
            let mut message =
                parse_message(arguments, verb[0].eq_ignore_ascii_case(&b'H'), line_len)?;
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

fn parse_message(
    arguments: &[u8],
    with_headers: bool,
    line_len: usize,
) -> Result<RouteMessage<'_>, ParseError> {
    let bad = || bad_arguments(if with_headers { "HMSG" } else { "RMSG" }, arguments);
    let field_ranges = field_ranges(arguments);
    let field = |index: usize| {
        let (start, end): (usize, usize) = field_ranges[index];
        &arguments[start..end]
    };
    let sizes = if with_headers { 2 } else { 1 };
    let Some(sizes_at) = field_ranges.len().checked_sub(sizes).filter(|at| *at >= 2) else {
        return Err(bad());
    };
    let (reply, queues) = match sizes_at {
        2 => (None, None),
        3 => (Some(2), None),
        _ => match field(2) {
            b"|" => (None, Some(3)),
            // At least one queue group must follow the reply.
            b"+" if sizes_at > 4 => (Some(3), Some(4)),
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
        account: field(0),
        subject: field(1),
        reply: reply.map(field),
        queues: queues.map_or(&[], |first| {
            &arguments[field_ranges[first].0..field_ranges[sizes_at - 1].1]
        }),
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

fn bad_arguments(verb: &str, arguments: &[u8]) -> ParseError {
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
fn field_ranges(arguments: &[u8]) -> Vec<(usize, usize)> {
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

fn parse_size(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > SIZE_DIGITS_MAX {
        return None;
    }
    digits.iter().try_fold(0, |size, digit| match digit {
        b'0'..=b'9' => Some(size * 10 + usize::from(digit - b'0')),
        _ => None,
    })
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// `CONNECT` as the dialling broker sends it. It has no `Debug` because it holds a password.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteConnect {
    /// Whether the dialling broker accepts messages that result from its own ones: a reply that it
    /// routed may have to return to it in another account.
    pub echo: bool,
    /// Whether the peer must answer every line with `+OK`.
    pub verbose: bool,
    /// Ignored on routes.
    pub pedantic: bool,
    /// User of the cluster's authorization.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Its password.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pass: String,
    /// Whether the connection is encrypted.
    pub tls_required: bool,
    /// Whether messages may have headers.
    pub headers: bool,
    /// Id of the dialling broker.
    pub name: String,
    /// Name of its cluster.
    pub cluster: String,
    /// Whether that name was generated.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cluster_dynamic: bool,
    /// Only present in the CONNECT of a gateway.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Only present in the CONNECT of a client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
}

impl RouteConnect {
    /// The line as it is sent.
    pub fn line(&self) -> Vec<u8> {
        json_line(b"CONNECT ", serde_json::to_string(self), CRLF)
    }
}

/// `INFO` between brokers.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteInfo {
    /// Id of the broker, new at each start.
    pub server_id: String,
    /// Its name, unique in the cluster.
    pub server_name: String,
    /// The nats-server version whose features are supported.
    pub version: String,
    /// Version of the protocol between servers.
    pub proto: i64,
    /// Commit of the build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Compiler that the broker was built with.
    pub go: String,
    /// Host for routes to the sender.
    pub host: String,
    /// Port for routes to the sender.
    pub port: u16,
    /// The same as a URL; added by the broker that forwards the INFO.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Whether messages may have headers.
    pub headers: bool,
    /// Whether the dialling broker must send the cluster's user and password.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auth_required: bool,
    /// Whether the routes are encrypted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_required: bool,
    /// Whether certificates are required.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_verify: bool,
    /// Largest payload in bytes that the sender accepts from its clients.
    pub max_payload: i64,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether that name was generated.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cluster_dynamic: bool,
    /// `host:port` for clients of the sender.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// How far gossip about this route is forwarded: 0 by the usual rule, 1 no further, 2 further
    /// in any case.
    #[serde(skip_serializing_if = "is_zero_u8")]
    pub gossip_mode: u8,
    /// The sender is in lame duck mode.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ldm: bool,
    /// Limit of a control line that the sender accepts, in bytes; 0 if not announced, as by
    /// nats-server.
    #[serde(rename = "midge_max_line", skip_serializing_if = "is_zero")]
    pub max_line: usize,
    /// The account that the connection is dedicated to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_account: String,
    /// Version of the midge that sent it; absent from a nats-server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub midge: String,
    /// The sender's import permissions, as the sender wrote them. Kept as text, so that they take
    /// no more memory than was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Box<RawValue>>,
    /// The sender's export permissions, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Box<RawValue>>,
}

impl RouteInfo {
    /// The configured name. A broker without one uses its id as its name.
    pub fn configured_name(&self) -> Option<&str> {
        let is_given = !self.server_name.is_empty() && self.server_name != self.server_id;
        is_given.then_some(&self.server_name)
    }

    /// The protocol line; like nats-server, with a blank before its end. If it exceeds the limit
    /// that every broker accepts, optional entries are left out: first long ones that the
    /// introduction does not need (both sides apply permissions), then addresses for clients.
    pub fn line(&self) -> Vec<u8> {
        let line = |info: &Self| json_line(b"INFO ", serde_json::to_string(info), b" \r\n");
        let whole = line(self);
        if whole.len() <= INTRODUCTION_MAX {
            return whole;
        }
        let mut short = self.clone();
        for permissions in [&mut short.import, &mut short.export] {
            permissions.take_if(|text| text.get().len() > ENTRY_LONG);
        }
        loop {
            let line = line(&short);
            if line.len() <= INTRODUCTION_MAX || short.connect_urls.is_empty() {
                return line;
            }
            short.connect_urls.truncate(short.connect_urls.len() / 2);
        }
    }
}

fn json_line(verb: &[u8], json: serde_json::Result<String>, end: &[u8]) -> Vec<u8> {
    // A struct of strings, numbers and JSON always serialises.
    [verb, json.unwrap_or_default().as_bytes(), end].concat()
}

fn is_zero_u8(number: &u8) -> bool {
    *number == 0
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 64 * 1024;

    /// A line may have exactly the permitted length, and as many fields as fit.
    #[test]
    fn only_the_bytes_of_a_line_are_limited() {
        for groups in [1, 1019, 1020, 5000] {
            let line = format!("RMSG $G a | {}5\r\n", "q ".repeat(groups));
            assert_eq!(message(&line).queues.len(), 2 * groups - 1);
            let parsed = |max| parse(line.as_bytes(), max);
            assert!(matches!(parsed(line.len() - 1), Ok(Parsed::Op(..))));
            assert_eq!(parsed(line.len() - 2), Err(ParseError::ControlLine));
            let begin = &line.as_bytes()[..line.len() - 1];
            assert_eq!(parse(begin, line.len()), Ok(Parsed::Incomplete));
        }
        let nonsense = format!("RS+ {}\r\n", "x ".repeat(30_000));
        match parse(nonsense.as_bytes(), MAX) {
            Err(ParseError::Arguments(text)) => assert!(text.len() < 1000, "{text}"),
            other => panic!("{other:?}"),
        }
    }

    /// Optional entries are left out of an INFO so that every broker accepts it.
    #[test]
    fn an_info_never_exceeds_the_limit_of_a_line() {
        for urls in [0, 1, 2000, 3000, 100_000] {
            for subjects in [0, 1, 20_000] {
                let rules = vec!["some.subject"; subjects];
                let import = serde_json::json!({ "allow": rules });
                let info = RouteInfo {
                    server_id: "ID".into(),
                    connect_urls: vec!["192.168.100.100:4222".into(); urls],
                    max_line: LINE_MAX,
                    import: serde_json::value::to_raw_value(&import).ok(),
                    ..RouteInfo::default()
                };
                let line = info.line();
                assert!(line.len() <= INTRODUCTION_MAX, "{urls} {subjects}");
                let Ok(Parsed::Op(RouteOp::Info(json), _)) = parse(&line, MAX) else {
                    panic!("{urls} {subjects}");
                };
                let back: RouteInfo = serde_json::from_slice(json).unwrap();
                assert_eq!((&*back.server_id, back.max_line), ("ID", LINE_MAX));
                let is_short = urls < 2500;
                assert_eq!(back.connect_urls.len() == urls, is_short, "{urls}");
            }
        }
    }

    fn op(line: &str) -> RouteOp<'_> {
        match parse(line.as_bytes(), MAX) {
            Ok(Parsed::Op(op, len)) => {
                assert_eq!(len, line.len());
                op
            }
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn message(line: &str) -> RouteMessage<'_> {
        match op(line) {
            RouteOp::Message(message) => message,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn the_four_forms_of_a_message() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (line, reply, queues, header_len, canonical) in [
            ("RMSG $G a 5\r\n", None, "", None, true),
            ("RMSG $G a rep 5\r\n", Some("rep"), "", None, true),
            ("RMSG $G a | q2 q1 5\r\n", None, "q2 q1", None, true),
            (
                "RMSG $G a + rep q2 q1 5\r\n",
                Some("rep"),
                "q2 q1",
                None,
                false,
            ),
            ("HMSG $G a 2 5\r\n", None, "", Some(2), true),
            ("HMSG $G a rep 2 5\r\n", Some("rep"), "", Some(2), true),
            ("HMSG $G a | q 2 5\r\n", None, "q", Some(2), true),
            (
                "hmsg $G a + rep q 2 5\r\n",
                Some("rep"),
                "q",
                Some(2),
                false,
            ),
            ("RMSG $G a rep  5\r\n", Some("rep"), "", None, false),
            ("RMSG $G a 5\n", None, "", None, false),
        ] {
            let found = message(line);
            assert_eq!(
                (text(found.account), text(found.subject)),
                ("$G".into(), "a".into())
            );
            assert_eq!(found.reply.map(text).as_deref(), reply, "{line:?}");
            assert_eq!(text(found.queues), queues, "{line:?}");
            assert_eq!(
                (found.header_len, found.total_len),
                (header_len, 5),
                "{line:?}"
            );
            assert_eq!(found.canonical, canonical, "{line:?}");
        }
    }

    #[test]
    fn malformed_messages_are_rejected() {
        for line in [
            "RMSG $G 5\r\n",
            "RMSG $G a x\r\n",
            "RMSG $G a b c 5\r\n",
            "RMSG $G a + rep 5\r\n",
            "RMSG $G a 1234567890\r\n",
            "HMSG $G a 6 5\r\n",
            "HMSG $G 6 5\r\n",
        ] {
            assert!(parse(line.as_bytes(), MAX).is_err(), "{line:?}");
        }
    }

    #[test]
    fn interest_with_and_without_queue_groups() {
        let interest = |queue| RouteOp::Interest {
            account: b"$G",
            subject: b"a.*",
            queue,
        };
        assert_eq!(op("RS+ $G a.*\r\n"), interest(None));
        assert_eq!(op("RS+ $G a.* q 3\r\n"), interest(Some((&b"q"[..], 3))));
        for line in [
            "RS+ $G\r\n",
            "RS+ $G a q\r\n",
            "RS- $G\r\n",
            "RS- $G a q 1\r\n",
        ] {
            assert!(parse(line.as_bytes(), MAX).is_err(), "{line:?}");
        }
        assert_eq!(
            op("RS- $G a.* q\r\n"),
            RouteOp::NoInterest {
                account: b"$G",
                subject: b"a.*",
                queue: Some(b"q"),
            }
        );
    }

    #[test]
    fn lines_are_limited() {
        assert_eq!(parse(b"RS+ $G a", 8), Ok(Parsed::Incomplete));
        assert_eq!(parse(b"RS+ $G aa", 8), Err(ParseError::ControlLine));
        assert_eq!(parse(b"SUB a 1\r\n", 80), Err(ParseError::UnknownOperation));
    }

    /// Unknown fields are not kept: they could be anything, and brokers that receive the INFO by
    /// gossip read the address to dial from it.
    #[test]
    fn an_info_keeps_permissions_unchanged_and_drops_unknown_fields() {
        let export = r#"{"allow":["a",  "b"]}"#;
        let json = format!(
            r#"{{"server_id":"A","port":1,"ip":"nats-route://h:1/","new_key":{{"x":1}},"export":{export}}}"#
        );
        let info: RouteInfo = serde_json::from_str(&json).expect("it is an INFO");
        let line = String::from_utf8(info.line()).expect("it is text");
        assert!(line.contains(&format!(r#""export":{export}"#)), "{line}");
        assert!(line.contains(r#""ip":"nats-route://h:1/""#), "{line}");
        assert!(!line.contains("new_key"), "{line}");
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, 64);
        }

        #[test]
        fn no_line_of_fields_causes_a_panic(
            line in "(RMSG|HMSG|RS\\+|RS-)( (\\$G|a|\\+|\\||1|22|q)){0,9}( )?\r\n"
        ) {
            let _ = parse(line.as_bytes(), MAX);
        }
    }
}
