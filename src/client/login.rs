//! Logging in: what CONNECT says and who the client is. Until that is known it is a
//! stranger (`unauthenticated`) and may do nothing.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use tokio::time::{Instant, sleep};
use tracing::error;

use super::{
    Context, LEAVING_AT_ONCE, Turn, connection_events, end::End, leave, session::Session, take_turn,
};
use crate::{
    connection::{CloseReason, Identity, buffers::ThreadBuffers, buffers::with_buffers},
    protocol::{
        connect::{ConnectOptions, Credentials},
        error::ClientError,
        json_fault,
    },
    security::{
        authentication::LoginAttempt,
        refusal::Refusal,
        users::ConnectionType,
        verdict::{Login, PasswordCheck, Verdict},
    },
    telemetry::{MonotonicMillis, logins::Standing, metrics},
};

/// The first ping after CONNECT comes at the latest after this.
const FIRST_PING_DELAY_MAX: Duration = Duration::from_secs(2);

/// How often a session that waits for another login looks at the rest.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A login whose answer has to wait.
pub(super) enum PendingLogin {
    /// It depends on a password whose comparison takes long.
    Check(Box<(ConnectOptions, PasswordCheck)>),
    /// So many from there were refused that it is looked at only after a while.
    Held(Box<ConnectOptions>, Duration),
    /// It is refused, and its source is kept waiting.
    Refused(End, Duration),
    /// A client that is in has to prove again who it is.
    CheckAgain(PasswordCheck),
}

/// Waits until the login is decided and goes on with what was read behind it.
/// Meanwhile nothing is read, but what others deliver is written. Returns what the
/// last turn left behind.
pub(super) async fn settle(session: &mut Session) -> Turn {
    let mut turn = Turn::default();
    while let Some(pending) = session.pending_login.take() {
        let decided = match *pending {
            PendingLogin::Check(login) => {
                let (options, check) = *login;
                let decision = while_open(session, decide(session, check)).await;
                decision.map(|decision| (Some(options), decision))
            }
            PendingLogin::CheckAgain(check) => {
                let decision = while_open(session, decide(session, check)).await;
                decision.map(|decision| (None, decision))
            }
            PendingLogin::Held(options, hold) => {
                let held = while_open(session, sleep(hold)).await;
                held.map(|()| (Some(*options), Decision::Anew))
            }
            PendingLogin::Refused(end, delay) => {
                if while_open(session, sleep(delay)).await.is_some() {
                    with_buffers(|buffers| {
                        session.conclude(buffers, &end);
                        buffers.flush_touched();
                    });
                }
                return Turn::default();
            }
        };
        let Some((options, decision)) = decided else {
            return Turn::default();
        };
        turn = take_turn(session, |session, buffers| {
            let result = session.conclude_login(buffers, options, decision);
            session.go_on(buffers, result);
            false
        });
    }
    turn
}

/// What came of a login that had to wait.
enum Decision {
    /// It is to be looked at now, or once more: a reload has put other settings in
    /// force.
    Anew,
    /// The password was compared.
    Made(Result<Login, Refusal>),
    /// The time to log in was over before its turn came.
    TooLate,
    /// It was aborted by a defect.
    Aborted,
}

/// Runs a check where it keeps nobody waiting. Where logins fail, none is heard
/// after its time to log in, so that a crowd of guesses leaves room for others.
async fn decide(session: &Session, check: PasswordCheck) -> Decision {
    let context = &session.context;
    let source = session.connection.peer.ip();
    let turn = tokio::select! {
        turn = context.passwords.turn(source) => turn,
        () = session.connection.changed() => return Decision::Anew,
    };
    let Some(turn) = turn else {
        return Decision::Aborted;
    };
    let logins = &context.telemetry.logins;
    let unauthenticated = session.unauthenticated.as_ref();
    // Looked at when its turn has come: those before it may have failed since.
    if logins.standing(source, MonotonicMillis::now()) == Standing::Failing
        && unauthenticated.is_some_and(|unauthenticated| unauthenticated.is_late(Instant::now()))
    {
        return Decision::TooLate;
    }
    let batch = tokio::task::spawn_blocking(move || {
        let outcome = check.run();
        drop(turn);
        outcome
    });
    batch.await.map_or(Decision::Aborted, Decision::Made)
}

/// Waits for something, and meanwhile writes what others deliver. `None`: the
/// connection is to end.
async fn while_open<T>(session: &Session, what: impl Future<Output = T>) -> Option<T> {
    let connection = &session.connection;
    tokio::pin!(what);
    loop {
        tokio::select! {
            outcome = &mut what => return Some(outcome),
            () = connection.closing() => return None,
            // Nobody delivers to who is not in yet: a crowd of those costs nothing
            // while it waits.
            () = sleep(LOOK_EVERY), if session.connected => {
                if connection.is_blocked() {
                    with_buffers(|buffers| connection.flush_blocked(buffers));
                }
            }
        }
    }
}

