//! Answers as HTTP carries them: bytes with a status and a media type.

use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::{event_stream::EventStream, pretty};
use crate::monitor::endpoints::refusal::Refusal;

/// The answer of an endpoint.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) content: Content,
}

/// The body of an answer.
pub(super) enum Content {
    /// The whole body.
    Bytes(Vec<u8>),
    /// Events as they happen.
    Events(EventStream),
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";

impl Answer {
    /// JSON that people can read: indented by two spaces.
    ///
    /// # Errors
    ///
    /// The value cannot be written as JSON.
    pub(super) fn pretty_json(value: &impl Serialize) -> Result<Self, Refusal> {
        Self::json(StatusCode::OK, pretty::to_vec(value))
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
            content: Content::Bytes(page.into_bytes()),
        }
    }

    /// Text for people.
    pub(super) fn text(text: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: TEXT,
            content: Content::Bytes(text.into_bytes()),
        }
    }

    /// Server-sent events.
    pub(super) fn events(stream: EventStream) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "text/event-stream",
            content: Content::Events(stream),
        }
    }

    /// Metrics in the format of this media type.
    pub(super) fn metrics(content_type: &'static str, text: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            content: Content::Bytes(text.into_bytes()),
        }
    }

    /// Text that is the same for every request.
    pub(super) fn fixed(content_type: &'static str, text: &'static str) -> Self {
        Self {
            status: StatusCode::OK,
            content_type,
            content: Content::Bytes(text.into()),
        }
    }

    fn json(status: StatusCode, body: serde_json::Result<Vec<u8>>) -> Result<Self, Refusal> {
        let body = body.map_err(Refusal::unwritable)?;
        Ok(Self {
            status,
            content_type: JSON,
            content: Content::Bytes(body),
        })
    }

    /// Why there is no answer: as text, or as JSON for who asks for it. Not as JSON for all: tools
    /// that do not look at the status would take an object without their fields for an answer full
    /// of zeros.
    pub(super) fn refused(refusal: Refusal, wants_json: bool) -> Self {
        let Refusal { status, message } = refusal;
        let (content_type, text) = match wants_json {
            true => {
                let error = json!({ "error": { "code": status.as_u16(), "description": message } });
                (JSON, error.to_string())
            }
            false => (TEXT, message),
        };
        Self {
            status,
            content_type,
            content: Content::Bytes(text.into_bytes()),
        }
    }
}
