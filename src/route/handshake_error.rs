//! Errors of the handshake before the expected line was received, and the refusals they lead to.

use std::io;

use serde::de::DeserializeOwned;

use super::introduction::reason_of_error;
use crate::{
    connection::CloseReason,
    peer::End,
    protocol::{
        before_login::{BeforeLoginError, IDLE_LINES_MAX},
        error::{ClientError, quoted},
        json_fault,
        parse::ParseError,
    },
    security,
};

/// Why the expected line was not received.
pub(super) enum HandshakeError {
    Input(BeforeLoginError),
    End(End),
}

impl From<End> for HandshakeError {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<BeforeLoginError> for HandshakeError {
    fn from(error: BeforeLoginError) -> Self {
        Self::Input(error)
    }
}

impl From<HandshakeError> for End {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::End(end) => end,
            // The peer speaks another protocol: the error that it gets says enough.
            HandshakeError::Input(BeforeLoginError::Parse(ParseError::UnknownOperation)) => {
                Self::with_error(
                    CloseReason::ProtocolViolation,
                    ClientError::UnknownOperation,
                )
            }
            HandshakeError::Input(BeforeLoginError::Parse(error)) => error.into(),
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
                Self::violation(format!("more than {IDLE_LINES_MAX} lines before INFO"))
            }
            HandshakeError::Input(BeforeLoginError::EarlyDataTooLong) => {
                Self::violation("too much before INFO")
            }
            HandshakeError::Input(BeforeLoginError::Connect) => {
                Self::violation("CONNECT where INFO was expected")
            }
            HandshakeError::Input(BeforeLoginError::Info) => Self::violation("INFO before CONNECT"),
            HandshakeError::Input(BeforeLoginError::Timeout) => {
                Self::without_error(CloseReason::AuthenticationTimeout, "the time is up")
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

pub(super) fn read_json<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, End> {
    serde_json::from_slice(json).map_err(|error| {
        let detail = format!("bad {what}: {}", json_fault(&error));
        End::violation(detail)
    })
}
