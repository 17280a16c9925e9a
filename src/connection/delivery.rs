//! Delivery: from a subject batch of messages to the outbound queue of one subscription.
//!
//! A *subject batch* is what a publisher sent to one subject in one batch, one message
//! behind the other. Taking a subject batch to one target at a time, instead of a message
//! to all targets, locks each queue once per subject batch and keeps its end in the
//! cache. The messages stay where they were read: a delivery differs from a
//! publish only in its head (`MSG subject sid `), all that follows is copied in
//! one piece. Every kind of publisher delivers through here.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;

use super::{Connection, Subscription, buffers::ThreadBuffers, outbound::Appender};
use crate::{
    protocol::CRLF, security::delivery_filter::DeliveryFilter, sublist::Entry,
    telemetry::MonotonicMillis,
};

/// Bytes appended in one batch after which everything touched is flushed:
/// bounds what a batch times its fan-out can hold.
const APPENDED_MAX: usize = 16 * 1024 * 1024;

/// Bytes that are copied in about the time that a delivery takes by itself.
const BYTES_PER_COST: usize = 256;

/// Bytes that the sizes of a message and the ends of its control line take at
/// most.
const SIZES_LEN: usize = 32;

/// Where one message stands in the bytes of its subject batch, and how it is built.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Where `[reply ]sizes CRLF payload CRLF` begins.
    pub tail_start: u32,
    /// Where it ends. With a shared payload it ends before the payload.
    pub tail_end: u32,
    /// Bytes of the reply subject, which begins the tail; 0 for none.
    pub reply_len: u32,
    /// Bytes of the headers; `None` when the publish had no header size.
    pub header_len: Option<u32>,
    /// Bytes of headers and payload.
    pub total_len: u32,
}

/// Messages to one subject.
#[derive(Clone, Copy)]
pub struct SubjectBatch<'a> {
    /// The subject.
    pub subject: &'a [u8],
    /// The bytes that the messages stand in.
    pub source: &'a [u8],
    /// The messages.
    pub messages: &'a [Message],
    /// The payload with its CRLF, when it is large; then there is one message.
    pub shared: Option<&'a Bytes>,
}

/// Which messages of a subject batch: every `step`th from `first` on.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    /// Index of the first one.
    pub first: usize,
    /// Distance to the next one; at least 1.
    pub step: usize,
}

impl Pick {
    /// Every message.
    pub const ALL: Self = Self { first: 0, step: 1 };

    /// Just one message.
    pub const fn one(index: usize) -> Self {
        Self {
            first: index,
            step: usize::MAX,
        }
    }
}

/// How a subject batch goes to one subscription.
struct Terms<'a> {
    /// What stands before each message: `HMSG subject sid `.
    prefix: &'a [u8],
    takes_headers: bool,
    /// Who is told of requests.
    guard: Option<&'a DeliveryFilter>,
}

impl SubjectBatch<'_> {
    /// The reply subject of a message of the subject batch, if it has one.
    pub fn reply(&self, message: &Message) -> Option<&[u8]> {
        let start = message.tail_start as usize;
        match message.reply_len as usize {
            0 => None,
            len => Some(&self.source[start..start + len]),
        }
    }

    /// Bytes of headers and payloads, estimated by those of the first message.
    pub fn bytes(&self) -> u64 {
        let first = self.messages.first().map_or(0, |first| first.total_len);
        u64::from(first) * self.messages.len() as u64
    }

    /// What it costs to take the subject batch to one target; see [`ThreadBuffers::is_spent`].
    pub fn cost(&self) -> usize {
        let copied = match self.shared {
            Some(_) => 0,
            None => self.bytes() as usize,
        };
        self.messages.len() + copied / BYTES_PER_COST
    }

    /// Headers, payload and the CRLF behind them.
    pub fn body(&self, message: &Message) -> &[u8] {
        match self.shared {
            Some(shared) => shared,
            None => {
                let end = message.tail_end as usize;
                &self.source[end - message.total_len as usize - CRLF.len()..end]
            }
        }
    }

    fn tail(&self, message: &Message) -> &[u8] {
        &self.source[message.tail_start as usize..message.tail_end as usize]
    }
}

