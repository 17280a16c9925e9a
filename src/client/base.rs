//! What the session of a client has in each of its states, and what the states before
//! and after the login do in the same way.

use std::sync::{Arc, atomic::Ordering};

use super::{ClientListener, connection_events, trace::Trace};
use crate::{
    account::Account,
    broker::{Broker, limits::Limits, turned_away},
    connection::{
        Claimed, CloseReason, Connection, Identity, Kind, Subscription, buffers::ThreadBuffers,
    },
    log,
    peer::{End, Link},
    protocol::{
        connect::{ConnectOptions, Credentials},
        error::ClientError,
    },
    security::{
        authentication::LoginAttempt,
        refusal::Refusal,
        verdict::{Login, Verdict},
    },
    telemetry::{MonotonicMillis, event::EventKind, log_throttle::LogThrottle, metrics},
};

/// Data of every state of a client's session.
pub(super) struct Base {
    pub(super) broker: Arc<Broker>,
    pub(super) listener: Arc<ClientListener>,
    pub(super) connection: Arc<Connection>,
    /// The limits in force for it.
    pub(super) limits: Arc<Limits>,
    /// Which traffic of the client is logged.
    pub(super) trace: Trace,
    /// The nonce to sign; empty if nkeys are not in use.
    pub(super) nonce: Box<str>,
    /// Credentials in cookies, for a CONNECT without.
    pub(super) cookies: Option<Box<Credentials>>,
    pub(super) link: Link,
}

impl Base {
    /// Determines the client's identity from its CONNECT and from what it has proved
    /// before; see [`LoginAttempt::proved`].
    pub(super) fn identify(&self, options: &ConnectOptions, proved: u64) -> Verdict {
        self.listener.authentication.read().identify(&LoginAttempt {
            credentials: &options.credentials,
            connection_type: self.listener.connection_type(),
            source: self.connection.peer.ip(),
            certificate: self.connection.certificate.get().map(|known| &**known),
            nonce: &self.nonce,
            proved,
        })
    }

    /// Fills what a CONNECT leaves empty from the cookies.
    pub(super) fn add_cookies(&self, credentials: &mut Credentials) {
        let Some(cookies) = &self.cookies else { return };
        let fields = [
            (&mut credentials.user, &cookies.user),
            (&mut credentials.password, &cookies.password),
            (&mut credentials.token, &cookies.token),
        ];
        for (field, cookie) in fields {
            if field.is_empty() {
                field.clone_from(cookie);
            }
        }
    }

    /// The account of a login.
    pub(super) fn account_of(
        &self,
        login: &Login,
        credentials: &Credentials,
    ) -> Result<Arc<Account>, End> {
        let account = self.broker.accounts.find(&login.account);
        account.ok_or_else(|| refused(credentials, &Refusal::UnknownAccount))
    }

    /// Records the identity that the login established, and the name and library that
    /// CONNECT states.
    pub(super) fn note_identity(&self, login: Login, options: Option<&ConnectOptions>) {
        let series = metrics::series_number(Kind::Client, &login.account);
        let text = |of: fn(&ConnectOptions) -> &String| {
            options.map_or_else(String::new, |it| of(it).clone())
        };
        *self.connection.identity.lock() = Identity {
            name: text(|options| &options.name),
            certname: self.connection.certname().to_owned(),
            lang: text(|options| &options.lang),
            version: text(|options| &options.version),
            user: login.user,
            account: login.account,
            proof: login.proof,
        };
        self.connection.series.store(series, Ordering::Relaxed);
    }

    /// Whether a reload has put other settings in force.
    pub(super) fn is_out_of_date(&self) -> bool {
        self.broker.limits.generation() != self.connection.settings.load(Ordering::Relaxed)
    }

    /// Adopts these limits.
    pub(super) fn renew(&mut self, limits: Arc<Limits>) {
        self.limits = limits;
        let limits = &self.limits;
        self.connection
            .outbound()
            .set_max_pending(limits.max_pending);
        self.link
            .keepalive
            .set_limits(limits.ping_interval, limits.ping_max);
    }

    /// Adopts the settings in force, as far as they matter before the login.
    pub(super) fn renew_before_login(&mut self) {
        let generation = self.broker.limits.generation();
        self.renew(self.listener.limits(&self.broker));
        self.connection
            .settings
            .store(generation, Ordering::Release);
    }

