//! The route protocol: what brokers of one cluster say to each other.
//!
//! [`parse`] yields one operation that borrows from the read buffer, as the
//! clients' parser does; the payload of a message is not part of it. Verbs of
//! leafnodes (`LS+`, `LMSG`) are not understood: a peer sends them only to a
//! broker that announced to take them. The room `route` reads and writes this,
//! `connection` writes messages and interest. Facts are those of nats-server
//! 2.15 (`server/route.go`, `server/parser.go`).

use memchr::memchr;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{CRLF, parse::ParseError};

/// Bytes of the longest control line that is taken from a peer, whatever it and
/// this broker allow their clients: the names of forty thousand queue groups, or
/// a subject of which nobody thinks. Peers are told ([`RouteInfo::max_line`]).
pub const LINE_MAX: usize = 4 * 1024 * 1024;

/// Bytes of the longest control line that a broker is thought to take which does
/// not tell: nats-server takes sixteen times its `max_control_line`, and this is
/// what its default makes.
pub const ASSUMED_LINE_MAX: usize = CONTROL_LINES * 4096;

/// So many times the longest control line of a client nats-server takes from a
/// broker.
pub const CONTROL_LINES: usize = 16;

/// Bytes of the longest line before a route stands; our own INFO keeps to it.
pub const INTRODUCTION_MAX: usize = ASSUMED_LINE_MAX;

/// Bytes of an entry of INFO that does without in one that is too long.
const ENTRY_LONG: usize = 256;

/// Bytes of what is shown of arguments that make no sense.
const SHOWN_MAX: usize = 256;

/// Digits of the longest size.
const SIZE_DIGITS_MAX: usize = 9;

/// One operation of a peer broker.
#[derive(Debug, Eq, PartialEq)]
pub enum RouteOp<'a> {
    /// `CONNECT {json}`: only from the side that dialled.
    Connect(&'a [u8]),
    /// `-ERR text`: the peer gives up.
    Err(&'a [u8]),
    /// `INFO {json}`.
    Info(&'a [u8]),
    /// `RS+ account subject [queue weight]`.
    Interest {
        /// Whose subject space.
        account: &'a [u8],
        /// Subject, wildcards included; not yet validated.
        subject: &'a [u8],
        /// Queue group and how many members it has there.
        queue: Option<(&'a [u8], u32)>,
    },
    /// `RMSG` or `HMSG`, without the payload.
    Message(RouteMessage<'a>),
    /// `RS- account subject [queue]`.
    NoInterest {
        /// Whose subject space.
        account: &'a [u8],
        /// Subject, wildcards included.
        subject: &'a [u8],
        /// Queue group.
        queue: Option<&'a [u8]>,
    },
    /// A line without a meaning here: `+OK`, `A+`, `A-`.
    Nothing,
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
}

/// The control line of an `RMSG` or `HMSG`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RouteMessage<'a> {
    /// Whose subject space.
    pub account: &'a [u8],
    /// Where it goes.
    pub subject: &'a [u8],
    /// Where answers go.
    pub reply: Option<&'a [u8]>,
    /// The queue groups of which one member is to have it, divided by blanks;
    /// empty for none.
    pub queues: &'a [u8],
    /// Bytes of the headers, which begin the payload; `None` for `RMSG`.
    pub header_len: Option<usize>,
    /// Bytes of headers and payload together.
    pub total_len: usize,
    /// The size or sizes as the peer wrote them.
    pub sizes: &'a [u8],
    /// Bytes of the control line with its end: the payload begins here.
    pub line_len: usize,
    /// Whether `[reply ]sizes CRLF` stands in one piece as a delivery wants it.
    pub canonical: bool,
}

impl RouteMessage<'_> {
    /// Bytes of the whole operation: control line, payload and the CRLF after it.
    pub fn whole_len(&self) -> usize {
        self.line_len + self.total_len + CRLF.len()
    }
}

/// What [`parse`] found.
#[derive(Debug, Eq, PartialEq)]
pub enum Parsed<'a> {
    /// An operation and the bytes it took (for a message: its control line).
    Op(RouteOp<'a>, usize),
    /// The line is not complete yet.
    Incomplete,
}

/// Parses the operation at the beginning of `bytes`. A control line may have at
/// most `line_max` bytes without its last one.
///
/// # Errors
///
/// What stands there is not the protocol; the route must end.
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
        b"+OK" | b"A+" | b"A-" => RouteOp::Nothing,
        _ => return Err(ParseError::UnknownOperation),
    };
    Ok(Parsed::Op(op, line_len))
}

