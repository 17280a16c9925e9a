//! The errors that clients receive, with nats-server's texts.
//!
//! Client libraries match these texts, and some close the connection for good on an unknown text:
//! the wording is part of the protocol.

use std::fmt;

// Error texts show subjects as nats-server does.
pub use monitor_client::text::quoted;

/// The reason in a `-ERR`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientError {
    /// Unknown verb, or a payload that does not end with CRLF.
    UnknownOperation,
    /// The control line exceeds `max_control_line`.
    ControlLine,
    /// The payload exceeds `max_payload`.
    MaxPayload,
    /// More connections than `max_connections`.
    MaxConnections,
    /// More connections than the account may have.
    MaxAccountConnections,
    /// More connections per second than `connection_rate_limit`.
    ConnectionRate,
    /// More subscriptions than `max_subscriptions`; the connection stays open.
    MaxSubscriptions,
    /// A subscription to an invalid subject; the connection stays open.
    InvalidSubject,
    /// A pedantic client's publish to an invalid subject; the connection stays open.
    InvalidPublishSubject,
    /// The client is not logged in, or its credentials are wrong.
    AuthorizationViolation,
    /// The client did not log in in time.
    AuthenticationTimeout,
    /// `protocol` in CONNECT is neither 0 nor 1.
    InvalidProtocol,
    /// `no_responders` in CONNECT without headers.
    NoRespondersWithoutHeaders,
    /// A publish without permission; the connection stays open.
    PublishViolation {
        /// The subject, quoted as in the text.
        subject: String,
    },
    /// A publish with a reply subject without permission; the connection stays open.
    ReplyViolation {
        /// The reply subject, quoted as in the text.
        reply: String,
    },
    /// A subscription without permission; the connection stays open.
    SubscriptionViolation {
        /// The subject, quoted as in the text.
        subject: String,
        /// The queue group, quoted as in the text.
        queue: Option<String>,
    },
    /// A subscription that has lost its permission; the connection stays open.
    SubscriptionRemoved {
        /// The subject, quoted as in the text.
        subject: String,
        /// The queue group, quoted as in the text.
        queue: Option<String>,
        /// The client's subscription id, quoted as in the text.
        sid: String,
    },
    /// A subscription with more tokens than `max_sub_tokens`; the connection stays open.
    TooManyTokens {
        /// The subject, quoted as in the text.
        subject: String,
    },
    /// The client did not answer PINGs.
    StaleConnection,
    /// The client does not use TLS although it is required.
    TlsRequired,
}

impl ClientError {
    /// Whether a permission was missing.
    pub fn is_permission_violation(&self) -> bool {
        matches!(
            self,
            Self::PublishViolation { .. }
                | Self::ReplyViolation { .. }
                | Self::SubscriptionViolation { .. }
                | Self::SubscriptionRemoved { .. }
        )
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOperation => f.write_str("Unknown Protocol Operation"),
            Self::ControlLine => f.write_str("maximum control line exceeded"),
            Self::MaxPayload => f.write_str("Maximum Payload Violation"),
            Self::MaxConnections => f.write_str("maximum connections exceeded"),
            Self::MaxAccountConnections => {
                f.write_str("maximum account active connections exceeded")
            }
            Self::ConnectionRate => {
                f.write_str("Connection throttling is active. Please try again later.")
            }
            Self::MaxSubscriptions => f.write_str("maximum subscriptions exceeded"),
            Self::InvalidSubject => f.write_str("Invalid Subject"),
            Self::InvalidPublishSubject => f.write_str("Invalid Publish Subject"),
            Self::AuthorizationViolation => f.write_str("Authorization Violation"),
            Self::AuthenticationTimeout => f.write_str("Authentication Timeout"),
            Self::InvalidProtocol => f.write_str("invalid client protocol"),
            Self::NoRespondersWithoutHeaders => {
                f.write_str("no responders requires headers support")
            }
            Self::PublishViolation { subject } => {
                write!(f, "Permissions Violation for Publish to {subject}")
            }
            Self::ReplyViolation { reply } => {
                write!(f, "Permissions Violation for Publish with Reply of {reply}")
            }
            Self::SubscriptionViolation {
                subject,
                queue: None,
            } => {
                write!(f, "Permissions Violation for Subscription to {subject}")
            }
            Self::SubscriptionViolation {
                subject,
                queue: Some(queue),
            } => {
                write!(
                    f,
                    "Permissions Violation for Subscription to {subject} using queue {queue}"
                )
            }
            Self::SubscriptionRemoved {
                subject,
                queue,
                sid,
            } => {
                write!(f, "Permissions Violation for Subscription to {subject}")?;
                if let Some(queue) = queue {
                    write!(f, " using queue {queue}")?;
                }
                write!(f, " (sid {sid})")
            }
            Self::TooManyTokens { subject } => {
                write!(
                    f,
                    "Permissions Violation for Subscription to {subject}, too many tokens"
                )
            }
            Self::StaleConnection => f.write_str("Stale Connection"),
            Self::TlsRequired => f.write_str("Secure Connection - TLS Required"),
        }
    }
}

/// The `-ERR` line for an error.
pub fn error_line(error: impl fmt::Display) -> Vec<u8> {
    format!("-ERR '{error}'\r\n").into_bytes()
}
