//! Reading a route: a batch of bytes becomes operations; consecutive messages to one
//! subject are delivered as one subject batch.
//!
//! Messages from a peer are delivered to local subscribers: of each queue group that the
//! peer named, to one member. Where such a group has no local member any more, which the
//! peer could not know yet, its messages are forwarded to a member elsewhere, for that group
//! alone; nothing else is forwarded.

use bytes::Bytes;

use super::{
    message_trace::TraceDecision,
    session::{Session, Space},
};
use crate::{
    account::{
        fan_out::{Sender, forward},
        path::Path,
    },
    broker::system_queue::{self, LATENCY_HALF},
    connection::{
        CloseReason,
        buffers::{TURN_COST_MAX, ThreadBuffers},
        payload::{Origin, OutOfMemory, Payload},
        reading::Large,
    },
    delivery::{SubjectBatch, leaf_side::Source, remotes::Named},
    peer::{
        End, HeldFor,
        batch::{Gathered, Messages, SHARED_LEN, check_end, count_received, place_of},
    },
    protocol::{
        CRLF,
        error::ClientError,
        message::Message,
        route::{LINE_MAX, Parsed, RouteMessage, RouteOp, parse, parse_repeated_message},
    },
};

/// Bytes of the largest headers and payload that a peer may send; a larger message ends the route.
/// Peers keep their own clients below 64 MB.
pub const PAYLOAD_MAX: usize = 64 * 1024 * 1024 + 64 * 1024;

/// Where the common part of a subject batch's messages is in the batch.
#[derive(Clone, Copy)]
pub(super) struct Target {
    origin: (usize, usize),
    account: (usize, usize),
    subject: (usize, usize),
    queues: (usize, usize),
    queues_only: bool,
    /// The line up to the size, if the line has nothing else.
    head: Option<(usize, usize)>,
}

impl Messages for Session {
    type Target = Target;

    /// As nats-server has it, routes are pinged whether they are busy or not.
    const MESSAGES_REPLACE_PINGS: bool = false;

    fn begin_batch(&mut self, _: &mut ThreadBuffers) {
        self.route.record_received();
    }

