//! Serving while an upstream broker is connected: requests come from there and are published at the
//! site, replies come from the site and are published there.
//!
//! Only then is this broker a member of the site's queue group: otherwise replies would come here
//! that another member could pass on.

use std::{io, pin::pin, sync::Arc, time::Duration};

use monitor_client::text::plural;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    Federation, SHORT,
    figures::{Connected, Direction},
    local::Local,
    pool::{Address, Pool},
    refusal::Refusal,
    rewrite::{self, Hop, Reply},
    server_protocol::{Op, parse},
    upstream::{SID, Server, read_info},
};
use crate::{
    account::Account,
    connection::{
        Wake,
        buffers::{ThreadBuffers, with_buffers},
        reading::try_read_some,
    },
    peer::keepalive::{Due, Keepalive},
    protocol::{CRLF, PING, PONG},
    telemetry::{MonotonicMicros, MonotonicMillis},
};

/// Between pings, and how many may go unanswered.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_MAX: u32 = 2;

/// Bytes of one read.
const READ_LEN: usize = 64 * 1024;

/// Bytes that may wait for an upstream broker that takes less than comes. More is dropped.
pub const PENDING_MAX: usize = 32 * 1024 * 1024;

/// How long the rest of what is under way may take when this broker leaves the queue groups.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a session ended.
pub(super) enum End {
    /// The broker stops, or leaves the federation.
    Stopped,
    /// Another broker is to be used: this one leaves, or files of TLS have changed.
    Moved(&'static str),
    /// The connection was lost.
    Lost(String),
}

/// Both sides.
pub(super) struct Session<'a> {
    federation: &'a Federation,
    pool: &'a mut Pool,
    address: Address,
    server: Server,
    begin: Instant,
    account: Arc<Account>,
    local: Local,
    keepalive: Keepalive,
    /// How hops of requests and of replies are recorded.
    request_hop: Hop,
    reply_hop: Hop,
    /// Whether the upstream broker is about to leave.
    server_leaves: bool,
    /// Whether the answer to the last ping has come.
    is_answered: bool,
}

impl<'a> Session<'a> {
    /// Joins the site's queue group.
    pub(super) fn begin(
        federation: &'a Federation,
        pool: &'a mut Pool,
        address: Address,
        server: Server,
        account: &Arc<Account>,
    ) -> Self {
        let local = join(federation, account);
        let connected = Connected {
            address: server.address.clone(),
            server_name: server.info.server_name.clone(),
            version: server.info.version.clone(),
            since: MonotonicMillis::now(),
            connection: server.connection.clone(),
            local: local.connection().clone(),
        };
        let events = &federation.broker.telemetry.events;
        federation.figures.connected(events, connected);
        let upstream = format!("nats://{}", server.address);
        let hop = |from: &str, to: &str| Hop {
            from: from.to_owned(),
            who: federation.hop_name(),
            to: to.to_owned(),
        };
        let mut keepalive = Keepalive::new(PING_INTERVAL, PING_MAX);
        keepalive.connected(PING_INTERVAL);
        let mut session = Self {
            request_hop: hop(&upstream, &federation.local_url),
            reply_hop: hop(&federation.local_url, &upstream),
            federation,
            pool,
            address,
            server,
            begin: Instant::now(),
            account: account.clone(),
            local,
            keepalive,
            server_leaves: false,
            is_answered: false,
        };
        session.learn();
        session
    }

    /// Serves until the connection ends or the broker stops.
    pub(super) async fn serve(mut self) -> End {
        let end = match self.handle_upstream() {
            Ok(()) => self.pass_on().await,
            Err(why) => End::Lost(why),
        };
        self.count_lost();
        self.federation.figures.set_unread(0);
        self.server.end();
        let was_short = self.begin.elapsed() < SHORT;
        self.pool.lost(self.address, was_short);
        end
    }

    async fn pass_on(&mut self) -> End {
        let connection = self.server.connection.clone();
        let stream = self.server.stream.clone();
        let deadline = self.deadline();
        let mut timer = pin!(sleep_until(deadline));
        timer.as_mut().reset(deadline);
        // Bytes received together with the end of a handshake are not reported by the socket.
        let mut unread = true;
        loop {
            let handled = tokio::select! {
                () = self.federation.asked_to_leave() => {
                    self.leave().await;
                    return End::Stopped;
                }
                () = self.federation.asked_to_reconnect() => {
                    self.leave().await;
                    return End::Moved("the TLS files have changed");
                }
                wake = connection.wake(&stream, timer.as_mut(), &mut unread) => self.act(wake),
                is_open = self.local.has_some() => match is_open {
                    true => self.handle_local(),
                    false => {
                        self.rejoin();
                        Ok(())
                    }
                },
            };
            if let Err(why) = handled {
                return End::Lost(why);
            }
            if self.server_leaves {
                self.leave().await;
                return End::Moved("it is about to stop");
            }
            let deadline = self.deadline();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
        }
    }

