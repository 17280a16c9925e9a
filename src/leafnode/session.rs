//! An established leafnode connection: operations of the other side and how they are handled.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    Leafnode, Leafnodes,
    hub_news::{VIOLATION_DELAY, loop_delay},
    solicit::HubRules,
};
use crate::{
    account::lookup_cache::LookupCache,
    broker::Broker,
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
        encode::push_leaf_interest,
        error::{error_line, quoted},
        leafnode::{LOOP_DETECTED, LeafOp, UNJUDGED},
        route::RouteMessage,
    },
    subject::{self, TOKENS_MAX},
    telemetry::{MonotonicMillis, event::EventKind, log_throttle::LogThrottle, slow::Incident},
};

/// Longest delay of the first ping.
const FIRST_PING_DELAY_MAX: Duration = Duration::from_secs(1);

/// Longest delay of interest changes because the queue is long: after it they are announced even to a
/// leafnode that is busy all the time.
const OWED_MAX: Duration = Duration::from_millis(100);

/// Subjects of messages that permissions do not concern: replies to another account, and acknowledgements to streams.
const UNJUDGED_MESSAGES: [&[u8]; 2] = [b"_R_.", b"$JS.ACK."];

/// One leafnode connection.
pub(super) struct Session {
    pub(super) leafnodes: Arc<Leafnodes>,
    pub(super) leaf: Arc<Leafnode>,
    pub(super) link: Link,
    pub(super) cache: LookupCache,
    /// Bytes of the largest message that is accepted.
    pub(super) max_payload: usize,
    /// Since when interest changes are pending for which the queue has no space.
    pending_since: Option<MonotonicMillis>,
    /// Limits the log lines about errors of the other side.
    throttle: LogThrottle,
    /// Which input of the other side, or the lack of it, ends the connection.
    fault: Option<String>,
    /// What may be exchanged with a hub that was dialled.
    pub(super) hub_rules: HubRules,
}

impl Session {
    pub(super) fn new(leafnodes: Arc<Leafnodes>, leaf: Arc<Leafnode>) -> Self {
        let limits = leafnodes.broker.limits.current();
        let mut keepalive = Keepalive::new(limits.ping_interval, limits.ping_max);
        keepalive.connected(FIRST_PING_DELAY_MAX);
        Self {
            leafnodes,
            leaf,
            link: Link::new(keepalive),
            cache: LookupCache::default(),
            max_payload: usize::MAX,
            pending_since: None,
            throttle: LogThrottle::default(),
            fault: None,
            hub_rules: HubRules::default(),
        }
    }

    /// Tells the other side that it is let in and begins to announce interest to it; then handles what
    /// it has sent behind its CONNECT.
    pub(super) fn begin(&mut self, buffers: &mut ThreadBuffers, received: &[u8]) {
        self.max_payload = self.max_payload();
        let Leafnode {
            connection,
            account,
            side,
            ..
        } = &*self.leaf;
        if let Some(shown) = &self.leaf.shown {
            let permissions = shown.permissions.as_ref();
            let import = permissions.and_then(|it| it.subscribe().json());
            let export = permissions.and_then(|it| it.publish().json());
            let info = self
                .leafnodes
                .info_on_connect(connection, account, import, export);
            connection.send(buffers, &info.line());
            // Only now: the other side expects that INFO first.
            self.leaf.is_introduced.store(true, Ordering::SeqCst);
            let has_changed =
                *self.leafnodes.broker.leafnode_urls.list.read() != info.leafnode_urls;
            if has_changed {
                let info = self.leafnodes.info_on_change(&self.leaf);
                connection.send(buffers, &info.line());
            }
        }
        let mut line = Vec::new();
        push_leaf_interest(&mut line, account.loop_subject().as_bytes(), 1);
        connection.send(buffers, &line);
        account.attach_leafnode(connection, side);
        account.tell_leafnodes_of_imports(buffers, self.leafnodes.is_clustered);
        self.announce_pending(buffers);
        self.handle_read_batch(buffers, received);
        self.end_turn();
    }

    /// Announces the next part of the pending interest to the other side, if its queue has space. Once
    /// all is announced, messages may be sent to it: it knows the subjects that they name for replies.
    fn announce_pending(&mut self, buffers: &mut ThreadBuffers) {
        let connection = self.connection().clone();
        connection.begin_announcing();
        if connection.outbound().backlog().pending > QUEUE_SPACE {
            connection.flush(buffers);
        }
        let backlog = connection.outbound().backlog();
        let since = *self.pending_since.get_or_insert_with(MonotonicMillis::now);
        let is_due = since.age() >= OWED_MAX && backlog.pending < backlog.max_pending / 4;
        if backlog.pending > QUEUE_SPACE && !is_due {
            return connection.note_pending_interest();
        }
        self.pending_since = None;
        let account = &self.leaf.account;
        let mut budget = QUEUE_SPACE;
        let has_more = account
            .interest
            .announce_more(buffers, &connection, &mut budget);
        buffers.flush_touched();
        if has_more {
            return connection.note_pending_interest();
        }
        if connection.set_announced() {
            account.sublist.invalidate();
        }
    }

