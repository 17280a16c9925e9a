//! The first state of a client's session: it is counted, and gets INFO and, where there
//! is TLS, its handshake ([`super::tls_upgrade`]).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aws_lc_rs::rand;
use data_encoding::BASE64URL_NOPAD;
use tracing::error;

use super::{
    ClientListener,
    base::{Base, close_before_login, log_end},
    place::take_place,
    trace::Trace,
};
use crate::{
    broker::{Broker, info::info_for, limits::Limits},
    connection::{
        CloseReason, Connection, Identity, Kind,
        admission::Place,
        buffers::{ThreadBuffers, with_buffers},
    },
    peer::{End, Ends, Link, keepalive::Keepalive},
    protocol::{connect::Credentials, error::ClientError},
    telemetry::slow::Incident,
};

/// A client that has just connected.
pub(super) struct Greeting {
    pub(super) broker: Arc<Broker>,
    pub(super) listener: Arc<ClientListener>,
    pub(super) connection: Arc<Connection>,
    limits: Arc<Limits>,
}

/// What the beginning of a connection leads to.
pub(super) struct Begun {
    /// What the client is given to sign.
    pub(super) nonce: Box<str>,
    /// Credentials in cookies of a WebSocket's request.
    pub(super) cookies: Option<Box<Credentials>>,
}

impl Greeting {
    pub(super) fn new(
        broker: Arc<Broker>,
        listener: Arc<ClientListener>,
        connection: Arc<Connection>,
    ) -> Self {
        let generation = broker.limits.generation();
        connection.settings.store(generation, Ordering::Relaxed);
        let limits = listener.limits(&broker);
        // A reload may have come since the accept.
        connection.outbound().set_max_pending(limits.max_pending);
        Self {
            broker,
            listener,
            connection,
            limits,
        }
    }

    /// Registers the client within `max_connections`. Clients that have not logged in are
    /// closed to make space: they never keep out another client. A concurrent newcomer may
    /// use the freed slot, so more than one may have to be closed.
    pub(super) fn admit(&self) -> bool {
        let broker = &self.broker;
        let max = || broker.limits.current().max_connections;
        while !broker.registry.insert(&self.connection, max()) {
            if !broker.admission.clients.cut_one() {
                return false;
            }
        }
        // A reload that lowered the limit meanwhile may have counted before.
        broker.registry.open_count(Kind::Client) <= max()
    }

    pub(super) fn must_log_in(&self) -> bool {
        self.listener.authentication.read().is_required()
    }

    /// Reserves a place among the connections before login, for a handshake of at most
    /// `handshake` and the login.
    pub(super) fn take_place(&self, handshake: Duration) -> Place {
        take_place(&self.broker, &self.connection, &self.limits, handshake)
    }

    /// Sends the first INFO. Returns what the client is given to sign.
    pub(super) fn introduce(&self, buffers: &mut ThreadBuffers) -> Box<str> {
        let nonce = nonce(&self.listener);
        let mut info = info_for(&self.broker, &self.connection);
        info.nonce = nonce.to_string();
        self.connection.send(buffers, &info.line());
        nonce
    }

    /// Sends the first INFO, and ends a connection that was not `admitted`. Returns what the client is
    /// given to sign.
    pub(super) fn begin(&self, admitted: bool) -> Box<str> {
        with_buffers(|buffers| {
            let nonce = self.introduce(buffers);
            if !admitted {
                self.refuse_for_max_connections(buffers);
            }
            buffers.flush_touched();
            nonce
        })
    }

    /// Ends a connection that is one too many.
    fn refuse_for_max_connections(&self, buffers: &mut ThreadBuffers) {
        let detail = format!("max_connections is {}", self.limits.max_connections);
        let end = End::with_error(CloseReason::MaxConnections, ClientError::MaxConnections);
        let throttle = &self.broker.telemetry.refused_connections;
        self.refuse(
            buffers,
            &end.with(detail),
            (throttle, "that did not log in"),
        );
    }

    /// Ends a connection that begins while too many do.
    pub(super) fn refuse_for_rate(&self, buffers: &mut ThreadBuffers) {
        let end = End::with_error(CloseReason::MaxConnections, ClientError::ConnectionRate);
        let throttle = &self.broker.telemetry.over_rate;
        let end = end.with("connection_rate_limit is reached");
        self.refuse(buffers, &end, (throttle, "beyond the limit"));
    }

    fn refuse(
        &self,
        buffers: &mut ThreadBuffers,
        end: &End,
        throttle: (&crate::telemetry::log_throttle::LogThrottle, &str),
    ) {
        log_end(&self.broker, &self.connection, end, None, Some(throttle));
        if let Some(line) = end.error_line() {
            self.connection.send(buffers, &line);
        }
        self.connection.close(end.reason);
    }

    /// The same without a word to the peer, which would not understand it before its handshake.
    pub(super) fn close_for_rate(&self) {
        let reason = CloseReason::MaxConnections;
        let end = End::without_error(reason, "connection_rate_limit is reached");
        let throttle = (&self.broker.telemetry.over_rate, "beyond the limit");
        log_end(&self.broker, &self.connection, &end, None, Some(throttle));
        self.connection.close(reason);
    }

    /// Data for the following states.
    pub(super) fn done(self, Begun { nonce, cookies }: Begun) -> Base {
        let keepalive = Keepalive::new(self.limits.ping_interval, self.limits.ping_max);
        Base {
            broker: self.broker,
            listener: self.listener,
            connection: self.connection,
            limits: self.limits,
            trace: Trace::default(),
            nonce,
            cookies,
            link: Link::new(keepalive),
        }
    }
}

impl Ends for Greeting {
    type Left = Self;

    fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    async fn leave(self) -> Self {
        self
    }

    fn ended(left: Self, reason: CloseReason, _: Option<&Incident>) {
        close_before_login(
            &left.broker,
            &left.connection,
            Identity::default(),
            false,
            reason,
        );
    }
}

/// Something new for a client to sign, if anybody logs in so: 11 random bytes
/// as base64, as nats-server has it.
fn nonce(listener: &ClientListener) -> Box<str> {
    if !listener.authentication.read().needs_nonce() {
        return Box::default();
    }
    let mut bytes = [0; 11];
    match rand::fill(&mut bytes) {
        Ok(()) => BASE64URL_NOPAD.encode(&bytes).into(),
        // Without a nonce no client can sign.
        Err(_) => {
            error!("The system gives no random bytes for a nonce");
            Box::default()
        }
    }
}
