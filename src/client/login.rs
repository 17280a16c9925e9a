//! Login: the contents of CONNECT and the identity of the client. A logged-in client may
//! send CONNECT again, and one that need not log in may send it at any time, so both states
//! ([`super::logging_in`], [`super::active`]) implement [`LogsIn`]; the steps in between
//! are the same.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::base::{Base, refused, refused_late};
use crate::{
    connection::{
        CloseReason, Identity,
        buffers::{ThreadBuffers, with_buffers},
    },
    log,
    peer::{End, Peer, Turn, take_turn},
    protocol::{
        connect::{ConnectOptions, Credentials},
        error::ClientError,
        json_fault,
    },
    security::{
        refusal::Refusal,
        verdict::{Login, PasswordCheck, Verdict},
    },
    telemetry::{MonotonicMillis, logins::Standing, threads},
};

/// How often a session that waits for another login writes what others deliver.
const WRITE_EVERY: Duration = Duration::from_millis(20);

/// A login whose answer has to wait.
pub(super) enum Pending {
    /// It depends on a slow password comparison.
    Check(Box<(ConnectOptions, PasswordCheck)>),
    /// So many from there were refused that it is decided only after a while.
    Delayed(Box<ConnectOptions>, Duration),
    /// It is refused, and its source is kept waiting.
    Refused(End, Duration),
}

/// The outcome of a login that had to wait.
pub(super) enum Decision {
    /// It has to be decided now, or again: a reload has put other settings in
    /// force.
    Anew,
    /// The password was compared.
    Made(Result<Login, Refusal>),
    /// The login timeout expired before the comparison could start.
    TooLate,
    /// The system gave no thread for it, or it was aborted by a defect.
    Aborted,
}

/// A state of a session in which CONNECT may come.
pub(super) trait LogsIn: Peer + Sync {
    fn base(&self) -> &Base;

    /// Has the answer to a login wait.
    fn wait_for(&mut self, pending: Pending);

    /// The options of the client's previous CONNECT.
    fn said_before(&self) -> ConnectOptions;

    /// Records the claimed identity.
    fn note_tried(&mut self, tried: Identity);

    /// The identity is proved: the options of the CONNECT are in force from now on.
    fn accept(
        &mut self,
        buffers: &mut ThreadBuffers,
        options: ConnectOptions,
        login: Login,
    ) -> Result<(), End>;

    /// Whether others deliver to it.
    fn is_in(&self) -> bool;

    /// Whether the time to log in is over.
    fn is_late(&self, now: Instant) -> bool;

    /// Adopts the settings in force; whether they are others.
    fn renew(&mut self, buffers: &mut ThreadBuffers) -> bool;

    /// Handles what was read behind CONNECT.
    fn read_on(&mut self, buffers: &mut ThreadBuffers);

    /// Logs why the connection ends.
    fn log_end(&self, end: &End);

    /// CONNECT.
    fn connect(&mut self, buffers: &mut ThreadBuffers, json: &[u8]) -> Result<(), End> {
        let mut options = self
            .said_before()
            .merge(json)
            .map_err(|error| End::violation(format!("bad CONNECT: {}", json_fault(&error))))?;
        self.base().add_cookies(&mut options.credentials);
        let tried = Identity {
            name: options.name.clone(),
            certname: self.connection().certname().to_owned(),
            lang: options.lang.clone(),
            version: options.version.clone(),
            user: options.credentials.display_user().to_owned(),
            ..Identity::default()
        };
        self.note_tried(tried.remembered());
        let hold = hold(self.base(), &options.credentials);
        if !hold.is_zero() {
            self.wait_for(Pending::Delayed(Box::new(options), hold));
            return Ok(());
        }
        self.judge(buffers, options)
    }

    /// Decides a login unless that needs a slow comparison.
    fn judge(&mut self, buffers: &mut ThreadBuffers, options: ConnectOptions) -> Result<(), End> {
        match self.base().identify(&options, 0) {
            Verdict::Accept(login) => self.accept_own(buffers, options, login),
            Verdict::Check(check) => {
                self.wait_for(Pending::Check(Box::new((options, check))));
                Ok(())
            }
            Verdict::Refuse(refusal) => Err(refused(&options.credentials, &refusal)),
        }
    }

    /// Accepts a login that selects no account: only the operator assigns accounts.
    fn accept_own(
        &mut self,
        buffers: &mut ThreadBuffers,
        options: ConnectOptions,
        login: Login,
    ) -> Result<(), End> {
        if !options.account.is_empty() || options.new_account {
            return Err(refused(&options.credentials, &Refusal::ForeignAccount));
        }
        self.accept(buffers, options, login)
    }

    /// Acts on the outcome of a login that had to wait. An outcome determined by settings
    /// that are no longer in force is discarded.
    fn conclude(
        &mut self,
        buffers: &mut ThreadBuffers,
        options: ConnectOptions,
        decision: Decision,
    ) -> Result<(), End> {
        let is_changed = self.renew(buffers);
        if self.connection().is_closing() {
            return Ok(());
        }
        match decision {
            _ if is_changed => self.judge(buffers, options),
            Decision::Anew => self.judge(buffers, options),
            Decision::Made(Ok(login)) => self.accept_own(buffers, options, login),
            Decision::Made(Err(refusal)) => Err(refused(&options.credentials, &refusal)),
            Decision::TooLate => Err(refused_late(&self.base().limits)),
            Decision::Aborted => {
                let text = "a password could not be checked: see /explainz".to_owned();
                let throttle = &self.base().broker.telemetry.refused_connections;
                let text = throttle.throttle(MonotonicMillis::now(), text, "that did not log in");
                if let Some(text) = text {
                    log::about(self.connection()).error(format_args!("{text}"));
                }
                self.connection().close(CloseReason::AuthenticationFailure);
                Ok(())
            }
        }
    }

