//! Routing: delivers a subject batch to all interested subscribers and peers.

use std::sync::{Arc, atomic::Ordering};

use memchr::memchr;

use super::active::{Active, Unanswered};
use crate::{
    account::{
        Destinations, Mapped,
        fan_out::{Sender, Undelivered},
        path::Path,
    },
    connection::buffers::ThreadBuffers,
    delivery::{SubjectBatch, leaf_side::Source},
    peer::HeldFor,
    protocol::encode::no_responders,
};

impl Active {
    /// Delivers a subject batch to all interested subscribers and peers.
    pub(super) fn route(
        &mut self,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        destinations: &Destinations,
        flush: bool,
    ) {
        if let Some(mapped) = destinations.mapped() {
            return self.route_mapped(buffers, batch, mapped, flush);
        }
        let base = &self.base;
        let describe =
            |share: bool, via: Option<&str>| base.broker.describe(&base.connection, share, via);
        let sender = Sender {
            no_echo: (!self.options.echo).then_some(&self.base.connection),
            describe: Some(&describe),
            to_peers: true,
            from: Source::Here,
            groups: None,
            as_it_came: None,
            is_service: false,
            path: Path::START,
        };
        let mut undelivered = sender.fan_out(buffers, &self.account, batch, destinations, flush);
        let is_only_traced = buffers
            .message_trace
            .as_ref()
            .is_some_and(|trace| trace.only);
        if batch.subject.starts_with(b"$SYS.") && !is_only_traced && self.serve(buffers, batch) {
            undelivered = Undelivered::These(Vec::new());
        }
        self.base.broker.accounts.drop_expired(buffers);
        let no_interest = undelivered.indexes(batch.messages.len());
        self.note_batch(buffers, batch, &no_interest);
        if self.options.no_responders {
            self.answer_no_interest(buffers, batch, &no_interest);
        }
    }

    /// Sends no-responders statuses for the messages of a subject batch that are requests:
    /// they had no receivers.
    fn answer_no_interest(
        &mut self,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        no_interest: &[usize],
    ) {
        let mut left = Vec::new();
        let messages = no_interest.iter().map(|index| &batch.messages[*index]);
        for reply in messages.filter_map(|message| batch.reply(message)) {
            if buffers.is_spent() {
                left.extend_from_slice(reply);
                left.push(b' ');
            } else {
                self.send_no_responders(buffers, batch.subject, reply);
            }
        }
        if !left.is_empty() {
            self.unanswered.push(Unanswered {
                subject: batch.subject.into(),
                replies: left,
            });
        }
    }

    /// Sends the statuses for which earlier turns had no time.
    pub(super) fn send_rest(&mut self, buffers: &mut ThreadBuffers) {
        for mut some in std::mem::take(&mut self.unanswered) {
            let mut at = 0;
            while !buffers.is_spent()
                && let Some(len) = memchr(b' ', &some.replies[at..])
            {
                let reply = &some.replies[at..at + len];
                self.send_no_responders(buffers, &some.subject, reply);
                at += len + 1;
            }
            some.replies.drain(..at);
            if !some.replies.is_empty() {
                self.unanswered.push(some);
            }
        }
        if !self.unanswered.is_empty() {
            self.base.link.held = HeldFor::Others;
        }
    }

    /// Updates the telemetry of a subject batch, and of messages in it without receivers.
    fn note_batch(
        &self,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        no_interest: &[usize],
    ) {
        let refused = std::mem::take(&mut buffers.refused);
        if refused > 0 {
            self.base.broker.telemetry.replies_full.count_times(
                self.account.name.as_bytes(),
                refused,
                self.base.connection.cid,
            );
        }
        let (refused, no_interest) = no_interest.split_at(no_interest.len().min(refused));
        let bytes = |of: &[usize]| {
            let lens = of.iter().map(|index| batch.messages[*index].total_len);
            lens.map(u64::from).sum()
        };
        let connection = &self.base.connection;
        for (undelivered, msgs_to, bytes_to) in [
            (
                no_interest,
                &connection.no_interest_msgs,
                &connection.no_interest_bytes,
            ),
            (refused, &connection.refused_msgs, &connection.refused_bytes),
        ] {
            if !undelivered.is_empty() {
                msgs_to.add(undelivered.len() as u64);
                bytes_to.add(bytes(undelivered));
            }
        }
        let series = self.base.connection.series.load(Ordering::Relaxed);
        let count = batch.messages.len() as u64;
        buffers.log_batch(
            batch.subject,
            series,
            count,
            batch.bytes(),
            no_interest.is_empty(),
        );
    }

    /// Routes a subject batch to the destination of its subject mapping.
    fn route_mapped(
        &mut self,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        mapped: &Mapped,
        flush: bool,
    ) {
        for messages in batch.messages.chunks(mapped.batch_len_max()) {
            let destinations = mapped.choose(&self.account, batch.subject, &Path::START);
            if let Some(trace) = &mut buffers.message_trace {
                trace.mapped(&destinations.matches.subject);
            }
            let batch = SubjectBatch {
                subject: &destinations.matches.subject,
                messages,
                ..*batch
            };
            self.route(buffers, &batch, &destinations, flush);
        }
    }

    /// Sends the no-responders status for a request to `subject`, if the client is still
    /// subscribed to the reply subject.
    fn send_no_responders(&mut self, buffers: &mut ThreadBuffers, subject: &[u8], reply: &[u8]) {
        let destinations = self.cache.find(reply, &self.account);
        let looked_up;
        let listeners = match destinations.mapped() {
            None => &destinations.matches.plain,
            // Messages to that subject are mapped elsewhere; the answer is not.
            Some(_) => {
                looked_up = self.account.sublist.lookup(reply);
                &looked_up.plain
            }
        };
        let mut known = listeners.iter();
        let listener = known.find(|known| Arc::ptr_eq(&known.connection, &self.base.connection));
        let passed_over = listeners.len() - known.len();
        buffers.cost += 1 + passed_over + self.cache.take_cost();
        let Some(listener) = listener else {
            return;
        };
        let tally = &self.base.broker.telemetry.unanswered;
        tally.count(subject, 0, self.base.connection.cid);
        let line = no_responders(reply, listener.sid(), subject);
        self.base.connection.send(buffers, &line);
    }
}
