//! Publishing what a leafnode sends: a subject batch goes to all destinations in the account, like a
//! client's, but not back, and to members of the queue groups alone that the leafnode names.

use std::sync::{Arc, atomic::Ordering};

use super::session::Session;
use crate::{
    account::{
        Destinations, Mapped,
        fan_out::{Groups, Sender},
        path::Path,
    },
    broker::system_queue,
    connection::buffers::ThreadBuffers,
    delivery::{SubjectBatch, leaf_side::Source},
};

impl Session {
    /// Where messages of this leafnode to `subject` go.
    pub(super) fn find(&mut self, subject: &[u8]) -> Arc<Destinations> {
        let from = Source::Leafnode(&self.leaf.side);
        self.cache.find_from(subject, &self.leaf.account, from)
    }

    /// Publishes a subject batch, for members of these queue groups; their names are separated by
    /// blanks.
    pub(super) fn publish(
        &mut self,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        queues: &[u8],
        flush: bool,
    ) {
        self.publish_to(buffers, batch.subject, (batch, None), queues, flush);
    }

    /// The same to the subscribers of `wanted`; what other brokers get in place of the batch may be
    /// another one.
    pub(super) fn publish_to(
        &mut self,
        buffers: &mut ThreadBuffers,
        wanted: &[u8],
        (batch, as_it_came): (&SubjectBatch<'_>, Option<&SubjectBatch<'_>>),
        queues: &[u8],
        flush: bool,
    ) {
        let destinations = self.find(wanted);
        buffers.cost += self.cache.take_cost();
        let account = &self.leaf.account;
        let received = &account.leaf_totals.received;
        let bytes = batch.messages.iter().map(|it| u64::from(it.total_len));
        received.add(batch.messages.len() as u64, bytes.sum());
        let batches = (batch, as_it_came);
        self.route(buffers, batches, &destinations, Some(queues), flush);
        self.check_whether_to_hold(buffers);
    }

    fn route(
        &mut self,
        buffers: &mut ThreadBuffers,
        (batch, as_it_came): (&SubjectBatch<'_>, Option<&SubjectBatch<'_>>),
        destinations: &Destinations,
        queues: Option<&[u8]>,
        flush: bool,
    ) {
        if let Some(mapped) = destinations.mapped() {
            // Of a subject that is mapped here the leafnode could not know the queue groups.
            let queues = queues.filter(|names| !names.is_empty());
            return self.route_mapped(buffers, batch, mapped, queues, flush);
        }
        let leaf = &self.leaf;
        let broker = &self.leafnodes.broker;
        let from = Source::Leafnode(&leaf.side);
        let describe =
            |share: bool, via: Option<&str>| broker.describe(&leaf.connection, share, via);
        let groups = queues.map(Groups::new);
        buffers.cost += groups.as_ref().map_or(0, Groups::count);
        let sender = Sender {
            no_echo: None,
            describe: Some(&describe),
            to_peers: from.reaches_routes(),
            from,
            groups: groups.as_ref(),
            as_it_came,
            is_service: false,
            path: Path::START,
        };
        let undelivered = sender.fan_out(buffers, &leaf.account, batch, destinations, flush);
        let is_only_traced = buffers
            .message_trace
            .as_ref()
            .is_some_and(|trace| trace.only);
        let mut is_taken = false;
        // By the subject that permissions were asked for.
        let came = as_it_came.unwrap_or(batch);
        if came.subject.starts_with(b"$SYS.") && !is_only_traced {
            is_taken = system_queue::pass_on(broker, &leaf.account, came);
        }
        broker.accounts.drop_expired(buffers);
        let no_interest = match is_taken {
            true => Vec::new(),
            false => undelivered.indexes(batch.messages.len()),
        };
        self.note_batch(buffers, batch, &no_interest);
    }

    /// Updates the telemetry of a subject batch, and of messages in it that nobody wanted.
    fn note_batch(
        &self,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        no_interest: &[usize],
    ) {
        let connection = &self.leaf.connection;
        // Requests for which there was no room to wait for a reply.
        let refused = std::mem::take(&mut buffers.refused);
        if refused > 0 {
            let tally = &self.leafnodes.broker.telemetry.replies_full;
            tally.count_times(self.leaf.account.name.as_bytes(), refused, connection.cid);
        }
        let (refused, no_interest) = no_interest.split_at(no_interest.len().min(refused));
        let bytes = |of: &[usize]| -> u64 {
            let lens = of.iter().map(|index| batch.messages[*index].total_len);
            lens.map(u64::from).sum()
        };
        connection.refused_msgs.add(refused.len() as u64);
        connection.refused_bytes.add(bytes(refused));
        connection.no_interest_msgs.add(no_interest.len() as u64);
        connection.no_interest_bytes.add(bytes(no_interest));
        let series = connection.series.load(Ordering::Relaxed);
        let (count, is_wanted) = (batch.messages.len() as u64, no_interest.is_empty());
        buffers.log_batch(batch.subject, series, count, batch.bytes(), is_wanted);
    }

    /// Routes a subject batch to the destination of its subject mapping.
    fn route_mapped(
        &mut self,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        mapped: &Mapped,
        queues: Option<&[u8]>,
        flush: bool,
    ) {
        let account = self.leaf.account.clone();
        for messages in batch.messages.chunks(mapped.batch_len_max()) {
            let destinations = mapped.choose(&account, batch.subject, &Path::START);
            if let Some(trace) = &mut buffers.message_trace {
                trace.mapped(&destinations.matches.subject);
            }
            let batch = SubjectBatch {
                subject: &destinations.matches.subject,
                messages,
                ..*batch
            };
            self.route(buffers, (&batch, None), &destinations, queues, flush);
        }
    }

    /// Bytes of the largest message: the broker's limit, or a lower one of the account.
    pub(super) fn max_payload(&self) -> usize {
        let own = self.leaf.account.limits().max_payload;
        let all = self.leafnodes.broker.limits.current().max_payload;
        own.unwrap_or(all).min(all)
    }

    /// Whether each message counts, also one to the subject of the one before.
    pub(super) fn counts_messages(&self) -> bool {
        let permissions = self.leaf.sends.as_ref();
        permissions.is_some_and(|permissions| permissions.responses().is_some())
    }
}
