//! The state of a client that is in: it has logged in, or need not. Only here there are
//! verbs ([`super::verbs`]), messages ([`super::publish`]) and what a reload may change
//! for a client ([`super::changed`]). What `peer` asks of it is in [`driven`].

mod driven;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpStream, time::Instant};

use super::{
    base::{Base, log_end},
    connection_events,
    login::{LogsIn, Pending, check_protocol, decide, while_open},
    member::Membership,
    permission_cache::PermissionCache,
};
use crate::{
    account::{Account, lookup_cache::LookupCache},
    connection::{
        Identity, Subscription,
        buffers::{ThreadBuffers, give_way, with_buffers},
    },
    peer::{self, End, HeldFor, Turn, take_turn},
    protocol::connect::ConnectOptions,
    security::{
        permissions::Permissions,
        verdict::{Login, PasswordCheck},
    },
    telemetry::{MonotonicMicros, MonotonicMillis},
};

/// Longest delay of the first ping after CONNECT.
const FIRST_PING_DELAY_MAX: Duration = Duration::from_secs(2);

/// Subscriptions of a client that leaves that end before others have their turn.
pub(super) const LEAVING_AT_ONCE: usize = 2048;

/// A client that is in.
pub(super) struct Active {
    pub(super) base: Base,
    /// The subject space it is in.
    pub(super) account: Arc<Account>,
    pub(super) standing: Standing,
    pub(super) options: ConnectOptions,
    pub(super) cache: LookupCache,
    /// The user's permissions; `None` allows everything.
    pub(super) permission_cache: Option<Box<PermissionCache>>,
    /// The login decision that is awaited; nothing is read meanwhile.
    awaited: Option<Box<Awaited>>,
    /// How long the rest of the last batch has waited for peers of the cluster.
    pub(super) held_time: Duration,
    /// Requests of the last batch that had no responders and are not answered yet.
    pub(super) unanswered: Vec<Unanswered>,
    pub(super) violations: Violations,
}

/// The result of a login.
pub(super) struct LoggedIn {
    /// Options of its CONNECT; `None` if it needed none.
    pub(super) options: Option<ConnectOptions>,
    pub(super) account: Arc<Account>,
    pub(super) membership: Membership,
    pub(super) permissions: Option<Arc<Permissions>>,
}

/// How far the login of a client is.
pub(super) enum Standing {
    /// No login is required, and it has not sent CONNECT.
    Silent {
        /// Something was read.
        spoke: bool,
        /// The identity that its CONNECT claims, while that is being decided.
        tried: Option<Box<Identity>>,
    },
    /// It is a member of an account.
    Member {
        /// Its place there.
        membership: Membership,
        /// The first ping after CONNECT was answered.
        pinged: bool,
    },
    /// A reload made login required, and it has sent nothing that counts as one.
    MustLogIn {
        /// Something was read.
        spoke: bool,
    },
}

/// What a logged-in client waits for.
enum Awaited {
    /// The answer to a CONNECT.
    Login(Pending),
    /// After a reload its password has to be checked again.
    Again(PasswordCheck),
}

/// Requests to one subject without responders, until the client is notified: the look-ups
/// for a large batch of them may exceed one turn.
pub(super) struct Unanswered {
    pub(super) subject: Box<[u8]>,
    /// Where the answers go, a blank behind each.
    pub(super) replies: Vec<u8>,
}

/// Refused publishes and subscriptions.
#[derive(Default)]
pub(super) struct Violations {
    /// So far.
    pub(super) count: AtomicU64,
    /// When one of them was last logged, as a [`MonotonicMillis`].
    pub(super) logged: AtomicU64,
}

impl Active {
    /// A client that need not log in and has not sent CONNECT.
    pub(super) fn silent(base: Base) -> Self {
        let account = base.broker.accounts.global().clone();
        let standing = Standing::Silent {
            spoke: false,
            tried: None,
        };
        Self::new(base, account, standing)
    }

    /// A client that no longer needs to log in, with the options it has sent so far.
    pub(super) fn not_required(base: Base, spoke: bool) -> Box<Self> {
        let mut active = Box::new(Self::silent(base));
        active.standing = Standing::Silent { spoke, tried: None };
        active.hold_kept();
        active
    }

