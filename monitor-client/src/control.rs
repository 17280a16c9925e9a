//! The answers to requests that change something: POST on the Unix socket. Only midge has them.

use serde::{Deserialize, Serialize};

/// The answer of `/kick`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Kicked {
    /// The clients that were closed.
    pub kicked: Vec<Chosen>,
}

/// The answer of `/forget`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Forgotten {
    /// The names of the members that are not expected any more.
    pub forgotten: Vec<String>,
}

/// The answer of `/trace`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Traced {
    /// The clients whose messages are logged.
    pub traced: Vec<Chosen>,
    /// For how many seconds at most.
    pub seconds: u64,
    /// For how many lines per client at most.
    pub lines: u64,
}

/// The answer of `/reload`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Reloaded {
    /// Whether it was a dry run, which changes nothing.
    pub dry_run: bool,
    /// Settings that were applied, or would be.
    pub applied: Vec<Change>,
    /// Settings that need a restart.
    pub needs_restart: Vec<Change>,
    /// Warnings about the configuration.
    pub warnings: Vec<String>,
}

/// A changed setting. Values that may hold secrets are left out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Change {
    /// Its key.
    pub name: String,
    /// The previous value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub before: String,
    /// The value in the configuration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub after: String,
}

/// A client that a request applied to.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Chosen {
    /// Connection id.
    pub cid: u64,
    /// The name that the client gave.
    pub name: String,
    /// Address and port of the peer.
    pub address: String,
}
