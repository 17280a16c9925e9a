//! Publishing: messages of one subject are gathered into subject batches, routed once and
//! delivered target by target.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    end::End,
    session::Session,
    trace::{trace_in, trace_payload},
};
use crate::{
    account::Destinations,
    connection::{
        self, CloseReason,
        buffers::{SMALL_BATCH_LEN, TURN_COST_MAX, ThreadBuffers},
        delivery::{Message, SubjectBatch},
        reading::Large,
    },
    protocol::{
        CRLF,
        error::{ClientError, quoted},
        header,
        parse::{Op, Parsed, Publish, parse},
    },
    subject,
    telemetry::MonotonicMicros,
};

/// Bytes of a payload above which several targets share it instead of copying.
const SHARED_LEN: usize = 4 * 1024;

/// Messages of a subject batch from which on it is looked at how much each of them makes: one
/// alone is never divided.
const RUN_SHORT: usize = 2;

/// Bytes of names of queue groups that one subject batch may make for the cluster.
const NAMES_MAX: usize = 4 * 1024 * 1024;

/// Messages and bytes that a batch brought.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) msgs: u64,
    pub(super) bytes: u64,
}

/// The subject batch that is being gathered from a batch; its messages are the thread's buffers.
pub(super) struct RunInProgress {
    /// Where the subject stands in the batch.
    subject: Option<(usize, usize)>,
    counted: Counted,
    /// With so many messages it is looked at whether they are to be delivered.
    look_at: usize,
}

impl RunInProgress {
    /// The subject batch of a batch that brought nothing yet.
    pub(super) fn new() -> Self {
        Self {
            subject: None,
            counted: Counted::default(),
            look_at: RUN_SHORT,
        }
    }

    /// The subject of the subject batch, if one is in progress. `bytes` is the batch.
    #[inline]
    pub(super) fn subject<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.subject.map(|(start, end)| &bytes[start..end])
    }

    /// Takes a complete publish to the subject of the subject batch, if there is one, which
    /// begins at `at` in the batch, into the subject batch, or delivers it by itself where it does not fit one.
    #[inline]
    pub(super) fn add(
        &mut self,
        session: &mut Session,
        buffers: &mut ThreadBuffers,
        bytes: &[u8],
        at: usize,
        publish: &Publish<'_>,
    ) {
        self.counted.msgs += 1;
        self.counted.bytes += publish.total_len as u64;
        let body = || &bytes[at + publish.line_len..][..publish.total_len];
        if !may_reply_to(publish.reply)
            || session.wants_each_publish()
            || (publish.header_len.is_some()
                && session.find_forbidden_trace(publish, body()).is_some())
        {
            self.deliver(session, buffers, bytes);
            if !session.admit_publish(buffers, publish, body()) {
                return;
            }
        } else if (self.subject.is_none() || session.counts_publishes())
            && !session.may_publish(publish.subject)
        {
            session.refuse_publish(buffers, publish);
            return;
        }
        let payload_start = at + publish.line_len;
        let payload_end = payload_start + publish.total_len + CRLF.len();
        if !publish.canonical || publish.total_len >= SHARED_LEN {
            self.deliver(session, buffers, bytes);
            let payload = &bytes[payload_start..payload_end];
            return session.publish_alone(buffers, publish, Payload::Borrowed(payload));
        }
        let subject_start = at + offset_of(publish.subject, &bytes[at..]);
        let subject_end = subject_start + publish.subject.len();
        self.subject = Some((subject_start, subject_end));
        buffers.messages.push(Message {
            tail_start: (subject_end + 1) as u32,
            tail_end: payload_end as u32,
            reply_len: publish.reply.map_or(0, <[u8]>::len) as u32,
            header_len: publish.header_len.map(|len| len as u32),
            total_len: publish.total_len as u32,
        });
        if session.options.verbose {
            self.deliver(session, buffers, bytes);
        } else if buffers.messages.len() >= self.look_at {
            self.look(session, buffers, bytes);
        }
    }

    /// Delivers the subject batch if it makes much: each of its messages may go to many
    /// subscriptions, and to the cluster with the names of many queue groups.
    #[inline(never)]
    fn look(&mut self, session: &mut Session, buffers: &mut ThreadBuffers, bytes: &[u8]) {
        let Some(subject) = self.subject(bytes) else {
            return;
        };
        let destinations = session.find_reach(subject);
        let names_len = destinations.queue_names_len(&session.account);
        let by_names = NAMES_MAX.checked_div(names_len).unwrap_or(usize::MAX);
        let by_cost = TURN_COST_MAX / destinations.cost(&session.account);
        let max = by_names.min(by_cost);
        if buffers.messages.len() < max {
            self.look_at = max;
            return;
        }
        self.deliver(session, buffers, bytes);
    }

    /// Delivers what was gathered; the targets are flushed at the batch's end.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        session: &mut Session,
        buffers: &mut ThreadBuffers,
        bytes: &[u8],
    ) {
        if let Some((start, end)) = self.subject.take() {
            self.look_at = RUN_SHORT;
            session.deliver_run(buffers, bytes, &bytes[start..end], false);
        }
    }

    /// Delivers the last subject batch of a batch. Of a large batch each target is written
    /// to at once, while its bytes are still in the cache.
    pub(super) fn deliver_last(
        mut self,
        session: &mut Session,
        buffers: &mut ThreadBuffers,
        bytes: &[u8],
    ) -> Counted {
        if let Some((start, end)) = self.subject.take() {
            let flush = bytes.len() > SMALL_BATCH_LEN;
            session.deliver_run(buffers, bytes, &bytes[start..end], flush);
        }
        self.counted
    }
}

/// A payload with its CRLF.
enum Payload<'a> {
    Borrowed(&'a [u8]),
    Shared(Bytes),
}

