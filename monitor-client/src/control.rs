//! The answers to what changes something: POST requests on the Unix socket.
//! Only midge has them.

use serde::{Deserialize, Serialize};

/// The answer of `/kick`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Kicked {
    /// The clients that are closed.
    pub kicked: Vec<Chosen>,
}

/// The answer of `/forget`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Forgotten {
    /// The names of the members that nobody misses any more.
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
    /// For how many lines each at most.
    pub lines: u64,
}

/// The answer of `/reload`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Reloaded {
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Settings that took effect, or would.
    pub applied: Vec<Change>,
    /// Settings that wait for a restart.
    pub needs_restart: Vec<Change>,
    /// What is odd in the configuration.
    pub warnings: Vec<String>,
}

/// A setting that differs. Values that may hold secrets are left out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Change {
    /// Its key.
    pub name: String,
    /// The value in force before.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub before: String,
    /// The value in the configuration.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub after: String,
}

/// A client that something was done to.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Chosen {
    /// Connection id.
    pub cid: u64,
    /// The client's own name.
    pub name: String,
    /// Address and port of the peer.
    pub address: String,
}
