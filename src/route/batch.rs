//! Reading a route: a batch of bytes becomes operations; messages to one
//! subject, one behind the other, are delivered as one subject batch.
//!
//! What came from a peer goes to the subscribers here: of queue groups to one
//! member of each that the peer named. Where such a group has no member here any
//! more, which the peer could not know yet, it goes to a member elsewhere; nothing
//! else goes on.

use std::sync::Arc;

use bytes::Bytes;

use super::session::{End, Session, Space, violation};
use crate::{
    account::{
        fan_out::{Sender, forward},
        path::Path,
    },
    client::system,
    connection::{
        CloseReason, Connection,
        buffers::{READ_BUFFER_LEN, SMALL_BATCH_LEN, TURN_COST_MAX, ThreadBuffers},
        delivery::{Message, SubjectBatch},
        payload::{NoRoom, Origin, Payload},
        reading::{Input, Large, Reader},
    },
    protocol::{
        CRLF,
        route::{LINE_MAX, Parsed, RouteMessage, RouteOp, parse, parse_repeated_message},
    },
    telemetry::{MonotonicMicros, MonotonicMillis},
};

/// Bytes of a payload above which several targets share it instead of copying.
const SHARED_LEN: usize = 4 * 1024;

/// Bytes of the largest payload. Peers keep their own clients below 64 MB.
const PAYLOAD_MAX: usize = 64 * 1024 * 1024 + 64 * 1024;

/// Replies that name, behind an `@`, the subject that a consumer's message is
/// to be shown with; the message itself goes to the consumer's inbox.
const ACK_PREFIX: &[u8] = b"$JS.ACK.";

/// Messages of a subject batch from which on it is looked at how much each of them makes.
const RUN_SHORT: usize = 2;

/// The subject batch that is being gathered from a batch; its messages are the thread's buffers.
struct RunInProgress {
    target: Option<Target>,
    msgs: u64,
    bytes: u64,
    /// With so many messages it is looked at whether they are to be delivered.
    look_at: usize,
}

impl RunInProgress {
    fn new() -> Self {
        Self {
            target: None,
            msgs: 0,
            bytes: 0,
            look_at: RUN_SHORT,
        }
    }
}

/// Where in the batch stands what all messages of a subject batch have in common.
struct Target {
    account: (usize, usize),
    subject: (usize, usize),
    queues: (usize, usize),
    /// The line up to the size, if the line has nothing else.
    head: Option<(usize, usize)>,
}

impl Reader for Session {
    fn connection(&self) -> &Arc<Connection> {
        &self.route.connection
    }

    fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    /// A peer carries the messages of many: it is not paused for a slow reader.
    fn must_pause(&self, _: &ThreadBuffers) -> bool {
        self.is_held || self.cluster.context.registry.budget.is_overdrawn()
    }

    fn handle_large(&mut self, buffers: &mut ThreadBuffers, large: Large) {
        buffers.read_at = MonotonicMicros::now();
        self.route.record_received();
        let result = self.deliver_large(buffers, large);
        // Nothing of it is left; whether more is read shows the thread's buffers.
        self.is_held = false;
        if let Err(end) = result {
            self.end(buffers, end);
        }
    }

    fn handle_batch(&mut self, buffers: &mut ThreadBuffers, bytes: &[u8]) {
        buffers.read_at = MonotonicMicros::now();
        self.route.record_received();
        let mut batch = RunInProgress::new();
        let mut at = 0;
        let mut result = Ok(());
        while at < bytes.len() && result.is_ok() && !self.is_held {
            match self.handle_operation(buffers, &mut batch, bytes, &mut at) {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => result = Err(end),
            }
        }
        let is_held = self.is_held;
        self.deliver_run(buffers, &mut batch, bytes, bytes.len() > SMALL_BATCH_LEN);
        self.is_held = is_held;
        let connection = self.connection();
        connection.in_msgs.add(batch.msgs);
        connection.in_bytes.add(batch.bytes);
        if batch.msgs > 0 {
            connection.active(MonotonicMillis::now());
        }
        match result {
            Ok(()) => self.input.keep(&bytes[at..]),
            Err(end) => self.end(buffers, end),
        }
    }
}

