//! The handshake of a leafnode connection, until the other side has logged in.
//!
//! This side begins with INFO, before or after TLS as `handshake_first` says. The other side answers
//! with CONNECT; what it sends is bounded and parsed by [`BeforeLogin`]. A second INFO tells it that it
//! is let in, to which account, and what it may send and receive. Compression is not offered, so that
//! every leafnode goes without.

use std::{io, sync::Arc, time::Duration};

use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use serde_json::value::RawValue;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tracing::error;

use super::{Leafnode, Leafnodes, login::Accepted};
use crate::{
    COMPATIBLE_VERSION, GIT_COMMIT, VERSION,
    broker::turned_away,
    connection::{CloseReason, Connection, admission::Place, reading::read_some},
    peer::End,
    protocol::{
        PONG,
        before_login::{BeforeLogin, BeforeLoginError, Expected, Step},
        error::ClientError,
        json_fault,
        leafnode::{INTRODUCTION_MAX, LeafConnect, LeafInfo},
        parse::ParseError,
        route::TRACING_PROTO,
    },
    security::{failure::Cause, options::HandshakeFirst, refusal::Refusal},
};

/// The first byte of a TLS handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Bytes of a nonce before they are written as text.
const NONCE_LEN: usize = 11;

/// A connection of a leafnode that has logged in.
pub(super) struct Introduced {
    pub(super) connect: LeafConnect,
    pub(super) accepted: Accepted,
    /// What it was given to sign.
    pub(super) nonce: String,
    /// What was received behind its CONNECT.
    pub(super) rest: Vec<u8>,
}

/// A new connection and what was received on it.
pub(super) struct Handshake<'a> {
    leafnodes: &'a Leafnodes,
    connection: &'a Arc<Connection>,
    stream: &'a Arc<TcpStream>,
    input: BeforeLogin,
    /// The place for unauthenticated connections; held until the peer is let in.
    place: Place,
    nonce: String,
    has_received: bool,
}

impl<'a> Handshake<'a> {
    pub(super) fn new(
        leafnodes: &'a Leafnodes,
        connection: &'a Arc<Connection>,
        stream: &'a Arc<TcpStream>,
        place: Place,
    ) -> Self {
        let deadline = Instant::now() + leafnodes.options.auth_timeout();
        Self {
            leafnodes,
            connection,
            stream,
            input: BeforeLogin::new(
                Expected::RouteConnect,
                INTRODUCTION_MAX,
                deadline.into_std(),
            ),
            place,
            nonce: nonce(),
            has_received: false,
        }
    }

    /// The handshake of the accepting side. `None`: TLS failed, which was logged.
    pub(super) async fn accept(mut self) -> Option<Result<Introduced, End>> {
        if !self.introduce().await {
            return None;
        }
        self.place.mark_active();
        // What the TLS handshake took does not count.
        let deadline = Instant::now() + self.leafnodes.options.auth_timeout();
        self.input.expect(
            Expected::RouteConnect,
            INTRODUCTION_MAX,
            deadline.into_std(),
        );
        Some(self.log_in().await)
    }

    /// Sends INFO and does the TLS handshake, if there is one. `false`: it failed, and the connection
    /// is closing.
    async fn introduce(&self) -> bool {
        let Some(tls) = &self.leafnodes.tls else {
            self.send_info();
            return true;
        };
        let options = tls.store.current().options.clone();
        if !tls.is_within_rate() {
            self.leafnodes.broker.admission.leafnodes.refuse();
            self.connection.close(CloseReason::MaxConnections);
            return false;
        }
        let is_first = match options.handshake_first {
            HandshakeFirst::No => false,
            HandshakeFirst::Yes => true,
            HandshakeFirst::Within(delay) => self.begins_tls(delay).await,
        };
        if !is_first {
            self.send_info();
        }
        match tls.accept(self.stream).await {
            Ok(secured) => {
                secured.adopt(self.connection, is_first);
                if is_first {
                    self.send_info();
                }
                true
            }
            Err(failure) => {
                let telemetry = &self.leafnodes.broker.telemetry;
                let what = "TLS leafnode handshake";
                turned_away::close_after_handshake(telemetry, self.connection, tls, &failure, what);
                if failure.cause == Cause::Silent {
                    turned_away::count_probe(telemetry, self.connection.peer.ip());
                }
                false
            }
        }
    }

    /// Whether the other side begins with TLS within this time.
    async fn begins_tls(&self, patience: Duration) -> bool {
        let mut first = [0];
        let peeked = timeout(patience, self.stream.peek(&mut first)).await;
        matches!(peeked, Ok(Ok(1)) if first[0] == HANDSHAKE_RECORD)
    }

    fn send_info(&self) {
        let mut info = self.leafnodes.info(self.connection);
        info.nonce.clone_from(&self.nonce);
        self.connection.send_now(&info.line());
    }

