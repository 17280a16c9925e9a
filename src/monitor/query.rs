//! The parameters of a request, read by the rules of the Go library that
//! nats-server's users know, with its error texts; and the headers by which a
//! request chooses the form of its answer.

use std::{borrow::Cow, num::IntErrorKind};

use hyper::{HeaderMap, header};

use super::answer::Refusal;

/// How subscriptions are listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Listing {
    /// Just how many there are.
    Count,
    /// With all there is to tell.
    Detail,
    /// Their subjects.
    Subjects,
}

/// What a request asks for.
pub(super) struct Query {
    /// The parameters behind its `?`.
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its `Accept`, in lower case; empty if it has none.
    accept: String,
    /// The last server-sent event that its sender has seen.
    pub(super) last_event_id: Option<u64>,
}

impl Query {
    /// The parameters of a request that did not come over HTTP.
    pub(super) fn of(parameters: &[(String, String)]) -> Self {
        let pairs = parameters.iter();
        Self {
            parameters: pairs
                .map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes()))
                .collect(),
            ..Self::parse("")
        }
    }

    /// Reads `a=1&b=2`. As in Go, a pair with a `;` or a broken `%` escape does
    /// not exist, and the first one of a name counts.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'))
            .filter_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((unescape(name)?, unescape(value)?))
            });
        Self {
            parameters: pairs.collect(),
            accept: String::new(),
            last_event_id: None,
        }
    }

    /// Adds what the request's headers say.
    pub(super) fn with_headers(mut self, headers: &HeaderMap) -> Self {
        let text = |value: &hyper::header::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase()
        };
        let accepts: Vec<String> = headers.get_all(header::ACCEPT).iter().map(text).collect();
        self.accept = accepts.join(",");
        self.last_event_id = headers
            .get("last-event-id")
            .and_then(|id| id.to_str().ok()?.trim().parse().ok());
        self
    }

    /// Whether the request names this media type (in lower case) as welcome.
    pub(super) fn accepts(&self, media_type: &str) -> bool {
        self.accept
            .split(',')
            .any(|range| range.split(';').next().map(str::trim) == Some(media_type))
    }

    /// The value of a parameter; empty if it is absent.
    pub(super) fn bytes(&self, name: &str) -> &[u8] {
        let found = self
            .parameters
            .iter()
            .find(|(known, _)| known == name.as_bytes());
        found.map_or(b"", |(_, value)| value)
    }

    /// The same as text; bytes that are not UTF-8 show as `�`.
    pub(super) fn text(&self, name: &str) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes(name))
    }

    /// A truth value; absent is false.
    ///
    /// # Errors
    ///
    /// It is none of Go's.
    pub(super) fn boolean(&self, name: &str) -> Result<bool, Refusal> {
        match &*self.text(name) {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            _ => Err(Refusal::bad_request(format!(
                "Error decoding boolean for '{name}': strconv.ParseBool: parsing {}: invalid syntax",
                quoted(self.bytes(name))
            ))),
        }
    }

    /// How subscriptions are to be listed: `detail`, or a truth value.
    ///
    /// # Errors
    ///
    /// It is neither.
    pub(super) fn listing(&self, name: &str) -> Result<Listing, Refusal> {
        if self.bytes(name).eq_ignore_ascii_case(b"detail") {
            return Ok(Listing::Detail);
        }
        Ok(match self.boolean(name)? {
            true => Listing::Subjects,
            false => Listing::Count,
        })
    }

    /// A whole number; absent is 0.
    ///
    /// # Errors
    ///
    /// It is no number, or none of 64 bits.
    pub(super) fn integer(&self, name: &str) -> Result<i64, Refusal> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(0);
        }
        text.parse().map_err(|error: std::num::ParseIntError| {
            number_error("int", "Atoi", name, self.bytes(name), &error)
        })
    }

    /// A whole number without sign; absent is 0.
    ///
    /// # Errors
    ///
    /// It is no number, or none of 64 bits.
    pub(super) fn unsigned(&self, name: &str) -> Result<u64, Refusal> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(0);
        }
        // Rust takes a plus sign here, Go does not.
        let digits = if text.starts_with('+') { "+" } else { &text };
        digits.parse().map_err(|error: std::num::ParseIntError| {
            number_error("uint64", "ParseUint", name, self.bytes(name), &error)
        })
    }
}

fn number_error(
    kind: &str,
    function: &str,
    name: &str,
    text: &[u8],
    error: &std::num::ParseIntError,
) -> Refusal {
    let problem = match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    Refusal::bad_request(format!(
        "Error decoding {kind} for '{name}': strconv.{function}: parsing {}: {problem}",
        quoted(text)
    ))
}

/// Undoes `%` escapes and `+`; `None` if an escape is broken.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            other => other,
        });
    }
    Some(plain)
}

