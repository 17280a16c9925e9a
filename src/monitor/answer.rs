//! What an endpoint gives back: an answer, or a refusal with its reason.

use hyper::StatusCode;
use serde::Serialize;

/// The answer of an endpoint.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

/// Why a request is not answered; goes out as plain text.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl Answer {
    /// JSON that people can read: indented by two spaces.
    ///
    /// # Errors
    ///
    /// The value cannot be written as JSON.
    pub(super) fn pretty_json(value: &impl Serialize) -> Result<Self, Refusal> {
        Self::json(StatusCode::OK, serde_json::to_vec_pretty(value))
    }

    /// JSON on one line.
    ///
    /// # Errors
    ///
    /// The value cannot be written as JSON.
    pub(super) fn compact_json(
        status: StatusCode,
        value: &impl Serialize,
    ) -> Result<Self, Refusal> {
        Self::json(status, serde_json::to_vec(value))
    }

    /// A page for a browser.
    pub(super) fn html(page: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "text/html; charset=utf-8",
            body: page.into_bytes(),
        }
    }

    /// Text that is the same for everyone.
    pub(super) fn fixed(content_type: &'static str, text: &'static str) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            body: text.into(),
        }
    }

    fn json(status: StatusCode, body: serde_json::Result<Vec<u8>>) -> Result<Self, Refusal> {
        let body = body.map_err(|error| Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: format!("The answer could not be written as JSON: {error}"),
        })?;
        Ok(Self {
            status,
            content_type: "application/json",
            body,
        })
    }
}

impl Refusal {
    /// A parameter is wrong.
    pub(super) fn bad_request(message: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.status,
            content_type: "text/plain; charset=utf-8",
            body: refusal.message.into_bytes(),
        }
    }
}