/// The size in `<head><size>CRLF`, when `bytes` begin so: what a busy peer sends
/// again and again is recognised without being parsed twice. Returns payload
/// size and digits of it.
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
    let places = places(arguments);
    let field = |index: usize| {
        let (start, end): (usize, usize) = places[index];
        &arguments[start..end]
    };
    let sizes = if with_headers { 2 } else { 1 };
    let Some(sizes_at) = places.len().checked_sub(sizes).filter(|at| *at >= 2) else {
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
    let total_len = parse_size(field(places.len() - 1)).ok_or_else(bad)?;
    let header_len = match with_headers {
        true => Some(parse_size(field(sizes_at)).ok_or_else(bad)?),
        false => None,
    };
    if header_len.is_some_and(|header_len| header_len > total_len) {
        return Err(bad());
    }
    let adjoins =
        |left: usize| places[left].1 + 1 == places[left + 1].0 && arguments[places[left].1] == b' ';
    let in_one_piece = match (reply, queues) {
        (Some(_), Some(_)) => false,
        (Some(reply), None) => adjoins(reply),
        (None, _) => true,
    };
    let last = places.len() - 1;
    Ok(RouteMessage {
        account: field(0),
        subject: field(1),
        reply: reply.map(field),
        queues: queues.map_or(&[], |first| {
            &arguments[places[first].0..places[sizes_at - 1].1]
        }),
        header_len,
        total_len,
        sizes: &arguments[places[sizes_at].0..places[last].1],
        line_len,
        canonical: in_one_piece
            && places[last].1 == arguments.len()
            && (!with_headers || adjoins(sizes_at)),
    })
}