    /// Sends the error that ends the connection, and closes it.
    pub(super) fn conclude(&self, buffers: &mut ThreadBuffers, end: &End) {
        if let (Some(error), Some(line)) = (&end.error, end.error_line()) {
            self.trace
                .out(&self.connection, format_args!("-ERR {error}"));
            self.connection.send(buffers, &line);
        }
        self.connection.close(end.reason);
    }
}

/// Logs why a connection ends, for clients that have not logged in only as often as
/// `throttle` allows, for sessions that had begun with how long they lasted. `tried` is the claimed
/// identity, which is not proved.
pub(super) fn log_end(
    broker: &Broker,
    connection: &Connection,
    end: &End,
    tried: Option<&Identity>,
    throttle: Option<(&LogThrottle, &str)>,
) {
    let (limit, others, is_session) = match throttle {
        Some((limit, others)) => (limit, others, false),
        None => (&broker.telemetry.sessions, "lines", true),
    };
    let text = limit.throttle(MonotonicMillis::now(), end.text(), others);
    let Some(text) = text else { return };
    let claimed = tried.map(|tried| Claimed(connection, tried));
    let mut line = match &claimed {
        Some(claimed) => log::about(claimed),
        None => log::about(connection),
    };
    if end.reason.is_refused_login() {
        line = line.code(EventKind::AuthenticationFailed.name());
    }
    match is_session {
        false => line.error(format_args!("{text}")),
        true => {
            let ended = connection.ended(end.reason);
            line.ended(ended)
                .error(format_args!("{text}; closed {ended}"));
        }
    }
    if end.reason.is_refused_login() {
        let (cid, source) = (connection.cid, connection.peer.ip());
        match connection.certname() {
            "" => turned_away::note_login(&broker.telemetry, cid, source, &text),
            // Verified by the handshake: it says more than an address.
            certname => {
                let text = format!("{text} (from {})", source.to_canonical());
                let kind = EventKind::AuthenticationFailed;
                broker.telemetry.events.record(kind, cid, certname, &text);
            }
        }
    }
}

/// How the connection of a client ends that is not let in.
pub(super) fn refused(credentials: &Credentials, refusal: &Refusal) -> End {
    let user = match credentials.display_user() {
        "" => String::new(),
        user => format!(" - User {user:?}"),
    };
    let (reason, error) = (
        CloseReason::AuthenticationFailure,
        ClientError::AuthorizationViolation,
    );
    End::with_error(reason, error)
        .with(format!("authentication error{user}: {refusal}"))
        .for_login(refusal)
}

/// How the connection of a client ends that took too long to log in.
pub(super) fn refused_late(limits: &Limits) -> End {
    let (reason, error) = (
        CloseReason::AuthenticationTimeout,
        ClientError::AuthenticationTimeout,
    );
    End::with_error(reason, error)
        .with(format!("no login within {:?}", limits.auth_timeout))
        .for_login(&Refusal::Timeout)
}

/// Closes a connection that ended before the login or never sent CONNECT, and removes it
/// from the counts.
pub(super) fn close_before_login(
    broker: &Broker,
    connection: &Arc<Connection>,
    tried: Identity,
    spoke: bool,
    reason: CloseReason,
) {
    // Only now: it is open no more.
    *connection.identity.lock() = tried;
    if reason == CloseReason::TooManyBeforeLogin {
        // Counted out when its place was taken away.
        return;
    }
    close(broker, connection, &[], spoke, reason);
}

/// Counts a client out whose connection has ended.
pub(super) fn close(
    broker: &Broker,
    connection: &Arc<Connection>,
    subscriptions: &[Arc<Subscription>],
    spoke: bool,
    reason: CloseReason,
) {
    // The peer left without a byte of protocol, as probes do.
    let by_peer = matches!(
        reason,
        CloseReason::ClientClosed | CloseReason::ReadError | CloseReason::WriteError
    );
    if by_peer && !spoke {
        turned_away::count_probe(&broker.telemetry, connection.peer.ip());
        broker.registry.close_bare(connection, reason);
    } else {
        broker.registry.close(connection, subscriptions, reason);
        // After the removal from the counts, so that a receiver of the event no longer
        // counts it.
        connection_events::report_closed(broker, connection, subscriptions.len(), reason);
    }
    let ended = connection.ended(reason);
    log::about(connection)
        .code(EventKind::ClientClosed.name())
        .ended(ended)
        .debug(format_args!("Client connection closed: {reason} {ended}"));
}
