//! What comes instead of the line that is due, and what is made of it.

use std::io;

use serde::de::DeserializeOwned;

use super::introduction::reason_told;
use crate::{
    connection::CloseReason,
    peer::End,
    protocol::{
        before_login::{IDLE_LINES_MAX, Unfit},
        error::{ClientError, quoted},
        json_fault,
        parse::ParseError,
    },
    security,
};

/// Why the line that is due did not come.
pub(super) enum NoLine {
    Unfit(Unfit),
    End(End),
}

impl From<End> for NoLine {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<Unfit> for NoLine {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

impl From<NoLine> for End {
    fn from(no_line: NoLine) -> Self {
        match no_line {
            NoLine::End(end) => end,
            // Whoever it is speaks another protocol: what the peer is told says it all.
            NoLine::Unfit(Unfit::Parse(ParseError::UnknownOperation)) => Self::told(
                CloseReason::ProtocolViolation,
                ClientError::UnknownOperation,
            ),
            NoLine::Unfit(Unfit::Parse(error)) => error.into(),
            NoLine::Unfit(Unfit::Error(text)) => {
                Self::silent(reason_told(&text), format!("Route Error {}", quoted(&text)))
            }
            NoLine::Unfit(Unfit::NotDue) => Self::told(
                CloseReason::AuthenticationFailure,
                "Authorization Violation",
            )
            .of_login(&security::refusal::Refusal::NotLoggedIn),
            NoLine::Unfit(Unfit::Idle) => {
                Self::violation(format!("more than {IDLE_LINES_MAX} lines before INFO"))
            }
            NoLine::Unfit(Unfit::TooEarly) => Self::violation("too much before INFO"),
            NoLine::Unfit(Unfit::Connect) => Self::violation("CONNECT where INFO was expected"),
            NoLine::Unfit(Unfit::Info) => Self::violation("INFO before CONNECT"),
            NoLine::Unfit(Unfit::Late) => {
                Self::silent(CloseReason::AuthenticationTimeout, "the time is up")
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

pub(super) fn read_json<T: DeserializeOwned>(what: &str, json: &[u8]) -> Result<T, End> {
    serde_json::from_slice(json).map_err(|error| {
        let detail = format!("bad {what}: {}", json_fault(&error));
        End::violation(detail)
    })
}