    fn act(&mut self, wake: Wake) -> Result<(), String> {
        match wake {
            Wake::Closing => Err("writing to it failed".to_owned()),
            Wake::Changed | Wake::InterestPending | Wake::Stuck => Ok(()),
            Wake::Writable => {
                with_buffers(|buffers| self.server.connection.flush_blocked(buffers));
                Ok(())
            }
            Wake::Readable => {
                self.read()?;
                self.handle_upstream()
            }
            Wake::Timer => self.keep_time(),
        }
    }

    fn read(&mut self) -> Result<(), String> {
        let Server {
            connection,
            stream,
            unread,
            ..
        } = &mut self.server;
        match try_read_some(connection, stream, unread, READ_LEN) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err("it closed the connection".to_owned())
            }
            Err(error) => Err(error.to_string()),
            Ok(()) => Ok(()),
        }
    }

    /// Handles what has come from upstream.
    fn handle_upstream(&mut self) -> Result<(), String> {
        let payload_max = self.payload_max();
        let unread = std::mem::take(&mut self.server.unread);
        let mut at = 0;
        while let Some((op, len)) = parse(&unread[at..], payload_max)? {
            at += len;
            match op {
                Op::Message(payload) => {
                    self.keepalive.busy();
                    self.pass_on_request(payload);
                }
                Op::Ping => self.server.connection.send_now(PONG),
                Op::Pong => {
                    self.is_answered = true;
                    if let Some(rtt) = self.keepalive.pong() {
                        self.server.connection.set_rtt(rtt);
                    }
                }
                Op::Info(json) => {
                    self.server.info = read_info(json)?;
                    self.server_leaves |= self.server.info.ldm;
                    self.learn();
                }
                Op::Ok => {}
                Op::Error(text) => self.hear_error(&text)?,
            }
        }
        self.server.unread = unread;
        self.server.unread.drain(..at);
        // A large message leaves nothing behind.
        if self.server.unread.is_empty() && self.server.unread.capacity() > 4 * READ_LEN {
            self.server.unread = Vec::new();
        }
        let held = self.server.unread.capacity();
        self.federation.figures.set_unread(held);
        Ok(())
    }

    /// The largest payload that is taken from upstream: what is larger could not be delivered at
    /// the site.
    fn payload_max(&self) -> usize {
        let of_server = usize::try_from(self.server.info.max_payload).unwrap_or(0);
        let own = self.federation.broker.limits.current().max_payload;
        own.max(of_server.min(PENDING_MAX))
    }

    fn pass_on_request(&self, payload: &[u8]) {
        let figures = &self.federation.figures;
        let counts = figures.of(Direction::Requests);
        counts.received.add(1);
        counts.received_bytes.add(payload.len() as u64);
        let (reply_to, _) = self.federation.reply_group();
        let rules = &self.federation.rules;
        let rewritten = rewrite::request(payload, rules, &reply_to, &self.request_hop);
        let max = self.federation.broker.limits.current().max_payload;
        let request = match rewritten {
            Ok(request) if request.payload.len() > max => Err(Refusal::TooLarge),
            rewritten => rewritten,
        };
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return figures.refuse(Direction::Requests, refusal),
        };
        let targets = request.targets.len();
        let bytes = (targets * request.payload.len()) as u64;
        figures.begin_round_trip(&request.id, request.is_discovery());
        let share = || self.local.share();
        let asked = request.asked.clone();
        figures
            .answers
            .ask(&request.id, asked, share, MonotonicMicros::now());
        let reached = self.local.publish(request);
        counts.published.add(targets as u64);
        counts.published_bytes.add(bytes);
        counts.without_receiver.add((targets - reached) as u64);
    }

    /// Handles what has come from the site.
    fn handle_local(&mut self) -> Result<(), String> {
        let mut bytes = Vec::new();
        self.local.take(&mut bytes);
        with_buffers(|buffers| {
            let mut at = 0;
            // The broker's own words: they are complete, and in order.
            while let Ok(Some((op, len))) = parse(&bytes[at..], usize::MAX) {
                at += len;
                if let Op::Message(payload) = op {
                    self.pass_on_reply(buffers, payload);
                }
            }
            buffers.flush_touched();
            buffers.congested.clear();
        });
        Ok(())
    }

    fn pass_on_reply(&self, buffers: &mut ThreadBuffers, payload: &[u8]) {
        let figures = &self.federation.figures;
        let counts = figures.of(Direction::Replies);
        counts.received.add(1);
        counts.received_bytes.add(payload.len() as u64);
        let rewritten = rewrite::reply(payload, &self.federation.rules, &self.reply_hop);
        if let Ok(reply) = &rewritten {
            let now = MonotonicMicros::now();
            figures.answers.hear(&reply.id, &reply.sender, now);
        }
        let max = usize::try_from(self.server.info.max_payload).unwrap_or(usize::MAX);
        let reply = match rewritten {
            Ok(reply) if reply.payload.len() > max => Err(Refusal::TooLarge),
            rewritten => rewritten,
        };
        let Reply {
            payload,
            target,
            id,
            ..
        } = match reply {
            Ok(reply) => reply,
            Err(refusal) => return figures.refuse(Direction::Replies, refusal),
        };
        let connection = &self.server.connection;
        let head = format!("PUB {target} {}\r\n", payload.len());
        let line = [head.as_bytes(), &payload, CRLF].concat();
        let bytes = payload.len() as u64;
        if connection.outbound().backlog().pending + line.len() > PENDING_MAX {
            counts.dropped.add(1);
            counts.dropped_bytes.add(bytes);
            return;
        }
        connection.send(buffers, &line);
        counts.published.add(1);
        counts.published_bytes.add(bytes);
        figures.end_round_trip(&id);
    }

    /// An upstream broker complains. After most complaints it closes the connection, and says why
    /// only here.
    fn hear_error(&self, text: &str) -> Result<(), String> {
        let lower = text.to_ascii_lowercase();
        match lower.starts_with("permissions violation for publish") {
            true => {
                self.federation.figures.complain(&self.server.address, text);
                Ok(())
            }
            false => Err(format!("it refuses: {text}")),
        }
    }

    fn learn(&mut self) {
        let urls = &self.server.info.connect_urls;
        if !urls.is_empty() {
            self.pool.learn(&self.address, urls);
        }
    }

    fn keep_time(&mut self) -> Result<(), String> {
        let write_deadline = self.write_deadline();
        if self.server.connection.is_blocked() && self.stuck_for() >= write_deadline {
            let pending = self.server.connection.outbound().backlog().pending;
            return Err(format!(
                "it took nothing for {write_deadline:?}; {} waited for it",
                plural(pending, "byte")
            ));
        }
        match self.keepalive.due(Instant::now()) {
            Due::Nothing => {}
            Due::Ping => self.server.connection.send_now(PING),
            Due::Stale => return Err(format!("it left {PING_MAX} pings unanswered")),
        }
        Ok(())
    }

    fn deadline(&self) -> Instant {
        let next = self.keepalive.next();
        if !self.server.connection.is_blocked() {
            return next;
        }
        let left = self.write_deadline().saturating_sub(self.stuck_for());
        // A millisecond more, so that the deadline has passed when it is checked.
        next.min(Instant::now() + left + Duration::from_millis(1))
    }

    fn write_deadline(&self) -> Duration {
        self.federation.broker.limits.current().write_deadline
    }

    fn stuck_for(&self) -> Duration {
        let backlog = self.server.connection.outbound().backlog();
        backlog.stuck_for(MonotonicMillis::now())
    }

    /// Leaves the queue groups and passes on what is under way: requests that the upstream broker
    /// has sent before it knows, then the replies that have come.
    async fn leave(&mut self) {
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        let goodbye = format!("UNSUB {SID}\r\n");
        self.server.connection.send_now(goodbye.as_bytes());
        self.is_answered = false;
        self.server.connection.send_now(PING);
        while !self.is_answered && Instant::now() < deadline {
            let readable = self.server.stream.readable();
            let Ok(Ok(())) = timeout_at(deadline, readable).await else {
                break;
            };
            if self.read().is_err() || self.handle_upstream().is_err() {
                break;
            }
        }
        self.local.leave();
        // Cannot fail: nothing is read from upstream here.
        let _ = self.handle_local();
        let connection = &self.server.connection;
        connection.drain_and_close(&self.server.stream).await;
    }

    /// Too many replies came at once, and the queue group was left with them: joins it again.
    fn rejoin(&mut self) {
        self.count_lost();
        self.local = join(self.federation, &self.account);
        let local = self.local.connection().clone();
        self.federation.figures.rejoined(local);
    }

    /// Counts what was lost because too many replies came at once.
    fn count_lost(&self) {
        let lost = self.local.lost();
        let counts = self.federation.figures.of(Direction::Replies);
        counts.dropped.add(lost.msgs);
        counts.dropped_bytes.add(lost.bytes);
    }
}

/// Joins the site's queue group.
fn join(federation: &Federation, account: &Arc<Account>) -> Local {
    let (subject, queue) = federation.reply_group();
    Local::join(&federation.broker, account, &subject, &queue)
}