impl Session {
    /// Publishes a large message that is now complete.
    pub(super) fn publish_large(
        &mut self,
        buffers: &mut ThreadBuffers,
        large: Large,
    ) -> Result<(), End> {
        // It was parsed before, so it can be parsed again.
        let Parsed::Op(Op::Publish(publish), _) = parse(&large.line, self.limits.max_control_line)?
        else {
            return Ok(());
        };
        if !large.payload.ends_with(CRLF) {
            return Err(End {
                refused: None,
                reason: CloseReason::ProtocolViolation,
                error: Some(ClientError::UnknownOperation),
                detail: "a payload does not end where its size says".into(),
            });
        }
        self.connection.in_msgs.add(1);
        self.connection.in_bytes.add(publish.total_len as u64);
        self.keepalive.busy();
        buffers.read_at = MonotonicMicros::now();
        buffers.publisher = self.connection.cid;
        self.connection.active(buffers.read_at.millis());
        let body = &large.payload[..publish.total_len];
        if self.admit_publish(buffers, &publish, body) {
            let payload = Payload::Shared(large.payload.into_shared());
            self.publish_alone(buffers, &publish, payload);
        }
        Ok(())
    }

    /// Whether something happens at each publish besides its delivery.
    #[inline]
    fn wants_each_publish(&self) -> bool {
        self.options.verbose || self.options.pedantic || self.trace.is_on()
    }

    /// Whether the user may publish to `subject`.
    fn may_publish(&mut self, subject: &[u8]) -> bool {
        let permission_cache = self.permission_cache.as_mut();
        may_publish_to(subject)
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

    /// The subject that a nats-server of the cluster would publish to for this
    /// message, if its user may not.
    #[inline]
    fn find_forbidden_trace<'a>(&self, publish: &Publish<'_>, body: &'a [u8]) -> Option<&'a [u8]> {
        let (header_len, permission_cache) = (publish.header_len?, self.permission_cache.as_ref()?);
        let mut wanted = header::find_all(&body[..header_len], header::TRACE_DEST);
        wanted.find(|subject| {
            let is_wanted = !subject.is_empty() && *subject != header::TRACE_DISABLED.as_bytes();
            is_wanted && !permission_cache.may_publish_unasked(subject)
        })
    }

    /// Checks one publish and confirms it; `body` is its headers and payload.
    /// `false`: it is not to be delivered.
    fn admit_publish(
        &mut self,
        buffers: &mut ThreadBuffers,
        publish: &Publish<'_>,
        body: &[u8],
    ) -> bool {
        if self.trace.is_on() {
            let (trace, connection) = (self.trace, &self.connection);
            trace_in(trace, connection, &Op::Publish(*publish));
            let header_len = publish.header_len.unwrap_or(0);
            trace_payload(trace, connection, &self.limits, body, header_len);
        }
        if !self.may_publish(publish.subject) {
            self.refuse_publish(buffers, publish);
            return false;
        }
        if let Some(subject) = self.find_forbidden_trace(publish, body) {
            let subject = quoted(subject);
            self.complain(buffers, ClientError::PublishViolation { subject });
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

    /// Delivers one message outside of a subject batch: its tail has to be put together,
    /// or its payload is worth sharing.
    fn publish_alone(
        &mut self,
        buffers: &mut ThreadBuffers,
        publish: &Publish<'_>,
        payload: Payload<'_>,
    ) {
        let destinations = self.find_reach(publish.subject);
        let mut source = std::mem::take(&mut buffers.scratch);
        source.clear();
        if let Some(reply) = publish.reply {
            source.extend_from_slice(reply);
            source.push(b' ');
        }
        for (index, size) in publish
            .sizes
            .split(|byte| !byte.is_ascii_digit())
            .filter(|size| !size.is_empty())
            .enumerate()
        {
            if index > 0 {
                source.push(b' ');
            }
            source.extend_from_slice(size);
        }
        source.extend_from_slice(CRLF);
        let shared = match payload {
            Payload::Shared(bytes) => Some(bytes),
            Payload::Borrowed(bytes)
                if destinations.matches.plain.len() > 1 && bytes.len() > SHARED_LEN =>
            {
                Some(connection::payload::Payload::new(bytes.to_vec()).into_shared())
            }
            Payload::Borrowed(bytes) => {
                source.extend_from_slice(bytes);
                None
            }
        };
        let message = Message {
            tail_start: 0,
            tail_end: source.len() as u32,
            reply_len: publish.reply.map_or(0, <[u8]>::len) as u32,
            header_len: publish.header_len.map(|len| len as u32),
            total_len: publish.total_len as u32,
        };
        let batch = SubjectBatch {
            subject: publish.subject,
            source: &source,
            messages: &[message],
            shared: shared.as_ref(),
        };
        self.route(buffers, &batch, &destinations, false);
        buffers.scratch = source;
        self.look_whether_to_hold(buffers);
    }

    /// Delivers the messages gathered in the thread's buffers.
    fn deliver_run(
        &mut self,
        buffers: &mut ThreadBuffers,
        bytes: &[u8],
        subject: &[u8],
        flush: bool,
    ) {
        let destinations = self.find_reach(subject);
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
        self.look_whether_to_hold(buffers);
    }

    pub(super) fn find_reach(&mut self, subject: &[u8]) -> Arc<Destinations> {
        self.cache.find(subject, &self.account)
    }
}

/// Subjects that only brokers publish to.
#[inline]
fn may_publish_to(subject: &[u8]) -> bool {
    match subject.first() {
        Some(b'$' | b'_') => !subject.starts_with(b"_GR_.") && !subject.starts_with(b"$NRG."),
        _ => true,
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

/// Where a part of `whole` stands in it.
fn offset_of(part: &[u8], whole: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}
