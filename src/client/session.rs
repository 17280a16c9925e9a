//! The session of one client: its bytes become operations, its operations act.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::{
    Context, Limits,
    batch::Held,
    end::End,
    log_prefix,
    login::{self, PendingLogin},
    permission_cache::PermissionCache,
    routing::Unanswered,
    trace::{Trace, trace_in},
    unauthenticated::Unauthenticated,
};
use crate::{
    account::{Account, AccountMember, lookup_cache::LookupCache},
    connection::{
        CloseReason, Connection, Identity, Subscription,
        buffers::ThreadBuffers,
        keepalive::{Due, Keepalive},
        reading::Input,
        turned_away,
    },
    protocol::{
        OK, PING, PONG,
        connect::ConnectOptions,
        error::{ClientError, error_line, quoted},
        info::Info,
        json_fault,
        parse::Op,
    },
    subject,
    telemetry::{MonotonicMillis, event::EventKind},
};

/// Tokens of a subscription's subject when `max_sub_tokens` sets no limit:
/// what fits the default control line.
const SUB_TOKENS_MAX: usize = 2048;

/// Queue group names that the broker keeps for itself.
const RESERVED_QUEUE: &[u8] = b"_sys_";

/// Violations of one connection that are told of one by one.
const VIOLATIONS_TOLD: u64 = 10;

/// The pause between two tellings afterwards.
const VIOLATION_PAUSE: Duration = Duration::from_secs(10);

/// One client.
pub(super) struct Session {
    pub(super) context: Arc<Context>,
    /// The subject space it is in.
    pub(super) account: Arc<Account>,
    /// Its place there; none before CONNECT.
    pub(super) membership: Option<AccountMember>,
    pub(super) connection: Arc<Connection>,
    /// The limits it goes by.
    pub(super) limits: Arc<Limits>,
    /// For whom what the client sends is logged.
    pub(super) trace: Trace,
    pub(super) keepalive: Keepalive,
    pub(super) options: ConnectOptions,
    /// What the client was given to sign; empty if nobody signs.
    pub(super) nonce: Box<str>,
    pub(super) cache: LookupCache,
    /// What was read and is not handled yet.
    pub(super) input: Input,
    /// Until the client has logged in, where it has to.
    pub(super) unauthenticated: Option<Box<Unauthenticated>>,
    /// What the user may do; `None` is everything.
    pub(super) permission_cache: Option<Box<PermissionCache>>,
    /// A login whose answer waits; nothing is read meanwhile.
    pub(super) pending_login: Option<Box<PendingLogin>>,
    pub(super) accepted: Instant,
    /// Something was read.
    pub(super) spoke: bool,
    /// Who a client says to be that is not in yet: for the log, and for who looks at it
    /// once it is closed. Until then nobody is shown as whom he only names.
    pub(super) tried: Option<Box<Identity>>,
    /// Whether the rest of the last batch waits.
    pub(super) held: Held,
    /// How long it has waited for peers of the cluster.
    pub(super) held_for: Duration,
    /// Requests of the last batch that reached nobody and are not answered yet.
    pub(super) unanswered: Vec<Unanswered>,
    /// CONNECT has come.
    pub(super) connected: bool,
    /// The first ping after CONNECT has been answered.
    pinged: bool,
    /// Refused publishes and subscriptions so far.
    violations: AtomicU64,
    /// When one of them was last told of, as a clock has it.
    violation_told: AtomicU64,
}

impl Session {
    pub(super) fn new(context: Arc<Context>, connection: Arc<Connection>) -> Self {
        connection
            .settings
            .store(context.limits.generation(), Ordering::Relaxed);
        let limits = context.limits.current();
        // A reload may have come since the accept.
        connection.outbound().set_max_pending(limits.max_pending);
        let keepalive = Keepalive::new(limits.ping_interval, limits.ping_max);
        let mut session = Self {
            account: context.accounts.global().clone(),
            membership: None,
            unauthenticated: None,
            permission_cache: None,
            pending_login: None,
            context,
            connection,
            limits,
            trace: Trace::default(),
            keepalive,
            options: ConnectOptions::default(),
            nonce: Box::default(),
            cache: LookupCache::default(),
            input: Input::default(),
            accepted: Instant::now(),
            spoke: false,
            tried: None,
            held: Held::No,
            held_for: Duration::ZERO,
            unanswered: Vec::new(),
            connected: false,
            pinged: false,
            violations: AtomicU64::new(0),
            violation_told: AtomicU64::new(0),
        };
        session.begin_login(None);
        session
    }

