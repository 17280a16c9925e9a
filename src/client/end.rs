//! Why a session ends, and what the client is told.

use crate::{
    connection::CloseReason,
    protocol::{error::ClientError, parse::ParseError},
};

/// Bytes of what came that are shown.
const QUOTED_MAX: usize = 32;

/// Why a session must end.
pub(super) struct End {
    /// Why a login was refused, as counters name it; `None` if it was not for that.
    pub(super) refused: Option<&'static str>,
    /// The reason that monitoring shows.
    pub(super) reason: CloseReason,
    /// What the client is told; `None` closes without a word.
    pub(super) error: Option<ClientError>,
    /// For the log.
    pub(super) detail: String,
}

impl End {
    /// What came is not the protocol, and the client is told.
    pub(super) fn unknown_operation(detail: &str) -> Self {
        Self {
            refused: None,
            reason: CloseReason::ProtocolViolation,
            error: Some(ClientError::UnknownOperation),
            detail: detail.into(),
        }
    }

    /// What came breaks the protocol's rules; the client is told nothing.
    pub(super) fn protocol_violation(detail: &str) -> Self {
        Self {
            refused: None,
            reason: CloseReason::ProtocolViolation,
            error: None,
            detail: detail.into(),
        }
    }
}

impl End {
    /// The same with what came, as far as one may see it.
    pub(super) fn quoting(mut self, received: &[u8]) -> Self {
        let line = received.split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default().trim_ascii();
        let may_hold_secrets = line
            .get(..QUOTED_MAX.min(line.len()))
            .is_some_and(|begin| begin.to_ascii_uppercase().starts_with(b"CONNECT"));
        if !line.is_empty() && !may_hold_secrets {
            let shown = line.get(..QUOTED_MAX).unwrap_or(line);
            let more = if shown.len() < line.len() { "..." } else { "" };
            let text = String::from_utf8_lossy(shown);
            self.detail = format!("{}: {text:?}{more}", self.detail);
        }
        self
    }
}

impl From<ParseError> for End {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Arguments(detail) => Self::protocol_violation(&detail),
            ParseError::ControlLine => Self {
                refused: None,
                reason: CloseReason::MaxControlLine,
                error: Some(ClientError::ControlLine),
                detail: "a control line longer than max_control_line, or 32 KB before the login"
                    .into(),
            },
            ParseError::UnknownOperation => Self::unknown_operation("no such verb"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::parse;

    #[test]
    fn what_came_is_quoted_short_and_without_secrets() {
        let quoted = |bytes: &[u8]| {
            End::from(ParseError::UnknownOperation)
                .quoting(bytes)
                .detail
        };
        assert_eq!(quoted(b"FOO bar\r\nPING\r\n"), "no such verb: \"FOO bar\"");
        assert_eq!(
            quoted(b"GET / HTTP/1.1\r\n"),
            "no such verb: \"GET / HTTP/1.1\""
        );
        assert_eq!(
            quoted(b"\x16\x03\x01"),
            "no such verb: \"\\u{16}\\u{3}\\u{1}\""
        );
        assert_eq!(
            quoted(&[b'x'; 100]),
            format!("no such verb: \"{}\"...", "x".repeat(QUOTED_MAX))
        );
        let bad = |line: &str| match parse::parse(line.as_bytes(), 4096) {
            Err(error) => End::from(error).quoting(line.as_bytes()).detail,
            Ok(_) => panic!("{line} is right"),
        };
        assert_eq!(bad("SUB a\r\n"), "bad arguments of SUB: \"SUB a\"");
        for line in ["SUB a", "UNSUB", "PUB a x", "HPUB a 5 1"] {
            let detail = bad(&format!("{line}\r\n"));
            assert_eq!(detail.matches(line).count(), 1, "{detail}");
            assert!(detail.ends_with(&format!(": {line:?}")), "{detail}");
        }
        let long = bad(&format!("SUB {}\r\n", "x ".repeat(1000)));
        assert!(long.len() < 100, "{long}");
        for secret in ["CONNECT {\"pass\":\"geheim\"", "connect{geheim"] {
            assert_eq!(quoted(secret.as_bytes()), "no such verb");
        }
    }
}