fn parse_interest(arguments: &[u8]) -> Result<RouteOp<'_>, ParseError> {
    let bad = || bad_arguments("RS+", arguments);
    let places = places(arguments);
    let field = |index: usize| &arguments[places[index].0..places[index].1];
    let queue = match places.len() {
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
    let places = places(arguments);
    let field = |index: usize| &arguments[places[index].0..places[index].1];
    if !(2..=3).contains(&places.len()) {
        return Err(bad());
    }
    Ok(RouteOp::NoInterest {
        account: field(0),
        subject: field(1),
        queue: (places.len() == 3).then(|| field(2)),
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

/// Where the blank-separated fields stand.
fn places(arguments: &[u8]) -> Vec<(usize, usize)> {
    let mut places = Vec::with_capacity(6);
    let mut start = None;
    for (at, byte) in arguments.iter().enumerate() {
        match (is_blank(*byte), start) {
            (true, Some(from)) => {
                places.push((from, at));
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    if let Some(from) = start {
        places.push((from, arguments.len()));
    }
    places
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

/// `CONNECT` as the dialling side sends it. Without `Debug`: it holds a password.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteConnect {
    /// Whether the dialling broker takes what became of its own messages: the reply
    /// that it brought may have to come back to it in another account.
    pub echo: bool,
    /// Whether `+OK` is wanted for every line.
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
    /// Whether that name was made up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cluster_dynamic: bool,
    /// Only in the CONNECT of a gateway.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Only in the CONNECT of a client.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub lang: String,
}

impl RouteConnect {
    /// The line as it is sent.
    pub fn line(&self) -> Vec<u8> {
        json_line(b"CONNECT ", serde_json::to_string(self), CRLF)
    }
}

/// `INFO` as brokers introduce themselves to each other.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RouteInfo {
    /// Id of this run of the broker.
    pub server_id: String,
    /// Its name, unique in the cluster.
    pub server_name: String,
    /// The nats-server version whose features are served.
    pub version: String,
    /// The protocol of servers.
    pub proto: i64,
    /// Commit of the build.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// Compiler of the broker.
    pub go: String,
    /// Where the sender's routes connect to.
    pub host: String,
    /// Where the sender's routes connect to.
    pub port: u16,
    /// The same as a URL; filled in by who hands the INFO on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Whether messages may have headers.
    pub headers: bool,
    /// Whether a dialling broker needs the cluster's user and password.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auth_required: bool,
    /// Whether the routes are encrypted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_required: bool,
    /// Whether certificates are asked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_verify: bool,
    /// Largest payload in bytes that clients may send there.
    pub max_payload: i64,
    /// Name of the cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Whether that name was made up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cluster_dynamic: bool,
    /// `host:port` where clients of the sender connect to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect_urls: Vec<String>,
    /// How far news of this route go: 0 by the common rule, 1 no further, 2
    /// further in any case.
    #[serde(skip_serializing_if = "is_nought")]
    pub gossip_mode: u8,
    /// The sender is about to leave.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ldm: bool,
    /// Bytes of the longest control line that the sender takes; 0 if it does not
    /// tell, as nats-server.
    #[serde(rename = "midge_max_line", skip_serializing_if = "is_zero")]
    pub max_line: usize,
    /// The connection is dedicated to this account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub route_account: String,
    /// Version of the midge that says it; a nats-server has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub midge: String,
    /// What the sender asks for of what its subscribers want: its permissions, as it
    /// wrote them. Kept as text, which takes no more than what came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Box<RawValue>>,
    /// What it takes of what others want, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Box<RawValue>>,
}

impl RouteInfo {
    /// The name that the broker was given. One without a name takes its id for it.
    pub fn given_name(&self) -> Option<&str> {
        let is_given = !self.server_name.is_empty() && self.server_name != self.server_id;
        is_given.then_some(&self.server_name)
    }

    /// The line as it is sent; nats-server puts a blank before the line's end.
    /// One that no broker need take goes without what a peer can do without: what
    /// is long and not of the introduction itself (both sides apply permissions),
    /// then addresses for clients.
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

fn is_nought(number: &u8) -> bool {
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

    /// A line may be as long as is allowed, and not a byte longer; of
    /// its fields there may be as many as fit.
    #[test]
    fn a_line_is_bounded_by_its_bytes_alone() {
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

    /// An INFO goes without what a peer can do without, so that every broker takes
    /// it.
    #[test]
    fn an_info_is_never_longer_than_a_broker_takes() {
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
    fn what_is_no_message_is_refused() {
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
    fn interest_is_told_apart_by_its_fields() {
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
    fn lines_are_bounded() {
        assert_eq!(parse(b"RS+ $G a", 8), Ok(Parsed::Incomplete));
        assert_eq!(parse(b"RS+ $G aa", 8), Err(ParseError::ControlLine));
        assert_eq!(parse(b"SUB a 1\r\n", 80), Err(ParseError::UnknownOperation));
    }

    /// What is not understood is not kept: it could be anything, and brokers that are
    /// told of another one read where it is to be dialled.
    #[test]
    fn an_info_keeps_permissions_as_they_came_and_nothing_unknown() {
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
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, 64);
        }

        #[test]
        fn no_line_of_fields_makes_the_parser_panic(
            line in "(RMSG|HMSG|RS\\+|RS-)( (\\$G|a|\\+|\\||1|22|q)){0,9}( )?\r\n"
        ) {
            let _ = parse(line.as_bytes(), MAX);
        }
    }
}