/// How a subject batch goes to a peer of the cluster.
pub enum Routed<'a> {
    /// Every message, for subscribers outside of queue groups.
    Plain,
    /// Some messages for queue groups too.
    Queues {
        /// Whether the peer wants every message; else only those that a queue
        /// group is to serve.
        plain: bool,
        /// Appends the names of the queue groups that are to serve the message
        /// of an index, a blank behind each.
        names: &'a dyn Fn(usize, &mut Vec<u8>),
    },
}

impl Routed<'_> {
    /// Whether the peer wants every message.
    fn is_plain(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Queues { plain, .. } => *plain,
        }
    }
}

impl Connection {
    /// Delivers a subject batch to a peer of the cluster as `RMSG` or `HMSG`. Returns what it
    /// took, and the queue groups whose names were too long for its control lines;
    /// `None` if it took nothing because it ends. What is not for queue groups and too
    /// long is lost and booked as such.
    pub fn deliver_routed(
        self: &Arc<Self>,
        buffers: &mut ThreadBuffers,
        account: &[u8],
        batch: &SubjectBatch<'_>,
        routed: &Routed<'_>,
        now: MonotonicMillis,
        flush: bool,
    ) -> Option<(Appended, Vec<TooLong>)> {
        let takes_headers = self.takes_headers();
        let mut head = std::mem::take(&mut buffers.prefix);
        head.clear();
        for part in [b"RMSG ", account, b" ", batch.subject, b" "] {
            head.extend_from_slice(part);
        }
        let mut taken = None;
        if let Some(mut appender) = self.append() {
            appender.begin(buffers.read_at);
            let mut routing = Routing {
                appender: &mut appender,
                buffers: &mut *buffers,
                batch,
                takes_headers,
                line_max: self.line_max(),
                appended: Appended::default(),
                too_long: Vec::new(),
            };
            // A queue that has no room for all of it ends, and throws away what it got.
            let made_before = routing.buffers.appended;
            let all = routing.append(routed, &mut head);
            let (appended, too_long) = (routing.appended, routing.too_long);
            buffers.cost +=
                batch.messages.len() + (buffers.appended - made_before) / BYTES_PER_COST;
            let is_touched = all && appended.msgs > 0;
            taken = all.then_some((appended, too_long));
            if is_touched && !flush && appender.touch(buffers.read_batch) {
                buffers.touched.push(self.clone());
            }
            appender.note_feeder(buffers.publisher);
            buffers.congested.note(self, &mut appender);
        }
        buffers.prefix = head;
        let is_reached = taken
            .as_ref()
            .is_some_and(|(appended, _)| appended.msgs > 0);
        if is_reached {
            buffers.reached += 1;
            self.active(now);
            if flush {
                self.flush(buffers);
            } else if buffers.appended > APPENDED_MAX {
                buffers.flush_touched();
            }
        }
        taken
    }

    /// Books messages with so many bytes that were too long for a peer's control lines.
    pub(super) fn refuse_too_long(&self, msgs: u64, bytes: u64) {
        if let Some(mut appender) = self.append() {
            appender.refuse(msgs, bytes);
        }
    }
}

/// What is needed to append a subject batch to the queue of a route.
struct Routing<'a, 'b, 'c> {
    appender: &'a mut Appender<'b>,
    buffers: &'a mut ThreadBuffers,
    batch: &'a SubjectBatch<'c>,
    takes_headers: bool,
    /// Bytes of the longest control line that the peer takes.
    line_max: usize,
    appended: Appended,
    too_long: Vec<TooLong>,
}

/// A queue group whose name found no room in a peer's control line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLong {
    /// Index of the message in its subject batch.
    pub message: usize,
    /// Place of the group among those of the message.
    pub place: usize,
}

/// What of a subject batch was appended to the queue of a route.
#[derive(Clone, Copy, Debug, Default)]
pub struct Appended {
    /// Messages.
    pub msgs: u64,
    /// Bytes of their headers and payloads.
    pub bytes: u64,
}

