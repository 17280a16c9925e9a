//! Reading a leafnode connection: a batch of bytes becomes operations; consecutive messages to one
//! subject, for the same queue groups, are published as one subject batch.

use bytes::Bytes;

use super::session::Session;
use crate::{
    connection::{
        CloseReason,
        buffers::{TURN_COST_MAX, ThreadBuffers},
        payload::{Origin, OutOfMemory, Payload},
        reading::Large,
    },
    delivery::SubjectBatch,
    peer::{
        End, HeldFor,
        batch::{Gathered, Messages, SHARED_LEN, check_end, count_received, place_of},
    },
    protocol::{
        CRLF,
        error::{ClientError, quoted},
        leafnode::{LeafOp, Parsed, parse},
        message::Message,
        route::{RouteMessage, parse_repeated_message},
    },
};

/// Bytes of a control line that a leafnode may send: more than any that nats-server or midge sends.
const LINE_MAX: usize = 256 * 1024;

/// Where the common part of a subject batch's messages is in the batch.
#[derive(Clone, Copy)]
pub(super) struct Target {
    subject: (usize, usize),
    queues: (usize, usize),
    /// The line up to the size, if the line has nothing else.
    head: Option<(usize, usize)>,
}

impl Messages for Session {
    type Target = Target;

    /// As nats-server has it, leafnodes are pinged whether they are busy or not.
    const MESSAGES_REPLACE_PINGS: bool = false;

    fn begin_batch(&mut self, buffers: &mut ThreadBuffers) {
        buffers.publisher = self.leaf.connection.cid;
    }

    fn handle_operation(
        &mut self,
        buffers: &mut ThreadBuffers,
        gathered: &mut Gathered<Target>,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<bool, End> {
        if let Some((taken, message)) = self.take_repeated(gathered, bytes, *at)? {
            *at += taken;
            gathered.count(message.total_len as usize);
            gathered.add(self, buffers, bytes, message);
            return Ok(true);
        }
        match parse(&bytes[*at..], LINE_MAX)? {
            Parsed::Incomplete => Ok(false),
            Parsed::Op(LeafOp::Message(message), _) => {
                self.handle_message(buffers, gathered, bytes, at, &message)
            }
            Parsed::Op(op, len) => {
                gathered.deliver(self, buffers, bytes);
                if self.link.is_held() {
                    return Ok(true);
                }
                *at += len;
                self.act(buffers, op)?;
                Ok(true)
            }
        }
    }

    fn len_max(&mut self, target: Target, bytes: &[u8]) -> Option<usize> {
        let subject = &bytes[target.subject.0..target.subject.1];
        let destinations = self.find(subject);
        Some(TURN_COST_MAX / destinations.cost(&self.leaf.account))
    }

    fn deliver_gathered(
        &mut self,
        buffers: &mut ThreadBuffers,
        target: Target,
        bytes: &[u8],
        flush: bool,
    ) {
        let text = |(start, end): (usize, usize)| &bytes[start..end];
        let messages = std::mem::take(&mut buffers.messages);
        let batch = SubjectBatch {
            subject: text(target.subject),
            source: bytes,
            messages: &messages,
            shared: None,
        };
        self.publish(buffers, &batch, text(target.queues), flush);
        buffers.messages = messages;
        buffers.messages.clear();
    }

    fn deliver_large(&mut self, buffers: &mut ThreadBuffers, large: Large) -> Result<(), End> {
        check_end(&large.payload)?;
        // It was parsed before, so it can be parsed again.
        if let Ok(Parsed::Op(LeafOp::Message(message), _)) = parse(&large.line, LINE_MAX) {
            count_received(self, buffers, 1, message.total_len as u64);
            let shared = large.payload.into_shared();
            self.publish_alone(buffers, &message, &shared, Some(&shared))?;
        }
        Ok(())
    }
}

impl Session {
    /// Adds a message to the subject batch, or publishes it by itself.
    fn handle_message(
        &mut self,
        buffers: &mut ThreadBuffers,
        gathered: &mut Gathered<Target>,
        bytes: &[u8],
        at: &mut usize,
        message: &RouteMessage<'_>,
    ) -> Result<bool, End> {
        let max_payload = self.max_payload;
        if message.total_len > max_payload {
            let detail = format!(
                "payload of {} bytes for {}, max_payload is {max_payload}",
                message.total_len,
                quoted(message.subject)
            );
            let end = End::with_error(CloseReason::MaxPayload, ClientError::MaxPayload);
            return Err(end.with(detail));
        }
        let is_same = gathered.target().is_some_and(|target| {
            let text = |(start, end): (usize, usize)| &bytes[start..end];
            text(target.subject) == message.subject && text(target.queues) == message.queues
        });
        if !is_same {
            // What a permitted response uses up is counted per message, so such messages are not
            // gathered.
            gathered.deliver(self, buffers, bytes);
            if self.link.is_held() {
                return Ok(true);
            }
        }
        let rest = &bytes[*at..];
        let whole_len = message.whole_len();
        if rest.len() < whole_len {
            let input = &mut self.link.input;
            let begun = input.begin_large(rest, message.line_len, whole_len, Origin::Peer);
            let out_of_memory = |OutOfMemory| {
                let detail = format!("no room for {whole_len} bytes");
                End::without_error(CloseReason::NoRoomForPayload, detail)
            };
            if begun.map_err(out_of_memory)? {
                gathered.deliver(self, buffers, bytes);
                *at = bytes.len();
            }
            return Ok(false);
        }
        self.link.input.expect_small();
        let payload = &rest[message.line_len..whole_len];
        check_end(payload)?;
        gathered.count(message.total_len);
        if !message.canonical
            || message.total_len >= SHARED_LEN
            || message.shown_subject().is_some()
            || self.may_be_traced(message, payload)
        {
            gathered.deliver(self, buffers, bytes);
            self.publish_alone(buffers, message, payload, None)?;
        } else {
            if (!is_same || self.counts_messages()) && !self.check_may_send(message)? {
                *at += whole_len;
                return Ok(true);
            }
            let place = |part: &[u8]| place_of(part, bytes);
            if !is_same {
                let bare = message.reply.is_none() && message.header_len.is_none();
                gathered.set_target(Target {
                    subject: place(message.subject),
                    queues: match message.queues.is_empty() {
                        true => (0, 0),
                        false => place(message.queues),
                    },
                    head: bare.then(|| (*at, place(message.sizes).0)),
                });
            }
            let message = Message {
                tail_start: place(message.reply.unwrap_or(message.sizes)).0 as u32,
                tail_end: (*at + whole_len) as u32,
                reply_len: message.reply.map_or(0, <[u8]>::len) as u32,
                header_len: message.header_len.map(|len| len as u32),
                total_len: message.total_len as u32,
            };
            gathered.add(self, buffers, bytes, message);
        }
        *at += whole_len;
        Ok(true)
    }

