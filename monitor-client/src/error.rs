//! Why a request has no usable answer.

use std::{error, fmt, time::Duration};

/// Why there is no usable answer. The text contains the URL.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The exchange failed: connection reset, host not found, not HTTP, and so on.
    Connection {
        /// The URL.
        url: String,
        /// The error of the system or of the HTTP parser.
        detail: String,
    },
    /// A field is absent or has a wrong value.
    Field {
        /// The URL.
        url: String,
        /// The field, and what is wrong with it.
        detail: String,
    },
    /// A file of a secret or for TLS cannot be used.
    File {
        /// Its path.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The URL cannot be used.
    InvalidUrl {
        /// The URL, without a password.
        url: String,
        /// What is wrong and what to write.
        reason: &'static str,
    },
    /// The answer is not the JSON that was expected.
    NotJson {
        /// The URL.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Options that do not go together or are incomplete.
    Option {
        /// Which ones, and what to write.
        text: String,
    },
    /// No process listens there.
    Refused {
        /// The URL.
        url: String,
    },
    /// The answer has an HTTP status other than 200.
    Status {
        /// The URL.
        url: String,
        /// HTTP status code.
        code: u16,
        /// The first line of the body, which often says what to do; without unsafe characters and
        /// of limited length. Empty if there is none.
        detail: String,
    },
    /// No complete answer within the timeout.
    Timeout {
        /// The URL.
        url: String,
        /// The time that has passed.
        after: Duration,
        /// What was waited for.
        phase: Phase,
    },
    /// The body is larger than an answer of this path may be ([`crate::Bounds`]).
    TooLarge {
        /// The URL.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// The addresses of the host name.
    Lookup,
    /// A connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The answer, or the rest of it.
    Answer,
}

impl Phase {
    /// What did not come, as in "no answer within 2000 ms".
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Lookup => "the resolver does not answer: no address of the host",
            Self::Connect => "no connection",
            Self::Tls => "no TLS handshake",
            Self::Answer => "no answer",
        }
    }
}

impl Error {
    /// Whether the broker does not have this path: older ones lack some, and nats-server those of
    /// midge.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Status { code: 404, .. })
    }

    /// Whether other files, or another socket, may lead to an answer.
    pub(crate) fn concerns_access(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Refused { .. } | Self::Timeout { .. } => true,
            Self::Status { code, .. } => matches!(code, 401 | 403),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection { url, detail } => write!(f, "{url}: {detail}"),
            Self::Field { url, detail } => {
                write!(f, "{url}: not the answer of a NATS broker: {detail}")
            }
            Self::File { path, detail } => write!(f, "{path}: {detail}"),
            Self::InvalidUrl { url, reason } => write!(f, "\"{url}\": {reason}"),
            Self::NotJson { url, detail } => write!(f, "{url}: answer not understood: {detail}"),
            Self::Option { text } => f.write_str(text),
            Self::Refused { url } => write!(f, "{url}: connection refused"),
            Self::Status { url, code, detail } if detail.is_empty() => {
                write!(f, "{url}: HTTP status {code}")
            }
            Self::Status { url, code, detail } => write!(f, "{url}: HTTP status {code}: {detail}"),
            Self::Timeout { url, after, phase } => {
                // Rounded: 5.9999 s is not 5999 ms.
                let milliseconds = (after.as_secs_f64() * 1000.0).round();
                write!(f, "{url}: {} within {milliseconds} ms", phase.text())
            }
            Self::TooLarge { url, limit } => {
                write!(f, "{url}: answer larger than {} KiB", limit >> 10)
            }
        }
    }
}

impl error::Error for Error {}
