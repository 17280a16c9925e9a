//! The block `leafnodes`: how this broker serves leafnodes, brokers of other sites that join one of
//! its accounts, and whose leafnode it is itself.
//!
//! The table of its keys is in [`keys`], their readers in [`read`](mod@read); [`remotes`] has both of
//! the hubs.

mod keys;
mod read;
pub mod remotes;

use std::time::Duration;

use super::{Options, cluster::AUTH_TIMEOUT_BEYOND_TLS, plan::Plan, tls::same_tls};
use crate::security::{
    options::TlsOptions,
    users::{Authorization, User},
};
pub(in crate::config) use keys::LEAFNODES;
pub(super) use read::{check, read};
use remotes::RemoteOptions;

/// How long a leafnode may take to log in, without TLS.
const AUTH_TIMEOUT: Duration = Duration::from_secs(2);

/// How leafnodes are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeafnodesOptions {
    /// Host the listener for leafnodes binds to.
    pub host: String,
    /// Its port, 0 being any free one; `None`: no leafnodes are served.
    pub port: Option<u16>,
    /// The users that leafnodes log in as; empty: those of clients.
    pub users: Vec<User>,
    /// How long a leafnode may take to log in, if that is set.
    pub auth_timeout: Option<Duration>,
    /// TLS; `None` for none.
    pub tls: Option<TlsOptions>,
    /// `HOST` or `HOST:PORT` announced to leafnodes instead of the listener's own.
    pub advertise: Option<String>,
    /// Whether no address is announced to leafnodes.
    pub no_advertise: bool,
    /// The oldest version of a leafnode that is let in.
    pub min_version: Option<Version>,
    /// Whether no leafnode is told of the interest of others.
    pub isolates: bool,
    /// How long a leafnode may take nothing; `None` is that of clients.
    pub write_deadline: Option<Duration>,
    /// The hubs whose leafnode this broker is.
    pub remotes: Vec<RemoteOptions>,
    /// Pause before a hub is dialled again.
    pub reconnect: Duration,
    /// How long connecting to a hub may take.
    pub dial_timeout: Duration,
}

/// A version of nats-server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads `2.8.0`, `v2.8.0` or `2.8.0-beta.1`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
        let mut parts = text[..end.unwrap_or(text.len())].split('.');
        let mut part = || parts.next()?.parse().ok();
        let version = Self(part()?, part()?, part()?);
        parts.next().is_none().then_some(version)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(major, minor, update) = self;
        write!(f, "{major}.{minor}.{update}")
    }
}

impl Default for LeafnodesOptions {
    fn default() -> Self {
        Self {
            host: super::ANY_HOST.into(),
            port: None,
            users: Vec::new(),
            auth_timeout: None,
            tls: None,
            advertise: None,
            no_advertise: false,
            min_version: None,
            isolates: false,
            write_deadline: None,
            remotes: Vec::new(),
            reconnect: Duration::from_secs(1),
            dial_timeout: Duration::from_secs(1),
        }
    }
}

impl LeafnodesOptions {
    /// How long a leafnode may take to log in.
    pub fn auth_timeout(&self) -> Duration {
        let tls = self.tls.as_ref();
        let usual = tls.map(|tls| tls.timeout + AUTH_TIMEOUT_BEYOND_TLS);
        self.auth_timeout.or(usual).unwrap_or(AUTH_TIMEOUT)
    }

    /// Who may log in as a leafnode, where `clients` may at the client port: the users of the block,
    /// else those of clients. Whether certificates are mapped to users is a matter of this port.
    pub fn authorization(&self, clients: &Authorization) -> Authorization {
        let own = match self.users.is_empty() {
            true => clients.clone(),
            false => Authorization {
                users: self.users.clone(),
                ..Authorization::default()
            },
        };
        Authorization {
            maps_certificates: self.tls.as_ref().is_some_and(|tls| tls.map),
            ..own
        }
    }
}

/// Whether both have the same hubs.
fn same_remotes(one: &LeafnodesOptions, other: &LeafnodesOptions) -> bool {
    let (one, other) = (&one.remotes, &other.remotes);
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_same(other))
}

/// What a reload changes in the block: the hubs whose leafnode this broker is. How it serves leafnodes
/// stays until the next start.
pub(super) fn plan(plan: &mut Plan<'_, Options>) {
    let (old, new) = (plan.old, plan.new);
    let of = |options: &Options| options.leafnodes.clone().unwrap_or_default();
    let (old, new) = (of(old), of(new));
    let mut merged = plan.inner("leafnodes", &LEAFNODES, &old, &new);
    let served = |it: &LeafnodesOptions| LeafnodesOptions {
        tls: None,
        remotes: Vec::new(),
        reconnect: Duration::ZERO,
        dial_timeout: Duration::ZERO,
        ..it.clone()
    };
    if served(&old) != served(&new) || !same_tls(old.tls.as_ref(), new.tls.as_ref()) {
        plan.waits("leafnodes", SERVES, (String::new(), String::new()));
        merged = LeafnodesOptions {
            remotes: merged.remotes,
            reconnect: merged.reconnect,
            dial_timeout: merged.dial_timeout,
            ..old
        };
    }
    let is_there = plan.old.leafnodes.is_some() || plan.new.leafnodes.is_some();
    plan.merged.leafnodes = is_there.then_some(merged);
}

const SERVES: &str = "the port for leafnodes is opened at the start";

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_are_read_and_compared() {
        for (text, version) in [
            ("2.8.0", Some(Version(2, 8, 0))),
            ("v2.10.29", Some(Version(2, 10, 29))),
            ("2.12.0-preview.1", Some(Version(2, 12, 0))),
            ("2.8", None),
            ("2.8.0.1", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert!(Version(2, 10, 0) > Version(2, 9, 25));
    }
}
