//! The state of a client that has to log in and has not: its input goes to [`BeforeLogin`],
//! and only its CONNECT has an effect. Once the login is decided the client becomes
//! [`Active`], or its connection ends.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::Instant};

use super::{
    active::{Active, LoggedIn},
    base::{Base, close_before_login, log_end, refused, refused_late},
    login::{LogsIn, Pending, settle},
    place::take_place,
    trace::{Trace, trace_in},
};
use crate::{
    broker::Broker,
    connection::{
        CloseReason, Connection, Identity, Wake,
        admission::Place,
        buffers::{ThreadBuffers, with_buffers},
        reading::{Input, Large, Reader},
    },
    peer::{self, Driven, End, Ends, Link, Peer, Turn},
    protocol::{
        before_login::{BeforeLogin, BeforeLoginError, Expected, Step},
        connect::{ConnectOptions, Credentials},
        parse::Op,
    },
    security::{
        refusal::Refusal,
        verdict::{Login, Verdict},
    },
    telemetry::{MonotonicMillis, slow::Incident},
};

/// A client that has to log in and has not.
pub(super) struct LoggingIn {
    base: Base,
    said: BeforeLogin,
    /// Its place among the connections before login.
    place: Place,
    /// The claimed identity, once CONNECT was received: for the log and for the records of
    /// closed connections. Until the login succeeds, no client is shown under a user that
    /// it merely claims.
    tried: Box<Identity>,
    /// Something was read.
    spoke: bool,
    stage: Stage,
}

enum Stage {
    /// Its CONNECT has not come.
    Waiting,
    /// CONNECT was received and its decision has to wait; nothing is read meanwhile.
    Pending(Box<Pending>),
    /// It is let in.
    Decided(Decided),
}

/// How a client is let in.
enum Decided {
    /// A reload has removed the need to log in.
    NotRequired,
    /// It has logged in.
    LoggedIn(Box<LoggedIn>),
}

/// Has a client log in. `None`: its connection has ended.
pub(super) async fn log_in(mut session: Box<LoggingIn>, stream: &TcpStream) -> Option<Box<Active>> {
    match peer::drive(&mut *session, stream).await {
        Driven::Over => Some(session.into_active()),
        Driven::Closing => {
            let connection = session.base.connection.clone();
            peer::finish(*session, &connection, stream).await;
            None
        }
    }
}

/// Has a client log in that had not to until now. `None`: its connection has ended.
pub(super) async fn log_in_again(active: Active, stream: &TcpStream) -> Option<Box<Active>> {
    let (base, spoke) = active.before_login();
    let (broker, limits) = (&base.broker, &base.limits);
    let place = take_place(broker, &base.connection, limits, Duration::ZERO);
    log_in(LoggingIn::again(base, place, spoke), stream).await
}

impl LoggingIn {
    /// A client of which nothing was read yet.
    pub(super) fn new(mut base: Base, place: Place) -> Box<Self> {
        let limits = &base.limits;
        let deadline = std::time::Instant::now() + limits.auth_timeout;
        let said = BeforeLogin::new(Expected::ClientConnect, limits.max_control_line, deadline);
        base.link.input.read_little(true);
        Box::new(Self {
            base,
            said,
            place,
            tried: Box::default(),
            spoke: false,
            stage: Stage::Waiting,
        })
    }

    /// A client that did not have to log in until a reload, and has sent at most the
    /// beginning of a CONNECT.
    fn again(mut base: Base, place: Place, spoke: bool) -> Box<Self> {
        let said = base.link.input.take_kept();
        let mut session = Self::new(base, place);
        session.spoke = spoke;
        if !said.is_empty() {
            with_buffers(|buffers| {
                session.handle_read_batch(buffers, &said);
                buffers.flush_touched();
            });
        }
        session
    }