impl Routing<'_, '_, '_> {
    /// Appends what of the subject batch the peer is to have; `head` is `RMSG account
    /// subject `. Returns whether all of it found room, but for what is too long.
    fn append(&mut self, routed: &Routed<'_>, head: &mut Vec<u8>) -> bool {
        let batch = self.batch;
        let plain_len = head.len();
        for (index, message) in batch.messages.iter().enumerate() {
            head.truncate(plain_len);
            if let Routed::Queues { names, .. } = routed {
                head.extend_from_slice(b"| ");
                if let Some(reply) = batch.reply(message) {
                    head.truncate(plain_len);
                    for part in [b"+ ", reply, b" "] {
                        head.extend_from_slice(part);
                    }
                }
                let before_names = head.len();
                names(index, head);
                if head.len() > before_names {
                    let found_room = match head.len() + SIZES_LEN <= self.line_max {
                        true => self.append_one(message, head, true),
                        false => self.append_in_parts(index, head, before_names, routed),
                    };
                    if !found_room {
                        return false;
                    }
                    continue;
                }
                head.truncate(plain_len);
            }
            if !routed.is_plain() {
                continue;
            }
            if head.len() + message.reply_len as usize + SIZES_LEN > self.line_max {
                self.appender.refuse(1, u64::from(message.total_len));
            } else if !self.append_one(message, head, false) {
                return false;
            }
        }
        true
    }

    /// The same for a message with more names of queue groups than a line can
    /// hold: several lines, each with some of them. Every line would reach the
    /// peer's subscribers outside of queue groups too, so if there are any only
    /// the first one goes.
    #[cold]
    fn append_in_parts(
        &mut self,
        message: usize,
        head: &mut Vec<u8>,
        before_names: usize,
        routed: &Routed<'_>,
    ) -> bool {
        let names = head.split_off(before_names);
        let mut lines = 0;
        let mut names = names.split_inclusive(|byte| *byte == b' ').peekable();
        // The place of the next name.
        let mut next = 0;
        while names.peek().is_some() {
            head.truncate(before_names);
            let first = next;
            let room = |head: &Vec<u8>| self.line_max.saturating_sub(head.len() + SIZES_LEN);
            while let Some(name) = names.next_if(|name| name.len() <= room(head)) {
                head.extend_from_slice(name);
                next += 1;
            }
            let has_names = next > first;
            if has_names && (lines == 0 || !routed.is_plain()) {
                lines += 1;
                if !self.append_one(&self.batch.messages[message], head, true) {
                    return false;
                }
                continue;
            }
            // Neither these nor, if even one is too long, that one.
            if !has_names && names.next().is_some() {
                next += 1;
            }
            let too_long = (first..next).map(|place| TooLong { message, place });
            self.too_long.extend(too_long);
        }
        true
    }

    /// Appends a message behind `head`, in which its reply stands already if
    /// there are `queues`. Returns whether it found room.
    fn append_one(&mut self, message: &Message, head: &mut [u8], queues: bool) -> bool {
        let batch = self.batch;
        let body_len = match message.header_len {
            Some(header_len) if header_len == 0 || !self.takes_headers => {
                head[0] = b'R';
                let reply = batch.reply(message).filter(|_| !queues);
                append_bare(
                    self.appender,
                    self.buffers,
                    batch,
                    message,
                    header_len,
                    head,
                    reply,
                )
            }
            header_len => {
                head[0] = if header_len.is_some() { b'H' } else { b'R' };
                let mut tail = batch.tail(message);
                if queues && message.reply_len > 0 {
                    tail = &tail[message.reply_len as usize + 1..];
                }
                append_whole(self.appender, self.buffers, batch, message, head, tail)
            }
        };
        if let Some(body_len) = body_len {
            self.appender.count(1, body_len as u64);
            self.appended.msgs += 1;
            self.appended.bytes += body_len as u64;
        }
        body_len.is_some()
    }
}

