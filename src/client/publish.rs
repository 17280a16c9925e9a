//! Publishing: messages of one subject are gathered into subject batches, routed once and
//! delivered target by target.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    active::Active,
    batch::Place,
    trace::{trace_in, trace_payload},
};
use crate::{
    account::Destinations,
    connection::{
        self,
        buffers::{TURN_COST_MAX, ThreadBuffers},
        reading::Large,
    },
    delivery::SubjectBatch,
    peer::{
        End,
        batch::{Gathered, SHARED_LEN, UNENDED, count_received},
    },
    protocol::{
        CRLF,
        error::{ClientError, quoted},
        message::Message,
        parse::{Op, Parsed, Publish, parse},
    },
    subject,
};

/// Bytes of names of queue groups that one subject batch may produce for the cluster.
const NAMES_MAX: usize = 4 * 1024 * 1024;

/// A payload with its CRLF.
pub(super) enum Payload<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl Active {
    /// Adds a complete publish to the current subject batch, which begins at `at` in the
    /// batch; delivers it by itself if it does not fit or there is none.
    #[inline]
    pub(super) fn gather(
        &mut self,
        buffers: &mut ThreadBuffers,
        gathered: &mut Gathered<Place>,
        bytes: &[u8],
        at: usize,
        publish: &Publish<'_>,
    ) {
        gathered.count(publish.total_len);
        let body = || &bytes[at + publish.line_len..][..publish.total_len];
        if publish.header_len.is_some() && self.may_be_traced(publish, body()) {
            gathered.deliver(self, buffers, bytes);
            let payload = &bytes[at + publish.line_len..][..publish.total_len + CRLF.len()];
            return self.publish_traced(buffers, publish, body(), Payload::Borrowed(payload));
        }
        if !may_reply_to(publish.reply) || self.wants_each_publish() {
            gathered.deliver(self, buffers, bytes);
            if !self.admit_publish(buffers, publish, body()) {
                return;
            }
        } else if (gathered.target().is_none() || self.counts_publishes())
            && !self.may_publish(publish.subject)
        {
            return self.refuse_publish(buffers, publish);
        }
        let payload_start = at + publish.line_len;
        let payload_end = payload_start + publish.total_len + CRLF.len();
        if !publish.canonical || publish.total_len >= SHARED_LEN {
            gathered.deliver(self, buffers, bytes);
            let payload = &bytes[payload_start..payload_end];
            return self.publish_alone(buffers, publish, Payload::Borrowed(payload));
        }
        let subject_start = at + offset_of(publish.subject, &bytes[at..]);
        let subject_end = subject_start + publish.subject.len();
        gathered.set_target((subject_start, subject_end));
        let message = Message {
            tail_start: (subject_end + 1) as u32,
            tail_end: payload_end as u32,
            reply_len: publish.reply.map_or(0, <[u8]>::len) as u32,
            header_len: publish.header_len.map(|len| len as u32),
            total_len: publish.total_len as u32,
        };
        gathered.add(self, buffers, bytes, message);
        if self.options.verbose {
            gathered.deliver(self, buffers, bytes);
        }
    }

    /// How many messages to a subject one turn has time for: each of them may go to
    /// many subscriptions, and to the cluster with the names of many queue groups.
    pub(super) fn publishes_max(&mut self, subject: &[u8]) -> usize {
        let destinations = self.find_destinations(subject);
        let names_len = destinations.queue_names_len(&self.account);
        let by_names = NAMES_MAX.checked_div(names_len).unwrap_or(usize::MAX);
        let by_cost = TURN_COST_MAX / destinations.cost(&self.account);
        by_names.min(by_cost)
    }

    /// Publishes a large message that is now complete.
    pub(super) fn publish_large(
        &mut self,
        buffers: &mut ThreadBuffers,
        large: Large,
    ) -> Result<(), End> {
        // It was parsed before, so it can be parsed again.
        let Parsed::Op(Op::Publish(publish), _) =
            parse(&large.line, self.base.limits.max_control_line)?
        else {
            return Ok(());
        };
        if !large.payload.ends_with(CRLF) {
            return Err(End::unknown_operation(UNENDED));
        }
        count_received(self, buffers, 1, publish.total_len as u64);
        let shared = large.payload.into_shared();
        let body = &shared[..publish.total_len];
        if self.may_be_traced(&publish, body) {
            self.publish_traced(buffers, &publish, body, Payload::Shared(shared.clone()));
        } else if self.admit_publish(buffers, &publish, body) {
            self.publish_alone(buffers, &publish, Payload::Shared(shared));
        }
        Ok(())
    }

    /// Whether something happens at each publish besides its delivery.
    #[inline]
    fn wants_each_publish(&self) -> bool {
        self.options.verbose || self.options.pedantic || self.base.trace.is_on()
    }