    /// Receives CONNECT and has it judged.
    async fn log_in(mut self) -> Result<Introduced, End> {
        let json = self.receive_connect().await?;
        let connect: LeafConnect = serde_json::from_slice(&json)
            .map_err(|error| End::violation(format!("bad CONNECT: {}", json_fault(&error))))?;
        let leafnodes = self.leafnodes;
        leafnodes.check(&connect)?;
        let accepted = leafnodes.log_in(&connect, &self.nonce, self.connection);
        Ok(Introduced {
            accepted: accepted.await?,
            connect,
            nonce: self.nonce,
            rest: self.input.take_rest(),
        })
    }

    /// The JSON of the CONNECT.
    async fn receive_connect(&mut self) -> Result<Vec<u8>, End> {
        loop {
            match self.input.step(Instant::now().into_std()) {
                Ok(Step::Wait) => self.read().await?,
                Ok(Step::Ping) => self.connection.send_now(PONG),
                Ok(Step::Connect(json)) => return Ok(json),
                Ok(Step::Info(_) | Step::Answered) => return Err(not_logged_in()),
                Err(error) => return Err(refused(error)),
            }
        }
    }

    /// Reads some bytes, until the deadline at most.
    async fn read(&mut self) -> Result<(), End> {
        let deadline = Instant::from_std(self.input.deadline());
        let read = read_some(self.connection, self.stream, self.input.buffer());
        match timeout_at(deadline, read).await {
            Err(_) => return Err(refused(BeforeLoginError::Timeout)),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let is_end = matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::BrokenPipe
                );
                if is_end && !self.has_received {
                    let telemetry = &self.leafnodes.broker.telemetry;
                    turned_away::count_probe(telemetry, self.connection.peer.ip());
                }
                let reason = match is_end {
                    true => CloseReason::ClientClosed,
                    false => CloseReason::ReadError,
                };
                return Err(End::without_error(reason, error.to_string()));
            }
        }
        self.has_received = true;
        self.place.mark_active();
        Ok(())
    }
}

impl Leafnodes {
    /// Our INFO for a leafnode, without a nonce.
    pub(super) fn info(&self, connection: &Connection) -> LeafInfo {
        let info = self.broker.info.read();
        LeafInfo {
            server_id: self.node.server_id.clone(),
            server_name: self.node.server_name.clone(),
            version: COMPATIBLE_VERSION.into(),
            proto: TRACING_PROTO,
            midge: VERSION.into(),
            git_commit: GIT_COMMIT.into(),
            go: info.go.clone(),
            host: self.options.host.clone(),
            port: self.node.address.map_or(0, |address| address.port()),
            headers: info.headers,
            auth_required: true,
            tls_required: self.tls.is_some(),
            tls_verify: self.options.tls.as_ref().is_some_and(|tls| tls.verify),
            max_payload: info.max_payload,
            ip: self.node.urls.first().cloned().unwrap_or_default(),
            client_id: connection.cid,
            cluster: info.cluster.clone(),
            info_on_connect: true,
            leafnode_urls: self.broker.leafnode_urls.list.read().clone(),
            ..LeafInfo::default()
        }
    }

    /// The INFO that tells a leafnode that it is let in.
    pub(super) fn info_on_connect(
        &self,
        connection: &Connection,
        account: &crate::account::Account,
        import: Option<Box<RawValue>>,
        export: Option<Box<RawValue>>,
    ) -> LeafInfo {
        LeafInfo {
            connect_info: true,
            remote_account: account.name.clone(),
            acc_is_sys: account.is_system,
            import,
            export,
            ..self.info(connection)
        }
    }

    /// The INFO for a leafnode that is let in when the addresses in it have changed.
    pub(super) fn info_on_change(&self, leaf: &Leafnode) -> LeafInfo {
        LeafInfo {
            remote_account: leaf.account.name.clone(),
            ..self.info(&leaf.connection)
        }
    }
}

/// How the connection of a leafnode ends that sent something else than CONNECT.
fn not_logged_in() -> End {
    let (reason, error) = (
        CloseReason::AuthenticationFailure,
        ClientError::AuthorizationViolation,
    );
    let end = End::with_error(reason, error).with("the first line was not CONNECT");
    end.for_login(&Refusal::NotLoggedIn)
}

/// How the connection of a leafnode ends that sent no CONNECT.
fn refused(error: BeforeLoginError) -> End {
    match error {
        BeforeLoginError::Timeout => {
            let (reason, error) = (
                CloseReason::AuthenticationTimeout,
                ClientError::AuthenticationTimeout,
            );
            End::with_error(reason, error).for_login(&Refusal::Timeout)
        }
        BeforeLoginError::Parse(ParseError::UnknownOperation) => End::with_error(
            CloseReason::ProtocolViolation,
            ClientError::UnknownOperation,
        ),
        // A line of a leafnode that is not one of a route.
        BeforeLoginError::Parse(ParseError::Arguments(_)) => not_logged_in(),
        BeforeLoginError::Parse(error) => error.into(),
        _ => not_logged_in(),
    }
}

/// Something new for a leafnode to sign.
fn nonce() -> String {
    let mut bytes = [0; NONCE_LEN];
    match rand::fill(&mut bytes) {
        Ok(()) => BASE64URL_NOPAD.encode(&bytes),
        // Without a nonce no leafnode can sign.
        Err(_) => {
            error!("The system gives no random bytes for a nonce");
            String::new()
        }
    }
}