/// Deals messages of a run out to the members of a queue group, in turn from a
/// random one on; `excludes` are passed over. So many members are `elsewhere` and
/// take their turns. Returns the indexes of theirs and of those that no member
/// took, ascending.
pub fn deliver_to_queue_group(
    buffers: &mut ThreadBuffers,
    batch: &SubjectBatch<'_>,
    members: &[Arc<Subscription>],
    elsewhere: usize,
    excludes: impl Fn(&Subscription) -> bool,
    now: MonotonicMillis,
    flush: bool,
) -> Vec<usize> {
    let turns = members.len() + elsewhere;
    let start = fastrand::usize(..turns);
    buffers.cost += turns.min(batch.messages.len()) + batch.cost();
    let (mut undelivered, mut theirs) = (Vec::new(), Vec::new());
    for first in 0..turns.min(batch.messages.len()) {
        let picked = (first..batch.messages.len()).step_by(turns);
        let Some(member) = members.get((start + first) % turns) else {
            theirs.extend(picked);
            continue;
        };
        let pick = Pick { first, step: turns };
        let taken = match excludes(member) {
            true => 0,
            false => member.deliver(buffers, batch, pick, now, flush),
        };
        undelivered.extend(picked.skip(taken));
    }
    // Somebody's share was not taken.
    deal_rest(
        buffers,
        batch,
        members,
        &mut undelivered,
        excludes,
        now,
        flush,
    );
    undelivered.extend(theirs);
    undelivered.sort_unstable();
    undelivered
}

/// Deals messages of a run out one by one, each to whoever of the members takes it;
/// those that nobody takes are left.
pub fn deal_rest(
    buffers: &mut ThreadBuffers,
    batch: &SubjectBatch<'_>,
    members: &[Arc<Subscription>],
    left: &mut Vec<usize>,
    excludes: impl Fn(&Subscription) -> bool,
    now: MonotonicMillis,
    flush: bool,
) {
    if left.is_empty() {
        return;
    }
    let members = members.iter().filter(|member| !excludes(member));
    let mut able: Vec<&Arc<Subscription>> = members.collect();
    let mut turn = fastrand::usize(..able.len().max(1));
    left.retain(|index| {
        while !able.is_empty() {
            let at = turn % able.len();
            buffers.cost += 1;
            if able[at].deliver(buffers, batch, Pick::one(*index), now, flush) == 1 {
                turn = at + 1;
                return false;
            }
            // Who did not take one takes no later one either.
            able.swap_remove(at);
        }
        true
    });
}

impl Subscription {
    /// Delivers the picked messages, until the subscription has had its last
    /// one. Returns how many of them it took: fewer than picked also when its
    /// connection is ending. `flush` writes them to the socket at once.
    pub fn deliver(
        self: &Arc<Self>,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        pick: Pick,
        now: MonotonicMillis,
        flush: bool,
    ) -> usize {
        // A crowd of subscriptions whose connection was cut is passed over quickly.
        if self.connection.is_closing() {
            return 0;
        }
        let subject = self.delivered_subject(batch.subject);
        let guard = self.guard();
        if let Some(guard) = &guard
            && !guard.allows(&subject, self.queue())
        {
            return 0;
        }
        let connection = &self.connection;
        let takes_headers = connection.headers.load(Ordering::Relaxed);
        let mut prefix = std::mem::take(&mut buffers.prefix);
        prefix.clear();
        for part in [b"HMSG ", &*subject, b" ", self.sid(), b" "] {
            prefix.extend_from_slice(part);
        }
        let taken = match connection.append() {
            Some(mut appender) if !self.origin().is_closed() => {
                appender.begin(buffers.read_at);
                let terms = Terms {
                    prefix: &prefix,
                    takes_headers,
                    guard: guard.as_deref(),
                };
                let taken = self.append_run(&mut appender, buffers, batch, pick, &terms);
                if taken > 0 && !flush && appender.touch(buffers.read_batch) {
                    buffers.touched.push(connection.clone());
                }
                appender.note_feeder(buffers.publisher);
                buffers.congested.note(connection, &mut appender);
                taken
            }
            _ => 0,
        };
        if let Some(shown) = connection.traced.shown() {
            let messages = batch.messages.iter().skip(pick.first).step_by(pick.step);
            connection.trace_out(batch, messages.take(taken), (&prefix, takes_headers), shown);
        }
        buffers.prefix = prefix;
        if taken > 0 {
            buffers.reached += 1;
            connection.active(now);
            if flush {
                connection.flush(buffers);
            } else if buffers.appended > APPENDED_MAX {
                buffers.flush_touched();
            }
        }
        taken
    }

