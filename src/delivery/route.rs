//! Taking a batch to another broker: to a peer of the cluster as `RMSG`, to a leafnode as `LMSG`; with
//! headers to both as `HMSG`. What came from a leafnode of a cluster goes to peers as `LMSG` with the name
//! of that cluster, so that they do not send it back there.

use std::sync::{Arc, atomic::Ordering};

use super::{
    append::{append_as_it_came, append_without_headers, end_append, end_delivery},
    batch::{BYTES_PER_COST, SubjectBatch},
    remote::InAccount,
};
use crate::{
    connection::{Connection, Kind, buffers::ThreadBuffers, outbound::Appender},
    protocol::{encode::RouteHead, message::Message},
    security::delivery_filter::DeliveryFilter,
    telemetry::MonotonicMillis,
};

/// How a subject batch goes to a peer of the cluster.
pub enum Routed<'a> {
    /// Every message, for subscribers outside of queue groups.
    Plain,
    /// Some messages for queue groups too.
    Queues {
        /// Whether the peer has interest in every message; else only those that a queue
        /// group is to serve.
        plain: bool,
        /// Whether they are passed on: the peer's subscribers outside of queue groups have them
        /// already.
        passed_on: bool,
        /// Appends the names of the queue groups that are to serve the message
        /// of an index, a blank behind each.
        names: &'a dyn Fn(usize, &mut Vec<u8>),
    },
}

impl Routed<'_> {
    /// Whether the peer has interest in every message.
    fn is_plain(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Queues { plain, .. } => *plain,
        }
    }
}