    /// Sends the first INFO.
    pub(super) fn introduce(&mut self, buffers: &mut ThreadBuffers) {
        self.nonce = login::nonce(&self.context);
        self.send_info(buffers, false);
    }

    /// Ends a connection that is one too many.
    pub(super) fn refuse_for_max_connections(&mut self, buffers: &mut ThreadBuffers) {
        self.end(
            buffers,
            End {
                refused: None,
                reason: CloseReason::MaxConnections,
                error: Some(ClientError::MaxConnections),
                detail: format!("max_connections is {}", self.limits.max_connections),
            },
        );
    }

    /// Ends a connection that begins while too many do.
    pub(super) fn refuse_for_rate(&mut self, buffers: &mut ThreadBuffers) {
        self.end(
            buffers,
            End {
                refused: None,
                reason: CloseReason::MaxConnections,
                error: Some(ClientError::ConnectionRate),
                detail: "connection_rate_limit is reached".into(),
            },
        );
    }

    /// Acts on one operation; publishes are handled where their payload is.
    pub(super) fn act(&mut self, buffers: &mut ThreadBuffers, op: Op<'_>) -> Result<(), End> {
        if self.trace.is_on() {
            trace_in(self.trace, &self.connection, &op);
        }
        match op {
            Op::Connect(json) => self.connect(buffers, json),
            Op::Subscribe {
                subject,
                queue,
                sid,
            } => {
                self.subscribe(buffers, subject, queue, sid);
                Ok(())
            }
            Op::Unsubscribe { sid, max } => {
                self.unsubscribe(buffers, sid, max);
                Ok(())
            }
            Op::Ping => {
                self.answer_ping(buffers);
                Ok(())
            }
            Op::Pong => {
                if let Some(rtt) = self.keepalive.pong() {
                    self.connection.set_rtt(rtt);
                }
                Ok(())
            }
            // A list would pass as the fields in their order.
            Op::Info(json) if !json.starts_with(b"{") => {
                Err(End::protocol_violation("bad INFO: no object"))
            }
            Op::Info(json) => match serde_json::from_slice::<Info>(json) {
                Ok(_) => Ok(()),
                Err(error) => Err(End::protocol_violation(&format!(
                    "bad INFO: {}",
                    json_fault(&error)
                ))),
            },
            Op::Ok => Ok(()),
            Op::Err(text) => {
                let end = End {
                    refused: None,
                    reason: CloseReason::ParseError,
                    error: None,
                    detail: "Client Error".to_owned(),
                };
                // Who is not in has met no error that it could tell of.
                Err(match self.connected {
                    true => end.quoting(text, true),
                    false => end,
                })
            }
            Op::Publish(_) => Ok(()),
        }
    }

    fn subscribe(
        &mut self,
        buffers: &mut ThreadBuffers,
        subject: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
    ) {
        self.keepalive.busy();
        self.connection.active(MonotonicMillis::now());
        let limits = &self.limits;
        let permission_cache = self.permission_cache.as_ref();
        let judged = permission_cache.map_or(Ok(false), |permission_cache| {
            permission_cache.judges(subject, queue)
        });
        let Some(judged) = judged.ok().filter(|_| queue != Some(RESERVED_QUEUE)) else {
            return self.complain(
                buffers,
                ClientError::SubscriptionViolation {
                    subject: quoted(subject),
                    queue: queue.map(quoted),
                },
            );
        };
        if has_too_many_tokens(subject, limits.max_sub_tokens) {
            let subject = quoted(subject);
            return self.complain(buffers, ClientError::TooManyTokens { subject });
        }
        if !self.account.has_capacity_for(subject, queue, sid) {
            return self.complain(buffers, ClientError::MaxSubscriptions);
        }
        let subscription = {
            let mut subscriptions = self.connection.subscriptions.lock();
            if self
                .limits
                .max_subscriptions
                .is_some_and(|max| subscriptions.len() >= max)
            {
                drop(subscriptions);
                return self.complain(buffers, ClientError::MaxSubscriptions);
            }
            if subscriptions.get(sid).is_some() {
                None
            } else if !subject::is_valid(subject) {
                drop(subscriptions);
                return self.complain(buffers, ClientError::InvalidSubject);
            } else {
                let connection = self.connection.clone();
                let subscription = Subscription::new(connection, subject, queue, sid);
                subscription.set_judged(judged);
                let subscription = Arc::new(subscription);
                subscriptions.insert(subscription.clone());
                Some(subscription)
            }
        };
        if let Some(subscription) = subscription {
            self.account.subscribe(buffers, subscription);
        }
        self.confirm(buffers);
    }

