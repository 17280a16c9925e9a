//! An established route: operations of the other broker and how they are handled.

use std::{sync::Arc, time::Duration};

use hashbrown::HashMap;
use memchr::memmem;
use tokio::time::Instant;

use super::{
    client_urls,
    cluster::{Cluster, Route},
    connection_counts::OverLimit,
    failing::{self, LINE_MIN},
    gossip,
    interest::{Added, Announced},
    introduction::reason_of_error,
};
use crate::{
    account::{Account, lookup_cache::LookupCache},
    broker::{Broker, surplus},
    connection::{
        CloseReason, Connection, Wake,
        buffers::ThreadBuffers,
        reading::{Input, Large, Reader},
    },
    interest::QUEUE_SPACE,
    log,
    peer::{End, Ends, Link, Peer, batch, keepalive::Keepalive},
    protocol::{
        PONG,
        error::{error_line, quoted},
        json_fault,
        route::{INTRODUCTION_MAX, RouteInfo, RouteOp},
    },
    subject::{self, TOKENS_MAX},
    telemetry::{MonotonicMillis, event::EventKind, log_throttle::LogThrottle, slow::Incident},
};

/// Longest delay of the first ping.
const FIRST_PING_DELAY_MAX: Duration = Duration::from_secs(1);

/// Part of the error that a nats-server sends when a line is too long for it.
const LINE_TOO_LONG: &[u8] = b"maximum control line";

/// Bytes of the longest account name in a peer's interest.
const ACCOUNT_NAME_MAX: usize = 4096;

/// Longest delay of interest changes because the queue is long: after it they are announced
/// even on a route that is busy all the time.
const OWED_MAX: Duration = Duration::from_millis(100);

/// News of brokers accepted from a peer in one turn.
const NEWS_MAX: usize = 64;

/// Interval at which changes of a peer's exports are handled: all local interest is
/// announced again then.
const EXPORTS_CHANGE_INTERVAL: Duration = Duration::from_secs(1);

/// News of brokers from a peer in one turn.
#[derive(Default)]
struct News {
    /// Of itself: the last one counts.
    own: Option<RouteInfo>,
    others: Vec<RouteInfo>,
}

/// One route.
pub(super) struct Session {
    pub(super) cluster: Arc<Cluster>,
    pub(super) route: Arc<Route>,
    pub(super) link: Link,
    /// Whether the peer accepts messages back that it sent.
    pub(super) accepts_own_messages: bool,
    /// The subject spaces in which messages were received.
    pub(super) spaces: HashMap<Box<[u8]>, Space>,
    /// A space remembers something that is to be forgotten at the end of the turn.
    pub(super) remembers_long: bool,
    /// INFO lines to be acted on when the batch is done.
    news: News,
    /// Since when interest changes are pending for which the queue has no space.
    pending_since: Option<MonotonicMillis>,
    /// When to announce local interest again, as the peer now exports other subjects.
    announce_again_at: Option<Instant>,
    /// When that was last done.
    exports_handled: Option<Instant>,
    /// Limits the log lines about errors of the peer.
    throttle: LogThrottle,
    /// Accounts that have too many connections in all of the cluster.
    pub(super) over_limit: OverLimit,
    /// Which input of the peer, or the lack of it, ends the route.
    pub(super) fault: Option<String>,
}

/// One subject space.
pub(super) struct Space {
    pub(super) account: Arc<Account>,
    pub(super) cache: LookupCache,
}