    fn append_run(
        self: &Arc<Self>,
        appender: &mut Appender<'_>,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        pick: Pick,
        terms: &Terms<'_>,
    ) -> usize {
        let Terms {
            prefix,
            takes_headers,
            guard,
        } = *terms;
        let origin = self.origin();
        let max = origin.max();
        let left = match max {
            0 => usize::MAX,
            max => {
                usize::try_from(max.saturating_sub(origin.delivered.value())).unwrap_or(usize::MAX)
            }
        };
        let mut taken = 0;
        let mut bytes = 0;
        let messages = batch.messages[pick.first..].iter().step_by(pick.step);
        for message in messages.take(left) {
            let body_len = match message.header_len {
                // The common case: the tail goes on as it came.
                None => {
                    let tail = batch.tail(message);
                    append_whole(appender, buffers, batch, message, &prefix[1..], tail)
                }
                Some(header_len) if header_len > 0 && takes_headers => append_whole(
                    appender,
                    buffers,
                    batch,
                    message,
                    prefix,
                    batch.tail(message),
                ),
                Some(header_len) => {
                    let reply = batch.reply(message);
                    append_bare(
                        appender,
                        buffers,
                        batch,
                        message,
                        header_len,
                        &prefix[1..],
                        reply,
                    )
                }
            };
            let Some(body_len) = body_len else {
                break;
            };
            taken += 1;
            bytes += body_len;
            if let Some(guard) = guard
                && let Some(reply) = batch.reply(message)
            {
                guard.record_request(reply);
            }
        }
        let (msgs, bytes) = (taken as u64, bytes as u64);
        match self.exported_traffic() {
            None => appender.count(msgs, bytes),
            Some(exported_traffic) => {
                appender.count_borrowed(msgs, bytes);
                exported_traffic.add(msgs, bytes);
            }
        }
        origin.delivered.add(msgs);
        if max > 0 && origin.delivered.value() >= max {
            origin.close();
            buffers.expired.push(origin.clone());
        }
        taken
    }
}

/// Appends a message as it came but for its head: `prefix`, then `tail`, which
/// is the message's own or a part of it. Returns the bytes of headers and
/// payload; `None` if the connection is now ending.
#[inline]
fn append_whole(
    appender: &mut Appender<'_>,
    buffers: &mut ThreadBuffers,
    batch: &SubjectBatch<'_>,
    message: &Message,
    prefix: &[u8],
    tail: &[u8],
) -> Option<usize> {
    let shared_len = batch.shared.map_or(0, Bytes::len);
    let len = prefix.len() + tail.len() + shared_len;
    if !appender.reserve(len) {
        return None;
    }
    buffers.appended += len;
    appender.push(buffers, prefix, tail);
    match batch.shared {
        Some(shared) => appender.push_shared(shared.clone()),
        None => appender.end_message(),
    }
    Some(message.total_len as usize)
}

/// Appends a message whose header size is nought, or whose target does not
/// understand headers: the payload alone. `reply` is what of it is not in the
/// prefix.
fn append_bare(
    appender: &mut Appender<'_>,
    buffers: &mut ThreadBuffers,
    batch: &SubjectBatch<'_>,
    message: &Message,
    header_len: u32,
    prefix: &[u8],
    reply: Option<&[u8]>,
) -> Option<usize> {
    let payload = &batch.body(message)[header_len as usize..];
    let payload_len = payload.len() - CRLF.len();
    let reply = reply.unwrap_or_default();
    let blank: &[u8] = if reply.is_empty() { b"" } else { b" " };
    let size = format!("{payload_len}\r\n");
    let len = prefix.len() + reply.len() + blank.len() + size.len() + payload.len();
    if !appender.reserve(len) {
        return None;
    }
    buffers.appended += len;
    // In one piece: a piece of the queue begins with a message.
    let head = [prefix, reply, blank, size.as_bytes()].concat();
    match batch.shared {
        Some(shared) => {
            appender.push(buffers, &head, b"");
            appender.push_shared(shared.slice(header_len as usize..));
        }
        None => {
            appender.push(buffers, &head, payload);
            appender.end_message();
        }
    }
    Some(payload_len)
}
