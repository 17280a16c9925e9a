//! The parameters of a request, read by the rules of Go's library, as nats-server
//! reads them, with its error texts.

use std::{borrow::Cow, num::IntErrorKind};

use monitor_client::text::quoted;

use super::refusal::Refusal;

/// How subscriptions are listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::monitor) enum Listing {
    /// Just how many there are.
    Count,
    /// With all their fields.
    Detail,
    /// Their subjects.
    Subjects,
}

/// The parameters of a request.
#[derive(Default)]
pub struct Query(Vec<(Vec<u8>, Vec<u8>)>);

impl Query {
    /// The parameters of a request that did not come over HTTP.
    pub fn of(parameters: &[(String, String)]) -> Self {
        let pairs = parameters.iter();
        let bytes = |text: &String| text.clone().into_bytes();
        Self(
            pairs
                .map(|(name, value)| (bytes(name), bytes(value)))
                .collect(),
        )
    }

    /// Reads `a=1&b=2`. As in Go, a pair with a `;` or a broken `%` escape does
    /// not exist, and the first one of a name counts.
    pub(in crate::monitor) fn parse(text: &str) -> Self {
        let pairs = text
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'))
            .filter_map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((unescape(name)?, unescape(value)?))
            });
        Self(pairs.collect())
    }

    /// The value of a parameter; empty if it is absent.
    pub(in crate::monitor) fn bytes(&self, name: &str) -> &[u8] {
        let found = self.0.iter().find(|(known, _)| known == name.as_bytes());
        found.map_or(b"", |(_, value)| value)
    }

    /// The same as text; bytes that are not UTF-8 show as `�`.
    pub(in crate::monitor) fn text(&self, name: &str) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes(name))
    }

    /// A truth value; absent is false.
    ///
    /// # Errors
    ///
    /// It is none of Go's.
    pub(in crate::monitor) fn boolean(&self, name: &str) -> Result<bool, Refusal> {
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
    pub(in crate::monitor) fn listing(&self, name: &str) -> Result<Listing, Refusal> {
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
    pub(in crate::monitor) fn integer(&self, name: &str) -> Result<i64, Refusal> {
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
    pub(in crate::monitor) fn unsigned(&self, name: &str) -> Result<u64, Refusal> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(0);
        }
        // Rust accepts a plus sign here, Go does not.
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
