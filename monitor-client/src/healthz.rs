//! `/healthz`: whether the broker serves.

use serde::{Deserialize, Serialize};

/// The answer of `/healthz`; status `ok` goes with HTTP 200.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Healthz {
    /// `ok`, `unavailable` or `error`.
    pub status: String,
    /// What is wrong; absent when nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}
