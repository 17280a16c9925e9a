//! `/explainz`: findings, with subject, start, cause and remedy. Only midge has it.

use serde::{Deserialize, Serialize};

/// The answer of `/explainz`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Explainz {
    /// Id of the answering broker.
    pub server_id: String,
    /// Time of this answer, RFC 3339.
    pub now: String,
    /// Time of the sample that the findings are based on, RFC 3339.
    pub sampled: String,
    /// Seconds since then.
    pub age: f64,
    /// `critical`, `warning`, `info` or `ok`: the worst of the findings.
    pub status: String,
    /// Findings, the worst first.
    pub findings: Vec<Finding>,
}

/// A finding.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Finding {
    /// Stable code, such as `slow-consumer`.
    pub code: String,
    /// `critical`, `warning` or `info`.
    pub severity: String,
    /// A connection, peer, file or option; empty for the broker itself.
    pub subject: String,
    /// The connection concerned; 0 for none.
    pub cid: u64,
    /// Since when, RFC 3339.
    pub since: String,
    /// A description: a sentence with numbers.
    pub text: String,
    /// The likely cause.
    pub cause: String,
    /// What to do.
    pub remedy: String,
    /// The place in the manual.
    pub link: String,
}
