//! Why a connection ends: the error sent to the peer, and the text in the log.

use crate::{
    connection::CloseReason,
    protocol::{
        error::{ClientError, error_line},
        parse::ParseError,
    },
    security::refusal::Refusal,
};

/// Bytes of received text that are shown.
const QUOTED_MAX: usize = 32;

/// Letters of what may be a verb, of this protocol or another one.
const VERB_MAX: usize = 16;

/// The first bytes of a TLS handshake: a record, and its version.
const TLS_BEGIN: [u8; 2] = [22, 3];

/// Why a connection must end.
#[derive(Clone, Debug)]
pub struct End {
    /// The reason that monitoring shows.
    pub reason: CloseReason,
    /// The text of the `-ERR` sent to the peer; `None` closes without one.
    pub error: Option<String>,
    /// For the log.
    pub detail: String,
    /// Why a login was refused, as counters name it; `None` if it was not for that.
    pub login: Option<&'static str>,
    /// Whether this is part of normal operation, so that it is not logged.
    pub is_usual: bool,
}

impl End {
    /// The peer gets no `-ERR`.
    pub fn without_error(reason: CloseReason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            error: None,
            detail: detail.into(),
            login: None,
            is_usual: false,
        }
    }

    /// The `-ERR` to the peer and the log have the same text.
    pub fn with_error(reason: CloseReason, error: impl ToString) -> Self {
        let error = error.to_string();
        Self {
            error: Some(error.clone()),
            ..Self::without_error(reason, error)
        }
    }

    /// The input violates the protocol; the peer gets no `-ERR`.
    pub fn violation(detail: impl Into<String>) -> Self {
        Self::without_error(CloseReason::ProtocolViolation, detail)
    }

    /// The input is not the protocol, and the peer gets an `-ERR`.
    pub fn unknown_operation(detail: impl Into<String>) -> Self {
        let (reason, error) = (
            CloseReason::ProtocolViolation,
            ClientError::UnknownOperation,
        );
        Self::with_error(reason, error).with(detail)
    }

    /// The same with another text for the log.
    pub fn with(self, detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            ..self
        }
    }

    /// The same as a login that is refused.
    pub fn for_login(self, why: &Refusal) -> Self {
        Self {
            login: Some(why.name()),
            ..self
        }
    }

    /// The same as part of normal operation, neither logged nor counted as a login.
    pub fn usual(self) -> Self {
        Self {
            login: None,
            is_usual: true,
            ..self
        }
    }

    /// The `-ERR` line, if one is sent.
    pub fn error_line(&self) -> Option<Vec<u8>> {
        let error = self.error.as_ref()?;
        Some(error_line(error))
    }

    /// For the log: reason and detail.
    pub fn text(&self) -> String {
        format!("{}: {}", self.reason, self.detail)
    }

    /// The same with what was received, as far as it may be shown. Before the login
    /// (`is_in` is `false`) that is a first word that can be a verb: a peer may send
    /// credentials in another protocol, or in a damaged CONNECT. JSON is never shown.
    pub fn quoting(mut self, received: &[u8], is_in: bool) -> Self {
        let first = |bytes: &[u8], end: fn(&u8) -> bool| -> usize {
            bytes.iter().position(end).unwrap_or(bytes.len())
        };
        let line = &received[..first(received, |byte| *byte == b'\n')];
        let line = line.trim_ascii();
        let open = line[..first(line, |byte| *byte == b'{')].trim_ascii_end();
        let word = &open[..first(open, u8::is_ascii_whitespace)];
        let shown = match is_in && !word.eq_ignore_ascii_case(b"CONNECT") {
            true => open.get(..QUOTED_MAX).unwrap_or(open),
            false if can_be_verb(word) => word,
            false => &[],
        };
        if !shown.is_empty() {
            let more = if shown.len() < line.len() { "..." } else { "" };
            let text = String::from_utf8_lossy(shown);
            self.detail = format!("{}: {text:?}{more}", self.detail);
        } else if received.starts_with(&TLS_BEGIN) {
            self.detail += ": the peer sent TLS";
        }
        self
    }
}

/// Whether a word is arbitrary text of its sender and not an operation.
fn can_be_verb(word: &[u8]) -> bool {
    let is_short = word.len() <= VERB_MAX;
    is_short && word.iter().all(u8::is_ascii_alphabetic) || matches!(word, b"+OK" | b"-ERR")
}

impl From<ParseError> for End {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Arguments(detail) => Self::violation(detail),
            ParseError::ControlLine => {
                Self::with_error(CloseReason::MaxControlLine, ClientError::ControlLine).with(
                    "a control line longer than max_control_line (before the login 32 KB, between \
                     brokers 4 MB)",
                )
            }
            ParseError::UnknownOperation => Self::unknown_operation("unknown verb"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::parse::parse;

    #[test]
    fn what_came_is_quoted_short_and_without_secrets() {
        let quoted = |bytes: &[u8], is_in| {
            End::from(ParseError::UnknownOperation)
                .quoting(bytes, is_in)
                .detail
        };
        for (sent, before, after) in [
            (&b"FOO bar\r\nPING\r\n"[..], ": \"FOO\"...", ": \"FOO bar\""),
            (
                b"GET / HTTP/1.1\r\n",
                ": \"GET\"...",
                ": \"GET / HTTP/1.1\"",
            ),
            (b"-ERR x", ": \"-ERR\"...", ": \"-ERR x\""),
            (b"\r\n", "", ""),
            (b"7/a\r\n", "", ": \"7/a\""),
            (
                b"\x16\x03\x01 secret",
                ": the peer sent TLS",
                ": \"\\u{16}\\u{3}\\u{1} secret\"",
            ),
        ] {
            assert_eq!(quoted(sent, false), format!("unknown verb{before}"));
            assert_eq!(quoted(sent, true), format!("unknown verb{after}"));
        }
        let long = "x".repeat(100);
        let cut = format!("unknown verb: \"{}\"...", "x".repeat(QUOTED_MAX));
        assert_eq!(quoted(long.as_bytes(), true), cut);
        assert_eq!(quoted(long.as_bytes(), false), "unknown verb");
        for secret in [
            "CONNECT {\"pass\":\"geheim\"",
            "connect{geheim",
            "Connect geheim",
            "{\"user\":\"x\",\"pass\":\"geheim\"}",
            "\0CONNECT {\"pass\":\"geheim\"}",
            "SUB {geheim}",
        ] {
            for is_in in [false, true] {
                let shown = quoted(secret.as_bytes(), is_in);
                assert!(!shown.contains("geheim"), "{shown}");
            }
        }
        for secret in ["AUTH geheim", "PASS geheim x", "g3heim", "auth:geheim"] {
            let shown = quoted(secret.as_bytes(), false);
            assert!(!shown.contains("heim"), "{shown}");
        }
        let bad = |line: &str, is_in| match parse(line.as_bytes(), 4096) {
            Err(error) => End::from(error).quoting(line.as_bytes(), is_in).detail,
            Ok(_) => panic!("{line} is right"),
        };
        assert_eq!(
            bad("SUB geheim\r\n", false),
            "bad arguments of SUB: \"SUB\"..."
        );
        for line in ["SUB a", "UNSUB", "PUB a x", "HPUB a 5 1"] {
            let detail = bad(&format!("{line}\r\n"), true);
            assert_eq!(detail.matches(line).count(), 1, "{detail}");
            assert!(detail.ends_with(&format!(": {line:?}")), "{detail}");
        }
        let long = bad(&format!("SUB {}\r\n", "x ".repeat(1000)), true);
        assert!(long.len() < 100, "{long}");
    }
}
