//! The site's side: a member of the queue group that gets the nodes' replies, and the publisher of
//! requests. It is a part of the broker and needs neither socket nor login.
//!
//! It subscribes by a connection without a socket, so that for publishers, for other brokers of the
//! cluster and for the queue group it is a member like any other.

use std::sync::Arc;

use super::rewrite::Request;
use crate::{
    account::{Account, Destinations, fan_out::Sender, path::Path},
    broker::Broker,
    connection::{Connection, Identity, Subscription, buffers::with_buffers, payload::Payload},
    delivery::{SubjectBatch, leaf_side::Source},
    log,
    peer::batch::SHARED_LEN,
    protocol::{CRLF, message::Message},
    sublist::Entry as _,
    telemetry::{MonotonicMicros, loss::Lost},
};

/// The client's id of the one subscription.
const SID: &[u8] = b"1";

/// A member of the site's queue group; it leaves when it is dropped.
pub(super) struct Local {
    broker: Arc<Broker>,
    account: Arc<Account>,
    connection: Arc<Connection>,
    subscription: Arc<Subscription>,
}

impl Local {
    /// Joins the queue group `queue` on `subject`.
    pub(super) fn join(
        broker: &Arc<Broker>,
        account: &Arc<Account>,
        subject: &str,
        queue: &str,
    ) -> Self {
        let cid = broker.registry.next_cid();
        let max_pending = broker.limits.current().max_pending;
        let connection = Arc::new(Connection::in_process(cid, max_pending));
        *connection.identity.lock() = Identity {
            name: "federation".to_owned(),
            account: account.name.clone(),
            ..Identity::default()
        };
        let (subject, queue) = (subject.as_bytes(), queue.as_bytes());
        let subscription = Subscription::new(connection.clone(), subject, Some(queue), SID);
        let subscription = Arc::new(subscription);
        with_buffers(|buffers| {
            account.subscribe(buffers, subscription.clone());
            buffers.flush_touched();
        });
        Self {
            broker: broker.clone(),
            account: account.clone(),
            connection,
            subscription,
        }
    }

    /// The connection without a socket by which they come.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Waits for replies. `false`: too many came at once, and no more do.
    pub(super) async fn has_some(&self) -> bool {
        self.connection.queued().await
    }

    /// Takes the replies that have come, as the broker says them to a client.
    pub(super) fn take(&self, bytes: &mut Vec<u8>) {
        self.connection.take_queued(bytes);
    }

    /// What was lost because too much came at once.
    pub(super) fn lost(&self) -> Lost {
        self.connection.traffic().loss.dropped()
    }

    /// The share of the nodes' replies that comes here: the members of the queue group take them in
    /// turns.
    pub(super) fn share(&self) -> f64 {
        let (subject, group) = (self.subscription.subject(), self.subscription.queue());
        let mut groups = self.account.sublist.lookup(subject).queues.into_iter();
        let is_ours = |members: &Vec<Arc<Subscription>>| {
            members
                .first()
                .is_some_and(|member| member.queue() == group)
        };
        let here = groups.find(is_ours).map_or(0, |members| members.len());
        let remotes = self.account.remotes(subject);
        let weights = remotes.weights();
        let elsewhere = group.and_then(|group| weights.get(group).copied());
        1.0 / (here + elsewhere.unwrap_or(0)).max(1) as f64
    }

    /// Gets no more replies; those that have come can still be taken.
    pub(super) fn leave(&self) {
        with_buffers(|buffers| {
            let all = [self.subscription.clone()];
            self.account.unsubscribe(buffers, &all);
            buffers.flush_touched();
        });
    }

    /// Publishes a request on its targets. Returns on how many of them somebody listens.
    pub(super) fn publish(&self, request: Request) -> usize {
        let Request {
            mut payload,
            targets,
            ..
        } = request;
        let mut source = Vec::new();
        let (message, shared) = match payload.len() < SHARED_LEN {
            true => (Message::compose(&mut source, None, None, &payload), None),
            false => {
                let sizes = (None, payload.len());
                let message = Message::compose_as_it_came(&mut source, None, sizes, b"");
                payload.extend_from_slice(CRLF);
                (message, Some(Payload::new(payload).into_shared()))
            }
        };
        let sender = Sender {
            no_echo: Some(&self.connection),
            describe: None,
            to_peers: true,
            from: Source::Here,
            groups: None,
            as_it_came: None,
            is_service: false,
            path: Path::START,
        };
        with_buffers(|buffers| {
            buffers.read_at = MonotonicMicros::now();
            buffers.publisher = self.connection.cid;
            let mut reached = 0;
            for target in &targets {
                let subject = target.as_bytes();
                let batch = SubjectBatch {
                    subject,
                    source: &source,
                    messages: &[message],
                    shared: shared.as_ref(),
                };
                let destinations = Destinations::resolve(&self.account, subject);
                let undelivered =
                    sender.fan_out(buffers, &self.account, &batch, &destinations, false);
                reached += usize::from(undelivered.indexes(1).is_empty());
            }
            buffers.flush_touched();
            let registry = &self.broker.registry;
            registry.notice(buffers.congested.iter());
            buffers.congested.clear();
            // Many queues of which none is long may hold too much together.
            for cut in registry.keep_budget() {
                log::about(&cut.connection).warn(format_args!("{cut}"));
            }
            self.broker.accounts.drop_expired(buffers);
            buffers.flush_touched();
            reached
        })
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.leave();
        self.connection.outbound().release();
    }
}
