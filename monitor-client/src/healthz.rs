//! `/healthz`: whether the broker serves.

use serde::{Deserialize, Serialize};

/// The answer of `/healthz`; status `ok` goes with HTTP 200.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Healthz {
    /// `ok`, `unavailable` or `error`.
    pub status: String,
    /// What is wrong; absent when nothing is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The same by kind, in place of `error`; asked with `details`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<HealthError>,
    /// Whether the broker's threads do their work; only midge tells,
    /// asked with `probe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// Whether another client would be served; only midge tells,
    /// asked with `probe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Whether something is wrong; only midge tells,
    /// asked with `probe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<bool>,
    /// Codes of what is wrong, the worst first; only midge tells,
    /// asked with `probe`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Seconds since the look at the broker that these are from; only midge
    /// tells, asked with `probe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<f64>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct HealthError {
    /// `BAD_REQUEST`, `CONNECTION` and others.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is wrong.
    pub error: String,
}