/// Something new for a client to sign, if anybody logs in so: 11 random bytes
/// as base64, as nats-server has it.
pub(super) fn nonce(context: &Context) -> Box<str> {
    if !context.authentication.read().needs_nonce() {
        return Box::default();
    }
    let mut bytes = [0; 11];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => BASE64URL_NOPAD.encode(&bytes).into(),
        // Without one nobody can sign.
        Err(_) => {
            error!("There are no random bytes to make a nonce of");
            Box::default()
        }
    }
}

impl Session {
    /// CONNECT.
    pub(super) fn connect(&mut self, buffers: &mut ThreadBuffers, json: &[u8]) -> Result<(), End> {
        let options = self.options.merge(json).map_err(|error| {
            End::protocol_violation(&format!("bad CONNECT: {}", json_fault(&error)))
        })?;
        if !self.connected {
            let said = Identity {
                name: options.name.clone(),
                certname: self.connection.certname().to_owned(),
                lang: options.lang.clone(),
                version: options.version.clone(),
                user: options.credentials.display_user().to_owned(),
                ..Identity::default()
            };
            self.tried = Some(Box::new(said.remembered()));
        }
        let hold = self.hold(&options.credentials);
        if !hold.is_zero() {
            self.pending_login = Some(Box::new(PendingLogin::Held(Box::new(options), hold)));
            return Ok(());
        }
        self.judge(buffers, options)
    }

    /// How long a login waits before it is looked at. Keys cannot be guessed.
    fn hold(&self, credentials: &Credentials) -> Duration {
        let authentication = self.context.authentication.read().clone();
        // Where nobody has a key, one that is shown is not looked at.
        let is_key = authentication.needs_nonce() && !credentials.nkey.is_empty();
        if is_key || !authentication.is_required() {
            return Duration::ZERO;
        }
        let logins = &self.context.telemetry.logins;
        logins.check_delay(self.connection.peer.ip(), MonotonicMillis::now())
    }

    /// Decides a login, unless that takes long.
    fn judge(&mut self, buffers: &mut ThreadBuffers, options: ConnectOptions) -> Result<(), End> {
        match self.identify(&options, 0) {
            Verdict::Accept(login) => self.log_in(buffers, options, login),
            Verdict::Check(check) => {
                let pending = PendingLogin::Check(Box::new((options, check)));
                self.pending_login = Some(Box::new(pending));
                Ok(())
            }
            Verdict::Refuse(refusal) => Err(self.refuse(&options.credentials, refusal)),
        }
    }

    /// Acts on what came of a login that had to wait: that of a CONNECT with these
    /// options, or, with none, of a client that is in and had to prove again who
    /// it is. What was found by settings that are no longer in force does not count.
    fn conclude_login(
        &mut self,
        buffers: &mut ThreadBuffers,
        options: Option<ConnectOptions>,
        decision: Decision,
    ) -> Result<(), End> {
        let is_changed = self.keep_up_to_date(buffers);
        if self.connection.is_closing() {
            return Ok(());
        }
        let decision = match is_changed {
            true => Decision::Anew,
            false => decision,
        };
        match (options, decision) {
            // It was looked at with all else.
            (None, Decision::Anew) if is_changed => Ok(()),
            (None, Decision::Anew) => self.look_again(buffers),
            (None, Decision::Made(Ok(login))) => self.stay_as(buffers, login),
            (None, Decision::Made(Err(refusal))) => Err(self.cast_out(refusal)),
            (None, Decision::TooLate | Decision::Aborted) => Err(self.cast_out(Refusal::Timeout)),
            (Some(options), Decision::Anew) => {
                // What a client that is in had to prove, this CONNECT does.
                self.pending_login = None;
                self.judge(buffers, options)
            }
            (Some(options), Decision::Made(Ok(login))) => self.log_in(buffers, options, login),
            (Some(options), Decision::Made(Err(refusal))) => {
                Err(self.refuse(&options.credentials, refusal))
            }
            (Some(_), Decision::TooLate) => Err(self.refuse_late()),
            (Some(_), Decision::Aborted) => {
                error!("A password check was aborted");
                self.connection.close(CloseReason::AuthenticationFailure);
                Ok(())
            }
        }
    }

    /// Goes on after a login had to wait, with what was read behind it.
    fn go_on(&mut self, buffers: &mut ThreadBuffers, result: Result<(), End>) {
        match result {
            Ok(()) if self.pending_login.is_some() || self.connection.is_closing() => {}
            Ok(()) => self.resume(buffers),
            Err(end) => self.end(buffers, end),
        }
        buffers.flush_touched();
    }

    /// Who the client is that said this and has proved so much before; see
    /// [`LoginAttempt::proved`].
    pub(super) fn identify(&self, options: &ConnectOptions, proved: u64) -> Verdict {
        self.context.authentication.read().identify(&LoginAttempt {
            credentials: &options.credentials,
            connection_type: ConnectionType::Standard,
            certificate: self.connection.certificate.get().map(|known| &**known),
            nonce: &self.nonce,
            proved,
        })
    }

