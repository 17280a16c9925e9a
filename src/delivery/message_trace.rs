//! Delivering a traced message: as any other one, with a note in its trace. If it is only to be
//! traced, it does not reach a subscriber, but it goes to other brokers, which do the same.
//!
//! The functions that take a subject batch to a subscriber or a peer call these when the thread's
//! buffers have a trace; see [`protocol::message_trace`](crate::protocol::message_trace).

use std::sync::Arc;

use super::{
    batch::{ComposedMessage, Pick, SubjectBatch},
    remote::InAccount,
    route::{Appended, Routed, TooLong},
};
use monitor_client::PathSubscription;

use crate::{
    connection::{Connection, Kind, Subscription, buffers::ThreadBuffers},
    protocol::message_trace::{
        MessageTrace, PeerKind, TracedPeer, TracedSubscription, not_delivered, with_hop,
    },
    sublist::Entry,
    telemetry::MonotonicMillis,
};

/// The cost of a step, in deliveries.
const STEP_COST: usize = 4;

impl Connection {
    /// The peer as a trace shows it.
    pub fn traced_peer(&self) -> TracedPeer {
        let identity = self.identity.lock();
        TracedPeer {
            kind: match self.kind {
                Kind::Client => PeerKind::Client,
                Kind::Router => PeerKind::Route,
                Kind::Leafnode => PeerKind::Leafnode,
            },
            cid: self.cid,
            name: identity.name.clone(),
            account: identity.account.clone(),
        }
    }

    /// Takes a traced message to a peer of the cluster, with the number of the hop. The result is
    /// that of [`Connection::deliver_routed`].
    #[expect(
        clippy::too_many_arguments,
        reason = "those of deliver_routed and the trace"
    )]
    pub(super) fn deliver_routed_traced(
        self: &Arc<Self>,
        buffers: &mut ThreadBuffers,
        mut trace: Box<MessageTrace>,
        account: InAccount<'_>,
        batch: &SubjectBatch<'_>,
        routed: &Routed<'_>,
        now: MonotonicMillis,
        flush: bool,
    ) -> Option<(Appended, Vec<TooLong>)> {
        buffers.cost += STEP_COST;
        let hop = trace.next_hop();
        let takes_traces = self.takes_traces() && self.takes_headers();
        let taken = match batch.messages {
            [message] if takes_traces || !trace.only => {
                let (headers, payload) = batch.parts(message);
                let headers = with_hop(headers, &hop);
                let reply = batch.reply(message);
                let numbered = ComposedMessage::new(reply, Some(&headers), payload);
                let batch = numbered.batch(batch.subject);
                self.deliver_routed(buffers, account, &batch, routed, now, flush)
            }
            _ => None,
        };
        let error = match (takes_traces, trace.only, taken.is_some()) {
            (true, _, true) => "",
            (false, true, _) => not_delivered::NO_SUPPORT,
            (false, false, true) => not_delivered::UNTRACED,
            (_, _, false) => not_delivered::CLOSED,
        };
        trace.to_route(self.traced_peer(), hop, error);
        buffers.message_trace = Some(trace);
        taken
    }
}

impl Subscription {
    /// Takes a traced message here, or does as if if it is only to be traced. Returns how many
    /// messages the subscription accepted.
    pub(super) fn deliver_traced(
        self: &Arc<Self>,
        buffers: &mut ThreadBuffers,
        mut trace: Box<MessageTrace>,
        batch: &SubjectBatch<'_>,
        pick: Pick,
        now: MonotonicMillis,
        flush: bool,
    ) -> usize {
        buffers.cost += STEP_COST;
        let subject = self.delivered_subject(batch.subject);
        if let Some(survey) = &mut trace.survey {
            let refusal = self.refusal(&subject);
            survey.subscription(refusal.is_none(), || self.surveyed(&subject, refusal));
            buffers.message_trace = Some(trace);
            return usize::from(refusal.is_none());
        }
        if self.is_shadow() {
            let account = self.connection.identity.lock().account.clone();
            trace.stream_export(&account, &subject);
        }
        let error = self.refusal(&subject);
        let (taken, error) = match error {
            Some(error) => (0, error),
            None if trace.only => (1, ""),
            None => match self.deliver(buffers, batch, pick, now, flush) {
                0 => (0, not_delivered::CLOSED),
                taken => (taken, ""),
            },
        };
        if self.allows_trace() {
            trace.to_client(self.connection.traced_peer(), self.traced(), error);
        }
        buffers.message_trace = Some(trace);
        taken
    }

    /// Why nothing may be delivered to it.
    fn refusal(self: &Arc<Self>, subject: &[u8]) -> Option<&'static str> {
        let origin = self.origin();
        let max = origin.max();
        if self.connection.is_closing() {
            Some(not_delivered::CLOSED)
        } else if self
            .guard()
            .is_some_and(|guard| !guard.allows(subject, self.queue()))
        {
            Some(not_delivered::DENIED)
        } else if origin.is_closed() || max > 0 && origin.delivered.value() >= max {
            Some(not_delivered::ENDED)
        } else {
            None
        }
    }

    /// The row of a survey about it, with the reason why it does not get the message.
    fn surveyed(self: &Arc<Self>, subject: &[u8], refusal: Option<&str>) -> PathSubscription {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut reason = refusal.unwrap_or_default().to_owned();
        if refusal == Some(not_delivered::DENIED)
            && let Some(guard) = self.guard()
            && let Some(rule) = guard.permissions.withheld_by(subject, self.queue())
        {
            reason += &format!(": subscribe.deny {rule}");
        }
        let identity = self.connection.identity.lock();
        PathSubscription {
            cid: self.connection.cid,
            name: identity.label(),
            user: identity.user.clone(),
            account: match self.is_shadow() {
                true => identity.account.clone(),
                false => String::new(),
            },
            subscribed: text(self.origin().subject()),
            sid: text(self.sid()),
            subject: text(subject),
            gets: refusal.is_none(),
            reason,
        }
    }

    /// Notes in the trace of a message that its publisher does not receive its own messages. Also
    /// called for an imported stream that a message from another account does not go to.
    #[inline]
    pub fn note_no_echo(self: &Arc<Self>, buffers: &mut ThreadBuffers) {
        if let Some(survey) = buffers.survey() {
            let reason = match survey.sender() == self.connection.cid {
                true => not_delivered::NO_ECHO,
                false => not_delivered::NOT_PASSED_ON,
            };
            let subject = self.subject();
            return survey.subscription(false, || self.surveyed(subject, Some(reason)));
        }
        if let Some(trace) = &mut buffers.message_trace
            && !self.is_shadow()
        {
            let peer = self.connection.traced_peer();
            trace.to_client(peer, self.traced(), not_delivered::NO_ECHO);
        }
    }

    fn traced(&self) -> TracedSubscription<'_> {
        TracedSubscription {
            subject: self.subject(),
            queue: self.queue().unwrap_or_default(),
        }
    }
}