    fn into_active(self) -> Box<Active> {
        let Self {
            mut base,
            mut said,
            place,
            spoke,
            stage,
            ..
        } = self;
        drop(place);
        base.link.input.read_little(false);
        let rest = said.take_rest();
        if !rest.is_empty() {
            base.link.input.keep(&rest);
        }
        match stage {
            Stage::Decided(Decided::LoggedIn(login)) => {
                with_buffers(|buffers| Active::logged_in(buffers, base, *login))
            }
            _ => Active::not_required(base, spoke),
        }
    }

    /// Handles what the client sent: its first operation must be CONNECT. What it sent
    /// behind that is kept for when it is in.
    fn hear(&mut self, buffers: &mut ThreadBuffers, bytes: &[u8]) -> Result<(), End> {
        self.place.mark_active();
        let said = &mut self.said;
        said.buffer().extend_from_slice(bytes);
        let connect = match said.step(std::time::Instant::now()) {
            Ok(Step::Connect(json)) => Some(json),
            // A client that needs no credentials need not send CONNECT.
            Err(BeforeLoginError::Unexpected) => None,
            Err(BeforeLoginError::Parse(error)) => {
                return Err(End::from(error).quoting(said.buffer(), false));
            }
            Err(BeforeLoginError::Timeout) => return Err(refused_late(&self.base.limits)),
            // All other operations are those of routes.
            Ok(_) | Err(_) => return Ok(()),
        };
        let rest = said.take_rest();
        self.base.link.input.keep(&rest);
        match connect {
            Some(json) => {
                if self.base.trace.is_on() {
                    let op = Op::Connect(&json);
                    trace_in(self.base.trace, &self.base.connection, &op);
                }
                self.connect(buffers, &json)
            }
            None => self
                .connect_silently()
                .map_err(|end| end.quoting(&rest, false)),
        }
    }

    /// Accepts a client without CONNECT, where none is required.
    fn connect_silently(&mut self) -> Result<(), End> {
        let authentication = self.base.listener.authentication.read().clone();
        let login = match authentication.admits_without_credentials() {
            true => self.base.identify(&ConnectOptions::default(), 0),
            false => Verdict::Refuse(Refusal::NotLoggedIn),
        };
        let nobody = Credentials::default();
        match login {
            Verdict::Accept(login) => self.let_in(None, login),
            Verdict::Check(_) => Err(refused(&nobody, &Refusal::NotLoggedIn)),
            Verdict::Refuse(refusal) => Err(refused(&nobody, &refusal)),
        }
    }

    /// Accepts the client as the user of this login.
    fn let_in(&mut self, options: Option<ConnectOptions>, mut login: Login) -> Result<(), End> {
        let base = &mut self.base;
        let nobody = Credentials::default();
        let credentials = options.as_ref().map_or(&nobody, |it| &it.credentials);
        let account = base.account_of(&login, credentials)?;
        // A client refused because its account is full is recorded under the identity it
        // has proved.
        self.tried.user.clone_from(&login.user);
        self.tried.account.clone_from(&login.account);
        let membership = base.join(&account)?;
        let source = base.connection.peer.ip();
        let logins = &base.broker.telemetry.logins;
        logins.record_success(source, MonotonicMillis::now());
        let permissions = login.permissions.take();
        base.note_identity(login, options.as_ref());
        *self.tried = base.connection.identity.lock().clone();
        if let Some(options) = &options {
            super::login::check_protocol(options, base.limits.headers)?;
        }
        self.stage = Stage::Decided(Decided::LoggedIn(Box::new(LoggedIn {
            options,
            account,
            membership,
            permissions,
        })));
        Ok(())
    }
}

impl LogsIn for LoggingIn {
    fn base(&self) -> &Base {
        &self.base
    }

    fn wait_for(&mut self, pending: Pending) {
        self.stage = Stage::Pending(Box::new(pending));
    }

    fn said_before(&self) -> ConnectOptions {
        ConnectOptions::default()
    }

    fn note_tried(&mut self, tried: Identity) {
        *self.tried = tried;
    }

    fn accept(
        &mut self,
        _: &mut ThreadBuffers,
        options: ConnectOptions,
        login: Login,
    ) -> Result<(), End> {
        self.let_in(Some(options), login)
    }

    fn is_in(&self) -> bool {
        false
    }

