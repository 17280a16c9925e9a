//! The session of one client: its bytes become operations, its operations act.

use std::{io, net::IpAddr, sync::Arc, sync::atomic::Ordering};

use bytes::BufMut;
use tokio::{net::TcpStream, time::Instant};
use tracing::{debug, error, warn};

use super::{
    Context,
    keepalive::{Due, Keepalive},
    log_prefix,
    lookup_cache::LookupCache,
    publish::{LargePublish, RunInProgress},
};
use crate::{
    connection::{
        CloseReason, Connection, Identity, Subscription,
        worker::{READ_BUFFER_LEN, Worker},
    },
    protocol::{
        OK, PING, PONG,
        connect::ConnectOptions,
        error::{ClientError, error_line, quoted},
        info::Info,
        parse::{Op, ParseError, Parsed, parse, parse_repeated_publish},
    },
    subject,
    telemetry::Clock,
};

/// Room that a read wants behind what is left of the batch before.
const READ_ROOM_MIN: usize = READ_BUFFER_LEN / 2;

/// Bytes read after a large payload: enough for the next control line, little
/// to copy if that is the head of another large payload.
const READ_AFTER_LARGE: usize = 2048;

/// Tokens of a subscription's subject when `max_sub_tokens` sets no limit:
/// what fits the default control line; bounds the depth of the sublist.
const SUB_TOKENS_MAX: usize = 2048;

/// Queue group names that the broker keeps for itself.
const RESERVED_QUEUE: &[u8] = b"_sys_";

/// Why a session must end.
pub(super) struct End {
    /// The reason that monitoring shows.
    pub(super) reason: CloseReason,
    /// What the client is told; `None` closes without a word.
    pub(super) error: Option<ClientError>,
    /// For the log.
    pub(super) detail: String,
}

/// What one read brought.
pub(super) struct Batch {
    /// Bytes handled.
    pub(super) len: usize,
    /// There may be more to read.
    pub(super) more: bool,
}

/// One client.
pub(super) struct Session {
    pub(super) context: Arc<Context>,
    pub(super) connection: Arc<Connection>,
    pub(super) keepalive: Keepalive,
    pub(super) options: ConnectOptions,
    pub(super) cache: LookupCache,
    /// The unfinished end of the last batch.
    carry: Vec<u8>,
    /// A large payload that is being read.
    large: Option<Box<LargePublish>>,
    /// The last payload was large: the next read is short.
    expect_large: bool,
    accepted: Instant,
    connected: bool,
    /// The first ping after CONNECT has been answered.
    pinged: bool,
}

impl Session {
    pub(super) fn new(context: Arc<Context>, connection: Arc<Connection>) -> Self {
        let keepalive = Keepalive::new(context.limits.ping_interval, context.limits.ping_max);
        Self {
            context,
            connection,
            keepalive,
            options: ConnectOptions::default(),
            cache: LookupCache::default(),
            carry: Vec::new(),
            large: None,
            expect_large: false,
            accepted: Instant::now(),
            connected: false,
            pinged: false,
        }
    }

    /// Sends the first INFO.
    pub(super) fn introduce(&self, worker: &mut Worker) {
        self.send_info(worker, false);
    }

    /// Ends a connection that is one too many.
    pub(super) fn refuse_for_max_connections(&self, worker: &mut Worker) {
        self.end(
            worker,
            End {
                reason: CloseReason::MaxConnections,
                error: Some(ClientError::MaxConnections),
                detail: format!("max_connections is {}", self.context.limits.max_connections),
            },
        );
    }

