//! Fan-out: delivers a batch of messages to all destinations, in its own account and in others.
//! Clients and routes publish through this.

use std::{cell::OnceCell, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::{Account, Destinations, latency::is_tracked, path::Path, replies::REPLY_PREFIX};
use crate::{
    connection::{Connection, Subscription, buffers::ThreadBuffers},
    delivery::{
        Pick, Share, SubjectBatch,
        leaf_side::Source,
        queue_group::{deliver_rest, deliver_to_queue_group},
        remotes::{Left, Named, Reached, Remotes},
    },
    sublist::Entry,
    telemetry::MonotonicMillis,
};

/// Limit of messages times queue groups that are handled at a time. Bounds the memory for a batch
/// that matches many groups.
const CHOICES_MAX: usize = 64 * 1024;

/// The cost of a request to another account, in deliveries: the message is composed anew with a
/// header that describes the requester.
pub(super) const REQUEST_COST: usize = 32;

/// Describes the requester as JSON: in full if `true`; with the account that forwarded the request,
/// if it was not the first.
pub type Describe<'a> = dyn Fn(bool, Option<&str>) -> String + 'a;

/// The sender of a batch.
pub struct Sender<'a> {
    /// A connection that gets no delivery: the sender's own, if it does not want its own messages.
    pub no_echo: Option<&'a Arc<Connection>>,
    /// Describes the requester to a responder in another account. Without it, requests do not leave
    /// their account.
    pub describe: Option<&'a Describe<'a>>,
    /// Whether peers of the cluster get the batch: not if it came from one.
    pub to_peers: bool,
    /// Where it comes from, as far as that decides to which leafnodes it goes.
    pub from: Source<'a>,
    /// The queue groups that a leafnode names for it; `None` serves all groups.
    pub groups: Option<&'a Groups<'a>>,
    /// What other brokers get in place of the batch: a message of a stream is shown with another subject
    /// than the one that it is routed by, and the next broker has to know both.
    pub as_it_came: Option<&'a SubjectBatch<'a>>,
    /// Whether it came from another account as a request or a reply: it is not delivered to
    /// imported streams then.
    pub is_service: bool,
    /// The imports that the message came through.
    pub path: Path<'a>,
}

/// The messages of a batch that were delivered to nobody.
#[derive(Debug, Eq, PartialEq)]
pub enum Undelivered {
    /// Those from this index on.
    From(usize),
    /// Those at these indexes, ascending.
    These(Vec<usize>),
}

/// Names of queue groups: a line may have thousands, and each group that matches looks for itself.
pub struct Groups<'a>(HashSet<&'a [u8]>);

impl<'a> Groups<'a> {
    /// Of names that are separated by blanks.
    pub fn new(names: &'a [u8]) -> Self {
        let names = names.split(|byte| *byte == b' ');
        Self(names.filter(|name| !name.is_empty()).collect())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Undelivered {
    /// The messages that are undelivered in both.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::From(one), Self::From(other)) => Self::From(one.max(other)),
            (Self::From(from), Self::These(mut these))
            | (Self::These(mut these), Self::From(from)) => {
                these.retain(|index| *index >= from);
                Self::These(these)
            }
            (Self::These(mut these), Self::These(others)) => {
                these.retain(|index| others.binary_search(index).is_ok());
                Self::These(these)
            }
        }
    }

    /// Whether all messages of a batch of `len` (at least one) are undelivered.
    pub(super) fn is_all_of(&self, len: usize) -> bool {
        match self {
            Self::From(from) => *from == 0,
            Self::These(these) => these.len() == len,
        }
    }

    /// Their indexes in a batch of `len` messages.
    pub fn indexes(self, len: usize) -> Vec<usize> {
        match self {
            Self::From(from) => (from..len).collect(),
            Self::These(these) => these,
        }
    }
}