fn hex_digit(digit: u8) -> Option<u8> {
    // A digit of base 16 fits a byte.
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// The text in double quotes, with Go's escapes for what cannot be printed and
/// for bytes that are not UTF-8.
fn quoted(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in text.utf8_chunks() {
        for symbol in chunk.valid().chars() {
            match symbol {
                '"' | '\\' => quoted.extend(['\\', symbol]),
                '\x07' => quoted += "\\a",
                '\x08' => quoted += "\\b",
                '\x0c' => quoted += "\\f",
                '\n' => quoted += "\\n",
                '\r' => quoted += "\\r",
                '\t' => quoted += "\\t",
                '\x0b' => quoted += "\\v",
                other if other.is_ascii_control() => quoted += &format!("\\x{:02x}", other as u32),
                other if is_printable(other) => quoted.push(other),
                other if other > '\u{ffff}' => quoted += &format!("\\U{:08x}", other as u32),
                other => quoted += &format!("\\u{:04x}", other as u32),
            }
        }
        for byte in chunk.invalid() {
            quoted += &format!("\\x{byte:02x}");
        }
    }
    quoted + "\""
}

fn is_printable(symbol: char) -> bool {
    // A quote is told apart before; a mark that joins what is before it prints.
    let joined = String::from_iter(['a', symbol]);
    symbol == '\'' || joined.escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T>(result: Result<T, Refusal>) -> String {
        result
            .err()
            .map(|refusal| refusal.message)
            .unwrap_or_default()
    }

    #[test]
    fn headers_choose_the_form() {
        let mut headers = HeaderMap::new();
        headers.append("accept", "text/html, Text/Plain;q=0.5".parse().unwrap());
        headers.append("accept", "text/event-stream".parse().unwrap());
        headers.append("last-event-id", "17".parse().unwrap());
        let query = Query::parse("").with_headers(&headers);
        for welcome in ["text/html", "text/plain", "text/event-stream"] {
            assert!(query.accepts(welcome), "{welcome}");
        }
        assert!(!query.accepts("application/json"));
        assert!(!Query::parse("").accepts("text/plain"));
        assert_eq!(query.last_event_id, Some(17));
        headers.insert("last-event-id", "x".parse().unwrap());
        assert_eq!(Query::parse("").with_headers(&headers).last_event_id, None);
    }

    #[test]
    fn truth_values_are_those_of_go() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert!(
                Query::parse(&format!("auth={text}"))
                    .boolean("auth")
                    .unwrap()
            );
        }
        for text in ["", "auth=", "auth=0", "auth=f", "auth=False", "auth=FALSE"] {
            assert!(!Query::parse(text).boolean("auth").unwrap());
        }
        assert_eq!(
            message(Query::parse("auth=yes").boolean("auth")),
            "Error decoding boolean for 'auth': strconv.ParseBool: parsing \"yes\": invalid syntax"
        );
    }

    #[test]
    fn numbers_are_those_of_go() {
        for (text, number) in [
            ("", 0),
            ("7", 7),
            ("-5", -5),
            ("%2B5", 5),
            ("007", 7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(
                Query::parse(&format!("limit={text}"))
                    .integer("limit")
                    .unwrap(),
                number
            );
        }
        for (text, shown, problem) in [
            ("abc", "abc", "invalid syntax"),
            ("1_0", "1_0", "invalid syntax"),
            ("+5", " 5", "invalid syntax"),
            ("-", "-", "invalid syntax"),
            ("%00", "\\x00", "invalid syntax"),
            ("%22", "\\\"", "invalid syntax"),
            ("%FF%C3%28", "\\xff\\xc3(", "invalid syntax"),
            ("%E2%80%A8", "\\u2028", "invalid syntax"),
            ("%F3%A0%80%81", "\\U000e0001", "invalid syntax"),
            ("%27%08", "'\\b", "invalid syntax"),
            (
                "99999999999999999999",
                "99999999999999999999",
                "value out of range",
            ),
            (
                "-99999999999999999999",
                "-99999999999999999999",
                "value out of range",
            ),
        ] {
            assert_eq!(
                message(Query::parse(&format!("limit={text}")).integer("limit")),
                format!(
                    "Error decoding int for 'limit': strconv.Atoi: parsing \"{shown}\": {problem}"
                )
            );
        }
    }

    #[test]
    fn numbers_without_sign_are_those_of_go() {
        let cid = |text: &str| Query::parse(&format!("cid={text}")).unsigned("cid");
        assert_eq!(cid("18446744073709551615").unwrap(), u64::MAX);
        assert_eq!(cid("").unwrap(), 0);
        for (text, shown, problem) in [
            ("-1", "-1", "invalid syntax"),
            ("%2B5", "+5", "invalid syntax"),
            (
                "99999999999999999999",
                "99999999999999999999",
                "value out of range",
            ),
        ] {
            assert_eq!(
                message(cid(text)),
                format!(
                    "Error decoding uint64 for 'cid': strconv.ParseUint: parsing \"{shown}\": {problem}"
                )
            );
        }
    }

    #[test]
    fn broken_pairs_do_not_exist_and_the_first_of_a_name_counts() {
        let query = Query::parse("a=%zz&b=1;c=2&d=x%26y&d=second&&e&f=%");
        for absent in ["a", "b", "c", "e", "f", "g"] {
            assert_eq!(query.bytes(absent), b"", "{absent}");
        }
        assert_eq!(query.text("d"), "x&y");
        assert_eq!(Query::parse("t=%ff").bytes("t"), b"\xff");
    }
}