    /// Continues after a login had to wait, with the input after it.
    fn go_on(&mut self, buffers: &mut ThreadBuffers, result: Result<(), End>) {
        match result {
            Ok(()) if self.awaits_decision() || self.connection().is_closing() => {}
            Ok(()) => self.read_on(buffers),
            Err(end) => self.end(buffers, end),
        }
        buffers.flush_touched();
    }

    /// Ends the connection and sends the client the reason. The `-ERR` to a refused login
    /// is delayed, the longer the more logins from its source were refused.
    fn end_login(&mut self, buffers: &mut ThreadBuffers, end: End) {
        self.log_end(&end);
        let delay = end.login.map_or(Duration::ZERO, |reason| {
            let (base, now) = (self.base(), MonotonicMillis::now());
            let logins = &base.broker.telemetry.logins;
            logins.record_refusal(reason, base.connection.peer.ip(), now)
        });
        if delay.is_zero() || end.reason == CloseReason::AuthenticationTimeout {
            return self.base().conclude(buffers, &end);
        }
        self.wait_for(Pending::Refused(end, delay));
    }
}

/// How long a login waits before it is decided. Keys cannot be guessed.
fn hold(base: &Base, credentials: &Credentials) -> Duration {
    let authentication = base.listener.authentication.read().clone();
    // Where no user has an nkey, a presented one is not checked.
    let is_key = authentication.needs_nonce() && !credentials.nkey.is_empty();
    if is_key || !authentication.is_required() {
        return Duration::ZERO;
    }
    let logins = &base.broker.telemetry.logins;
    logins.check_delay(base.connection.peer.ip(), MonotonicMillis::now())
}

/// Waits until a login is decided and continues with the input after it. Meanwhile
/// nothing is read, but what others deliver is written. Returns what the last turn left
/// behind.
pub(super) async fn settle<S: LogsIn>(session: &mut S, pending: Pending) -> Turn {
    let (options, decision) = match pending {
        Pending::Check(login) => {
            let (options, check) = *login;
            let decision = while_open(session, decide(session, check)).await;
            (options, decision)
        }
        Pending::Delayed(options, hold) => {
            let held = while_open(session, sleep(hold)).await;
            (*options, held.map(|()| Decision::Anew))
        }
        Pending::Refused(end, delay) => {
            if while_open(session, sleep(delay)).await.is_some() {
                with_buffers(|buffers| {
                    session.base().conclude(buffers, &end);
                    buffers.flush_touched();
                });
            }
            return Turn::default();
        }
    };
    let Some(decision) = decision else {
        return Turn::default();
    };
    take_turn(session, |session, buffers| {
        let result = session.conclude(buffers, options, decision);
        session.go_on(buffers, result);
        false
    })
}

/// Runs a comparison where it blocks no other work. Where logins fail, none is decided
/// after its login timeout, so that many guesses leave capacity for others.
pub(super) async fn decide<S: LogsIn>(session: &S, check: PasswordCheck) -> Decision {
    let base = session.base();
    let source = session.connection().peer.ip();
    let turn = tokio::select! {
        turn = base.listener.passwords.turn(source) => turn,
        () = session.connection().changed() => return Decision::Anew,
    };
    let logins = &base.broker.telemetry.logins;
    // Checked when its turn starts: earlier logins may have failed meanwhile.
    if logins.standing(source, MonotonicMillis::now()) == Standing::Failing
        && session.is_late(Instant::now())
    {
        return Decision::TooLate;
    }
    let checked = threads::run("password", move || {
        let outcome = check.run();
        drop(turn);
        outcome
    });
    checked.await.map_or(Decision::Aborted, Decision::Made)
}

/// Waits for something, and meanwhile writes what others deliver. `None`: the
/// connection is to end.
pub(super) async fn while_open<S: LogsIn, T>(
    session: &S,
    what: impl Future<Output = T>,
) -> Option<T> {
    let connection = session.connection();
    tokio::pin!(what);
    loop {
        tokio::select! {
            outcome = &mut what => return Some(outcome),
            () = connection.closing() => return None,
            // Nothing is delivered to a client before its login, so many waiting ones cost
            // nothing.
            () = sleep(WRITE_EVERY), if session.is_in() => {
                if connection.is_blocked() {
                    with_buffers(|buffers| connection.flush_blocked(buffers));
                }
            }
        }
    }
}

/// Whether midge speaks what the client asks for.
pub(super) fn check_protocol(options: &ConnectOptions, headers: bool) -> Result<(), End> {
    if !matches!(options.protocol, 0 | 1) {
        let (reason, error) = (CloseReason::BadClientProtocol, ClientError::InvalidProtocol);
        return Err(End::with_error(reason, error));
    }
    if options.no_responders && !(options.headers && headers) {
        let reason = CloseReason::NoRespondersWithoutHeaders;
        return Err(End::with_error(
            reason,
            ClientError::NoRespondersWithoutHeaders,
        ));
    }
    Ok(())
}