    /// Acts on one operation; messages are handled where their payload is.
    pub(super) fn act(&mut self, buffers: &mut ThreadBuffers, op: LeafOp<'_>) -> Result<(), End> {
        match op {
            LeafOp::Interest { subject, queue } => self.take_interest(buffers, subject, queue)?,
            LeafOp::NoInterest { subject, queue } => {
                let Leafnode {
                    interest, account, ..
                } = &*self.leaf;
                interest.remove(buffers, account, subject, queue);
            }
            LeafOp::Ping => self.connection().send(buffers, PONG),
            LeafOp::Pong => {
                if let Some(rtt) = self.link.keepalive.pong() {
                    self.connection().set_rtt(rtt);
                }
            }
            LeafOp::Err(text) if self.leaf.remote.is_some() => self.take_error(text),
            // It closes the connection if it means to.
            LeafOp::Err(text) => self.warn(format!("Leafnode Error {}", quoted(text))),
            LeafOp::Connect(_) => return Err(End::violation("a second CONNECT")),
            LeafOp::Info(json) if self.leaf.remote.is_some() => self.take_info(json)?,
            // Only the side that accepts tells of addresses and permissions.
            LeafOp::Info(_) | LeafOp::Message(_) | LeafOp::Ignored => {}
        }
        Ok(())
    }

    fn take_interest(
        &mut self,
        buffers: &mut ThreadBuffers,
        subject: &[u8],
        queue: Option<(&[u8], u32)>,
    ) -> Result<(), End> {
        let Leafnode {
            connection,
            account,
            side,
            interest,
            ..
        } = &*self.leaf;
        connection.active(MonotonicMillis::now());
        self.link.keepalive.busy();
        if subject == account.loop_subject().as_bytes() {
            let name = &account.name;
            // The other side looks for these words, and waits.
            let error = format!(
                "Loop detected for leafnode account=\"{}\". Delaying attempt to reconnect for 30s",
                name.escape_debug()
            );
            self.delay_next(loop_delay());
            if self.leaf.remote.is_none() {
                let loops = &self.leafnodes.broker.telemetry.leafnode_loops;
                loops.count(self.leaf.name.as_bytes(), 0, connection.cid);
            }
            return Err(End::with_error(CloseReason::ProtocolViolation, error));
        }
        if !subject::is_valid(subject) || subject::tokens(subject).count() > TOKENS_MAX {
            self.warn(format!("Invalid subject {} of a leafnode", quoted(subject)));
            connection.send(buffers, &error_line("Invalid Subscription"));
            return Ok(());
        }
        let is_judged = !UNJUDGED.iter().any(|prefix| subject.starts_with(prefix));
        let name = queue.map(|(name, _)| name);
        // Of a subject with wildcards that are withheld which it may not receive.
        if is_judged && !subject::is_wildcard(subject) && !side.may_receive(subject, name) {
            // A hub does not know what is withheld here.
            if side.is_hub {
                return Ok(());
            }
            self.delay_next(VIOLATION_DELAY);
            let subject = quoted(subject);
            let error = format!("Permissions Violation for Subscription to {subject}");
            return Err(End::with_error(CloseReason::ProtocolViolation, error));
        }
        let max = self.leafnodes.limits().max_subscriptions;
        let own = (connection, side);
        if !interest.add(buffers, account, own, subject, queue, max) {
            self.warn(format!(
                "Interest of a leafnode in {} is not kept: it has too much",
                quoted(subject)
            ));
            connection.send(buffers, &error_line("maximum subscriptions exceeded"));
        }
        Ok(())
    }

    /// Whether a message is published: the end of a leafnode that sends one to a subject beyond its
    /// permissions; a hub does not know what is not wanted here, so that its message is dropped. To be
    /// called once for each message that is not gathered with one before it.
    pub(super) fn check_may_send(&self, message: &RouteMessage<'_>) -> Result<bool, End> {
        // A stream's message reaches clients with another subject.
        let shown = message.shown_subject().map(|(subject, _)| subject);
        let may_show =
            |subject: &[u8]| subject::is_valid_literal(subject) && self.may_send(subject);
        let refused = match self.may_send(message.subject) {
            false => Some(message.subject),
            true => shown.filter(|subject| !may_show(subject)),
        };
        let Some(refused) = refused else {
            return Ok(true);
        };
        if self.leaf.side.is_hub {
            let connection = &self.leaf.connection;
            connection.refused_msgs.add(1);
            connection.refused_bytes.add(message.total_len as u64);
            return Ok(false);
        }
        self.delay_next(VIOLATION_DELAY);
        let subject = quoted(refused);
        let error = format!("Permissions Violation for Publish to {subject}");
        Err(End::with_error(CloseReason::ProtocolViolation, error))
    }

