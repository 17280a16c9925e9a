//! Why a connection ended.

use std::fmt;

/// The reasons, with the texts of nats-server (`server/monitor.go`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CloseReason {
    /// Wrong or missing credentials.
    AuthenticationFailure,
    /// No login in time.
    AuthenticationTimeout,
    /// The protocol number in CONNECT is neither 0 nor 1.
    BadClientProtocol,
    /// The peer's certificate was revoked while it was connected.
    CertificateRevoked,
    /// The peer ended it.
    ClientClosed,
    /// A route to a broker of another cluster.
    ClusterNameConflict,
    /// A leafnode has connected once more, before the end of its connection was noticed.
    DuplicateLeafnode,
    /// A second route to the same broker, or one to ourselves.
    DuplicateRoute,
    /// A route to a broker with our own name.
    DuplicateServerName,
    /// Another process of this broker serves it now.
    HandedOver,
    /// A peer on the routes' port that is not a broker.
    IncorrectPort,
    /// More connections than the account may have.
    MaxAccountConnections,
    /// An operator closed it.
    Kicked,
    /// Some of the interest of a route's peer exceeded the memory for it and was dropped: the peer is
    /// to announce all of it anew.
    InterestForgotten,
    /// A control line longer than allowed.
    MaxControlLine,
    /// More connections than allowed.
    MaxConnections,
    /// A payload larger than allowed.
    MaxPayload,
    /// More subscriptions than allowed since a reload.
    MaxSubscriptions,
    /// A leafnode of an older version than is let in.
    MinimumVersionRequired,
    /// Large payloads that were being read took all that they may.
    NoRoomForPayload,
    /// `no_responders` without headers.
    NoRespondersWithoutHeaders,
    /// The peer sent `-ERR`.
    ParseError,
    /// What the peer sent is not the protocol.
    ProtocolViolation,
    /// The broker had more clients than its share, and sent it to another member of the cluster.
    Rebalanced,
    /// The socket failed while reading.
    ReadError,
    /// A hub that the configuration has no more, or has otherwise.
    RemoteRemoved,
    /// A route that the configuration has no more, or has otherwise.
    RouteRemoved,
    /// The broker stops.
    ServerShutdown,
    /// All outbound queues together outgrew what they may hold, and this one held most
    /// of what stuck readers left waiting.
    SlowConsumerMemory,
    /// The outbound queue outgrew its limit.
    SlowConsumerPending,
    /// The socket took nothing for too long.
    SlowConsumerWriteDeadline,
    /// Pings went unanswered.
    StaleConnection,
    /// The TLS handshake failed.
    TlsHandshakeFailure,
    /// It had been silent for longest of all connections before login, and there were too
    /// many of them.
    TooManyBeforeLogin,
    /// The HTTP request that should begin a WebSocket was refused, or did not come in time.
    WebSocketHandshakeFailure,
    /// The socket failed while writing.
    WriteError,
}

impl CloseReason {
    /// Whether the peer was not let in.
    pub fn is_refused_login(self) -> bool {
        matches!(
            self,
            Self::AuthenticationFailure | Self::AuthenticationTimeout
        )
    }

    /// Whether the peer read too slowly. What waits for it is thrown away.
    pub fn is_slow_consumer(self) -> bool {
        matches!(
            self,
            Self::SlowConsumerMemory | Self::SlowConsumerPending | Self::SlowConsumerWriteDeadline
        )
    }
}

impl CloseReason {
    /// The name that answers and the log show.
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthenticationFailure => "Authentication Failure",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::BadClientProtocol => "Bad Client Protocol Version",
            Self::CertificateRevoked => "Certificate Revoked",
            Self::ClientClosed => "Client Closed",
            Self::ClusterNameConflict => "Cluster Name Conflict",
            Self::DuplicateLeafnode => "Duplicate Remote LeafNode Connection",
            Self::DuplicateRoute => "Duplicate Route",
            Self::DuplicateServerName => "Duplicate Server Name",
            Self::HandedOver => "Handed Over",
            Self::IncorrectPort => "Incorrect Port",
            Self::MaxAccountConnections => "Maximum Account Connections Exceeded",
            Self::Kicked => "Kicked",
            Self::InterestForgotten => "Interest Forgotten",
            Self::MaxControlLine => "Maximum Control Line Exceeded",
            Self::MaxConnections => "Maximum Connections Exceeded",
            Self::MaxPayload => "Maximum Message Payload Exceeded",
            Self::MaxSubscriptions => "Maximum Subscriptions Exceeded",
            Self::MinimumVersionRequired => "Minimum Version Required",
            Self::NoRoomForPayload => "No Room For Payload",
            Self::NoRespondersWithoutHeaders => "No Responders Requires Headers",
            Self::ParseError => "Parse Error",
            Self::ProtocolViolation => "Protocol Violation",
            Self::Rebalanced => "Rebalanced",
            Self::ReadError => "Read Error",
            Self::RemoteRemoved => "Leafnode Remote Removed",
            Self::RouteRemoved => "Route Removed",
            Self::ServerShutdown => "Server Shutdown",
            Self::SlowConsumerMemory => "Slow Consumer (All Queues Together)",
            Self::SlowConsumerPending => "Slow Consumer (Pending Bytes)",
            Self::SlowConsumerWriteDeadline => "Slow Consumer (Write Deadline)",
            Self::StaleConnection => "Stale Connection",
            Self::TlsHandshakeFailure => "TLS Handshake Failure",
            Self::TooManyBeforeLogin => "Too Many Connections Before Login",
            Self::WebSocketHandshakeFailure => "WebSocket Handshake Failure",
            Self::WriteError => "Write Error",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