impl Connection {
    /// Delivers a subject batch to a peer of the cluster or to a leafnode. Returns what it
    /// took, and the queue groups whose names were too long for its control lines;
    /// `None` if it took nothing because it ends. What is not for queue groups and too
    /// long is lost and booked as such.
    pub fn deliver_routed(
        self: &Arc<Self>,
        buffers: &mut ThreadBuffers,
        account: InAccount<'_>,
        batch: &SubjectBatch<'_>,
        routed: &Routed<'_>,
        now: MonotonicMillis,
        flush: bool,
    ) -> Option<(Appended, Vec<TooLong>)> {
        if let Some(trace) = buffers.message_trace.take() {
            return self.deliver_routed_traced(buffers, trace, account, batch, routed, now, flush);
        }
        let takes_headers = self.takes_headers();
        let mut prefix = std::mem::take(&mut buffers.prefix);
        let origin = account.origin.filter(|_| self.takes_origins());
        let mut head = match (self.kind, origin) {
            (Kind::Leafnode, _) => RouteHead::to_leafnode(&mut prefix, batch.subject),
            (_, Some(origin)) => {
                RouteHead::with_origin(&mut prefix, origin, account.name, batch.subject)
            }
            (_, None) => RouteHead::new(&mut prefix, account.name, batch.subject),
        };
        let mut taken = None;
        if let Some(mut appender) = self.append() {
            appender.begin(buffers.read_at);
            let mut routing = Routing {
                appender: &mut appender,
                buffers: &mut *buffers,
                batch,
                takes_headers,
                takes_queues_only: self.takes_queues_only(),
                line_max: self.line_max(),
                payload_max: self.payload_max(),
                appended: Appended::default(),
                too_long: Vec::new(),
                guard: match self.kind {
                    Kind::Leafnode => self.guard.lock().clone(),
                    Kind::Router | Kind::Client => None,
                },
            };
            // A queue that cannot take all of it is closed, and throws away what it got.
            let made_before = routing.buffers.appended;
            let all = routing.append(routed, &mut head);
            let (appended, too_long) = (routing.appended, routing.too_long);
            buffers.cost +=
                batch.messages.len() + (buffers.appended - made_before) / BYTES_PER_COST;
            let is_touched = all && appended.msgs > 0;
            taken = all.then_some((appended, too_long));
            end_append(self, &mut appender, buffers, is_touched && !flush);
        }
        buffers.prefix = prefix;
        let is_reached = taken
            .as_ref()
            .is_some_and(|(appended, _)| appended.msgs > 0);
        if is_reached {
            end_delivery(self, buffers, now, flush);
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

/// The data for appending a subject batch to the queue of a route.
struct Routing<'a, 'b, 'c> {
    appender: &'a mut Appender<'b>,
    buffers: &'a mut ThreadBuffers,
    batch: &'a SubjectBatch<'c>,
    takes_headers: bool,
    takes_queues_only: bool,
    /// Bytes of the longest control line that the peer accepts.
    line_max: usize,
    /// Bytes of the largest message that it accepts.
    payload_max: usize,
    appended: Appended,
    too_long: Vec<TooLong>,
    /// Notes requests to a leafnode, so that its replies are permitted.
    guard: Option<Arc<DeliveryFilter>>,
}

/// A queue group whose name did not fit into a peer's control line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLong {
    /// Index of the message in its subject batch.
    pub message: usize,
    /// Place of the group among those of the message.
    pub place: usize,
}

/// The part of a subject batch that was appended to the queue of a route.
#[derive(Clone, Copy, Debug, Default)]
pub struct Appended {
    /// Messages.
    pub msgs: u64,
    /// Bytes of their headers and payloads.
    pub bytes: u64,
}

impl Routing<'_, '_, '_> {
    /// Appends what of the subject batch the peer is to have. Returns whether the queue
    /// took all of it, but for what is too long.
    fn append(&mut self, routed: &Routed<'_>, head: &mut RouteHead<'_>) -> bool {
        let batch = self.batch;
        for (index, message) in batch.messages.iter().enumerate() {
            if message.total_len as usize > self.payload_max {
                self.appender.refuse(1, u64::from(message.total_len));
                continue;
            }
            if let Routed::Queues {
                names, passed_on, ..
            } = routed
            {
                let only = *passed_on && self.takes_queues_only;
                head.begin_queues(batch.reply(message), only);
                let before_names = head.bytes_so_far();
                names(index, head.names());
                if head.bytes_so_far() > before_names {
                    let accepted = match head.fits(0, self.line_max) {
                        true => self.append_one(message, head, true),
                        false => self.append_in_parts(index, head, before_names, routed),
                    };
                    if !accepted {
                        return false;
                    }
                    continue;
                }
                head.reset();
            }
            if !routed.is_plain() {
                continue;
            }
            if !head.fits(message.reply_len as usize, self.line_max) {
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
        head: &mut RouteHead<'_>,
        before_names: usize,
        routed: &Routed<'_>,
    ) -> bool {
        let names = head.names().split_off(before_names);
        let mut lines = 0;
        let mut names = names.split_inclusive(|byte| *byte == b' ').peekable();
        // The place of the next name.
        let mut next = 0;
        while names.peek().is_some() {
            head.names().truncate(before_names);
            let first = next;
            while let Some(name) = names.next_if(|name| head.fits(name.len(), self.line_max)) {
                head.names().extend_from_slice(name);
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

    /// Appends a message after `head`, which already contains its reply if there are
    /// `queues`. Returns whether the queue accepted it.
    fn append_one(&mut self, message: &Message, head: &mut RouteHead<'_>, queues: bool) -> bool {
        let batch = self.batch;
        let body_len = match message.header_len {
            header_len
                if head.needs_header_size()
                    && (header_len.is_none_or(|len| len == 0) || !self.takes_headers) =>
            {
                let reply = batch.reply(message).filter(|_| !queues);
                append_without_headers(
                    self.appender,
                    self.buffers,
                    batch,
                    message,
                    header_len.unwrap_or(0),
                    &head.with_header_size(reply),
                    None,
                )
            }
            Some(header_len) if header_len == 0 || !self.takes_headers => {
                let reply = batch.reply(message).filter(|_| !queues);
                append_without_headers(
                    self.appender,
                    self.buffers,
                    batch,
                    message,
                    header_len,
                    head.of(false),
                    reply,
                )
            }
            header_len => {
                let mut tail = batch.tail(message);
                if queues && message.reply_len > 0 {
                    tail = &tail[message.reply_len as usize + 1..];
                }
                let head = head.of(header_len.is_some());
                append_as_it_came(self.appender, self.buffers, batch, message, head, tail)
            }
        };
        if let Some(body_len) = body_len {
            self.appender.count(1, body_len as u64);
            self.appended.msgs += 1;
            self.appended.bytes += body_len as u64;
            if let Some(guard) = &self.guard
                && let Some(reply) = batch.reply(message)
            {
                guard.record_request(reply);
            }
        }
        body_len.is_some()
    }
}

impl Connection {
    /// Whether messages with headers may be sent as they are.
    pub(super) fn takes_headers(&self) -> bool {
        self.headers.load(Ordering::Relaxed)
    }
}
