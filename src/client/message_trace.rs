//! Messages that a client wants to be traced: whether it may, and the trace's beginning and end. See
//! [`protocol::message_trace`](crate::protocol::message_trace).

use super::{
    active::Active,
    publish::{Payload, is_reserved},
};
use crate::{
    broker::system_queue,
    connection::buffers::ThreadBuffers,
    protocol::{
        CRLF,
        error::{ClientError, quoted},
        message_trace::{MessageTrace, TraceRequest, is_mentioned, is_sampled, untraced},
        parse::Publish,
    },
    subject,
};

/// What happens to a message whose headers ask for a trace.
enum Decision {
    /// It is delivered like any other.
    Deliver,
    /// It is delivered, and a broker that it is sent to must not trace it.
    DeliverUntraced,
    /// Nothing: it was only to be traced, and cannot be.
    Drop,
    /// It may not be published.
    Refuse(ClientError),
    /// It is traced.
    Trace(Box<MessageTrace>),
}

impl Active {
    /// Whether the headers of a publish may ask for a trace: a quick look.
    #[inline]
    pub(super) fn may_be_traced(&self, publish: &Publish<'_>, body: &[u8]) -> bool {
        publish.header_len.is_some_and(|len| {
            let headers = &body[..len];
            is_mentioned(headers) || self.account.tracing().is_some() && is_sampled(headers)
        })
    }

    /// Publishes a message whose headers may ask for a trace, and sends off its trace event.
    pub(super) fn publish_traced(
        &mut self,
        buffers: &mut ThreadBuffers,
        publish: &Publish<'_>,
        body: &[u8],
        payload: Payload<'_>,
    ) {
        match self.decide(publish, body) {
            Decision::Deliver => {}
            Decision::DeliverUntraced => return self.publish_untraced(buffers, publish, body),
            Decision::Drop => return,
            Decision::Refuse(error) => return self.complain(buffers, error),
            Decision::Trace(trace) => buffers.message_trace = Some(trace),
        }
        if self.admit_publish(buffers, publish, body) {
            self.publish_alone(buffers, publish, payload);
        }
        if let Some(trace) = buffers.message_trace.take() {
            system_queue::send_trace(&self.base.broker, &self.account, *trace);
        }
    }

    /// Sends off the trace event of a message that exceeds `max_payload`, if the headers that
    /// came with its line ask for one. `received` is what followed the line.
    pub(super) fn trace_too_large(&self, publish: &Publish<'_>, received: &[u8]) {
        let headers_len = publish.header_len.unwrap_or(0).min(received.len());
        let publish = Publish {
            header_len: Some(headers_len),
            ..*publish
        };
        if !self.may_be_traced(&publish, received) {
            return;
        }
        if let Decision::Trace(mut trace) = self.decide(&publish, received) {
            trace.refused("maximum payload exceeded");
            system_queue::send_trace(&self.base.broker, &self.account, *trace);
        }
    }

    /// Publishes a message with a header that keeps other brokers from tracing it.
    fn publish_untraced(
        &mut self,
        buffers: &mut ThreadBuffers,
        publish: &Publish<'_>,
        body: &[u8],
    ) {
        if !self.admit_publish(buffers, publish, body) {
            return;
        }
        let (headers, payload) = body.split_at(publish.header_len.unwrap_or(0));
        let headers = untraced(headers, true);
        let untraced = Publish {
            header_len: Some(headers.len()),
            total_len: headers.len() + payload.len(),
            ..*publish
        };
        let changed = [&headers, payload, CRLF].concat();
        self.publish_alone(buffers, &untraced, Payload::Borrowed(&changed));
    }

    /// As nats-server decides (`initMsgTrace`).
    fn decide(&self, publish: &Publish<'_>, body: &[u8]) -> Decision {
        let headers = &body[..publish.header_len.unwrap_or(0)];
        let Some(request) = TraceRequest::read(headers) else {
            return Decision::Deliver;
        };
        let dest = match &request.dest {
            Some(dest) => dest.clone(),
            None => match self.account.tracing() {
                Some(tracing) if fastrand::u8(1..=100) <= tracing.sampling => tracing.dest.clone(),
                // Another broker would draw anew.
                _ => return Decision::DeliverUntraced,
            },
        };
        if request.is_outdated || !subject::is_publishable(dest.as_bytes()) {
            return match request.only {
                true => Decision::Drop,
                false => Decision::DeliverUntraced,
            };
        }
        if !self.may_have_traces_sent_to(dest.as_bytes()) {
            let subject = quoted(dest.as_bytes());
            return Decision::Refuse(ClientError::PublishViolation { subject });
        }
        let peer = self.base.connection.traced_peer();
        let trace = MessageTrace::begin(request, dest, peer, publish.subject, publish.total_len);
        Decision::Trace(Box::new(trace))
    }

    fn may_have_traces_sent_to(&self, dest: &[u8]) -> bool {
        let cache = self.permission_cache.as_ref();
        !is_reserved(dest, self.account.is_system)
            && cache.is_none_or(|cache| cache.may_publish_unasked(dest))
    }
}