    fn is_late(&self, now: Instant) -> bool {
        self.own_deadline().is_some_and(|deadline| deadline <= now)
    }

    fn renew(&mut self, _: &mut ThreadBuffers) -> bool {
        if !self.base.is_out_of_date() {
            return false;
        }
        self.base.renew_before_login();
        true
    }

    /// Input after CONNECT waits until the client is logged in.
    fn read_on(&mut self, _: &mut ThreadBuffers) {}

    fn log_end(&self, end: &End) {
        let broker = &self.base.broker;
        let throttle = (&broker.telemetry.refused_connections, "that did not log in");
        log_end(
            broker,
            &self.base.connection,
            end,
            Some(&self.tried),
            Some(throttle),
        );
    }
}

impl Peer for LoggingIn {
    fn link(&self) -> &Link {
        &self.base.link
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.base.link
    }

    fn is_out_of_date(&self, _: Wake) -> bool {
        self.base.is_out_of_date()
    }

    fn keep_up_to_date(&mut self, _: &mut ThreadBuffers) {
        self.base.renew_before_login();
        let is_required = self.base.listener.authentication.read().is_required();
        if !is_required
            && matches!(self.stage, Stage::Waiting)
            && !self.base.connection.is_closing()
        {
            self.stage = Stage::Decided(Decided::NotRequired);
        }
    }

    fn begin_turn(&mut self) {
        self.base.trace = Trace::of(&self.base.connection, self.base.limits.trace);
    }

    fn end_turn(&mut self) {}

    fn awaits_decision(&self) -> bool {
        matches!(self.stage, Stage::Pending(_))
    }

    async fn decide(&mut self) -> Turn {
        let mut turn = Turn::default();
        while let Stage::Pending(_) = &self.stage
            && let Stage::Pending(pending) = std::mem::replace(&mut self.stage, Stage::Waiting)
        {
            turn = settle(self, *pending).await;
        }
        turn
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Decided(_))
    }

    fn before_ping(&mut self) {
        let base = &self.base;
        base.trace.out(&base.connection, format_args!("PING"));
    }

    fn write_deadline(&self) -> Duration {
        self.base.limits.write_deadline
    }

    fn own_deadline(&self) -> Option<Instant> {
        Some(Instant::from_std(self.said.deadline()))
    }

    fn when_due(&mut self, now: Instant) -> Result<(), End> {
        match self.is_late(now) {
            true => Err(refused_late(&self.base.limits)),
            false => Ok(()),
        }
    }

    fn end(&mut self, buffers: &mut ThreadBuffers, end: End) {
        self.end_login(buffers, end);
    }
}

impl Reader for LoggingIn {
    fn connection(&self) -> &Arc<Connection> {
        &self.base.connection
    }

    fn input(&mut self) -> &mut Input {
        &mut self.base.link.input
    }

    fn handle_read_batch(&mut self, buffers: &mut ThreadBuffers, bytes: &[u8]) {
        self.spoke = true;
        if let Err(end) = self.hear(buffers, bytes) {
            self.end(buffers, end);
        }
    }

    /// A large message can only have been begun by a client that is in.
    fn handle_large(&mut self, _: &mut ThreadBuffers, _: Large) {}

    fn end_broken(&mut self, buffers: &mut ThreadBuffers, text: &str) {
        self.end(buffers, End::violation(format!("read error: {text}")));
    }

    fn must_pause(&self, _: &ThreadBuffers) -> bool {
        !matches!(self.stage, Stage::Waiting)
    }
}

impl Ends for LoggingIn {
    type Left = Self;

    fn broker(&self) -> &Arc<Broker> {
        &self.base.broker
    }

    async fn leave(self) -> Self {
        self
    }

    fn ended(left: Self, reason: CloseReason, _: Option<&Incident>) {
        // Release the place before the connection counts as closed, so that an observer of
        // that count finds it free.
        drop(left.stage);
        let (broker, connection) = (&left.base.broker, &left.base.connection);
        close_before_login(broker, connection, *left.tried, left.spoke, reason);
    }
}