    /// Whether the user may publish to `subject`.
    fn may_publish(&mut self, subject: &[u8]) -> bool {
        let permission_cache = self.permission_cache.as_mut();
        !is_reserved(subject, self.account.is_system)
            && permission_cache.is_none_or(|permission_cache| permission_cache.may_publish(subject))
    }

    /// Whether a publish has to be judged even if the one before to the same
    /// subject was permitted.
    #[inline]
    fn counts_publishes(&self) -> bool {
        self.permission_cache
            .as_ref()
            .is_some_and(|permission_cache| permission_cache.counts_publishes())
    }

    /// Checks one publish and confirms it; `body` is its headers and payload.
    /// `false`: it is not to be delivered.
    pub(super) fn admit_publish(
        &mut self,
        buffers: &mut ThreadBuffers,
        publish: &Publish<'_>,
        body: &[u8],
    ) -> bool {
        if self.base.trace.is_on() {
            let (trace, connection) = (self.base.trace, &self.base.connection);
            trace_in(trace, connection, &Op::Publish(*publish));
            let header_len = publish.header_len.unwrap_or(0);
            trace_payload(trace, connection, &self.base.limits, body, header_len);
        }
        if !self.may_publish(publish.subject) {
            self.refuse_publish(buffers, publish);
            return false;
        }
        if let Some(reply) = publish.reply
            && !may_reply_to(Some(reply))
        {
            let reply = quoted(reply);
            self.complain(buffers, ClientError::ReplyViolation { reply });
            return false;
        }
        if self.options.pedantic && !subject::is_valid_literal(publish.subject) {
            self.complain(buffers, ClientError::InvalidPublishSubject);
        }
        self.confirm(buffers);
        true
    }

    fn refuse_publish(&self, buffers: &mut ThreadBuffers, publish: &Publish<'_>) {
        let subject = quoted(publish.subject);
        self.complain(buffers, ClientError::PublishViolation { subject });
    }

    /// Delivers one message outside of a subject batch: its tail has to be composed,
    /// or its payload is worth sharing.
    pub(super) fn publish_alone(
        &mut self,
        buffers: &mut ThreadBuffers,
        publish: &Publish<'_>,
        payload: Payload<'_>,
    ) {
        let destinations = self.find_destinations(publish.subject);
        let mut source = std::mem::take(&mut buffers.scratch);
        source.clear();
        let mut body: &[u8] = &[];
        let shared = match payload {
            Payload::Shared(bytes) => Some(bytes),
            Payload::Borrowed(bytes)
                if destinations.matches.plain.len() > 1 && bytes.len() > SHARED_LEN =>
            {
                Some(connection::payload::Payload::new(bytes.to_vec()).into_shared())
            }
            Payload::Borrowed(bytes) => {
                body = bytes;
                None
            }
        };
        let sizes = (publish.header_len, publish.total_len);
        let message = Message::compose_as_it_came(&mut source, publish.reply, sizes, body);
        let batch = SubjectBatch {
            subject: publish.subject,
            source: &source,
            messages: &[message],
            shared: shared.as_ref(),
        };
        self.route(buffers, &batch, &destinations, false);
        buffers.scratch = source;
        self.check_whether_to_hold(buffers);
    }

    /// Delivers the messages gathered in the thread's buffers.
    pub(super) fn deliver_publishes(
        &mut self,
        buffers: &mut ThreadBuffers,
        bytes: &[u8],
        subject: &[u8],
        flush: bool,
    ) {
        let destinations = self.find_destinations(subject);
        let messages = std::mem::take(&mut buffers.messages);
        let batch = SubjectBatch {
            subject,
            source: bytes,
            messages: &messages,
            shared: None,
        };
        self.route(buffers, &batch, &destinations, flush);
        buffers.messages = messages;
        buffers.messages.clear();
        self.check_whether_to_hold(buffers);
    }

    pub(super) fn find_destinations(&mut self, subject: &[u8]) -> Arc<Destinations> {
        self.cache.find(subject, &self.account)
    }
}

/// Whether only brokers publish to this subject; what they use among each other in the system
/// account is open to its clients.
#[inline]
pub fn is_reserved(subject: &[u8], in_system_account: bool) -> bool {
    match subject.first() {
        Some(b'_') => subject.starts_with(b"_GR_."),
        Some(b'$') => !in_system_account && subject.starts_with(b"$NRG."),
        _ => false,
    }
}

/// Reply subjects that only brokers set.
#[inline]
fn may_reply_to(reply: Option<&[u8]>) -> bool {
    match reply {
        Some(reply @ [b'$' | b'_', ..]) => ![&b"_R_."[..], b"$JS.ACK.", b"_GR_."]
            .iter()
            .any(|reserved| reply.starts_with(reserved)),
        _ => true,
    }
}

/// Offset of `part` within `whole`.
fn offset_of(part: &[u8], whole: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}
