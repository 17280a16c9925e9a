//! A session on the client port: blocking, one step after the other, and trusting nothing that the
//! other end sends.
//!
//! [`Session::open`] looks up the host and connects ([`socket`]), reads the INFO, does TLS
//! ([`tls`]) where the broker requires it or the command line asks for it, and logs in with what
//! [`login`] has read. [`Check`](super::run::Check) opens sessions for the modes.

pub mod certificate;
pub mod login;
pub mod messages;
mod nkey;
pub mod session;
mod socket;
mod tls;

use serde::Deserialize;

pub use self::{login::Login, messages::Message, session::Session};
use super::status::Failure;

/// The broker's INFO.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Public id of this run of the broker.
    pub server_id: String,
    /// Configured name, else the id.
    pub server_name: String,
    /// Version of the broker.
    pub version: String,
    /// Whether a login is wanted.
    pub auth_required: bool,
    /// Whether TLS is wanted before CONNECT.
    pub tls_required: bool,
    /// Whether TLS may be had before CONNECT.
    pub tls_available: bool,
    /// Whether the client must show a certificate.
    pub tls_verify: bool,
    /// What a client with an nkey signs.
    pub nonce: String,
    /// Whether the broker is in lame duck mode.
    pub ldm: bool,
}

/// Why there is no session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OpenError {
    /// The port is closed.
    Refused(Failure),
    /// Anything else.
    Failed(Failure),
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl OpenError {
    /// The failure to report about the broker.
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Refused(failure) | Self::Failed(failure) => failure,
        }
    }
}
