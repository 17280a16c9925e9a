//! The HTTP request that begins a WebSocket, and the answers to it. Pure: bytes in, values out;
//! `client::websocket_upgrade` reads and writes them.
//!
//! The checks, their order and their words are those of nats-server. Unlike it, a refused request
//! ends its connection.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use data_encoding::BASE64;

use super::Agreed;
use crate::telemetry::pool::Pool;

/// Bytes of a request. Cookies with credentials fit.
pub const REQUEST_LEN_MAX: usize = 32 * 1024;

/// Requests that are not complete, of all connections.
pub static REQUESTS: Pool = Pool::new(16 * 1024 * 1024);

/// Header fields of a request.
const FIELDS_MAX: usize = 64;

/// Bytes of the key's random number.
const KEY_LEN: usize = 16;

/// What the key is hashed with (RFC 6455, section 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const EXTENSION: &str = "permessage-deflate";

/// A request that is complete and has what a WebSocket needs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Request {
    /// Bytes of it.
    pub len: usize,
    /// Host, perhaps with a port, that it is addressed to.
    pub host: String,
    /// The page that makes it, if it says so.
    pub origin: Option<String>,
    /// Whether it offers compression.
    pub offers_compression: bool,
    /// Whether it asks for frames without masks.
    pub asks_for_no_masking: bool,
    /// Its `Cookie` fields.
    cookies: Vec<String>,
    /// The answer to its key.
    accept: String,
}

/// Why a request is not accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The status that it is answered with.
    pub status: Status,
    /// For the log.
    pub text: String,
}

/// The status of a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// 400
    BadRequest,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 405
    MethodNotAllowed,
    /// 431
    TooLarge,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::TooLarge => "431 Request Header Fields Too Large",
        }
    }
}

impl Refusal {
    /// A refusal with this status.
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    /// The answer.
    pub fn answer(&self) -> Vec<u8> {
        // What follows the number.
        let text = self.status.text().get(4..);
        self.status.answer(text.unwrap_or_default())
    }
}

/// The answer to a request that came without TLS to a port that has it.
pub fn answer_without_tls() -> Vec<u8> {
    Status::BadRequest.answer("This port is encrypted: the URL begins with wss:// or https://.")
}

impl Status {
    fn answer(self, body: &str) -> Vec<u8> {
        let status = self.text();
        format!(
            "HTTP/1.1 {status}\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Sec-Websocket-Version: 13\r\n\
             X-Content-Type-Options: nosniff\r\n\
             Content-Length: {}\r\n\
             Connection: close\r\n\r\n\
             {body}\n",
            body.len() + 1
        )
        .into_bytes()
    }
}

/// Whether to read a request again, of which the bytes from `begin` on are new: a line has ended, it
/// is the first time, or it is too long. So its cost does not grow with the number of its parts.
pub fn is_worth_reading(bytes: &[u8], begin: usize) -> bool {
    begin == 0 || bytes.len() >= REQUEST_LEN_MAX || bytes[begin..].contains(&b'\n')
}

/// Reads a request; `None` if it is not complete.
///
/// # Errors
///
/// Why it is refused.
pub fn read(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    let bad = |text: &str| Refusal::new(Status::BadRequest, text);
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    let len = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < REQUEST_LEN_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(Status::TooLarge, "request is too large"));
        }
        Err(_) => return Err(bad("malformed HTTP request")),
    };
    let path = parsed.path.unwrap_or_default();
    check_path(path)?;
    if parsed.method != Some("GET") {
        let text = "request method must be GET";
        return Err(Refusal::new(Status::MethodNotAllowed, text));
    }
    let fields = Fields(parsed.headers);
    let host = match fields.first("Host") {
        None | Some("") => return Err(bad("'Host' missing in request")),
        Some(host) => host.to_owned(),
    };
    if !fields.has_token("Upgrade", "websocket") {
        return Err(bad("invalid value for header 'Upgrade'"));
    }
    if !fields.has_token("Connection", "Upgrade") {
        return Err(bad("invalid value for header 'Connection'"));
    }
    let key = match fields.first("Sec-WebSocket-Key") {
        None | Some("") => return Err(bad("key missing")),
        Some(key) => key,
    };
    if !BASE64
        .decode(key.as_bytes())
        .is_ok_and(|it| it.len() == KEY_LEN)
    {
        return Err(bad("invalid websocket key"));
    }
    if !fields.has_token("Sec-WebSocket-Version", "13") {
        return Err(bad("invalid version"));
    }
    let origin = [fields.first("Origin"), fields.first("Sec-WebSocket-Origin")];
    let mut origin = origin.into_iter().flatten();
    Ok(Some(Request {
        len,
        host,
        origin: origin.find(|text| !text.is_empty()).map(str::to_owned),
        offers_compression: fields.offers(EXTENSION),
        asks_for_no_masking: fields.first("Nats-No-Masking") == Some("true"),
        cookies: fields.all("Cookie").map(str::to_owned).collect(),
        accept: accept_of(key),
    }))
}