    /// Reads one batch and handles it.
    ///
    /// # Errors
    ///
    /// Those of the socket; its end is `UnexpectedEof`.
    pub(super) fn read(&mut self, worker: &mut Worker, stream: &TcpStream) -> io::Result<Batch> {
        if self.large.is_some() {
            return self.read_large(worker, stream);
        }
        let mut buffer = std::mem::take(&mut worker.read_buffer);
        let held = self.carry.len();
        if buffer.len() < held + READ_ROOM_MIN {
            buffer.resize(held + READ_ROOM_MIN, 0);
        }
        buffer[..held].copy_from_slice(&self.carry);
        let end = match self.expect_large {
            true => (held + READ_AFTER_LARGE).min(buffer.len()),
            false => buffer.len(),
        };
        let result = match stream.try_read(&mut buffer[held..end]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.carry.clear();
                self.handle_batch(worker, &buffer[..held + read]);
                Ok(Batch {
                    len: held + read,
                    more: held + read == end,
                })
            }
            Err(error) => Err(error),
        };
        buffer.truncate(READ_BUFFER_LEN);
        worker.read_buffer = buffer;
        result
    }

    fn read_large(&mut self, worker: &mut Worker, stream: &TcpStream) -> io::Result<Batch> {
        let Some(large) = &mut self.large else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let missing = large.missing();
        let len = stream.try_read_buf(&mut (&mut large.payload).limit(missing))?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if large.missing() == 0
            && let Some(large) = self.large.take()
        {
            self.expect_large = true;
            if let Err(end) = self.publish_large(worker, *large) {
                self.end(worker, end);
            }
            // A large message does not wait for others.
            worker.flush_touched();
        }
        Ok(Batch { len, more: true })
    }

    /// Handles the operations in `bytes` and keeps the unfinished end.
    fn handle_batch(&mut self, worker: &mut Worker, bytes: &[u8]) {
        let mut run = RunInProgress::default();
        let mut at = 0;
        let mut result = Ok(());
        while at < bytes.len() && result.is_ok() {
            match self.handle_operation(worker, &mut run, bytes, &mut at) {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => result = Err(end),
            }
        }
        // What came before an error is still delivered.
        let counted = run.deliver_last(self, worker, bytes);
        self.connection.in_msgs.add(counted.msgs);
        self.connection.in_bytes.add(counted.bytes);
        if counted.msgs > 0 {
            self.keepalive.busy();
            self.connection.active(Clock::now());
        }
        match result {
            Ok(()) if at < bytes.len() => self.carry.extend_from_slice(&bytes[at..]),
            Ok(()) => {
                // A connection at rest holds no buffer.
                if self.carry.capacity() > 0 {
                    self.carry = Vec::new();
                }
            }
            Err(end) => self.end(worker, end),
        }
    }

    /// Handles the operation at `at` and moves on. `false`: it is not complete.
    #[inline]
    fn handle_operation(
        &mut self,
        worker: &mut Worker,
        run: &mut RunInProgress,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<bool, End> {
        let rest = &bytes[*at..];
        if let Some(subject) = run.subject(bytes)
            && let Some(publish) = parse_repeated_publish(rest, subject)
        {
            return self.handle_publish(worker, run, bytes, at, &publish);
        }
        match parse(rest, self.context.limits.max_control_line) {
            Ok(Parsed::Op(Op::Publish(publish), _)) => {
                self.handle_publish(worker, run, bytes, at, &publish)
            }
            Ok(Parsed::Op(op, len)) => {
                // What was published before must be on its way before anything
                // else happens: a PONG promises it.
                run.deliver(self, worker, bytes);
                *at += len;
                self.act(worker, op)?;
                Ok(true)
            }
            Ok(Parsed::Incomplete) => Ok(false),
            Err(error) => Err(parse_end(error)),
        }
    }

    /// Takes a publish into the run. `false`: its payload is not complete; if
    /// it is large, everything there is has been consumed all the same.
    #[inline]
    fn handle_publish(
        &mut self,
        worker: &mut Worker,
        run: &mut RunInProgress,
        bytes: &[u8],
        at: &mut usize,
        publish: &crate::protocol::parse::Publish<'_>,
    ) -> Result<bool, End> {
        if publish.total_len > self.context.limits.max_payload {
            return Err(End {
                reason: CloseReason::MaxPayload,
                error: Some(ClientError::MaxPayload),
                detail: format!(
                    "payload of {} bytes for {}, max_payload is {}",
                    publish.total_len,
                    quoted(publish.subject),
                    self.context.limits.max_payload
                ),
            });
        }
        if publish.header_len.is_some() && !self.options.headers {
            return Err(protocol_violation("HPUB without header support"));
        }
        let rest = &bytes[*at..];
        let whole_len = publish.whole_len();
        if rest.len() < whole_len {
            if LargePublish::is_large(publish) {
                run.deliver(self, worker, bytes);
                self.large = Some(Box::new(LargePublish::begin(publish, rest)));
                *at = bytes.len();
            }
            return Ok(false);
        }
        self.expect_large = false;
        if !rest[..whole_len].ends_with(b"\r\n") {
            return Err(unknown_operation(
                "a payload does not end where its size says",
            ));
        }
        run.add(self, worker, bytes, *at, publish);
        *at += whole_len;
        Ok(true)
    }

    fn act(&mut self, worker: &mut Worker, op: Op<'_>) -> Result<(), End> {
        if self.context.trace {
            super::publish::trace_in(&self.connection, &op);
        }
        match op {
            Op::Connect(json) => self.connect(worker, json),
            Op::Subscribe {
                subject,
                queue,
                sid,
            } => {
                self.subscribe(worker, subject, queue, sid);
                Ok(())
            }
            Op::Unsubscribe { sid, max } => {
                self.unsubscribe(worker, sid, max);
                Ok(())
            }
            Op::Ping => {
                self.answer_ping(worker);
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
                Err(protocol_violation("bad INFO: no object"))
            }
            Op::Info(json) => match serde_json::from_slice::<Info>(json) {
                Ok(_) => Ok(()),
                Err(error) => Err(protocol_violation(&format!("bad INFO: {error}"))),
            },
            Op::Ok => Ok(()),
            Op::Err(text) => Err(End {
                reason: CloseReason::ParseError,
                error: None,
                detail: format!(
                    "Client Error {}",
                    String::from_utf8_lossy(text).escape_debug()
                ),
            }),
            // Handled where the payload is.
            Op::Publish(_) => Ok(()),
        }
    }

    fn connect(&mut self, worker: &mut Worker, json: &[u8]) -> Result<(), End> {
        let options = self
            .options
            .merge(json)
            .map_err(|error| protocol_violation(&format!("bad CONNECT: {error}")))?;
        let refuse = |reason, error: ClientError| End {
            reason,
            detail: error.to_string(),
            error: Some(error),
        };
        if !matches!(options.protocol, 0 | 1) {
            return Err(refuse(
                CloseReason::BadClientProtocol,
                ClientError::InvalidProtocol,
            ));
        }
        if !options.account.is_empty() || options.new_account {
            return Err(refuse(
                CloseReason::AuthenticationFailure,
                ClientError::AuthorizationViolation,
            ));
        }
        let headers = options.headers && self.context.limits.headers;
        if options.no_responders && !headers {
            return Err(refuse(
                CloseReason::NoRespondersWithoutHeaders,
                ClientError::NoRespondersWithoutHeaders,
            ));
        }
        if self.connected {
            // A second CONNECT is a new beginning.
            let subscriptions = self.connection.subscriptions.lock().drain();
            self.context.account.unsubscribe(&subscriptions);
        }
        *self.connection.identity.lock() = Identity {
            name: options.name.clone(),
            lang: options.lang.clone(),
            version: options.version.clone(),
            user: options.user.clone(),
        };
        self.options = ConnectOptions { headers, ..options };
        self.note_takes_info();
        self.connection.headers.store(headers, Ordering::Relaxed);
        let now = Clock::now();
        self.connection.active(now);
        if !self.connected {
            self.connected = true;
            // Until a ping is answered this is the best guess.
            self.connection.set_rtt(self.accepted.elapsed());
            self.keepalive.connected();
        }
        self.confirm(worker);
        Ok(())
    }

    fn subscribe(&mut self, worker: &mut Worker, subject: &[u8], queue: Option<&[u8]>, sid: &[u8]) {
        self.keepalive.busy();
        self.connection.active(Clock::now());
        let limits = &self.context.limits;
        if queue == Some(RESERVED_QUEUE) {
            return self.complain(
                worker,
                ClientError::SubscriptionViolation {
                    subject: quoted(subject),
                    queue: queue.map(quoted),
                },
            );
        }
        let tokens_max = match limits.max_sub_tokens {
            0 => SUB_TOKENS_MAX,
            max => max.min(SUB_TOKENS_MAX),
        };
        if subject::tokens(subject).count() > tokens_max {
            let subject = quoted(subject);
            return self.complain(worker, ClientError::TooManyTokens { subject });
        }
        {
            let mut subscriptions = self.connection.subscriptions.lock();
            if limits.max_subscriptions > 0 && subscriptions.len() >= limits.max_subscriptions {
                drop(subscriptions);
                return self.complain(worker, ClientError::MaxSubscriptions);
            }
            if subscriptions.get(sid).is_none() {
                if !subject::is_valid(subject) {
                    drop(subscriptions);
                    return self.complain(worker, ClientError::InvalidSubject);
                }
                let subscription = Arc::new(Subscription::new(
                    self.connection.clone(),
                    subject,
                    queue,
                    sid,
                ));
                subscriptions.insert(subscription.clone());
                self.context.account.sublist.insert(subscription);
            }
        }
        self.confirm(worker);
    }

    fn unsubscribe(&mut self, worker: &mut Worker, sid: &[u8], max: Option<u64>) {
        self.keepalive.busy();
        self.connection.active(Clock::now());
        let found = self.connection.subscriptions.lock().get(sid).cloned();
        if let Some(subscription) = found {
            match max {
                Some(max) if max > subscription.delivered.value() => subscription.set_max(max),
                _ => self.drop_subscription(&subscription),
            }
        }
        self.confirm(worker);
    }

    /// Ends one subscription of this connection.
    fn drop_subscription(&self, subscription: &Arc<Subscription>) {
        self.connection.subscriptions.lock().remove(subscription);
        self.context
            .account
            .unsubscribe(std::slice::from_ref(subscription));
    }

    fn answer_ping(&mut self, worker: &mut Worker) {
        self.keepalive.busy();
        self.connection.send(worker, PONG);
        let first = self.connected && !std::mem::replace(&mut self.pinged, true);
        if first && self.options.protocol >= 1 {
            self.send_info(worker, true);
        }
        self.note_takes_info();
    }

    /// INFO may come at any time to a client that wants it and has had its
    /// first PONG.
    fn note_takes_info(&self) {
        let takes_info = self.pinged && self.options.protocol >= 1;
        self.connection
            .takes_info
            .store(takes_info, Ordering::Relaxed);
    }

    fn send_info(&self, worker: &mut Worker, answers_ping: bool) {
        let mut info = info_for(&self.context, &self.connection);
        if answers_ping {
            info.connect_info = true;
            info.remote_account = self.context.account.name.clone();
        }
        self.connection.send(worker, &info.line());
    }

    /// `+OK` for a verbose client.
    pub(super) fn confirm(&self, worker: &mut Worker) {
        if self.options.verbose {
            self.connection.send(worker, OK);
        }
    }

    /// Tells the client of an error that its connection survives.
    pub(super) fn complain(&self, worker: &mut Worker, error: ClientError) {
        debug!("{} - {error}", log_prefix(&self.connection));
        self.connection.send(worker, &error_line(&error));
    }

    /// Ends the connection, telling why as the protocol has it.
    pub(super) fn end(&self, worker: &mut Worker, end: End) {
        error!(
            "{} - {}: {}",
            log_prefix(&self.connection),
            end.reason,
            end.detail
        );
        if let Some(error) = &end.error {
            self.connection.send(worker, &error_line(error));
        }
        self.connection.close(end.reason);
    }

    /// Makes room when all outbound queues together hold too much.
    pub(super) fn keep_budget(&self) {
        let registry = &self.context.registry;
        for connection in registry.keep_budget() {
            warn!(
                "{} - Slow Consumer Detected: all queues together exceed max_memory of {} bytes, \
                 this one held most",
                log_prefix(&connection),
                registry.budget.limit()
            );
        }
    }

    /// Pings, and ends stale or stuck connections, when it is time.
    pub(super) fn keep_alive(&mut self, worker: &mut Worker) {
        let now = Instant::now();
        let backlog = self.connection.outbound().backlog();
        let stuck = backlog.last_progress.until(Clock::now());
        if self.connection.is_blocked() && stuck >= self.context.limits.write_deadline {
            self.connection
                .close(CloseReason::SlowConsumerWriteDeadline);
            return;
        }
        match self.keepalive.due(now) {
            Due::Nothing => {}
            Due::Ping => {
                self.cache.clear();
                self.connection.send(worker, PING);
            }
            Due::Stale => self.end(
                worker,
                End {
                    reason: CloseReason::StaleConnection,
                    error: Some(ClientError::StaleConnection),
                    detail: format!("{} pings unanswered", self.context.limits.ping_max),
                },
            ),
        }
    }

    /// When [`Session::keep_alive`] is to be called next.
    pub(super) fn next_deadline(&self) -> Instant {
        let ping = self.keepalive.next();
        if !self.connection.is_blocked() {
            return ping;
        }
        let waited = self
            .connection
            .outbound()
            .backlog()
            .last_progress
            .until(Clock::now());
        let left = self.context.limits.write_deadline.saturating_sub(waited);
        // A millisecond more, so that the deadline has passed when it is looked at.
        ping.min(Instant::now() + left + std::time::Duration::from_millis(1))
    }
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

fn parse_end(error: ParseError) -> End {
    match error {
        ParseError::Arguments(detail) => protocol_violation(&detail),
        ParseError::ControlLine => End {
            reason: CloseReason::MaxControlLine,
            error: Some(ClientError::ControlLine),
            detail: "a control line longer than max_control_line".into(),
        },
        ParseError::UnknownOperation => unknown_operation("no such verb"),
    }
}

fn unknown_operation(detail: &str) -> End {
    End {
        reason: CloseReason::ProtocolViolation,
        error: Some(ClientError::UnknownOperation),
        detail: detail.into(),
    }
}

fn protocol_violation(detail: &str) -> End {
    End {
        reason: CloseReason::ProtocolViolation,
        error: None,
        detail: detail.into(),
    }
}
