//! What a broker says: the heads of deliveries to clients, to brokers of the cluster and to
//! leafnodes, and the lines that announce interest to those. Reading the heads back is here too:
//! it must fit.
//!
//! `delivery` and `interest` put these lines into queues; a message's tail follows its
//! head as it came (see [`message`](super::message)).

use super::{
    CRLF,
    message::{Message, push_number},
};

/// Bytes that the sizes of a message and the ends of its control line take at most.
pub const SIZES_LEN: usize = 32;

/// The head of deliveries to one subscription of a client: `HMSG subject sid `, made
/// once for a batch.
pub struct ClientHead<'a>(&'a [u8]);

impl<'a> ClientHead<'a> {
    /// Makes it in `buffer`.
    #[inline]
    pub fn new(buffer: &'a mut Vec<u8>, subject: &[u8], sid: &[u8]) -> Self {
        buffer.clear();
        for part in [b"HMSG ", subject, b" ", sid, b" "] {
            buffer.extend_from_slice(part);
        }
        Self(buffer)
    }

    /// That of a message with headers: `HMSG`.
    #[inline]
    pub fn with_headers(&self) -> &'a [u8] {
        self.0
    }

    /// That of a message without headers: `MSG`.
    #[inline]
    pub fn plain(&self) -> &'a [u8] {
        &self.0[1..]
    }
}

/// The head of messages to a broker of the cluster, made once for a batch as far as its
/// messages have it in common: `RMSG account subject `. That of messages to a leafnode has no
/// account: `LMSG subject `; that of messages from a leafnode of a cluster to a broker of ours has the
/// name of that cluster, too: `LMSG origin account subject `.
pub struct RouteHead<'a> {
    bytes: &'a mut Vec<u8>,
    common_len: usize,
    /// The first letter of the verb of messages without headers.
    letter: u8,
    /// Whether it has an origin. Then messages with and without headers have the same verb and the
    /// same number of sizes.
    has_origin: bool,
}

impl<'a> RouteHead<'a> {
    /// Makes it in `buffer`.
    #[inline]
    pub fn new(buffer: &'a mut Vec<u8>, account: &[u8], subject: &[u8]) -> Self {
        buffer.clear();
        for part in [b"RMSG ", account, b" ", subject, b" "] {
            buffer.extend_from_slice(part);
        }
        Self {
            common_len: buffer.len(),
            bytes: buffer,
            letter: b'R',
            has_origin: false,
        }
    }

    /// The same for messages that came from a leafnode of the cluster `origin`.
    pub fn with_origin(
        buffer: &'a mut Vec<u8>,
        origin: &[u8],
        account: &[u8],
        subject: &[u8],
    ) -> Self {
        buffer.clear();
        for part in [b"LMSG ", origin, b" ", account, b" ", subject, b" "] {
            buffer.extend_from_slice(part);
        }
        Self {
            common_len: buffer.len(),
            bytes: buffer,
            letter: b'L',
            has_origin: true,
        }
    }

    /// The same to a leafnode.
    pub fn to_leafnode(buffer: &'a mut Vec<u8>, subject: &[u8]) -> Self {
        buffer.clear();
        for part in [b"LMSG ", subject, b" "] {
            buffer.extend_from_slice(part);
        }
        Self {
            common_len: buffer.len(),
            bytes: buffer,
            letter: b'L',
            has_origin: false,
        }
    }

    /// Begins a message for queue groups, whose names follow: `| `, or `+ reply `; doubled if it is
    /// for these `only`.
    pub fn begin_queues(&mut self, reply: Option<&[u8]>, only: bool) {
        self.reset();
        let (bar, plus): (&[u8], &[u8]) = match only {
            false => (b"| ", b"+ "),
            true => (b"|| ", b"++ "),
        };
        match reply {
            None => self.bytes.extend_from_slice(bar),
            Some(reply) => {
                for part in [plus, reply, b" "] {
                    self.bytes.extend_from_slice(part);
                }
            }
        }
    }

    /// Begins a message without queue groups.
    pub fn reset(&mut self) {
        self.bytes.truncate(self.common_len);
    }

    /// The bytes, to which names of queue groups are appended, a blank behind each.
    pub fn names(&mut self) -> &mut Vec<u8> {
        self.bytes
    }

