//! The answers to requests that change something: POST on the Unix socket. Only midge has them.

use std::fmt;

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
    /// The names of the members, or of the node, that are not expected any more.
    pub forgotten: Vec<String>,
}

/// The answer of `/rebalance`: how far it is, or how the last run ended.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Rebalanced {
    /// Whether clients are being sent away.
    pub running: bool,
    /// When that began, RFC 3339; empty if it never did.
    pub since: String,
    /// Clients that are to be sent away.
    pub to_move: u64,
    /// Clients that have been sent away.
    pub moved: u64,
    /// Clients that cannot be, because they take no INFO after their login.
    pub immovable: u64,
    /// How many are sent away per second.
    pub rate: u64,
    /// Why it ended; empty while it runs.
    pub ended: String,
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
    /// The file that was read.
    pub config_file: String,
    /// The digest of its values.
    pub config_digest: String,
}

impl Reloaded {
    /// Whether the configuration says what is in force.
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.needs_restart.is_empty()
    }
}

/// What a reload changes, for people: a setting on each line.
impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            writeln!(f, "nothing to do: {} is in force", self.config_file)?;
        }
        for (title, changes) in [
            ("applied by a reload", &self.applied),
            ("needs a restart", &self.needs_restart),
        ] {
            for (number, change) in changes.iter().enumerate() {
                if number == 0 {
                    writeln!(f, "{title}:")?;
                }
                writeln!(f, "  {change}")?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
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
    /// Why it needs a restart.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            before,
            after,
            why,
        } = self;
        f.write_str(name)?;
        if !after.is_empty() {
            write!(f, ": {before} -> {after}")?;
        }
        match why.is_empty() {
            true => Ok(()),
            false => write!(f, " ({why})"),
        }
    }
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
