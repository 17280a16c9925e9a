//! Taking a batch to one subscription, as `MSG` or `HMSG`.

use std::sync::{Arc, atomic::Ordering};

use super::{
    append::{append_as_it_came, append_without_headers, end_append, end_delivery},
    batch::{Pick, SubjectBatch},
};
use crate::{
    connection::{Subscription, buffers::ThreadBuffers, outbound::Appender},
    protocol::encode::ClientHead,
    security::delivery_filter::DeliveryFilter,
    sublist::Entry,
    telemetry::MonotonicMillis,
};

/// How a subject batch goes to one subscription.
struct Terms<'a> {
    /// The head that precedes each message.
    head: &'a ClientHead<'a>,
    takes_headers: bool,
    /// Notes requests, so that their replies are permitted.
    guard: Option<&'a DeliveryFilter>,
}

impl Subscription {
    /// Delivers the picked messages, until the subscription has had its last one. Returns
    /// how many it accepted: fewer than picked also when its connection is ending. `flush`
    /// writes them to the socket immediately.
    pub fn deliver(
        self: &Arc<Self>,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        pick: Pick,
        now: MonotonicMillis,
        flush: bool,
    ) -> usize {
        if let Some(trace) = buffers.message_trace.take() {
            return self.deliver_traced(buffers, trace, batch, pick, now, flush);
        }
        // Many subscriptions whose connection was closed are passed over quickly.
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
        let head = ClientHead::new(&mut prefix, &subject, self.sid());
        let taken = match connection.append() {
            Some(mut appender) if !self.origin().is_closed() => {
                appender.begin(buffers.read_at);
                let terms = Terms {
                    head: &head,
                    takes_headers,
                    guard: guard.as_deref(),
                };
                let taken = self.append_batch(&mut appender, buffers, batch, pick, &terms);
                end_append(connection, &mut appender, buffers, taken > 0 && !flush);
                taken
            }
            _ => 0,
        };
        if let Some(shown) = connection.traced.shown() {
            let messages = batch.messages.iter().skip(pick.first).step_by(pick.step);
            connection.trace_out(batch, messages.take(taken), (&head, takes_headers), shown);
        }
        buffers.prefix = prefix;
        if taken > 0 {
            end_delivery(connection, buffers, now, flush);
        }
        taken
    }

    fn append_batch(
        self: &Arc<Self>,
        appender: &mut Appender<'_>,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        pick: Pick,
        terms: &Terms<'_>,
    ) -> usize {
        let Terms {
            head,
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
                // The common case: the tail is copied unchanged.
                None => {
                    let tail = batch.tail(message);
                    append_as_it_came(appender, buffers, batch, message, head.plain(), tail)
                }
                Some(header_len) if header_len > 0 && takes_headers => append_as_it_came(
                    appender,
                    buffers,
                    batch,
                    message,
                    head.with_headers(),
                    batch.tail(message),
                ),
                Some(header_len) => {
                    let reply = batch.reply(message);
                    append_without_headers(
                        appender,
                        buffers,
                        batch,
                        message,
                        header_len,
                        head.plain(),
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