/// Whether clients are served at this path: all but those of other protocols.
fn check_path(path: &str) -> Result<(), Refusal> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let refused = |text| Err(Refusal::new(Status::NotFound, text));
    match path.rsplit_once('/').map(|(_, last)| last) {
        Some("mqtt") => refused("mqtt websocket endpoint not enabled"),
        Some("leafnode") => refused("leafnode websocket endpoint not supported"),
        _ => Ok(()),
    }
}

/// The answer to a key.
fn accept_of(key: &str) -> String {
    let hashed = format!("{key}{KEY_SUFFIX}");
    BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, hashed.as_bytes()).as_ref())
}

impl Request {
    /// The value of a cookie, without quotes around it; empty if there is none.
    pub fn cookie(&self, name: &str) -> &str {
        let pairs = self.cookies.iter().flat_map(|field| field.split(';'));
        let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
        let value = pairs.find(|(known, _)| *known == name);
        let value = value.map_or("", |(_, value)| value);
        let quoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        quoted.unwrap_or(value)
    }

    /// The answer that accepts it, with these fields of the configuration.
    pub fn answer(&self, agreed: Agreed, fields: &[(String, String)]) -> Vec<u8> {
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            self.accept
        );
        if agreed.compression {
            answer += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                       client_no_context_takeover\r\n";
        }
        if agreed.no_masking {
            answer += "Nats-No-Masking: true\r\n";
        }
        for (name, value) in fields {
            // Writing to a text cannot fail.
            let _ = write!(answer, "{name}: {value}\r\n");
        }
        answer += "\r\n";
        answer.into_bytes()
    }
}