impl Sender<'_> {
    /// Delivers a batch that was published in `account` to all destinations. Returns the
    /// undelivered messages. `flush` writes to the sockets immediately where possible.
    pub fn fan_out(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
        destinations: &Destinations,
        flush: bool,
    ) -> Undelivered {
        if batch.messages.len() > 1 && destinations.must_interleave() {
            return self.for_each_message(batch, |one| {
                self.fan_out(buffers, account, one, destinations, false)
            });
        }
        let Some(indirect) = &destinations.indirect else {
            return self.deliver(buffers, account, batch, destinations, flush);
        };
        if let Some(mapped) = &indirect.mapped {
            if buffers.survey().is_some() {
                return self.survey_mapped(buffers, account, batch);
            }
            return in_chunks(batch, mapped.batch_len_max(), |batch| {
                let destinations = mapped.choose(account, batch.subject, &self.path);
                if let Some(trace) = &mut buffers.message_trace {
                    trace.mapped(&destinations.matches.subject);
                }
                let batch = SubjectBatch {
                    subject: &destinations.matches.subject,
                    ..*batch
                };
                self.fan_out(buffers, account, &batch, &destinations, flush)
            });
        }
        if indirect.pruned > 0 && self.describe.is_some() {
            let pruned = indirect.pruned * batch.messages.len() as u64;
            account.note_pruned(buffers, pruned);
        }
        let mut undelivered = self.deliver(buffers, account, batch, destinations, flush);
        buffers.cost += REQUEST_COST * indirect.services.len() * batch.messages.len();
        for service in &indirect.services {
            let requests = |one: &SubjectBatch<'_>| self.request(buffers, account, one, service);
            undelivered = undelivered.and(self.for_each_message(batch, requests));
        }
        undelivered
    }

    /// Calls `act` for each message of a batch separately; `act` returns whether it was
    /// undelivered.
    fn for_each_message(
        &self,
        batch: &SubjectBatch<'_>,
        mut act: impl FnMut(&SubjectBatch<'_>) -> Undelivered,
    ) -> Undelivered {
        let is_undelivered = |index: &usize| {
            let one = SubjectBatch {
                messages: &batch.messages[*index..=*index],
                ..*batch
            };
            act(&one).is_all_of(1)
        };
        Undelivered::These((0..batch.messages.len()).filter(is_undelivered).collect())
    }

    /// Delivers a batch to the subscribers of its subject, and replies to requesters in other
    /// accounts.
    fn deliver(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
        destinations: &Destinations,
        flush: bool,
    ) -> Undelivered {
        let matches = &destinations.matches;
        let none = Remotes::default();
        let remotes = match self.to_peers {
            true => destinations.remotes(account),
            false => &none,
        };
        let now = match matches.is_empty() && remotes.is_empty() {
            true => MonotonicMillis(0),
            false => buffers.now(),
        };
        let leafs = destinations.leafs(account, self.from);
        let now = match leafs {
            Some(_) => buffers.now(),
            None => now,
        };
        let queues = matches.queues.len() + remotes.queues().len();
        let queues = queues + leafs.map_or(0, |leafs| leafs.queues().len());
        if queues * batch.messages.len() > CHOICES_MAX && batch.messages.len() > 1 {
            let len = (CHOICES_MAX / queues).max(1);
            return in_chunks(batch, len, |batch| {
                self.deliver(buffers, account, batch, destinations, flush)
            });
        }
        buffers.cost += queues;
        let mut undelivered = self.deliver_to_plain(buffers, batch, destinations, now, flush);
        // What remains of each queue group for its members at peers: their share, and the messages
        // that no member here received.
        let mut left: HashMap<&[u8], Vec<usize>> = HashMap::new();
        let share_here = !matches.queues.is_empty() && !remotes.is_empty();
        let weights = share_here.then(|| remotes.weights());
        let has_others = !remotes.is_empty() || leafs.is_some();
        for members in &matches.queues {
            let excludes = |member: &Subscription| self.excludes(member);
            let name = members.first().and_then(|first| first.queue());
            if !name.is_none_or(|name| self.serves(name)) {
                continue;
            }
            let weight = weights.as_ref().zip(name);
            let weight = weight.and_then(|(weights, name)| weights.get(name));
            let elsewhere = weight.copied().unwrap_or(0);
            let unserved =
                deliver_to_queue_group(buffers, batch, members, elsewhere, excludes, now, flush);
            if has_others && let Some(name) = name {
                left.insert(name, unserved.clone());
            }
            undelivered = undelivered.and(Undelivered::These(unserved));
        }
        if !remotes.is_empty() {
            let shares = self.shares(remotes, &mut left);
            let origin = match self.from {
                Source::Leafnode(side) => side.cluster().map(str::as_bytes),
                Source::Here | Source::Route(_) => None,
            };
            let account = account.over_routes(origin);
            let by_name = OnceCell::new();
            let deal = |buffers: &mut ThreadBuffers, name: &[u8], left: &mut Vec<usize>| {
                let by_name = by_name.get_or_init(|| destinations.queues_by_name());
                if let Some(members) = by_name.get(name) {
                    let excludes = |member: &Subscription| self.excludes(member);
                    deliver_rest(buffers, batch, members, left, excludes, now, flush);
                }
            };
            let passed_on = self.as_it_came.unwrap_or(batch);
            let reached = remotes.deliver(buffers, account, passed_on, &shares, now, flush, deal);
            undelivered = undelivered.and(reached.undelivered(batch.messages.len()));
        }
        if let Some(leafs) = leafs {
            // Groups of the cluster have been served, or what was left of them is lost.
            for name in remotes.queues() {
                left.insert(name, Vec::new());
            }
            let reached = self.deliver_to_leafs(buffers, account, batch, leafs, left, now, flush);
            undelivered = undelivered.and(reached.undelivered(batch.messages.len()));
        }
        undelivered.and(self.deliver_replies(buffers, account, batch))
    }

    /// Delivers a batch to leafnodes: every message to those that want all, and of each queue group
    /// what is `left` of it; all of a group that is nowhere else.
    #[expect(clippy::too_many_arguments, reason = "each is another one's")]
    #[inline(never)]
    fn deliver_to_leafs(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Account,
        batch: &SubjectBatch<'_>,
        leafs: &Remotes,
        mut left: HashMap<&[u8], Vec<usize>>,
        now: MonotonicMillis,
        flush: bool,
    ) -> Reached {
        let shares = self.shares(leafs, &mut left);
        // The members here and in the cluster came first.
        let nobody = |_: &mut ThreadBuffers, _: &[u8], _: &mut Vec<usize>| {};
        let batch = self.as_it_came.unwrap_or(batch);
        leafs.deliver(
            buffers,
            account.over_leafs(),
            batch,
            &shares,
            now,
            flush,
            nobody,
        )
    }

    /// Delivers a batch that came from a peer to the subscribers here, unless it is for queue groups
    /// only, and to one member of each of these queue groups; to leafnodes likewise. Returns the
    /// messages of groups without a member here, which the peer did not know yet.
    pub fn deliver_from_peer<'a>(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
        destinations: &Destinations,
        queues: Named<'a>,
        flush: bool,
    ) -> Vec<Left<'a>> {
        if batch.messages.len() > 1 && destinations.must_interleave() {
            let mut left = Vec::new();
            for (index, messages) in batch.messages.chunks(1).enumerate() {
                let one = SubjectBatch { messages, ..*batch };
                let of_one =
                    self.deliver_from_peer(buffers, account, &one, destinations, queues, false);
                left.extend(of_one.into_iter().map(|Left { queue, .. }| Left {
                    queue,
                    messages: vec![index],
                }));
            }
            return left;
        }
        let now = buffers.now();
        if !queues.only {
            self.deliver_to_plain(buffers, batch, destinations, now, flush);
        }
        // Those of before are for messages of the peer's own.
        let of_origin = match self.from {
            Source::Route(Some(_)) => {
                let subject = self.as_it_came.unwrap_or(batch).subject;
                account.leafnodes(subject, self.from)
            }
            _ => None,
        };
        let leafs = match self.from {
            Source::Route(Some(_)) => of_origin.as_deref(),
            _ => destinations.leafs(account, self.from),
        };
        let mut left = Vec::new();
        if !queues.names.is_empty() {
            buffers.cost += destinations.matches.queues.len();
            let by_name = destinations.queues_by_name();
            for queue in queues.names.split(|byte| *byte == b' ') {
                let messages = match by_name.get(queue) {
                    Some(members) => {
                        let undelivered = deliver_to_queue_group(
                            buffers,
                            batch,
                            members,
                            0,
                            |_| false,
                            now,
                            flush,
                        );
                        // A remaining member may not receive them. They must not be forwarded
                        // either: members elsewhere may have the same restriction, and the messages
                        // would go in circles.
                        match members.iter().all(Subscription::has_left) {
                            true => undelivered,
                            false => continue,
                        }
                    }
                    None => (0..batch.messages.len()).collect(),
                };
                if !messages.is_empty() {
                    left.push(Left { queue, messages });
                }
            }
        }
        if let Some(leafs) = leafs {
            self.pass_to_leafs(
                buffers,
                account,
                batch,
                leafs,
                &mut left,
                queues.only,
                flush,
            );
        }
        if !queues.only {
            self.deliver_replies(buffers, account, batch);
        }
        left
    }

    /// Takes a batch from a peer to leafnodes, and with it what is left of the queue groups that have
    /// members there.
    #[expect(clippy::too_many_arguments, reason = "each is another one's")]
    #[inline(never)]
    fn pass_to_leafs(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Account,
        batch: &SubjectBatch<'_>,
        leafs: &Remotes,
        left: &mut Vec<Left<'_>>,
        queues_only: bool,
        flush: bool,
    ) {
        let is_there = |queue: &[u8]| leafs.queues().any(|name| name == queue);
        let theirs: Vec<Left<'_>> = left.extract_if(.., |left| is_there(left.queue)).collect();
        if queues_only {
            let account = account.over_leafs();
            let batch = self.as_it_came.unwrap_or(batch);
            return leafs.pass_on(buffers, account, batch, &theirs, None, flush);
        }
        let mut shares: HashMap<&[u8], Vec<usize>> =
            leafs.queues().map(|name| (name, Vec::new())).collect();
        for Left { queue, messages } in theirs {
            if let Some(share) = shares.get_mut(queue) {
                *share = messages;
            }
        }
        let now = buffers.now();
        self.deliver_to_leafs(buffers, account, batch, leafs, shares, now, flush);
    }

    /// Whether a member of this queue group is to get the batch.
    fn serves(&self, name: &[u8]) -> bool {
        self.groups.is_none_or(|groups| groups.0.contains(name))
    }

    /// What the members of each queue group at other brokers get: all, or what the members here left.
    fn shares(&self, remotes: &Remotes, left: &mut HashMap<&[u8], Vec<usize>>) -> Vec<Share> {
        let share = |name: &[u8]| match self.serves(name) {
            true => left.remove(name).map_or(Share::All, Share::Some),
            false => Share::Some(Vec::new()),
        };
        remotes.queues().map(share).collect()
    }

    fn deliver_to_plain(
        &self,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        destinations: &Destinations,
        now: MonotonicMillis,
        flush: bool,
    ) -> Undelivered {
        buffers.cost += destinations.matches.plain.len() * batch.cost();
        // Number of messages from the start of the batch that a plain subscription received.
        let mut reached = 0;
        for subscription in &destinations.matches.plain {
            if self.excludes(subscription) {
                subscription.note_no_echo(buffers);
                continue;
            }
            let taken = subscription.deliver(buffers, batch, Pick::ALL, now, flush);
            reached = reached.max(taken);
        }
        Undelivered::From(reached)
    }

    fn deliver_replies(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
    ) -> Undelivered {
        if !batch.subject.starts_with(REPLY_PREFIX) {
            return Undelivered::From(0);
        }
        if let (true, Some(describe)) = (account.latency.is_measured(), self.describe)
            && is_tracked(batch.subject)
        {
            let describe = || describe(true, None);
            account
                .latency
                .answered_here(account, batch.subject, describe);
        }
        if account.replies.is_empty() {
            return Undelivered::From(0);
        }
        buffers.cost += REQUEST_COST * batch.messages.len();
        let replies = |one: &SubjectBatch<'_>| self.reply(buffers, account, one);
        self.for_each_message(batch, replies)
    }

    fn excludes(&self, subscription: &Subscription) -> bool {
        let is_sender = |connection| Arc::ptr_eq(&subscription.connection, connection);
        self.no_echo.is_some_and(is_sender) || self.is_service && subscription.is_shadow()
    }
}