    /// Bytes so far.
    pub fn bytes_so_far(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a line with `more` bytes behind the head, besides its sizes, is within
    /// `line_max`.
    pub fn fits(&self, more: usize, line_max: usize) -> bool {
        self.bytes.len() + more + SIZES_LEN <= line_max
    }

    /// The head of a message with headers, `HMSG`, or without, `RMSG` or `LMSG`.
    #[inline]
    pub fn of(&mut self, has_headers: bool) -> &[u8] {
        let is_hmsg = has_headers && !self.has_origin;
        self.bytes[0] = if is_hmsg { b'H' } else { self.letter };
        self.bytes
    }

    /// Whether a message without headers needs a size of 0 for them.
    #[inline]
    pub fn needs_header_size(&self) -> bool {
        self.has_origin
    }

    /// The head of such a message, up to the size of the payload.
    pub fn with_header_size(&mut self, reply: Option<&[u8]>) -> Vec<u8> {
        let mut line = self.of(false).to_vec();
        if let Some(reply) = reply {
            line.extend_from_slice(reply);
            line.push(b' ');
        }
        line.extend_from_slice(b"0 ");
        line
    }
}

/// A whole control line without headers, for a target that takes none: what `head`
/// lacks of it, with its end.
pub fn plain_line(head: &[u8], reply: Option<&[u8]>, payload_len: usize) -> Vec<u8> {
    let mut line = Vec::with_capacity(head.len() + reply.map_or(0, <[u8]>::len) + SIZES_LEN);
    line.extend_from_slice(head);
    if let Some(reply) = reply {
        line.extend_from_slice(reply);
        line.push(b' ');
    }
    push_number(&mut line, payload_len);
    line.extend_from_slice(CRLF);
    line
}

/// Announces to a broker interest in a subject of an account, or of a queue group on it, with
/// so many members: `RS+`. In `key` the group stands behind the subject and a blank.
pub fn push_interest(lines: &mut Vec<u8>, account: &[u8], key: &[u8], members: u32) {
    for part in [b"RS+ ", account, b" ", key] {
        lines.extend_from_slice(part);
    }
    if key.contains(&b' ') {
        lines.push(b' ');
        push_number(lines, members as usize);
    }
    lines.extend_from_slice(CRLF);
}

/// Withdraws the interest in a key: `RS-`.
pub fn push_no_interest(lines: &mut Vec<u8>, account: &[u8], key: &[u8]) {
    for part in [b"RS- ", account, b" ", key, CRLF] {
        lines.extend_from_slice(part);
    }
}

/// Announces to a leafnode interest in a key, with so many members of its queue group: `LS+`.
pub fn push_leaf_interest(lines: &mut Vec<u8>, key: &[u8], members: u32) {
    for part in [b"LS+ ", key] {
        lines.extend_from_slice(part);
    }
    if key.contains(&b' ') {
        lines.push(b' ');
        push_number(lines, members as usize);
    }
    lines.extend_from_slice(CRLF);
}

/// Withdraws it: `LS-`.
pub fn push_no_leaf_interest(lines: &mut Vec<u8>, key: &[u8]) {
    for part in [b"LS- ", key, CRLF] {
        lines.extend_from_slice(part);
    }
}

/// A message of the broker's own to a broker of the cluster.
pub fn route_message(account: &str, subject: &str, reply: &str, payload: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    RouteHead::new(&mut line, account.as_bytes(), subject.as_bytes());
    Message::compose(&mut line, Some(reply.as_bytes()), None, payload);
    line
}

/// The answer to a request to `subject` that nobody took: a message without a payload
/// and with status 503.
pub fn no_responders(reply: &[u8], sid: &[u8], subject: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    ClientHead::new(&mut line, reply, sid);
    let headers = [b"NATS/1.0 503\r\nNats-Subject: ", subject, b"\r\n\r\n"].concat();
    Message::compose(&mut line, None, Some(&headers), b"");
    line
}

/// Subject and size of a delivery to a client, by its line without CRLF:
/// `MSG subject … size` or `HMSG subject … size`.
pub fn read_client_head(line: &[u8]) -> Option<(&[u8], usize)> {
    let plain = line.strip_prefix(b"MSG ");
    subject_and_size(plain.or_else(|| line.strip_prefix(b"HMSG "))?)
}

/// The same of a message to a broker: `RMSG account subject … size`,
/// `HMSG account subject … size` or `LMSG origin account subject … size`.
pub fn read_route_head(line: &[u8]) -> Option<(&[u8], usize)> {
    let behind_first = |fields: &'_ [u8]| memchr::memchr(b' ', fields).map(|at| at + 1);
    let (verb, mut arguments) = line.split_at_checked(b"RMSG ".len())?;
    match verb {
        b"RMSG " | b"HMSG " => {}
        b"LMSG " => arguments = &arguments[behind_first(arguments)?..],
        _ => return None,
    }
    subject_and_size(&arguments[behind_first(arguments)?..])
}

/// The same of a message to a leafnode: `LMSG subject … size` or `HMSG subject … size`.
pub fn read_leaf_head(line: &[u8]) -> Option<(&[u8], usize)> {
    let plain = line.strip_prefix(b"LMSG ");
    subject_and_size(plain.or_else(|| line.strip_prefix(b"HMSG "))?)
}

fn subject_and_size(arguments: &[u8]) -> Option<(&[u8], usize)> {
    let subject_len = memchr::memchr(b' ', arguments)?;
    let size = &arguments[memchr::memrchr(b' ', arguments)? + 1..];
    let size = std::str::from_utf8(size).ok()?.parse().ok()?;
    Some((&arguments[..subject_len], size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::route::{Parsed, RouteOp, parse};

    #[test]
    fn what_is_said_to_a_client_is_read_back() {
        let mut buffer = Vec::new();
        let head = ClientHead::new(&mut buffer, b"a.b", b"7");
        assert_eq!(head.with_headers(), b"HMSG a.b 7 ");
        let line = plain_line(head.plain(), Some(b"r"), 12);
        assert_eq!(line, b"MSG a.b 7 r 12\r\n");
        assert_eq!(
            read_client_head(line.trim_ascii_end()),
            Some((&b"a.b"[..], 12))
        );
        let answer = no_responders(b"_INBOX.1", b"3", b"svc");
        let expected = "HMSG _INBOX.1 3 35 35\r\nNATS/1.0 503\r\nNats-Subject: svc\r\n\r\n\r\n";
        assert_eq!(answer, expected.as_bytes());
    }

    #[test]
    fn what_is_said_to_a_broker_is_what_it_parses() {
        let read = |line: &[u8]| match parse(line, 4096) {
            Ok(Parsed::Op(op, len)) => (format!("{op:?}"), len),
            other => panic!("{other:?}"),
        };
        let mut line = Vec::new();
        push_interest(&mut line, b"A", b"a.* q", 3);
        assert_eq!(line, b"RS+ A a.* q 3\r\n");
        assert_eq!(read(&line).1, line.len());
        line.clear();
        push_interest(&mut line, b"A", b"a.>", 3);
        push_no_interest(&mut line, b"A", b"a.* q");
        assert_eq!(line, b"RS+ A a.>\r\nRS- A a.* q\r\n");
        assert_eq!(read(&line).1, b"RS+ A a.>\r\n".len());
        let line = route_message("A", "svc", "r", b"{}");
        assert_eq!(line, b"RMSG A svc r 2\r\n{}\r\n");
        let mut buffer = Vec::new();
        let mut head = RouteHead::new(&mut buffer, b"A", b"s");
        for (reply, names, expected) in [
            (None, &b""[..], &b"HMSG A s "[..]),
            (None, b"q ", b"HMSG A s | q "),
            (Some(&b"r"[..]), b"q p ", b"HMSG A s + r q p "),
            (None, b"q ", b"HMSG A s || q "),
            (Some(&b"r"[..]), b"q p ", b"HMSG A s ++ r q p "),
        ] {
            let only = expected.windows(2).any(|two| two == b"||" || two == b"++");
            match names.is_empty() {
                true => head.reset(),
                false => head.begin_queues(reply, only),
            }
            head.names().extend_from_slice(names);
            assert_eq!(head.of(true), expected);
            let mut line = head.of(false).to_vec();
            line.extend_from_slice(b"5\r\n");
            let Ok(Parsed::Op(RouteOp::Message(message), _)) = parse(&line, 4096) else {
                panic!("{line:?}");
            };
            assert_eq!((message.reply, message.total_len), (reply, 5));
            assert_eq!(message.queues, names.trim_ascii_end());
            assert_eq!(message.queues_only, only);
            assert_eq!(read_route_head(line.trim_ascii_end()), Some((&b"s"[..], 5)));
        }
        let mut buffer = Vec::new();
        let mut head = RouteHead::with_origin(&mut buffer, b"site", b"A", b"s");
        assert_eq!(head.of(true), b"LMSG site A s ");
        assert!(head.needs_header_size());
        let mut line = head.with_header_size(Some(b"r"));
        line.extend_from_slice(b"5\r\n");
        let Ok(Parsed::Op(RouteOp::Message(message), _)) = parse(&line, 4096) else {
            panic!("{line:?}");
        };
        assert_eq!(
            (message.origin, message.reply),
            (&b"site"[..], Some(&b"r"[..]))
        );
        assert_eq!((message.header_len, message.total_len), (None, 5));
        assert_eq!(read_route_head(line.trim_ascii_end()), Some((&b"s"[..], 5)));
        let mut buffer = Vec::new();
        let mut head = RouteHead::new(&mut buffer, b"A", b"s");
        head.begin_queues(Some(b"r"), true);
        assert!(head.fits(0, head.bytes_so_far() + SIZES_LEN));
        assert!(!head.fits(1, head.bytes_so_far() + SIZES_LEN));
    }
}