    /// A client that has logged in.
    pub(super) fn logged_in(buffers: &mut ThreadBuffers, base: Base, login: LoggedIn) -> Box<Self> {
        let standing = Standing::Member {
            membership: login.membership,
            pinged: false,
        };
        let mut active = Box::new(Self::new(base, login.account, standing));
        active.permit(login.permissions);
        if let Some(options) = login.options {
            active.begin(buffers, options, true);
        }
        active.hold_kept();
        if !active.base.link.is_held() {
            buffers.flush_touched();
        }
        active
    }

    fn new(base: Base, account: Arc<Account>, standing: Standing) -> Self {
        base.connection.set_served();
        Self {
            base,
            account,
            standing,
            options: ConnectOptions::default(),
            cache: LookupCache::default(),
            permission_cache: None,
            awaited: None,
            held_time: Duration::ZERO,
            unanswered: Vec::new(),
            violations: Violations::default(),
        }
    }

    /// Input after the login is handled in the next turn.
    fn hold_kept(&mut self) {
        if self.base.link.input.has_kept() {
            self.base.link.held = HeldFor::Others;
        }
    }

    /// What the state before it needs if the client has to log in since a reload, and
    /// whether anything was read.
    pub(super) fn before_login(self) -> (Base, bool) {
        let spoke = matches!(self.standing, Standing::MustLogIn { spoke: true });
        (self.base, spoke)
    }

    /// Ends its connection, which is closing.
    pub(super) async fn finish(self, stream: &TcpStream) {
        let connection = self.base.connection.clone();
        peer::finish(self, &connection, stream).await;
    }

    /// Whether it is a member of an account.
    pub(super) fn is_member(&self) -> bool {
        matches!(self.standing, Standing::Member { .. })
    }

    /// Makes the client a member of `account` and of no other. Its subscriptions in the
    /// one before must have ended.
    pub(super) fn join(&mut self, account: Arc<Account>) -> Result<(), End> {
        let pinged = matches!(self.standing, Standing::Member { pinged: true, .. });
        if self.is_member() {
            // Its own place may be the one that is missing.
            self.standing = Standing::Silent {
                spoke: true,
                tried: None,
            };
        }
        let membership = self.base.join(&account)?;
        self.standing = Standing::Member { membership, pinged };
        self.cache.clear();
        self.account = account;
        Ok(())
    }

    /// Puts the options of a CONNECT in force that another process has confirmed.
    pub(super) fn resume_options(&mut self, buffers: &mut ThreadBuffers, options: ConnectOptions) {
        let verbose = options.verbose;
        let quiet = ConnectOptions {
            verbose: false,
            ..options
        };
        self.begin(buffers, quiet, false);
        self.options.verbose = verbose;
        self.base.link.keepalive.connected(FIRST_PING_DELAY_MAX);
        let (broker, connection) = (&self.base.broker, &self.base.connection);
        connection_events::report_taken_over(broker, connection);
        broker.telemetry.loads.connect(&connection.holder());
    }

    /// Puts the options of a CONNECT in force; `is_first` marks the client's first one.
    fn begin(&mut self, buffers: &mut ThreadBuffers, mut options: ConnectOptions, is_first: bool) {
        options.headers &= self.base.limits.headers;
        self.options = options;
        self.note_takes_info();
        let connection = &self.base.connection;
        let headers = self.options.headers;
        connection.headers.store(headers, Ordering::Relaxed);
        connection.echo.store(self.options.echo, Ordering::Relaxed);
        connection.active(MonotonicMillis::now());
        if is_first {
            // Until a ping is answered this is the best guess.
            let since = connection.start.micros_until(MonotonicMicros::now());
            connection.set_rtt(Duration::from_micros(since));
            self.base.link.keepalive.connected(FIRST_PING_DELAY_MAX);
            let broker = &self.base.broker;
            connection_events::report_connected(broker, connection);
            broker.telemetry.loads.connect(&connection.holder());
        }
        self.confirm(buffers);
    }