impl Session {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        route: Arc<Route>,
        accepts_own_messages: bool,
    ) -> Self {
        let mut keepalive = Keepalive::new(cluster.ping_interval(), cluster.ping_max());
        keepalive.connected(FIRST_PING_DELAY_MAX);
        Self {
            cluster,
            route,
            link: Link::new(keepalive),
            accepts_own_messages,
            spaces: HashMap::new(),
            remembers_long: false,
            news: News::default(),
            pending_since: None,
            announce_again_at: None,
            exports_handled: None,
            throttle: LogThrottle::default(),
            over_limit: OverLimit::new(),
            fault: None,
        }
    }

    /// Begins to announce local interest to the peer, and handles what it has sent since
    /// its introduction.
    pub(super) fn begin(&mut self, buffers: &mut ThreadBuffers, received: &[u8]) {
        for account in self.cluster.broker.accounts.all() {
            let interest = &account.interest;
            interest.attach(&self.route.connection, &account.sublist);
        }
        self.announce_pending(buffers);
        self.cluster.subscribe_answers(buffers);
        self.cluster.request_line_max(buffers, &self.route);
        self.cluster.begin_counting(buffers, &self.route);
        self.handle_read_batch(buffers, received);
        self.end_turn();
    }

    /// Announces the next part of the pending interest to the peer, if its queue has space.
    /// Once all is announced, messages may be sent to it: it knows the subjects that they
    /// name for replies.
    pub(super) fn announce_pending(&mut self, buffers: &mut ThreadBuffers) {
        let connection = self.connection().clone();
        connection.begin_announcing();
        if connection.outbound().backlog().pending > QUEUE_SPACE {
            connection.flush(buffers);
        }
        let backlog = connection.outbound().backlog();
        let since = *self.pending_since.get_or_insert_with(MonotonicMillis::now);
        let is_due = since.age() >= OWED_MAX && backlog.pending < backlog.max_pending / 4;
        if backlog.pending > QUEUE_SPACE && !is_due {
            // The current writer finishes soon, or the socket is full.
            return connection.note_pending_interest();
        }
        self.pending_since = None;
        let accounts = self.cluster.broker.accounts.all_announced();
        let mut budget = QUEUE_SPACE;
        for account in &accounts {
            let interest = &account.interest;
            if interest.announce_more(buffers, &connection, &mut budget) || budget == 0 {
                connection.note_pending_interest();
                return buffers.flush_touched();
            }
        }
        buffers.flush_touched();
        if connection.set_announced() {
            accounts.iter().for_each(|it| it.sublist.invalidate());
        }
    }

    /// Acts on one operation; messages are handled where their payload is.
    pub(super) fn act(&mut self, buffers: &mut ThreadBuffers, op: RouteOp<'_>) -> Result<(), End> {
        match op {
            RouteOp::Interest {
                origin,
                account,
                subject,
                queue,
            } => {
                let announced = Announced {
                    origin,
                    subject,
                    queue,
                };
                self.take_interest(buffers, account, &announced);
            }
            RouteOp::NoInterest {
                origin,
                account,
                subject,
                queue,
            } => {
                // A name that is not UTF-8 is not that of an account.
                if let Ok(account) = std::str::from_utf8(account) {
                    let interest = &self.route.interest;
                    interest.remove(buffers, account, (origin, subject, queue));
                }
            }
            RouteOp::Ping => self.connection().send(buffers, PONG),
            RouteOp::Pong => {
                if let Some(rtt) = self.link.keepalive.pong() {
                    self.connection().set_rtt(rtt);
                }
            }
            RouteOp::Info(json) => self.take_info(json)?,
            RouteOp::Connect(_) => return Err(End::violation("a second CONNECT")),
            RouteOp::Err(text) => {
                let detail = format!("Route Error {}", quoted(text));
                if memmem::find(&text.to_ascii_lowercase(), LINE_TOO_LONG).is_some() {
                    self.learn_line_max(LINE_MIN);
                }
                return Err(End::without_error(
                    failing::as_fault(reason_of_error(text)),
                    detail,
                ));
            }
            RouteOp::Message(_) | RouteOp::Ignored => {}
        }
        Ok(())
    }

    /// Notes that the peer accepts control lines of at most `bytes`: a broker that did not
    /// announce its limit has reported that a line was too long. The next route uses it.
    fn learn_line_max(&self, bytes: usize) {
        let learned = self
            .cluster
            .failing
            .learn_line_max(&self.route.remote_id, bytes);
        self.connection().set_line_max(learned);
    }

    /// Handles the peer's news of other brokers and of connections that count here. Not to
    /// be called while the thread's buffers are in use: it writes to other routes.
    pub(super) fn handle_news(&mut self) {
        let News { own, others } = std::mem::take(&mut self.news);
        for info in others {
            gossip::handle(&self.cluster, &info);
        }
        if let Some(info) = own
            && gossip::update_info(&self.cluster, &self.route, info)
        {
            let soonest = self.exports_handled.map(|at| at + EXPORTS_CHANGE_INTERVAL);
            self.announce_again_at =
                Some(soonest.map_or_else(Instant::now, |at| at.max(Instant::now())));
        }
        self.resend_interest();
        let over_limit = std::mem::take(&mut self.over_limit);
        if !over_limit.is_empty() {
            surplus::keep_account_limits(&self.cluster.broker, &over_limit);
        }
    }

    /// Notes an INFO, of the peer itself or of another broker.
    fn take_info(&mut self, json: &[u8]) -> Result<(), End> {
        if json.len() > INTRODUCTION_MAX {
            let text = format!(
                "Ignored an INFO of {} bytes: at most {INTRODUCTION_MAX} are accepted",
                json.len()
            );
            self.warn(text);
            return Ok(());
        }
        let info: RouteInfo = serde_json::from_slice(json)
            .map_err(|error| End::violation(format!("bad INFO: {}", json_fault(&error))))?;
        if info.mark > 0 {
            self.route.marks.see(info.mark);
        } else if info.server_id == self.route.remote_id {
            self.news.own = Some(info);
        } else if self.news.others.len() < NEWS_MAX {
            self.news.others.push(info);
        } else {
            self.warn(
                "A peer named more brokers than are accepted at once; the rest is ignored".into(),
            );
        }
        Ok(())
    }

    /// Announces local interest to the peer again, if it is time: a nats-server has
    /// forgotten interest in subjects that it did not export before.
    fn resend_interest(&mut self) {
        if self.announce_again_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.announce_again_at = None;
        self.exports_handled = Some(Instant::now());
        self.cluster.resend_interest(&self.route);
    }

    /// Logs what the peer does wrong, a few times a second.
    fn warn(&self, text: String) {
        if let Some(text) =
            self.throttle
                .throttle(MonotonicMillis::now(), text, "lines of this route")
        {
            log::about(self.connection()).warn(format_args!("{text}"));
        }
    }

    fn take_interest(
        &self,
        buffers: &mut ThreadBuffers,
        account: &[u8],
        announced: &Announced<'_>,
    ) {
        let subject = announced.subject;
        self.connection().active(MonotonicMillis::now());
        // A name that is not UTF-8 is not that of an account.
        let Ok(account) = std::str::from_utf8(account) else {
            log::about(self.connection()).debug(format_args!(
                "Account {} of a remote subject is not UTF-8",
                quoted(account)
            ));
            return;
        };
        if account.len() > ACCOUNT_NAME_MAX {
            let text = format!(
                "Ignored interest in an account whose name has {} bytes: at most \
                 {ACCOUNT_NAME_MAX} are accepted",
                account.len()
            );
            return self.warn(text);
        }
        if !subject::is_valid(subject) || subject::tokens(subject).count() > TOKENS_MAX {
            self.warn(format!("Invalid remote subject {}", quoted(subject)));
            self.connection()
                .send(buffers, &error_line("Invalid Subscription"));
            return;
        }
        if !self.cluster.accepts_interest(subject) {
            log::about(self.connection()).debug(format_args!(
                "Can not export {}, kept until it may be exported",
                quoted(subject)
            ));
        }
        let known = &self.cluster.broker.accounts;
        let interest = &self.route.interest;
        let connection = self.connection();
        let what = match interest.add(buffers, known, account, connection, announced) {
            Added::Effective => return,
            Added::UnknownAccount => "kept until the account is known",
            Added::Refused => "not kept: its memory is used up",
        };
        log::about(self.connection()).debug(format_args!(
            "Remote subject {} of account {account:?}: {what}",
            quoted(subject)
        ));
    }

    pub(super) fn find_account(&self, name: &[u8]) -> Option<Arc<Account>> {
        let name = std::str::from_utf8(name).ok()?;
        self.cluster.broker.accounts.find(name)
    }
}