    fn unsubscribe(&mut self, buffers: &mut ThreadBuffers, sid: &[u8], max: Option<u64>) {
        self.keepalive.busy();
        self.connection.active(MonotonicMillis::now());
        let found = self.connection.subscriptions.lock().get(sid).cloned();
        if let Some(subscription) = found {
            match max {
                Some(max) if max > subscription.delivered.value() => subscription.set_max(max),
                _ => self.drop_subscription(buffers, &subscription),
            }
        }
        self.confirm(buffers);
    }

    /// Ends one subscription of this connection.
    pub(super) fn drop_subscription(
        &self,
        buffers: &mut ThreadBuffers,
        subscription: &Arc<Subscription>,
    ) {
        self.trace.ended(&self.connection, subscription);
        self.connection.subscriptions.lock().remove(subscription);
        self.account
            .unsubscribe(buffers, std::slice::from_ref(subscription));
    }

    fn answer_ping(&mut self, buffers: &mut ThreadBuffers) {
        self.keepalive.busy();
        self.trace.out(&self.connection, format_args!("PONG"));
        self.connection.send(buffers, PONG);
        let first = self.connected && !std::mem::replace(&mut self.pinged, true);
        if first && self.options.protocol >= 1 {
            self.send_info(buffers, true);
        }
        self.note_takes_info();
    }

    /// INFO may come at any time to a client that wants it and has had its
    /// first PONG.
    pub(super) fn note_takes_info(&self) {
        let takes_info = self.pinged && self.options.protocol >= 1;
        self.connection
            .takes_info
            .store(takes_info, Ordering::Relaxed);
    }

    pub(super) fn send_info(&self, buffers: &mut ThreadBuffers, answers_ping: bool) {
        let mut info = info_for(&self.context, &self.connection);
        if !answers_ping {
            info.nonce = self.nonce.to_string();
        } else {
            info.connect_info = true;
            info.remote_account = self.account.name.clone();
            info.acc_is_sys = self.account.is_system;
            info.max_payload = i64::try_from(self.limits.max_payload).unwrap_or(i64::MAX);
        }
        self.connection.send(buffers, &info.line());
    }

    /// `+OK` for a verbose client.
    pub(super) fn confirm(&self, buffers: &mut ThreadBuffers) {
        if self.options.verbose {
            self.trace.out(&self.connection, format_args!("OK"));
            self.connection.send(buffers, OK);
        }
    }

    /// Whether the peer left without a byte of protocol, as probes do.
    pub(super) fn is_bare(&self, reason: CloseReason) -> bool {
        let by_peer = matches!(
            reason,
            CloseReason::ClientClosed | CloseReason::ReadError | CloseReason::WriteError
        );
        by_peer && !self.spoke
    }

    /// Tells the client of an error that its connection survives.
    pub(super) fn complain(&self, buffers: &mut ThreadBuffers, error: ClientError) {
        match error.is_permission_violation() {
            true => self.note_violation(&error),
            false => debug!("{} - {error}", log_prefix(&self.connection)),
        }
        self.trace
            .out(&self.connection, format_args!("-ERR {error}"));
        self.connection.send(buffers, &error_line(&error));
    }

    /// Tells those who watch of a violation: the first ones one by one, later
    /// ones together, once in a while.
    fn note_violation(&self, error: &ClientError) {
        let now = MonotonicMillis::now();
        let count = self.violations.fetch_add(1, Ordering::Relaxed) + 1;
        let told = MonotonicMillis(self.violation_told.load(Ordering::Relaxed));
        if count > VIOLATIONS_TOLD && told.until(now) < VIOLATION_PAUSE {
            return;
        }
        self.violation_told.store(now.0, Ordering::Relaxed);
        let text = format!("{error} ({count} violations of this connection so far)");
        error!("{} - {text}", log_prefix(&self.connection));
        self.context.telemetry.events.record(
            EventKind::PermissionViolation,
            self.connection.cid,
            &self.connection.who(),
            &text,
        );
    }

    /// Ends the connection, telling why as the protocol has it. Whoever guesses
    /// waits for the answer.
    pub(super) fn end(&mut self, buffers: &mut ThreadBuffers, end: End) {
        self.tell_end(&end);
        let delay = end.refused.map_or(Duration::ZERO, |reason| {
            let logins = &self.context.telemetry.logins;
            logins.record_refusal(reason, self.connection.peer.ip(), MonotonicMillis::now())
        });
        if delay.is_zero() || end.reason == CloseReason::AuthenticationTimeout {
            return self.conclude(buffers, &end);
        }
        self.pending_login = Some(Box::new(PendingLogin::Refused(end, delay)));
    }

