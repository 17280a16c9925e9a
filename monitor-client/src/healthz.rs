//! `/healthz`: whether the broker is healthy.

use serde::{Deserialize, Serialize};

/// The answer of `/healthz`; status `ok` has HTTP code 200.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Healthz {
    /// `ok`, `unavailable` or `error`.
    pub status: String,
    /// What is wrong; absent if nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The same by kind, instead of `error`; with `details`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<HealthError>,
    /// Whether the broker's threads work; only in midge, with `probe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// Whether another client would be served; only in midge, with `probe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Whether there are problems; only in midge, with `probe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<bool>,
    /// Codes of the problems, the worst first; only in midge, with `probe`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Seconds since the sample that these are based on; only in midge, with `probe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<f64>,
}

/// A problem.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct HealthError {
    /// `BAD_REQUEST`, `CONNECTION` and others.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is wrong.
    pub error: String,
}
