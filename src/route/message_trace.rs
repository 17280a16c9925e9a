//! Messages from a peer that are traced: the trace's beginning and end. See
//! [`protocol::message_trace`](crate::protocol::message_trace).

use super::session::Session;
use crate::{
    broker::system_queue,
    connection::buffers::ThreadBuffers,
    protocol::{
        message_trace::{MessageTrace, TraceRequest, is_mentioned, is_sampled},
        route::RouteMessage,
    },
    subject,
};

/// What a message's headers ask for.
pub(super) enum TraceDecision {
    /// Nothing.
    Untraced,
    /// It was only to be traced, and cannot be.
    Dropped,
    /// A trace.
    Traced(Box<MessageTrace>),
}

impl Session {
    /// Whether the headers of a message may ask for a trace: a quick look.
    #[inline]
    pub(super) fn may_be_traced(&self, message: &RouteMessage<'_>, payload: &[u8]) -> bool {
        message.header_len.is_some_and(|len| {
            let headers = &payload[..len];
            let space = self.spaces.get(message.account);
            let may_be_sampled = space.is_none_or(|space| space.account.tracing().is_some());
            is_mentioned(headers) || may_be_sampled && is_sampled(headers)
        })
    }

    /// As nats-server decides (`initMsgTrace`). The peer has checked what the publisher may do.
    pub(super) fn judge_trace(
        &mut self,
        message: &RouteMessage<'_>,
        payload: &[u8],
    ) -> TraceDecision {
        if !self.may_be_traced(message, payload) {
            return TraceDecision::Untraced;
        }
        let headers = &payload[..message.header_len.unwrap_or(0)];
        let Some(request) = TraceRequest::read(headers) else {
            return TraceDecision::Untraced;
        };
        let account = match self.enter(message.account) {
            true => self.spaces.get(message.account).map(|space| &space.account),
            false => None,
        };
        let dest = match (&request.dest, account) {
            (Some(dest), _) => Some(dest.clone()),
            (None, Some(account)) => account.tracing().map(|tracing| tracing.dest.clone()),
            (None, None) => None,
        };
        let (Some(account), Some(dest)) = (account, dest) else {
            return TraceDecision::Untraced;
        };
        if request.is_outdated || !subject::is_publishable(dest.as_bytes()) {
            return match request.only {
                true => TraceDecision::Dropped,
                false => TraceDecision::Untraced,
            };
        }
        let mut peer = self.route.connection.traced_peer();
        peer.account.clone_from(&account.name);
        let trace = MessageTrace::begin(request, dest, peer, message.subject, message.total_len);
        TraceDecision::Traced(Box::new(trace))
    }

    /// Sends off the trace event of the message that was delivered, if it has one.
    pub(super) fn end_trace(&self, buffers: &mut ThreadBuffers, account: &[u8]) {
        if let Some(trace) = buffers.message_trace.take()
            && let Some(space) = self.spaces.get(account)
        {
            system_queue::send_trace(&self.cluster.broker, &space.account, *trace);
        }
    }
}