    fn handle_operation(
        &mut self,
        buffers: &mut ThreadBuffers,
        gathered: &mut Gathered<Target>,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<bool, End> {
        if let Some((taken, message)) = take_repeated(gathered, bytes, *at)? {
            *at += taken;
            gathered.add(self, buffers, bytes, message);
            return Ok(true);
        }
        match parse(&bytes[*at..], LINE_MAX)? {
            Parsed::Incomplete => Ok(false),
            Parsed::Op(RouteOp::Message(message), _) => {
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
        let text = |(start, end): (usize, usize)| &bytes[start..end];
        let account = text(target.account);
        if !self.enter(account) {
            return None;
        }
        let space = self.spaces.get_mut(account)?;
        let subject = text(target.subject);
        let destinations = space.cache.find_subscribers(subject, &space.account);
        Some(TURN_COST_MAX / destinations.subscribers_cost())
    }

    fn deliver_gathered(
        &mut self,
        buffers: &mut ThreadBuffers,
        target: Target,
        bytes: &[u8],
        flush: bool,
    ) {
        let text = |(start, end): (usize, usize)| &bytes[start..end];
        let subject = text(target.subject);
        let origin = text(target.origin);
        let messages = std::mem::take(&mut buffers.messages);
        let batch = SubjectBatch {
            subject,
            source: bytes,
            messages: &messages,
            shared: None,
        };
        let account = text(target.account);
        let queues = Named {
            names: text(target.queues),
            only: target.queues_only,
        };
        self.deliver(
            buffers,
            (origin, account),
            subject,
            queues,
            (&batch, &batch),
            flush,
        );
        buffers.messages = messages;
        buffers.messages.clear();
    }

    fn deliver_large(&mut self, buffers: &mut ThreadBuffers, large: Large) -> Result<(), End> {
        check_end(&large.payload)?;
        // It was parsed before, so it can be parsed again.
        if let Ok(Parsed::Op(RouteOp::Message(message), _)) = parse(&large.line, LINE_MAX) {
            count_received(self, buffers, 1, message.total_len as u64);
            let shared = large.payload.into_shared();
            self.deliver_alone(buffers, &message, &shared, Some(&shared));
        }
        Ok(())
    }
}

impl Session {
    /// Adds a message to the subject batch, or delivers it by itself.
    fn handle_message(
        &mut self,
        buffers: &mut ThreadBuffers,
        gathered: &mut Gathered<Target>,
        bytes: &[u8],
        at: &mut usize,
        message: &RouteMessage<'_>,
    ) -> Result<bool, End> {
        if message.total_len > PAYLOAD_MAX {
            let detail = format!("a payload of {} bytes", message.total_len);
            let end = End::with_error(CloseReason::MaxPayload, ClientError::MaxPayload);
            return Err(end.with(detail));
        }
        let rest = &bytes[*at..];
        let whole_len = message.whole_len();
        if rest.len() < whole_len {
            let begun =
                self.link
                    .input
                    .begin_large(rest, message.line_len, whole_len, Origin::Peer);
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
            self.deliver_alone(buffers, message, payload, None);
        } else {
            let place = |part: &[u8]| place_of(part, bytes);
            let is_same = gathered.target().is_some_and(|target| {
                let text = |(start, end): (usize, usize)| &bytes[start..end];
                text(target.origin) == message.origin
                    && text(target.account) == message.account
                    && text(target.subject) == message.subject
                    && text(target.queues) == message.queues
                    && target.queues_only == message.queues_only
            });
            if !is_same {
                gathered.deliver(self, buffers, bytes);
                let bare = message.reply.is_none() && message.header_len.is_none();
                gathered.set_target(Target {
                    origin: match message.origin.is_empty() {
                        true => (0, 0),
                        false => place(message.origin),
                    },
                    account: place(message.account),
                    subject: place(message.subject),
                    queues: match message.queues.is_empty() {
                        true => (0, 0),
                        false => place(message.queues),
                    },
                    queues_only: message.queues_only,
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

    /// Delivers one message outside of a subject batch. `shared` is the payload, if it is
    /// in memory of its own already.
    fn deliver_alone(
        &mut self,
        buffers: &mut ThreadBuffers,
        message: &RouteMessage<'_>,
        payload: &[u8],
        shared: Option<&Bytes>,
    ) {
        match self.judge_trace(message, payload) {
            TraceDecision::Untraced => {}
            TraceDecision::Dropped => return,
            TraceDecision::Traced(trace) => buffers.message_trace = Some(trace),
        }
        let (subject, reply) = match message.shown_subject() {
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
        let (account, wanted) = ((message.origin, message.account), message.subject);
        let queues = Named {
            names: message.queues,
            only: message.queues_only,
        };
        if reply == message.reply {
            self.deliver(buffers, account, wanted, queues, (&batch, &batch), false);
        } else {
            // Its other details are shown where it is delivered.
            let mut source = Vec::new();
            let reply = message.reply;
            let one = [Message::compose_as_it_came(
                &mut source,
                reply,
                sizes,
                payload,
            )];
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
        self.end_trace(buffers, message.account);
    }

    /// Delivers a subject batch to the subscribers of `wanted` in an account, and to leafnodes but those
    /// of the cluster `origin`. What is left for others is forwarded unchanged.
    fn deliver(
        &mut self,
        buffers: &mut ThreadBuffers,
        (origin, account): (&[u8], &[u8]),
        wanted: &[u8],
        queues: Named<'_>,
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
        let received = &space.account.route_totals.received;
        received.add(batch.messages.len() as u64, bytes.sum());
        let is_only_traced = buffers
            .message_trace
            .as_ref()
            .is_some_and(|trace| trace.only);
        let is_for_broker = space.account.is_system && !is_only_traced && !queues.only;
        // A request received by a peer is also a request to this broker.
        let is_request = || {
            [&b"$SYS.REQ."[..], LATENCY_HALF.as_bytes()]
                .iter()
                .any(|start| as_it_came.subject.starts_with(start))
        };
        if is_for_broker && is_request() {
            system_queue::pass_on(&self.cluster.broker, &space.account, as_it_came);
        }
        if is_for_broker {
            self.cluster.handle_view(&self.route, &space.account, batch);
            self.cluster
                .handle_node_list(&self.route, &space.account, batch);
            let over_limit = &mut self.over_limit;
            self.cluster
                .handle_count(buffers, &self.route, batch, over_limit);
        }
        let destinations = space.cache.find_subscribers(wanted, &space.account);
        buffers.cost += space.cache.take_cost();
        self.remembers_long |= space.cache.is_temporary();
        if space.account.latency.is_measured() && !destinations.is_empty() && !is_only_traced {
            let replies = batch.messages.iter().filter_map(|it| batch.reply(it));
            replies.for_each(|reply| space.account.latency.track(reply));
        }
        let from_peer = Sender {
            no_echo: None,
            describe: None,
            to_peers: false,
            from: Source::Route((!origin.is_empty()).then_some(origin)),
            groups: None,
            as_it_came: (!std::ptr::eq(batch, as_it_came)).then_some(as_it_came),
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
        // Announce first to the peers which subscriptions have ended.
        self.cluster.broker.accounts.drop_expired(buffers);
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
        if buffers.is_spent() {
            self.link.held = HeldFor::Others;
        }
    }

    /// Makes sure of the subject space of an account; `false` if there is no such
    /// account here.
    pub(super) fn enter(&mut self, account: &[u8]) -> bool {
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

/// Accepts a message that differs from the subject batch's first one in its payload alone,
/// and returns its length; `None`: it has to be parsed.
#[inline]
fn take_repeated(
    gathered: &mut Gathered<Target>,
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
    if rest.len() < whole_len || total_len >= SHARED_LEN {
        return Ok(None);
    }
    check_end(&rest[line_len..whole_len])?;
    gathered.count(total_len);
    let message = Message {
        tail_start: (at + head.len()) as u32,
        tail_end: (at + whole_len) as u32,
        reply_len: 0,
        header_len: None,
        total_len: total_len as u32,
    };
    Ok(Some((whole_len, message)))
}
