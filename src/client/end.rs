//! Why a session ends, and what the client is told.

use crate::{
    connection::CloseReason,
    protocol::{error::ClientError, parse::ParseError},
};

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
