//! Messages of a leafnode that are traced: the trace's beginning and end. See
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

impl Session {
    /// Whether the headers of a message may ask for a trace: a quick look.
    #[inline]
    pub(super) fn may_be_traced(&self, message: &RouteMessage<'_>, payload: &[u8]) -> bool {
        message.header_len.is_some_and(|len| {
            let headers = &payload[..len];
            let may_be_sampled = self.leaf.account.tracing().is_some();
            is_mentioned(headers) || may_be_sampled && is_sampled(headers)
        })
    }

    /// Begins the trace that a message asks for. `false`: it is only to be traced, and cannot be.
    ///
    /// The other side has checked what the publisher may do; where the events go is judged here like
    /// a message of the leafnode.
    pub(super) fn begin_trace(
        &self,
        buffers: &mut ThreadBuffers,
        message: &RouteMessage<'_>,
        payload: &[u8],
    ) -> bool {
        if !self.may_be_traced(message, payload) {
            return true;
        }
        let headers = &payload[..message.header_len.unwrap_or(0)];
        let Some(request) = TraceRequest::read(headers) else {
            return true;
        };
        let account = &self.leaf.account;
        let dest = match &request.dest {
            Some(dest) => Some(dest.clone()),
            None => account.tracing().map(|tracing| tracing.dest.clone()),
        };
        let Some(dest) = dest else {
            return true;
        };
        let is_permitted = request.dest.is_none() || self.may_send(dest.as_bytes());
        if request.is_outdated || !subject::is_publishable(dest.as_bytes()) || !is_permitted {
            return !request.only;
        }
        let peer = self.leaf.connection.traced_peer();
        let trace = MessageTrace::begin(request, dest, peer, message.subject, message.total_len);
        buffers.message_trace = Some(Box::new(trace));
        true
    }

    /// Sends off the trace event of the message that was published, if it has one.
    pub(super) fn end_trace(&self, buffers: &mut ThreadBuffers) {
        if let Some(trace) = buffers.message_trace.take() {
            system_queue::send_trace(&self.leafnodes.broker, &self.leaf.account, *trace);
        }
    }
}
