//! Errors of the handshake before the expected line was received, and the refusals they lead to.

use std::io;

use serde::de::DeserializeOwned;

use super::introduction::{Refusal, reason_of_error};
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

/// Why the expected line was not received.
pub(super) enum HandshakeError {
    Input(BeforeLoginError),
    Refusal(Refusal),
}

impl From<Refusal> for HandshakeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<BeforeLoginError> for HandshakeError {
    fn from(error: BeforeLoginError) -> Self {
        Self::Input(error)
    }
}

impl From<HandshakeError> for Refusal {
    fn from(error: HandshakeError) -> Self {
        let violation = |detail: &str| Self::without_error(CloseReason::ProtocolViolation, detail);
        match error {
            HandshakeError::Refusal(refusal) => refusal,
            HandshakeError::Input(BeforeLoginError::Parse(error)) => refuse_bytes(error),
            HandshakeError::Input(BeforeLoginError::Error(text)) => Self::without_error(
                reason_of_error(&text),
                format!("Route Error {}", quoted(&text)),
            ),
            HandshakeError::Input(BeforeLoginError::Unexpected) => Self::with_error(
                CloseReason::AuthenticationFailure,
                "Authorization Violation",
            )
            .for_login(&security::refusal::Refusal::NotLoggedIn),
            HandshakeError::Input(BeforeLoginError::Idle) => {
                violation(&format!("more than {IDLE_LINES_MAX} lines before INFO"))
            }
            HandshakeError::Input(BeforeLoginError::EarlyDataTooLong) => {
                violation("too much before INFO")
            }
            HandshakeError::Input(BeforeLoginError::Connect) => {
                violation("CONNECT where INFO was expected")
            }
            HandshakeError::Input(BeforeLoginError::Info) => violation("INFO before CONNECT"),
            HandshakeError::Input(BeforeLoginError::Timeout) => {
                Self::without_error(CloseReason::AuthenticationTimeout, "the time is over")
            }
        }
    }
}

/// Whether the other side has closed the connection. It resets if it has not read everything.
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
        Refusal::without_error(CloseReason::ProtocolViolation, detail)
    })
}

fn refuse_bytes(error: ParseError) -> Refusal {
    match error {
        ParseError::Arguments(detail) => {
            Refusal::without_error(CloseReason::ProtocolViolation, detail)
        }
        ParseError::ControlLine => {
            Refusal::with_error(CloseReason::MaxControlLine, "maximum control line exceeded")
        }
        ParseError::UnknownOperation => {
            Refusal::with_error(CloseReason::ProtocolViolation, "Unknown Protocol Operation")
        }
    }
}