    /// Checks whether the other side may send to a subject, and publishes one message outside of a subject
    /// batch. `shared` is the payload, if it is in memory of its own already.
    fn publish_alone(
        &mut self,
        buffers: &mut ThreadBuffers,
        message: &RouteMessage<'_>,
        payload: &[u8],
        shared: Option<&Bytes>,
    ) -> Result<(), End> {
        if !self.check_may_send(message)? {
            return Ok(());
        }
        if !self.begin_trace(buffers, message, payload) {
            return Ok(());
        }
        let mut source = std::mem::take(&mut buffers.scratch);
        let copied;
        let shared = match shared {
            Some(shared) => Some(shared),
            None if payload.len() > SHARED_LEN => {
                copied = Payload::new(payload.to_vec()).into_shared();
                Some(&copied)
            }
            None => None,
        };
        let payload = match shared {
            Some(_) => &[],
            None => payload,
        };
        let (subject, reply) = match message.shown_subject() {
            Some((subject, reply)) => (subject, Some(reply)),
            None => (message.subject, message.reply),
        };
        let sizes = (message.header_len, message.total_len);
        source.clear();
        let one = [Message::compose_as_it_came(
            &mut source,
            reply,
            sizes,
            payload,
        )];
        let batch = SubjectBatch {
            subject,
            source: &source,
            messages: &one,
            shared,
        };
        if reply == message.reply {
            self.publish(buffers, &batch, message.queues, false);
        } else {
            let mut source = Vec::new();
            let one = [Message::compose_as_it_came(
                &mut source,
                message.reply,
                sizes,
                payload,
            )];
            let as_it_came = SubjectBatch {
                subject: message.subject,
                source: &source,
                messages: &one,
                shared,
            };
            let batches = (&batch, Some(&as_it_came));
            self.publish_to(buffers, message.subject, batches, message.queues, false);
        }
        buffers.scratch = source;
        self.end_trace(buffers);
        Ok(())
    }

    /// Accepts a message that differs from the subject batch's first one in its payload alone, and
    /// returns its length; `None`: it has to be parsed.
    #[inline]
    fn take_repeated(
        &self,
        gathered: &Gathered<Target>,
        bytes: &[u8],
        at: usize,
    ) -> Result<Option<(usize, Message)>, End> {
        let Some((start, end)) = gathered.target().and_then(|target| target.head) else {
            return Ok(None);
        };
        let (rest, head) = (&bytes[at..], &bytes[start..end]);
        let Some((total_len, digits)) = parse_repeated_message(rest, head) else {
            return Ok(None);
        };
        let line_len = head.len() + digits + CRLF.len();
        let whole_len = line_len + total_len + CRLF.len();
        let is_long = total_len >= SHARED_LEN || total_len > self.max_payload;
        if rest.len() < whole_len || is_long || self.counts_messages() {
            return Ok(None);
        }
        check_end(&rest[line_len..whole_len])?;
        let message = Message {
            tail_start: (at + head.len()) as u32,
            tail_end: (at + whole_len) as u32,
            reply_len: 0,
            header_len: None,
            total_len: total_len as u32,
        };
        Ok(Some((whole_len, message)))
    }

    /// Holds the rest of the batch if others are to have their turn.
    pub(super) fn check_whether_to_hold(&mut self, buffers: &ThreadBuffers) {
        if buffers.is_spent() {
            self.link.held = HeldFor::Others;
        }
    }
}