    /// Ends all subscriptions, so that nothing is delivered to them any more. Large numbers
    /// are removed from the account in the background.
    fn leave_account(&mut self, buffers: &mut ThreadBuffers) {
        let subscriptions = self.base.connection.subscriptions.lock().drain();
        if subscriptions.len() <= LEAVING_AT_ONCE {
            return self.account.unsubscribe(buffers, &subscriptions);
        }
        subscriptions.iter().for_each(|known| known.close());
        let account = self.account.clone();
        tokio::spawn(async move { leave(&account, &subscriptions).await });
    }

    /// Checks the client's password again.
    pub(super) fn check_again(&mut self, check: PasswordCheck) {
        self.awaited = Some(Box::new(Awaited::Again(check)));
    }

    /// Waits for a proof and acts on it.
    async fn settle_again(&mut self, check: PasswordCheck) -> Turn {
        let Some(decision) = while_open(self, decide(self, check)).await else {
            return Turn::default();
        };
        take_turn(self, |active, buffers| {
            let result = active.conclude_again(buffers, decision);
            active.go_on(buffers, result);
            false
        })
    }
}

/// Ends the subscriptions of a client that leaves, in parts between which others have
/// their turn.
pub(super) async fn leave(account: &Account, subscriptions: &[Arc<Subscription>]) {
    let mut parts = subscriptions.chunks(LEAVING_AT_ONCE);
    while let Some(part) = parts.next() {
        with_buffers(|buffers| {
            account.unsubscribe(buffers, part);
            buffers.flush_touched();
        });
        if parts.len() > 0 {
            give_way().await;
        }
    }
}

impl LogsIn for Active {
    fn base(&self) -> &Base {
        &self.base
    }

    fn wait_for(&mut self, pending: Pending) {
        self.awaited = Some(Box::new(Awaited::Login(pending)));
    }

    fn said_before(&self) -> ConnectOptions {
        self.options.clone()
    }

    fn note_tried(&mut self, known: Identity) {
        if let Standing::Silent { tried, .. } = &mut self.standing {
            *tried = Some(Box::new(known));
        }
    }

    /// A client that was a member already begins anew: its subscriptions end.
    fn accept(
        &mut self,
        buffers: &mut ThreadBuffers,
        options: ConnectOptions,
        mut login: Login,
    ) -> Result<(), End> {
        let account = self.base.account_of(&login, &options.credentials)?;
        let is_first = !self.is_member();
        if !is_first || !Arc::ptr_eq(&account, &self.account) {
            self.leave_account(buffers);
        }
        if let Standing::Silent {
            tried: Some(tried), ..
        } = &mut self.standing
        {
            // A client refused because its account is full is recorded under the identity
            // it has proved.
            tried.user.clone_from(&login.user);
            tried.account.clone_from(&login.account);
        }
        self.join(account)?;
        self.permit(login.permissions.take());
        self.base.note_identity(login, Some(&options));
        check_protocol(&options, self.base.limits.headers)?;
        self.begin(buffers, options, is_first);
        Ok(())
    }

    fn is_in(&self) -> bool {
        self.is_member()
    }

    fn is_late(&self, _: Instant) -> bool {
        false
    }

    fn renew(&mut self, buffers: &mut ThreadBuffers) -> bool {
        let is_changed = self.adopt_settings(buffers);
        // What a member had to prove since then, the CONNECT that is decided now does.
        self.awaited = None;
        is_changed
    }

    fn read_on(&mut self, buffers: &mut ThreadBuffers) {
        peer::resume(self, buffers);
    }

    fn log_end(&self, end: &End) {
        let broker = &self.base.broker;
        let throttle = (&broker.telemetry.refused_connections, "that did not log in");
        let (tried, throttle) = match &self.standing {
            Standing::Silent { tried, .. } => (tried.as_deref(), Some(throttle)),
            Standing::MustLogIn { .. } => (None, Some(throttle)),
            Standing::Member { .. } => (None, None),
        };
        log_end(broker, &self.base.connection, end, tried, throttle);
    }
}