    /// The last words of a session, and its end.
    pub(super) fn conclude(&self, buffers: &mut ThreadBuffers, end: &End) {
        if let Some(error) = &end.error {
            self.trace
                .out(&self.connection, format_args!("-ERR {error}"));
            self.connection.send(buffers, &error_line(error));
        }
        self.connection.close(end.reason);
    }

    /// Tells those who watch; of strangers only now and then.
    fn tell_end(&self, end: &End) {
        let mut text = format!("{}: {}", end.reason, end.detail);
        if !self.connected {
            let telemetry = &self.context.telemetry;
            let told = match end.error {
                Some(ClientError::ConnectionRate) => {
                    telemetry
                        .over_rate
                        .throttle(MonotonicMillis::now(), text, "beyond the limit")
                }
                _ => telemetry.refused_connections.throttle(
                    MonotonicMillis::now(),
                    text,
                    "that did not log in",
                ),
            };
            match told {
                Some(told) => text = told,
                None => return,
            }
        }
        let prefix = match &self.tried {
            Some(tried) => self.connection.log_prefix_as(tried),
            None => log_prefix(&self.connection),
        };
        error!("{prefix} - {text}");
        if end.reason.is_refused_login() {
            let (cid, source) = (self.connection.cid, self.connection.peer.ip());
            turned_away::note_login(&self.context.telemetry, cid, source, &text);
        }
    }

    /// Makes room when all outbound queues together hold too much.
    pub(super) fn keep_budget(&self) {
        for cut in self.context.registry.keep_budget() {
            warn!("{} - {cut}", log_prefix(&cut.connection));
        }
    }

    /// Pings, and ends stale or stuck connections, when it is time.
    pub(super) fn keep_alive(&mut self, buffers: &mut ThreadBuffers) {
        let now = Instant::now();
        let backlog = self.connection.outbound().backlog();
        let stuck = backlog.last_progress.until(MonotonicMillis::now());
        if self.connection.is_blocked() && stuck >= self.limits.write_deadline {
            self.connection
                .close(CloseReason::SlowConsumerWriteDeadline);
            return;
        }
        if self
            .unauthenticated
            .as_ref()
            .is_some_and(|unauthenticated| unauthenticated.is_late(now))
        {
            let end = self.refuse_late();
            return self.end(buffers, end);
        }
        self.cache.expire(&self.account, now);
        match self.keepalive.due(now) {
            Due::Nothing => {}
            Due::Ping => {
                self.cache.clear();
                self.trace.out(&self.connection, format_args!("PING"));
                self.connection.send(buffers, PING);
            }
            Due::Stale => self.end(
                buffers,
                End {
                    refused: None,
                    reason: CloseReason::StaleConnection,
                    error: Some(ClientError::StaleConnection),
                    detail: format!("{} pings unanswered", self.limits.ping_max),
                },
            ),
        }
    }

    /// When [`Session::keep_alive`] is to be called next.
    pub(super) fn next_deadline(&self) -> Instant {
        let ping = match &self.unauthenticated {
            Some(unauthenticated) => self.keepalive.next().min(unauthenticated.deadline()),
            None => self.keepalive.next(),
        };
        let ping = self.cache.next_check().map_or(ping, |due| ping.min(due));
        if !self.connection.is_blocked() {
            return ping;
        }
        let waited = self
            .connection
            .outbound()
            .backlog()
            .last_progress
            .until(MonotonicMillis::now());
        let left = self.limits.write_deadline.saturating_sub(waited);
        // A millisecond more, so that the deadline has passed when it is looked at.
        ping.min(Instant::now() + left + std::time::Duration::from_millis(1))
    }
}

/// Whether a subject is longer than `max_sub_tokens` allows; 0 sets no limit.
pub(super) fn has_too_many_tokens(subject: &[u8], max_sub_tokens: usize) -> bool {
    let max = match max_sub_tokens {
        0 => SUB_TOKENS_MAX,
        max => max.min(SUB_TOKENS_MAX),
    };
    subject::tokens(subject).count() > max
}

/// INFO as this client gets it now.
pub(super) fn info_for(context: &Context, connection: &Connection) -> Info {
    let mut info = context.info.read().clone();
    info.client_id = Some(connection.cid);
    info.client_ip = match connection.peer.ip() {
        IpAddr::V6(ip) => ip.to_canonical().to_string(),
        ip => ip.to_string(),
    };
    info
}