    /// Whether the other side may send messages to this subject. A response that is permitted is used
    /// up.
    pub(super) fn may_send(&self, subject: &[u8]) -> bool {
        let Some(permissions) = &self.leaf.sends else {
            return true;
        };
        if permissions.may_publish(subject)
            || UNJUDGED_MESSAGES
                .iter()
                .any(|prefix| subject.starts_with(prefix))
        {
            return true;
        }
        let guard = self.leaf.connection.guard.lock().clone();
        let grants = guard.as_ref().and_then(|guard| guard.grants.as_ref());
        grants.is_some_and(|grants| grants.take(subject, MonotonicMillis::now()))
    }

    /// Logs what the other side does wrong, a few times a second.
    pub(super) fn warn(&self, text: String) {
        let now = MonotonicMillis::now();
        if let Some(text) = self.throttle.throttle(now, text, "lines of this leafnode") {
            log::about(self.connection()).warn(format_args!("{text}"));
        }
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
        let limits = self.leafnodes.broker.limits.current();
        self.cache.clear();
        self.max_payload = self.max_payload();
        self.link
            .keepalive
            .set_limits(limits.ping_interval, limits.ping_max);
        let account = &self.leaf.account;
        account.tell_leafnodes_of_imports(buffers, self.leafnodes.is_clustered);
        buffers.flush_touched();
    }

    fn end_turn(&mut self) {
        self.cache.end_turn();
    }

    fn write_pending(&mut self, buffers: &mut ThreadBuffers) {
        self.announce_pending(buffers);
    }

    fn write_deadline(&self) -> Duration {
        self.leafnodes.write_deadline()
    }

    fn own_deadline(&self) -> Option<tokio::time::Instant> {
        self.cache.next_check()
    }

    fn when_due(&mut self, now: tokio::time::Instant) -> Result<(), End> {
        self.cache.expire(&self.leaf.account, now);
        Ok(())
    }

    fn before_ping(&mut self) {
        self.cache.clear();
    }

    fn end(&mut self, buffers: &mut ThreadBuffers, end: End) {
        let line = log::about(self.connection()).code(EventKind::Leafnode.name());
        line.error(format_args!("{}", end.text()));
        self.note_error(&end.text());
        if let Some(line) = end.error_line() {
            self.connection().send(buffers, &line);
        }
        self.connection().close(end.reason);
        self.fault.get_or_insert(end.detail);
    }
}

impl Reader for Session {
    fn connection(&self) -> &Arc<Connection> {
        &self.leaf.connection
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

    /// A leafnode carries the messages of many: it is not paused for a slow reader.
    fn must_pause(&self, _: &ThreadBuffers) -> bool {
        self.link.is_held() || self.leafnodes.broker.registry.budget.is_overdrawn()
    }
}

impl Ends for Session {
    type Left = Self;

    fn broker(&self) -> &Arc<Broker> {
        &self.leafnodes.broker
    }

    async fn leave(self) -> Self {
        let leaf = &self.leaf;
        leaf.account.interest.detach(&leaf.connection);
        leaf.interest.clear(&leaf.account).await;
        if let Some(guard) = leaf.connection.guard.lock().take()
            && let Some(grants) = &guard.grants
        {
            grants.clear();
        }
        self
    }

    fn ended(left: Self, reason: CloseReason, incident: Option<&Incident>) {
        let (leafnodes, leaf) = (&left.leafnodes, &left.leaf);
        let why = match (&left.fault, incident) {
            (Some(fault), _) => format!("{reason}: {fault}"),
            (None, Some(incident)) => format!("{reason}: {}", incident.evidence),
            (None, None) => reason.to_string(),
        };
        if let Some(remote) = &leaf.remote {
            remote.note_end(&why);
        }
        let connection = &leaf.connection;
        leafnodes.remove(leaf);
        let broker = &leafnodes.broker;
        let is_meant = matches!(
            reason,
            CloseReason::ServerShutdown
                | CloseReason::RemoteRemoved
                | CloseReason::DuplicateLeafnode
        );
        if !is_meant && !why.contains(LOOP_DETECTED) {
            let losses = &broker.telemetry.leafnode_losses;
            losses.count(leaf.name.as_bytes(), 0, connection.cid);
        }
        broker.registry.remove(connection, reason);
        broker.system.count(&leaf.account.name);
        let text = format!("Leafnode {} left: {why}", quoted(leaf.name.as_bytes()));
        leafnodes.record(connection, &leaf.name, &text);
        let ended = connection.ended(reason);
        log::about(connection)
            .code(EventKind::Leafnode.name())
            .ended(ended)
            .info(format_args!("{text} {ended}"));
    }
}
