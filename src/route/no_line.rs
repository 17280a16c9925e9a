//! What comes instead of the line that is due, and what is made of it.

use std::io;

use serde::de::DeserializeOwned;

use super::introduction::{Refusal, reason_told};
use crate::{
    connection::CloseReason,
    protocol::{
        before_login::{BeforeLoginError, IDLE_LINES_MAX},
        error::quoted,
        json_fault,
        parse::ParseError,
    },
    security,
};

/// Why the line that is due did not come.
pub(super) enum NoLine {
    BeforeLoginError(BeforeLoginError),
    Refusal(Refusal),
}

impl From<Refusal> for NoLine {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<BeforeLoginError> for NoLine {
    fn from(unfit: BeforeLoginError) -> Self {
        Self::BeforeLoginError(unfit)
    }
}

impl From<NoLine> for Refusal {
    fn from(no_line: NoLine) -> Self {
        let violation = |detail: &str| Self::silent(CloseReason::ProtocolViolation, detail);
        match no_line {
            NoLine::Refusal(refusal) => refusal,
            NoLine::BeforeLoginError(BeforeLoginError::Parse(error)) => refuse_bytes(error),
            NoLine::BeforeLoginError(BeforeLoginError::Error(text)) => {
                Self::silent(reason_told(&text), format!("Route Error {}", quoted(&text)))
            }
            NoLine::BeforeLoginError(BeforeLoginError::Unexpected) => Self::told(
                CloseReason::AuthenticationFailure,
                "Authorization Violation",
            )
            .of_login(&security::refusal::Refusal::NotLoggedIn),
            NoLine::BeforeLoginError(BeforeLoginError::Idle) => {
                violation(&format!("more than {IDLE_LINES_MAX} lines before INFO"))
            }
            NoLine::BeforeLoginError(BeforeLoginError::EarlyDataTooLong) => {
                violation("too much before INFO")
            }
            NoLine::BeforeLoginError(BeforeLoginError::Connect) => {
                violation("CONNECT where INFO was expected")
            }
            NoLine::BeforeLoginError(BeforeLoginError::Info) => violation("INFO before CONNECT"),
            NoLine::BeforeLoginError(BeforeLoginError::Timeout) => {
                Self::silent(CloseReason::AuthenticationTimeout, "the time is over")
            }
        }
    }
}

/// Whether the other side has closed. Who has not read all that we said resets.
pub(super) fn is_end(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

pub(super) fn read_json<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(json).map_err(|error| {
        let detail = format!("bad {what}: {}", json_fault(&error));
        Refusal::silent(CloseReason::ProtocolViolation, detail)
    })
}

fn refuse_bytes(error: ParseError) -> Refusal {
    match error {
        ParseError::Arguments(detail) => Refusal::silent(CloseReason::ProtocolViolation, detail),
        ParseError::ControlLine => {
            Refusal::told(CloseReason::MaxControlLine, "maximum control line exceeded")
        }
        ParseError::UnknownOperation => {
            Refusal::told(CloseReason::ProtocolViolation, "Unknown Protocol Operation")
        }
    }
}