impl Peer for Session {
    fn link(&self) -> &Link {
        &self.link
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.link
    }

    fn is_out_of_date(&self, wake: Wake) -> bool {
        wake == Wake::Changed
    }

    fn keep_up_to_date(&mut self, buffers: &mut ThreadBuffers) {
        self.cluster.request_counts(buffers, &self.route);
        buffers.flush_touched();
        let cluster = &self.cluster;
        // Accounts may be others of the same names.
        self.spaces.clear();
        self.link
            .keepalive
            .set_limits(cluster.ping_interval(), cluster.ping_max());
        let outbound = self.connection().outbound();
        outbound.set_max_pending(cluster.max_pending());
    }

    /// Drops cached entries beyond their limit.
    fn end_turn(&mut self) {
        if std::mem::take(&mut self.remembers_long) {
            let spaces = self.spaces.values_mut();
            spaces.for_each(|space| space.cache.end_turn());
        }
    }

    fn act_on_news(&mut self) {
        self.handle_news();
    }

    fn write_pending(&mut self, buffers: &mut ThreadBuffers) {
        self.announce_pending(buffers);
    }

    fn write_deadline(&self) -> Duration {
        self.cluster.write_deadline()
    }

    fn own_deadline(&self) -> Option<Instant> {
        self.announce_again_at
    }

