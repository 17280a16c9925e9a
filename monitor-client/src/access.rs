//! How to reach a monitoring port: a Unix socket, a login, TLS. `midge top` fills it from its
//! command line; a [`Client`](crate::Client) is created with it.

use std::{fmt, path::PathBuf};

use data_encoding::BASE64;

/// Settings besides the URL. The default is plain HTTP without a login.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The socket to use instead of the URL's host and port.
    pub unix_socket: Option<PathBuf>,
    /// The value of the header `Authorization`.
    pub login: Option<Login>,
    /// TLS; without it an `https` URL is refused.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
}

/// The value of a header `Authorization`. `Debug` does not show it.
#[derive(Clone)]
pub struct Login {
    header: String,
}

impl Login {
    /// A bearer token.
    pub fn token(token: &str) -> Self {
        let header = format!("Bearer {token}");
        Self { header }
    }

    /// A user and a password.
    pub fn password(user: &str, password: &str) -> Self {
        let pair = BASE64.encode(format!("{user}:{password}").as_bytes());
        let header = format!("Basic {pair}");
        Self { header }
    }

    /// Whether it can be sent in a request: visible ASCII in one line.
    pub fn is_sendable(&self) -> bool {
        self.header.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    }

    pub(crate) fn header(&self) -> &str {
        &self.header
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Files for TLS, in PEM. The default trusts the CAs of the system.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// CAs to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificate with its chain, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate of the broker is accepted.
    pub insecure: bool,
}
