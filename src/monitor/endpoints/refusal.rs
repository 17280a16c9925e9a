//! Why a request is not answered.

use hyper::StatusCode;

/// A refusal with its reason. Over HTTP it goes out as plain text, over the system
/// account as code and description.
#[derive(Debug)]
pub struct Refusal {
    /// The code that HTTP has for it.
    pub status: StatusCode,
    /// The error text.
    pub message: String,
}

impl Refusal {
    /// A parameter is wrong.
    pub(in crate::monitor) fn bad_request(message: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message,
        }
    }

    /// An answer cannot be written as JSON.
    pub(in crate::monitor) fn unwritable(error: serde_json::Error) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: format!("The answer could not be written as JSON: {error}"),
        }
    }
}