    fn before_ping(&mut self) {
        self.spaces.clear();
    }

    fn end(&mut self, buffers: &mut ThreadBuffers, end: End) {
        let line = log::about(self.connection()).code(EventKind::Route.name());
        line.error(format_args!("{}", end.text()));
        if let Some(line) = end.error_line() {
            self.connection().send(buffers, &line);
        }
        self.connection().close(end.reason);
        self.fault.get_or_insert(end.detail);
    }
}

impl Reader for Session {
    fn connection(&self) -> &Arc<Connection> {
        &self.route.connection
    }

    fn input(&mut self) -> &mut Input {
        &mut self.link.input
    }

    fn handle_read_batch(&mut self, buffers: &mut ThreadBuffers, bytes: &[u8]) {
        batch::handle_read_batch(self, buffers, bytes);
    }

    fn handle_large(&mut self, buffers: &mut ThreadBuffers, large: Large) {
        batch::handle_large(self, buffers, large);
    }

    /// A peer carries the messages of many: it is not paused for a slow reader.
    fn must_pause(&self, _: &ThreadBuffers) -> bool {
        self.link.is_held() || self.cluster.broker.registry.budget.is_overdrawn()
    }
}

impl Ends for Session {
    type Left = Self;

    fn broker(&self) -> &Arc<Broker> {
        &self.cluster.broker
    }

    async fn leave(self) -> Self {
        for account in self.cluster.broker.accounts.all_announced() {
            account.interest.detach(&self.route.connection);
        }
        self.route.interest.clear().await;
        self
    }

    fn ended(left: Self, reason: CloseReason, incident: Option<&Incident>) {
        let (cluster, route) = (&left.cluster, &left.route);
        let why = match (&left.fault, incident) {
            (Some(fault), _) => format!("{reason}: {fault}"),
            (None, Some(incident)) => format!("{reason}: {}", incident.evidence),
            (None, None) => reason.to_string(),
        };
        let stood = route
            .connection
            .start
            .millis()
            .until(MonotonicMillis::now());
        cluster.failing.ended(route, reason, &why, stood);
        client_urls::keep_lost_urls(cluster, route);
        cluster.deregister(route, reason, &why);
        client_urls::refresh(cluster);
        let (name, ended) = (
            quoted(route.remote_name.as_bytes()),
            route.connection.ended(reason),
        );
        log::about(&route.connection)
            .code(EventKind::Route.name())
            .ended(ended)
            .info(format_args!(
                "Router connection to {name} closed: {reason} {ended}"
            ));
    }
}