/// Forwards messages of a batch from a peer to members of the queue groups at other peers, or back,
/// but not to `except`. The peers were informed before that the groups have no members here, so
/// that they do not send them back.
pub fn forward(
    buffers: &mut ThreadBuffers,
    account: &Account,
    batch: &SubjectBatch<'_>,
    destinations: &Destinations,
    left: &[Left<'_>],
    except: Option<&Arc<Connection>>,
    flush: bool,
) {
    let remotes = destinations.remotes(account);
    if !remotes.is_empty() {
        let account = account.over_routes(None);
        remotes.pass_on(buffers, account, batch, left, except, flush);
    }
}

/// Handles a batch in parts of at most `len` messages; returns the undelivered ones by their index
/// in the whole batch.
fn in_chunks(
    batch: &SubjectBatch<'_>,
    len: usize,
    mut act: impl FnMut(&SubjectBatch<'_>) -> Undelivered,
) -> Undelivered {
    let mut undelivered = Vec::new();
    let mut begin = 0;
    for messages in batch.messages.chunks(len) {
        let indexes = act(&SubjectBatch { messages, ..*batch }).indexes(messages.len());
        undelivered.extend(indexes.iter().map(|index| begin + index));
        begin += messages.len();
    }
    Undelivered::These(undelivered)
}

impl Reached {
    /// The messages of a batch of `len` that reached nobody.
    fn undelivered(self, len: usize) -> Undelivered {
        match self {
            Self::All => Undelivered::These(Vec::new()),
            Self::Some(taken) => {
                let is_undelivered = |at: &usize| taken.binary_search(at).is_err();
                Undelivered::These((0..len).filter(is_undelivered).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::Message;

    #[test]
    fn undelivered_messages_were_delivered_to_nobody() {
        let these = |indexes: &[usize]| Undelivered::These(indexes.to_vec());
        for (one, other, both) in [
            (
                Undelivered::From(2),
                Undelivered::From(3),
                Undelivered::From(3),
            ),
            (Undelivered::From(2), these(&[0, 1, 2, 4]), these(&[2, 4])),
            (these(&[0, 1]), Undelivered::From(1), these(&[1])),
            (these(&[0, 2, 5]), these(&[1, 2, 5, 7]), these(&[2, 5])),
            (these(&[]), Undelivered::From(0), these(&[])),
        ] {
            assert_eq!(one.and(other), both);
        }
        assert_eq!(Undelivered::From(1).indexes(3), [1, 2]);
    }

    /// Undelivered messages of a batch in parts are numbered within the whole batch, whatever the
    /// length of the parts.
    #[test]
    fn undelivered_messages_of_parts_are_numbered_within_the_batch() {
        let messages: Vec<Message> = (0..10)
            .map(|number| Message {
                tail_start: number,
                tail_end: number,
                reply_len: 0,
                header_len: None,
                total_len: 0,
            })
            .collect();
        let batch = SubjectBatch {
            subject: b"a",
            source: b"",
            messages: &messages,
            shared: None,
        };
        for len in 1..=11 {
            // In each part the odd messages are undelivered, or all from the second on.
            let odd = |piece: &SubjectBatch<'_>| {
                let undelivered = (0..piece.messages.len())
                    .filter(|index| piece.messages[*index].tail_start % 2 == 1);
                Undelivered::These(undelivered.collect())
            };
            let undelivered = in_chunks(&batch, len, odd).indexes(messages.len());
            assert_eq!(undelivered, [1, 3, 5, 7, 9], "pieces of {len}");
            let undelivered =
                in_chunks(&batch, len, |_| Undelivered::From(1)).indexes(messages.len());
            let wanted: Vec<usize> = (0..10).filter(|index| index % len != 0).collect();
            assert_eq!(undelivered, wanted, "pieces of {len}");
        }
    }
}