/// Header fields.
struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    /// The values of all fields of that name, in any case. Values that are not text count as empty.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let fields = self.0.iter();
        let named = fields.filter(move |field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| str::from_utf8(field.value).unwrap_or_default().trim())
    }

    fn first(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Whether one of the fields, which are lists, has this item, in any case.
    fn has_token(&self, name: &str, token: &str) -> bool {
        let mut items = self.all(name).flat_map(|list| list.split(','));
        items.any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    /// Whether one of the extensions, or of their parameters, is this one.
    fn offers(&self, extension: &str) -> bool {
        let lists = self.all("Sec-WebSocket-Extensions");
        let mut items = lists.flat_map(|list| list.split([',', ';']));
        items.any(|item| item.trim().eq_ignore_ascii_case(extension))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(change: (&str, &str)) -> String {
        let text = format!(
            "GET / HTTP/1.1\r\nHost: a.example:80\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        assert!(text.contains(change.0), "{}", change.0);
        text.replacen(change.0, change.1, 1)
    }

    #[test]
    fn the_key_is_answered_as_in_the_standard() {
        assert_eq!(accept_of(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_request_is_read_once_it_is_complete() {
        let text = request(("", ""));
        for cut in 0..text.len() {
            assert_eq!(read(&text.as_bytes()[..cut]), Ok(None), "{cut}");
        }
        let found = read(format!("{text}more").as_bytes()).unwrap().unwrap();
        assert_eq!((found.len, &*found.host), (text.len(), "a.example:80"));
        assert!(!found.offers_compression && !found.asks_for_no_masking);
    }

    #[test]
    fn checks_are_those_of_nats_server() {
        use Status::{BadRequest, MethodNotAllowed, NotFound};
        let cases = [
            (
                ("GET /", "GET /a/mqtt?x"),
                NotFound,
                "mqtt websocket endpoint not enabled",
            ),
            (
                ("GET /", "GET /leafnode"),
                NotFound,
                "leafnode websocket endpoint not supported",
            ),
            (
                ("GET", "POST"),
                MethodNotAllowed,
                "request method must be GET",
            ),
            (
                ("GET", "get"),
                MethodNotAllowed,
                "request method must be GET",
            ),
            (
                ("Host: a.example:80\r\n", ""),
                BadRequest,
                "'Host' missing in request",
            ),
            (
                ("websocket", "h2c"),
                BadRequest,
                "invalid value for header 'Upgrade'",
            ),
            (
                ("Connection: Upgrade", "Connection: keep-alive"),
                BadRequest,
                "invalid value for header 'Connection'",
            ),
            (("Sec-WebSocket-Key", "X"), BadRequest, "key missing"),
            (
                (KEY, "dGhlIHNhbXBsZSBub25j"),
                BadRequest,
                "invalid websocket key",
            ),
            (("13", "12"), BadRequest, "invalid version"),
            (("HTTP/1.1", ""), BadRequest, "malformed HTTP request"),
        ];
        for (change, status, text) in cases {
            let expected = Err(Refusal::new(status, text));
            assert_eq!(read(request(change).as_bytes()), expected, "{change:?}");
        }
        for change in [
            ("websocket", "h2c, WebSocket"),
            ("Connection: Upgrade", "connection: keep-alive, upgrade"),
            ("13", "12, 13"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("GET /", "GET /leafnode/"),
            ("GET /", "GET /xleafnode?/mqtt"),
        ] {
            let found = read(request(change).as_bytes());
            assert!(matches!(found, Ok(Some(_))), "{change:?}: {found:?}");
        }
    }

    #[test]
    fn a_request_has_bounds() {
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(REQUEST_LEN_MAX));
        let refused = read(endless.as_bytes()).map_err(|it| it.status);
        assert_eq!(refused, Err(Status::TooLarge));
        let many = request((
            "\r\n\r\n",
            &format!("\r\n{}\r\n", "a: b\r\n".repeat(FIELDS_MAX)),
        ));
        let refused = read(many.as_bytes()).map_err(|it| it.status);
        assert_eq!(refused, Err(Status::TooLarge));
    }

    #[test]
    fn extensions_and_cookies() {
        let with = |field: &str| {
            let text = request(("\r\n\r\n", &format!("\r\n{field}\r\n\r\n")));
            read(text.as_bytes()).unwrap().unwrap()
        };
        for offer in [
            "permessage-deflate",
            "foo;permessage-deflate",
            "x, PerMessage-Deflate; a=1",
        ] {
            let found = with(&format!("Sec-WebSocket-Extensions: {offer}"));
            assert!(found.offers_compression, "{offer}");
        }
        assert!(!with("Sec-WebSocket-Extensions: x-webkit-deflate-frame").offers_compression);
        let found = with("Cookie: a=1; b=\"two\"\r\nCookie: c=x=y");
        let cookies = ["a", "b", "c", "A"].map(|name| found.cookie(name));
        assert_eq!(cookies, ["1", "two", "x=y", ""]);
    }

    #[test]
    fn an_answer_has_what_was_agreed() {
        let request = read(request(("", "")).as_bytes()).unwrap().unwrap();
        let text = |agreed, fields: &[(String, String)]| {
            String::from_utf8(request.answer(agreed, fields)).unwrap()
        };
        let plain = text(Agreed::default(), &[]);
        assert!(plain.ends_with("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
        let agreed = Agreed {
            compression: true,
            no_masking: true,
        };
        let all = text(agreed, &[("X-My".into(), "a b".into())]);
        assert!(all.contains("\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_con"));
        assert!(all.ends_with("\r\nNats-No-Masking: true\r\nX-My: a b\r\n\r\n"));
        let refused = Refusal::new(Status::Forbidden, "x").answer();
        assert!(refused.ends_with(b"Content-Length: 10\r\nConnection: close\r\n\r\nForbidden\n"));
    }
}