    /// The client is who it says to be: its CONNECT holds from now on.
    fn log_in(
        &mut self,
        buffers: &mut ThreadBuffers,
        mut options: ConnectOptions,
        login: Login,
    ) -> Result<(), End> {
        if !options.account.is_empty() || options.new_account {
            return Err(self.refuse(&options.credentials, Refusal::ForeignAccount));
        }
        self.enter(buffers, login, &options.credentials)?;
        let mut identity = self.connection.identity.lock();
        identity.name.clone_from(&options.name);
        identity.lang.clone_from(&options.lang);
        identity.version.clone_from(&options.version);
        drop(identity);
        check_protocol(&options, self.limits.headers)?;
        options.headers &= self.limits.headers;
        self.options = options;
        self.note_takes_info();
        let headers = self.options.headers;
        self.connection.headers.store(headers, Ordering::Relaxed);
        self.connection.active(MonotonicMillis::now());
        if !self.connected {
            self.connected = true;
            // Until a ping is answered this is the best guess.
            self.connection.set_rtt(self.accepted.elapsed());
            self.keepalive.connected(FIRST_PING_DELAY_MAX);
            connection_events::tell_connected(&self.context, &self.connection);
            self.context
                .telemetry
                .loads
                .connect(&self.connection.holder());
        }
        self.confirm(buffers);
        Ok(())
    }

    /// Ends all subscriptions. Nothing comes by them from now on; many are taken out of
    /// the account beside the client's own way.
    fn leave_account(&mut self, buffers: &mut ThreadBuffers) {
        let subscriptions = self.connection.subscriptions.lock().drain();
        if subscriptions.len() <= LEAVING_AT_ONCE {
            return self.account.unsubscribe(buffers, &subscriptions);
        }
        subscriptions.iter().for_each(|known| known.close());
        let account = self.account.clone();
        tokio::spawn(async move { leave(&account, &subscriptions).await });
    }

    /// Takes the client into its account. A client that was in already begins
    /// anew: its subscriptions end.
    pub(super) fn enter(
        &mut self,
        buffers: &mut ThreadBuffers,
        login: Login,
        credentials: &Credentials,
    ) -> Result<(), End> {
        let Some(account) = self.context.accounts.find(&login.account) else {
            return Err(self.refuse(credentials, Refusal::UnknownAccount));
        };
        if self.connected || !Arc::ptr_eq(&account, &self.account) {
            self.leave_account(buffers);
        }
        if !self.connected {
            // Whoever finds no room there is remembered as who it has proved to be.
            let tried = self.tried.get_or_insert_default();
            tried.user.clone_from(&login.user);
            tried.account.clone_from(&login.account);
        }
        self.join(account)?;
        self.tried = None;
        if self.unauthenticated.take().is_some() {
            let logins = &self.context.telemetry.logins;
            logins.record_success(self.connection.peer.ip(), MonotonicMillis::now());
            self.input.read_little(false);
        }
        self.permit(login.permissions);
        *self.connection.identity.lock() = Identity {
            user: login.user,
            certname: self.connection.certname().to_owned(),
            account: login.account,
            proof: login.proof,
            ..Identity::default()
        };
        let series = metrics::series_number("Client", &self.account.name);
        self.connection.series.store(series, Ordering::Relaxed);
        // Whoever changes the rules meanwhile has this session take them over.
        Ok(())
    }

    /// How the connection of a client that is not let in ends.
    pub(super) fn refuse(&self, credentials: &Credentials, refusal: Refusal) -> End {
        let user = match credentials.display_user() {
            "" => String::new(),
            user => format!(" - User {user:?}"),
        };
        End {
            refused: Some(refusal.name()),
            reason: CloseReason::AuthenticationFailure,
            error: Some(ClientError::AuthorizationViolation),
            detail: format!("authentication error{user}: {refusal}"),
        }
    }

    /// How the connection of a client ends that took too long to log in.
    pub(super) fn refuse_late(&self) -> End {
        End {
            refused: Some(Refusal::Timeout.name()),
            reason: CloseReason::AuthenticationTimeout,
            error: Some(ClientError::AuthenticationTimeout),
            detail: format!("no login within {:?}", self.limits.auth_timeout),
        }
    }
}

/// Whether midge speaks what the client asks for.
fn check_protocol(options: &ConnectOptions, headers: bool) -> Result<(), End> {
    let refuse = |reason, error: ClientError| {
        Err(End {
            refused: None,
            reason,
            detail: error.to_string(),
            error: Some(error),
        })
    };
    if !matches!(options.protocol, 0 | 1) {
        return refuse(CloseReason::BadClientProtocol, ClientError::InvalidProtocol);
    }
    if options.no_responders && !(options.headers && headers) {
        return refuse(
            CloseReason::NoRespondersWithoutHeaders,
            ClientError::NoRespondersWithoutHeaders,
        );
    }
    Ok(())
}
