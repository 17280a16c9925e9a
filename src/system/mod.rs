//! The system account: the broker publishes its events there, and answers requests, with
//! nats-server's subjects and names.
//!
//! `main` calls [`serve`] once. A separate thread handles the notices that sessions put
//! into the queue (`broker::system_queue`), so that no broker worker's time is spent on
//! answers. The answers are the values of the monitoring port (`monitor::endpoints`) in an
//! [`envelope`]; requests are in [`request`], advisories in [`advisory`], measured services in
//! [`latency`]. Counts of subscribers are asked of the other members of the cluster, and
//! [`subscribers`] adds their answers up; all other requests are answered by each member itself.

mod advisory;
mod encoding;
mod envelope;
mod latency;
mod request;
mod subscribers;

use std::{
    cell::RefCell,
    io,
    sync::{Arc, mpsc::RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use monitor_client::text::plural;
use tracing::warn;

use crate::{
    account::{
        Account, Destinations, fan_out::Sender, latency::FIGURES_EVERY, path::Path,
        replies::PendingReply,
    },
    broker::system_queue::{
        ACCEPT_ENCODING, COUNTED, LATENCY_TOPIC, NOTICES_MAX, Notice, Notices, Request, Traced,
        latency_token, subjects,
    },
    config::{accounts::ResponseKind, options::Options},
    connection::buffers::with_buffers,
    delivery::{ComposedMessage, leaf_side::Source},
    monitor::Monitor,
    protocol::header,
    route::PAYLOAD_MAX,
    server::Server,
};
use advisory::Totals;
use encoding::{Encoded, Encoding};
use envelope::{Envelope, to_json};
use subscribers::Counting;

/// How long answers of other members to a question of a client are passed on.
const MEMBERS_PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of the thread's stack: a reload reads the configuration there.
const STACK_LEN: usize = 2 * 1024 * 1024;

/// Between two messages on `STATSZ`; the first ones come faster.
const STATSZ_EVERY: Duration = Duration::from_secs(10);

/// Until the first ones.
const STATSZ_FIRST: Duration = Duration::from_millis(250);

/// Between two counts of an account's connections while it has any.
const CONNS_EVERY: Duration = Duration::from_secs(30);

/// Serves the system account, on a thread of its own that lives as long as the
/// process. Without a system account it does nothing.
///
/// # Errors
///
/// The thread cannot be had.
pub fn serve(server: Arc<Server>, monitor: Arc<Monitor>) -> io::Result<()> {
    let Some(account) = server.broker.accounts.system().cloned() else {
        return Ok(());
    };
    let notices = server.broker.system.open();
    let woken = server.clone();
    let token = latency_token(&server.id);
    server.broker.accounts.latencies.open(token, move || {
        woken.broker.system.leave(Notice::Measured);
    });
    with_buffers(|buffers| {
        for subject in subjects(&server.id) {
            account.interest.want_always(buffers, subject.as_bytes());
        }
        buffers.flush_touched();
    });
    let system = System {
        monitor,
        envelope: Envelope::new(&server),
        account,
        server,
        counting: RefCell::default(),
        totals: RefCell::default(),
    };
    thread::Builder::new()
        .name("system".into())
        .stack_size(STACK_LEN)
        .spawn(move || system.run(&notices))?;
    Ok(())
}

/// The data for events and answers.
struct System {
    server: Arc<Server>,
    account: Arc<Account>,
    monitor: Arc<Monitor>,
    envelope: Envelope,
    /// Questions to the members of the cluster that wait for answers.
    counting: RefCell<Counting>,
    /// The traffic of each account, as of a recent time.
    totals: RefCell<Option<Totals>>,
}

impl System {
    /// Handles notices and timers until the queue is closed.
    fn run(&self, notices: &Notices) {
        let mut pause = STATSZ_FIRST;
        let mut statsz_at = Instant::now() + pause;
        let mut conns_at = Instant::now() + CONNS_EVERY;
        let mut figures_at = Instant::now() + FIGURES_EVERY;
        let (mut dropped, mut too_large) = (0, 0);
        loop {
            let next = self.counting.borrow().deadline();
            let next = next.map_or(statsz_at, |deadline| deadline.min(statsz_at));
            let wait = next.saturating_duration_since(Instant::now());
            match notices.wait(wait) {
                Ok(notice) => {
                    self.take(notice);
                    for notice in notices.ready().take(NOTICES_MAX) {
                        self.take(notice);
                    }
                    // Many accounts are counted once each, after all their notices.
                    for account in self.server.broker.system.take_counted() {
                        self.publish_conns(&account);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.publish_latencies();
            if figures_at <= Instant::now() {
                figures_at = Instant::now() + FIGURES_EVERY;
                self.keep_latencies();
            }
            self.send_late_counts();
            if statsz_at <= Instant::now() {
                self.publish_statsz();
                self.warn_of_dropped(&mut dropped);
                self.warn_of_large(&mut too_large);
                pause = (pause * 2).min(STATSZ_EVERY);
                statsz_at = Instant::now() + pause;
            }
            if conns_at <= Instant::now() {
                conns_at = Instant::now() + CONNS_EVERY;
                self.publish_all_conns();
            }
        }
    }

    /// Warns of notices that did not fit since the last call.
    fn warn_of_dropped(&self, before: &mut u64) {
        let now =
            self.server.broker.system.dropped() + self.server.broker.accounts.latencies.dropped();
        if now > *before {
            warn!(
                "{} of the system account dropped (advisories, requests and measurements): more than \
                 {NOTICES_MAX} waited",
                plural(now - *before, "message")
            );
            *before = now;
        }
    }

    /// Warns of events that were too large since the last call.
    fn warn_of_large(&self, before: &mut u64) {
        let now = self.server.broker.system.too_large();
        if now > *before {
            warn!(
                "{} of the broker itself not sent (measurements, traces): larger than {} bytes",
                plural(now - *before, "event"),
                self.event_max()
            );
            *before = now;
        }
    }

    /// Acts on a notice.
    fn take(&self, notice: Notice) {
        match notice {
            Notice::Connected(connection) => self.publish_connected(&connection),
            Notice::Closed(connection, reason) => self.publish_closed(&connection, reason),
            Notice::LeafnodeConnected(account) => self.publish_leafnode_connected(&account),
            // Published when all notices have been handled.
            Notice::Counted | Notice::Measured => {}
            Notice::LameDuck => self.publish(&self.subject("LAMEDUCK"), || self.envelope.server()),
            Notice::Request(request) => self.serve(&request),
            Notice::Traced(traced) => self.publish_trace(&traced),
            Notice::Stopping(sender) => {
                self.publish(&self.subject("SHUTDOWN"), || self.envelope.server());
                // Fails if the requester no longer waits for it.
                let _ = sender.send(());
            }
        }
    }

    fn serve(&self, request: &Request) {
        let topic = &*request.ask.topic;
        if topic == "SUBSCRIBERS" {
            return self.count_subscribers(request);
        }
        if let Some(question) = topic.strip_prefix(COUNTED) {
            return self.add_count(question, &request.body);
        }
        if topic == LATENCY_TOPIC {
            return self.take_latency_half(&request.body);
        }
        if request.reply.is_empty() {
            return self.publish_statsz();
        }
        if request.ask.is_ping && !request.account.is_system {
            self.ask_members(request);
        }
        if let Some(answer) = self.answer(request) {
            // Who asks chooses how much it is, as with nats-server.
            let message = composed(&answer);
            self.deliver_within(PAYLOAD_MAX, &request.account, &request.reply, &message);
        }
    }

    /// Publishes the trace event of a message.
    fn publish_trace(&self, traced: &Traced) {
        let event = to_json(&traced.event);
        let fields = event.strip_prefix('{').unwrap_or_default();
        let event = format!("{{\"server\":{},{fields}", self.envelope.server());
        let accepted = traced.event.header(ACCEPT_ENCODING).map(str::as_bytes);
        let encoded = Encoding::of(accepted).encode(event.into_bytes());
        let message = composed(&encoded);
        let dest = traced.dest.as_bytes();
        self.deliver_within(self.event_max(), &traced.account, dest, &message);
    }

    /// Passes what a client asks about its own account on to the other members
    /// of the cluster. Each answers the client by itself.
    fn ask_members(&self, request: &Request) {
        let (Some(about), true) = (&request.ask.account, self.members() > 0) else {
            return;
        };
        let replies = &self.account.replies;
        let reply = replies.register(PendingReply {
            account: request.account.clone(),
            subject: (*request.reply).into(),
            response: ResponseKind::Stream,
            threshold: MEMBERS_PATIENCE,
            measured: None,
        });
        let Some(reply) = reply else {
            return;
        };
        with_buffers(|buffers| {
            let interest = &self.account.interest;
            interest.want(buffers, replies.pattern().as_bytes());
            buffers.flush_touched();
        });
        let subject = format!("$SYS.REQ.ACCOUNT.{about}.{}", request.ask.topic);
        let encodings = request.encodings.as_deref();
        let headers = encodings.map(|names| header::with(b"", ACCEPT_ENCODING, names));
        let message = ComposedMessage::new(Some(&reply), headers.as_deref(), &request.body);
        self.deliver_within(
            self.event_max(),
            &self.account,
            subject.as_bytes(),
            &message,
        );
    }

    /// The other members of the cluster.
    fn members(&self) -> usize {
        let cluster = self.server.cluster.as_ref();
        cluster.map_or(0, |cluster| cluster.routes().len())
    }

    /// Whether an event has subscribers, here or at another member of the cluster.
    fn is_wanted(&self, subject: &str) -> bool {
        let account = &self.account;
        let subject = subject.as_bytes();
        !account.sublist.lookup(subject).is_empty() || !account.remotes(subject).is_empty()
    }

    /// Publishes an event in the system account. It is made only if it has subscribers.
    fn publish(&self, subject: &str, make: impl FnOnce() -> String) {
        if self.is_wanted(subject) {
            self.deliver(&self.account, subject.as_bytes(), None, make().as_bytes());
        }
    }

    /// Delivers an event of the broker itself to the subscribers of `subject`, including those at the
    /// other members of the cluster. One that is too large is dropped, and counted.
    fn deliver(
        &self,
        account: &Arc<Account>,
        subject: &[u8],
        reply: Option<&[u8]>,
        payload: &[u8],
    ) {
        let message = ComposedMessage::new(reply, None, payload);
        self.deliver_within(self.event_max(), account, subject, &message);
    }

    fn event_max(&self) -> usize {
        event_max(self.server.broker.limits.current().max_payload)
    }

    /// The same for a message of `max` bytes at most: peers would end the route for a larger one.
    fn deliver_within(
        &self,
        max: usize,
        account: &Arc<Account>,
        subject: &[u8],
        message: &ComposedMessage,
    ) {
        match message.total_len() <= max {
            true => deliver_composed(account, subject, message),
            false => self.server.broker.system.drop_large(),
        }
    }

    /// A subject of this broker's own events.
    fn subject(&self, event: &str) -> String {
        format!("$SYS.SERVER.{}.{event}", self.server.id)
    }
}

/// A message that may be compressed.
fn composed(encoded: &Encoded) -> ComposedMessage {
    ComposedMessage::new(None, encoded.headers.as_deref(), &encoded.payload)
}

/// Bytes of the largest event: clients can make some long. Where `max_payload` is below the default,
/// the usual ones are still sent.
fn event_max(max_payload: usize) -> usize {
    max_payload.clamp(Options::default().max_payload, PAYLOAD_MAX)
}

fn deliver_composed(account: &Arc<Account>, subject: &[u8], message: &ComposedMessage) {
    let batch = message.batch(subject);
    let sender = Sender {
        no_echo: None,
        describe: None,
        to_peers: true,
        from: Source::Here,
        groups: None,
        as_it_came: None,
        is_service: false,
        path: Path::START,
    };
    with_buffers(|buffers| {
        let destinations = Destinations::of_subscribers(account, subject);
        sender.fan_out(buffers, account, &batch, &destinations, false);
        buffers.flush_touched();
        // No session is active that could be paused.
        buffers.congested.clear();
        let expired = std::mem::take(&mut buffers.expired);
        for subscription in &expired {
            let connection = &subscription.connection;
            connection.subscriptions.lock().remove(subscription);
        }
        account.unsubscribe(buffers, &expired);
        buffers.flush_touched();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_within_what_clients_and_peers_take() {
        let default = Options::default().max_payload;
        for (max_payload, largest) in [
            (100, default),
            (default, default),
            (3 * default, 3 * default),
            (usize::MAX, PAYLOAD_MAX),
        ] {
            assert_eq!(event_max(max_payload), largest);
        }
    }
}
