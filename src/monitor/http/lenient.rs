//! Errors of HTTP clients that nats-server accepts: unencoded subjects in a request's
//! target, such as `filter_subject=foo.>`. And the other way: a request that cannot be read
//! is answered with a text, where hyper sends only a status.

/// Methods whose requests have no body, with the blank after them.
const METHODS: [&[u8]; 2] = [b"GET ", HEAD];
const HEAD: &[u8] = b"HEAD ";

/// Escapes in the first lines of requests what no target may hold.
#[derive(Default)]
pub(super) struct RequestLines {
    state: State,
    /// The last method received of [`METHODS`] was HEAD.
    is_head: bool,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// So many bytes of a line that may become a request's.
    #[default]
    Start,
    Method(usize, usize),
    /// In the target of a request.
    Target,
    /// In another line.
    Other,
}

impl RequestLines {
    /// The bytes of a socket as they are to be read, if they are to be read
    /// otherwise than they are.
    pub(super) fn escape(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut escaped: Option<Vec<u8>> = None;
        for (at, &byte) in bytes.iter().enumerate() {
            self.step(byte);
            let is_unfit = matches!(self.state, State::Target) && is_unfit(byte);
            match (&mut escaped, is_unfit) {
                (None, false) => {}
                (Some(escaped), false) => escaped.push(byte),
                (escaped, true) => {
                    let escaped = escaped.get_or_insert_with(|| bytes[..at].to_vec());
                    escaped.extend(format!("%{byte:02X}").bytes());
                }
            }
        }
        escaped
    }

    /// Whether the response to the last request has no body.
    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    fn step(&mut self, byte: u8) {
        if byte == b'\n' {
            self.state = State::Start;
            return;
        }
        self.state = match self.state {
            State::Start => match METHODS.iter().position(|method| method[0] == byte) {
                Some(which) => State::Method(which, 1),
                None => State::Other,
            },
            State::Method(which, seen) if METHODS[which][seen] != byte => State::Other,
            State::Method(which, seen) if seen + 1 == METHODS[which].len() => {
                self.is_head = METHODS[which] == HEAD;
                State::Target
            }
            State::Method(which, seen) => State::Method(which, seen + 1),
            state => state,
        };
    }
}

/// Bytes of the longest answer that hyper makes by itself; they are about a hundred.
const BARE_LEN_MAX: usize = 512;

fn is_unfit(byte: u8) -> bool {
    byte >= 0x80 || b"\"<>\\^`{|}".contains(&byte)
}

/// The response that replaces one made by hyper itself, which has a status and no body;
/// `None` for every other. It is called for every piece of every response, so the check
/// that excludes most of them comes first.
pub(super) fn with_words(answer: &[u8]) -> Option<Vec<u8>> {
    const EMPTY: &str = "content-length: 0\r\n";
    if answer.len() > BARE_LEN_MAX || !answer.starts_with(b"HTTP/1.") {
        return None;
    }
    let head = std::str::from_utf8(answer).ok()?;
    let status: u16 = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    if status < 400 || !head.ends_with("\r\n\r\n") || !head.contains(EMPTY) {
        return None;
    }
    let body = match status {
        414 => "The path and its parameters are too long.\n",
        431 => "The request's headers are too long.\n",
        _ => "This is not a valid HTTP request: check the path and its parameters.\n",
    };
    let length = format!(
        "content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n",
        body.len()
    );
    Some((head.replacen(EMPTY, &length, 1) + body).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_escaped_however_they_come_and_nothing_else_is() {
        let sent = "GET /connz?f=a.>&g=\"x\"&h={é} HTTP/1.1\r\nHost: <a>\r\n\r\n\
                    HEAD /x?> HTTP/1.1\r\nGETX: >\r\n\r\nPOST /kick?> HTTP/1.1\r\n\r\n>";
        let read = "GET /connz?f=a.%3E&g=%22x%22&h=%7B%C3%A9%7D HTTP/1.1\r\nHost: <a>\r\n\r\n\
                    HEAD /x?%3E HTTP/1.1\r\nGETX: >\r\n\r\nPOST /kick?> HTTP/1.1\r\n\r\n>";
        for piece in [1, 3, 7, 1000] {
            let mut lines = RequestLines::default();
            let pieces = sent.as_bytes().chunks(piece);
            let all: Vec<u8> = pieces
                .flat_map(|piece| lines.escape(piece).unwrap_or_else(|| piece.to_vec()))
                .collect();
            assert_eq!(String::from_utf8_lossy(&all), read, "{piece}");
        }
        assert!(
            RequestLines::default()
                .escape(b"GET /varz HTTP/1.1\r\n\r\n")
                .is_none()
        );
    }

    #[test]
    fn the_last_method_is_known() {
        let mut lines = RequestLines::default();
        for (sent, is_head) in [
            ("HEAD /x HT", true),
            ("TP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET /x HTTP/1.1\r\n\r\nHEA", false),
            ("D /x", true),
        ] {
            lines.escape(sent.as_bytes());
            assert_eq!(lines.is_head(), is_head, "{sent}");
        }
    }

    #[test]
    fn an_answer_without_a_word_gets_some() {
        let bare = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let answer = with_words(bare).expect("words");
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{answer}"
        );
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nwords",
            b"content-length: 0\r\n\r\n",
        ] {
            assert_eq!(with_words(other), None);
        }
        let long = format!(
            "HTTP/1.1 400 Bad Request\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
            "y".repeat(BARE_LEN_MAX)
        );
        assert_eq!(with_words(long.as_bytes()), None);
    }
}