impl Session {
    /// Handles the operation at `at` and moves on. `false`: it is not complete.
    fn handle_operation(
        &mut self,
        buffers: &mut ThreadBuffers,
        batch: &mut RunInProgress,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<bool, End> {
        if let Some(taken) = take_repeated(buffers, batch, bytes, *at)? {
            *at += taken;
            self.look(buffers, batch, bytes);
            return Ok(true);
        }
        match parse(&bytes[*at..], LINE_MAX)? {
            Parsed::Incomplete => Ok(false),
            Parsed::Op(RouteOp::Message(message), _) => {
                self.handle_message(buffers, batch, bytes, at, &message)
            }
            Parsed::Op(op, len) => {
                self.deliver_run(buffers, batch, bytes, false);
                if self.is_held {
                    return Ok(true);
                }
                *at += len;
                self.act(buffers, op)?;
                Ok(true)
            }
        }
    }

    /// Goes on with a batch that was held.
    pub(super) fn resume(&mut self, buffers: &mut ThreadBuffers) {
        self.is_held = false;
        let held = self.input.take_kept();
        self.handle_batch(buffers, &held);
        buffers.finish_batch(READ_BUFFER_LEN);
    }

    /// Delivers the subject batch when its messages make as much as one turn has time for.
    #[inline]
    fn look(&mut self, buffers: &mut ThreadBuffers, batch: &mut RunInProgress, bytes: &[u8]) {
        if buffers.messages.len() < batch.look_at {
            return;
        }
        let Some(target) = &batch.target else {
            return;
        };
        let text = |(start, end): (usize, usize)| &bytes[start..end];
        let account = text(target.account);
        if !self.enter(account) {
            return;
        }
        let Some(space) = self.spaces.get_mut(account) else {
            return;
        };
        let subject = text(target.subject);
        let destinations = space.cache.find_subscribers(subject, &space.account);
        let cost = destinations.subscribers_cost();
        let max = TURN_COST_MAX / cost;
        if buffers.messages.len() < max {
            batch.look_at = max;
        } else {
            self.deliver_run(buffers, batch, bytes, false);
        }
    }

    /// Takes a message into the subject batch, or delivers it by itself.
    fn handle_message(
        &mut self,
        buffers: &mut ThreadBuffers,
        batch: &mut RunInProgress,
        bytes: &[u8],
        at: &mut usize,
        message: &RouteMessage<'_>,
    ) -> Result<bool, End> {
        if message.total_len > PAYLOAD_MAX {
            let detail = format!("a payload of {} bytes", message.total_len);
            return Err(End(
                CloseReason::MaxPayload,
                Some("Maximum Payload Violation"),
                detail,
            ));
        }
        let rest = &bytes[*at..];
        let whole_len = message.whole_len();
        if rest.len() < whole_len {
            let begun = self
                .input
                .begin_large(rest, message.line_len, whole_len, Origin::Peer);
            let no_room = |NoRoom| {
                let detail = format!("no room for {whole_len} bytes");
                End(CloseReason::NoRoomForPayload, None, detail)
            };
            if begun.map_err(no_room)? {
                self.deliver_run(buffers, batch, bytes, false);
                *at = bytes.len();
            }
            return Ok(false);
        }
        self.input.expect_small();
        let payload = &rest[message.line_len..whole_len];
        check_end(payload)?;
        batch.msgs += 1;
        batch.bytes += message.total_len as u64;
        if !message.canonical || message.total_len >= SHARED_LEN || shown_subject(message).is_some()
        {
            self.deliver_run(buffers, batch, bytes, false);
            self.deliver_alone(buffers, message, payload, None);
        } else {
            let place = |part: &[u8]| place_of(part, bytes);
            let is_same = batch.target.as_ref().is_some_and(|target| {
                let text = |(start, end): (usize, usize)| &bytes[start..end];
                text(target.account) == message.account
                    && text(target.subject) == message.subject
                    && text(target.queues) == message.queues
            });
            if !is_same {
                self.deliver_run(buffers, batch, bytes, false);
                let bare = message.reply.is_none() && message.header_len.is_none();
                batch.target = Some(Target {
                    account: place(message.account),
                    subject: place(message.subject),
                    queues: match message.queues.is_empty() {
                        true => (0, 0),
                        false => place(message.queues),
                    },
                    head: bare.then(|| (*at, place(message.sizes).0)),
                });
            }
            buffers.messages.push(Message {
                tail_start: place(message.reply.unwrap_or(message.sizes)).0 as u32,
                tail_end: (*at + whole_len) as u32,
                reply_len: message.reply.map_or(0, <[u8]>::len) as u32,
                header_len: message.header_len.map(|len| len as u32),
                total_len: message.total_len as u32,
            });
            self.look(buffers, batch, bytes);
        }
        *at += whole_len;
        Ok(true)
    }

    fn deliver_large(&mut self, buffers: &mut ThreadBuffers, large: Large) -> Result<(), End> {
        check_end(&large.payload)?;
        // It was parsed before, so it can be parsed again.
        if let Ok(Parsed::Op(RouteOp::Message(message), _)) = parse(&large.line, LINE_MAX) {
            let connection = self.connection();
            connection.in_msgs.add(1);
            connection.in_bytes.add(message.total_len as u64);
            connection.active(MonotonicMillis::now());
            let shared = large.payload.into_shared();
            self.deliver_alone(buffers, &message, &shared, Some(&shared));
        }
        Ok(())
    }

    /// Delivers one message outside of a subject batch. `shared` is the payload, if it is
    /// in memory of its own already.
    fn deliver_alone(
        &mut self,
        buffers: &mut ThreadBuffers,
        message: &RouteMessage<'_>,
        payload: &[u8],
        shared: Option<&Bytes>,
    ) {
        let (subject, reply) = match shown_subject(message) {
            Some((subject, reply)) => (subject, Some(reply)),
            None => (message.subject, message.reply),
        };
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
        let one = [write_out(&mut source, message, reply, payload)];
        let batch = SubjectBatch {
            subject,
            source: &source,
            messages: &one,
            shared,
        };
        let (account, wanted) = (message.account, message.subject);
        let queues = message.queues;
        if reply == message.reply || queues.is_empty() {
            self.deliver(buffers, account, wanted, queues, (&batch, &batch), false);
        } else {
            // What is to be shown with it is shown where it is delivered.
            let mut source = Vec::new();
            let one = [write_out(&mut source, message, message.reply, payload)];
            let as_it_came = SubjectBatch {
                subject: wanted,
                source: &source,
                messages: &one,
                shared,
            };
            self.deliver(
                buffers,
                account,
                wanted,
                queues,
                (&batch, &as_it_came),
                false,
            );
        }
        buffers.scratch = source;
    }

    /// Delivers the messages gathered in the thread's buffers.
    fn deliver_run(
        &mut self,
        buffers: &mut ThreadBuffers,
        batch: &mut RunInProgress,
        bytes: &[u8],
        flush: bool,
    ) {
        let Some(target) = batch.target.take() else {
            return;
        };
        batch.look_at = RUN_SHORT;
        let text = |(start, end): (usize, usize)| &bytes[start..end];
        let subject = text(target.subject);
        let messages = std::mem::take(&mut buffers.messages);
        let batch = SubjectBatch {
            subject,
            source: bytes,
            messages: &messages,
            shared: None,
        };
        let (account, queues) = (text(target.account), text(target.queues));
        self.deliver(buffers, account, subject, queues, (&batch, &batch), flush);
        buffers.messages = messages;
        buffers.messages.clear();
    }

    /// Takes a subject batch to the subscribers of `wanted` in an account. What is left for
    /// others goes on as it came.
    fn deliver(
        &mut self,
        buffers: &mut ThreadBuffers,
        account: &[u8],
        wanted: &[u8],
        queues: &[u8],
        (batch, as_it_came): (&SubjectBatch<'_>, &SubjectBatch<'_>),
        flush: bool,
    ) {
        if !self.enter(account) {
            return;
        }
        let Some(space) = self.spaces.get_mut(account) else {
            return;
        };
        let bytes = batch.messages.iter().map(|it| u64::from(it.total_len));
        let received = &space.account.over_routes.received;
        received.add(batch.messages.len() as u64, bytes.sum());
        // Who asks on a peer asks this broker too.
        if space.account.is_system && batch.subject.starts_with(b"$SYS.REQ.") {
            system::pass_on(&self.cluster.context, &space.account, batch);
        }
        if space.account.is_system {
            self.cluster.handle_view(&self.route, &space.account, batch);
            let over_limit = &mut self.over_limit;
            self.cluster
                .handle_count(buffers, &self.route, batch, over_limit);
        }
        let destinations = space.cache.find_subscribers(wanted, &space.account);
        buffers.cost += space.cache.take_cost();
        self.remembers_long |= space.cache.is_temporary();
        let from_peer = Sender {
            no_echo: None,
            describe: None,
            to_peers: false,
            is_service: false,
            path: Path::START,
        };
        let left = from_peer.deliver_from_peer(
            buffers,
            &space.account,
            batch,
            &destinations,
            queues,
            flush,
        );
        // First the peers are told who has left.
        self.cluster.context.accounts.drop_expired(buffers);
        if !left.is_empty() {
            let except = (!self.accepts_own_messages).then_some(&self.route.connection);
            forward(
                buffers,
                &space.account,
                as_it_came,
                &destinations,
                &left,
                except,
                flush,
            );
        }
        self.is_held |= buffers.is_spent();
    }

    /// Makes sure of the subject space of an account; `false` if there is no such
    /// account here.
    fn enter(&mut self, account: &[u8]) -> bool {
        if self.spaces.contains_key(account) {
            return true;
        }
        // Else the peer's interest is out of date, or its accounts are others.
        let Some(found) = self.find_account(account) else {
            return false;
        };
        let space = Space {
            account: found,
            cache: Default::default(),
        };
        self.spaces.insert(account.into(), space);
        true
    }
}

/// Writes a message as a delivery wants it, without a payload that is shared.
fn write_out(
    source: &mut Vec<u8>,
    message: &RouteMessage<'_>,
    reply: Option<&[u8]>,
    payload: &[u8],
) -> Message {
    source.clear();
    if let Some(reply) = reply {
        source.extend_from_slice(reply);
        source.push(b' ');
    }
    if let Some(header_len) = message.header_len {
        source.extend_from_slice(header_len.to_string().as_bytes());
        source.push(b' ');
    }
    source.extend_from_slice(message.total_len.to_string().as_bytes());
    source.extend_from_slice(CRLF);
    source.extend_from_slice(payload);
    Message {
        tail_start: 0,
        tail_end: source.len() as u32,
        reply_len: reply.map_or(0, <[u8]>::len) as u32,
        header_len: message.header_len.map(|len| len as u32),
        total_len: message.total_len as u32,
    }
}

/// Takes a message that differs from the subject batch's first one in its payload alone.
/// Returns the bytes it took; `None`: the parser must look.
fn take_repeated(
    buffers: &mut ThreadBuffers,
    batch: &mut RunInProgress,
    bytes: &[u8],
    at: usize,
) -> Result<Option<usize>, End> {
    let Some((start, end)) = batch.target.as_ref().and_then(|target| target.head) else {
        return Ok(None);
    };
    let (rest, head) = (&bytes[at..], &bytes[start..end]);
    let Some((total_len, digits)) = parse_repeated_message(rest, head) else {
        return Ok(None);
    };
    let line_len = head.len() + digits + CRLF.len();
    let whole_len = line_len + total_len + CRLF.len();
    if rest.len() < whole_len || total_len >= SHARED_LEN {
        return Ok(None);
    }
    check_end(&rest[line_len..whole_len])?;
    batch.msgs += 1;
    batch.bytes += total_len as u64;
    buffers.messages.push(Message {
        tail_start: (at + head.len()) as u32,
        tail_end: (at + whole_len) as u32,
        reply_len: 0,
        header_len: None,
        total_len: total_len as u32,
    });
    Ok(Some(whole_len))
}

fn check_end(payload: &[u8]) -> Result<(), End> {
    match payload.ends_with(CRLF) {
        true => Ok(()),
        false => Err(violation(
            "a payload does not end where its size says".into(),
        )),
    }
}

/// The subject that a stream's message is to be shown with, and its reply
/// without it.
fn shown_subject<'a>(message: &RouteMessage<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let reply = message.reply?;
    if !reply.starts_with(ACK_PREFIX) {
        return None;
    }
    let at = memchr::memrchr(b'@', reply)?;
    let (reply, subject) = (&reply[..at], &reply[at + 1..]);
    (!subject.is_empty()).then_some((subject, reply))
}

/// Where a part of `whole` stands in it.
fn place_of(part: &[u8], whole: &[u8]) -> (usize, usize) {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    (start, start + part.len())
}
