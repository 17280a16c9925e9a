//! Spreading: a subject batch of messages is taken to everybody it reaches, in its own
//! account and beyond. Clients and routes publish through here.

use std::{
    cell::OnceCell,
    sync::{Arc, atomic::Ordering},
};

use hashbrown::HashMap;

use super::{Account, Destinations, path::Path, replies::REPLY_PREFIX};
use crate::{
    connection::{Connection, Subscription, buffers::ThreadBuffers},
    delivery::{
        Pick, Share, SubjectBatch,
        queue_group::{deliver_rest, deliver_to_queue_group},
        remotes::{Left, Reached, Remotes},
    },
    sublist::Entry,
    telemetry::MonotonicMillis,
};

/// Messages times queue groups that are dealt out at once: bounds what is held of
/// a subject batch that many groups want.
const CHOICES_MAX: usize = 64 * 1024;

/// What a request that leaves its account costs, in deliveries: it is put together
/// anew and tells who asks.
pub(super) const REQUEST_COST: usize = 32;

/// Tells who asks: all about it with `true`, and the account that passed the
/// request on, if it was not the first. JSON.
pub type Describe<'a> = dyn Fn(bool, Option<&str>) -> String + 'a;

/// Who sends, as far as delivery has to know.
pub struct Sender<'a> {
    /// A connection that gets nothing: one that does not want its own messages.
    pub no_echo: Option<&'a Arc<Connection>>,
    /// Tells a responder in another account who asks. Without it requests do
    /// not leave their account.
    pub describe: Option<&'a Describe<'a>>,
    /// Whether peers of the cluster get it too: not what came from one.
    pub to_peers: bool,
    /// Whether it has come over a border as a request or a reply: it does not go
    /// back over another as an imported stream.
    pub is_service: bool,
    /// How the message came here.
    pub path: Path<'a>,
}

/// The messages of a subject batch that nobody took.
#[derive(Debug, Eq, PartialEq)]
pub enum Undelivered {
    /// From this index on.
    From(usize),
    /// At these indexes, ascending.
    These(Vec<usize>),
}

impl Undelivered {
    /// What neither took.
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

    /// Whether nobody took any of a subject batch of `len` messages, at least one.
    pub(super) fn is_all_of(&self, len: usize) -> bool {
        match self {
            Self::From(from) => *from == 0,
            Self::These(these) => these.len() == len,
        }
    }

    /// The indexes, of a subject batch of `len` messages.
    pub fn indexes(self, len: usize) -> Vec<usize> {
        match self {
            Self::From(from) => (from..len).collect(),
            Self::These(these) => these,
        }
    }
}

impl Sender<'_> {
    /// Takes a subject batch that was published in `account` to everybody it reaches.
    /// Returns what nobody took. `flush` writes to the sockets at once where
    /// that can be done.
    pub fn fan_out(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
        destinations: &Destinations,
        flush: bool,
    ) -> Undelivered {
        if batch.messages.len() > 1 && destinations.must_interleave() {
            return self.one_by_one(batch, |one| {
                self.fan_out(buffers, account, one, destinations, false)
            });
        }
        let Some(beyond) = &destinations.beyond else {
            return self.deliver(buffers, account, batch, destinations, flush);
        };
        if let Some(mapped) = &beyond.mapped {
            return in_chunks(batch, mapped.stays_for(), |batch| {
                let destinations = mapped.choose(account, batch.subject, &self.path);
                let batch = SubjectBatch {
                    subject: &destinations.matches.subject,
                    ..*batch
                };
                self.fan_out(buffers, account, &batch, &destinations, flush)
            });
        }
        if beyond.cut > 0 && self.describe.is_some() {
            let cut = beyond.cut * batch.messages.len() as u64;
            account.cut_paths.fetch_add(cut, Ordering::Relaxed);
        }
        let mut undelivered = self.deliver(buffers, account, batch, destinations, flush);
        buffers.cost += REQUEST_COST * beyond.services.len() * batch.messages.len();
        for service in &beyond.services {
            let requests = |one: &SubjectBatch<'_>| self.request(buffers, account, one, service);
            undelivered = undelivered.and(self.one_by_one(batch, requests));
        }
        undelivered
    }

    /// Does something with each message of a subject batch by itself, which returns
    /// whether the message was missed.
    fn one_by_one(
        &self,
        batch: &SubjectBatch<'_>,
        mut act: impl FnMut(&SubjectBatch<'_>) -> Undelivered,
    ) -> Undelivered {
        let is_missed = |index: &usize| {
            let one = SubjectBatch {
                messages: &batch.messages[*index..=*index],
                ..*batch
            };
            act(&one).is_all_of(1)
        };
        Undelivered::These((0..batch.messages.len()).filter(is_missed).collect())
    }

    /// Takes a subject batch to the subscribers of its subject, and replies to whoever
    /// waits for them in another account.
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
        let queues = matches.queues.len() + remotes.queues().len();
        if queues * batch.messages.len() > CHOICES_MAX && batch.messages.len() > 1 {
            let len = (CHOICES_MAX / queues).max(1);
            return in_chunks(batch, len, |batch| {
                self.deliver(buffers, account, batch, destinations, flush)
            });
        }
        buffers.cost += queues;
        let mut undelivered = self.deliver_to_plain(buffers, batch, destinations, now, flush);
        // What is left of each queue group for its members elsewhere: their share,
        // and what those here did not take.
        let mut left: HashMap<&[u8], Vec<usize>> = HashMap::new();
        let share_here = !matches.queues.is_empty() && !remotes.is_empty();
        let weights = share_here.then(|| remotes.weights());
        for members in &matches.queues {
            let excludes = |member: &Subscription| self.passes_over(member);
            let name = members.first().and_then(|first| first.queue());
            let weight = weights.as_ref().zip(name);
            let weight = weight.and_then(|(weights, name)| weights.get(name));
            let elsewhere = weight.copied().unwrap_or(0);
            let unserved =
                deliver_to_queue_group(buffers, batch, members, elsewhere, excludes, now, flush);
            if !remotes.is_empty()
                && let Some(name) = name
            {
                left.insert(name, unserved.clone());
            }
            undelivered = undelivered.and(Undelivered::These(unserved));
        }
        if !remotes.is_empty() {
            let shares = shares(remotes, left);
            let counted = (account.name.as_bytes(), &account.over_routes);
            let by_name = OnceCell::new();
            let deal = |buffers: &mut ThreadBuffers, name: &[u8], left: &mut Vec<usize>| {
                let by_name = by_name.get_or_init(|| destinations.queues_by_name());
                if let Some(members) = by_name.get(name) {
                    let excludes = |member: &Subscription| self.passes_over(member);
                    deliver_rest(buffers, batch, members, left, excludes, now, flush);
                }
            };
            let reached = remotes.deliver(buffers, counted, batch, &shares, now, flush, deal);
            undelivered = undelivered.and(match reached {
                Reached::All => Undelivered::These(Vec::new()),
                Reached::Some(taken) => {
                    let is_missed = |at: &usize| taken.binary_search(at).is_err();
                    Undelivered::These((0..batch.messages.len()).filter(is_missed).collect())
                }
            });
        }
        undelivered.and(self.deliver_replies(buffers, account, batch))
    }

    /// Takes a subject batch that came from a peer of the cluster to the subscribers
    /// here, and to one member here of each of these queue groups, whose names
    /// blanks divide. Returns what is left of groups that have no member here any
    /// more: the peer could not know that yet.
    pub fn take_from_peer<'a>(
        &self,
        buffers: &mut ThreadBuffers,
        account: &Arc<Account>,
        batch: &SubjectBatch<'_>,
        destinations: &Destinations,
        queues: &'a [u8],
        flush: bool,
    ) -> Vec<Left<'a>> {
        if batch.messages.len() > 1 && destinations.must_interleave() {
            let mut left = Vec::new();
            for (index, messages) in batch.messages.chunks(1).enumerate() {
                let one = SubjectBatch { messages, ..*batch };
                let of_one =
                    self.take_from_peer(buffers, account, &one, destinations, queues, false);
                left.extend(of_one.into_iter().map(|Left { queue, .. }| Left {
                    queue,
                    messages: vec![index],
                }));
            }
            return left;
        }
        let now = buffers.now();
        self.deliver_to_plain(buffers, batch, destinations, now, flush);
        let mut left = Vec::new();
        if !queues.is_empty() {
            buffers.cost += destinations.matches.queues.len();
            let by_name = destinations.queues_by_name();
            for queue in queues.split(|byte| *byte == b' ') {
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
                        // A member that stays may not have them. Nor may they go on
                        // then: those elsewhere may be such, too, and send them back
                        // for ever.
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
        self.deliver_replies(buffers, account, batch);
        left
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
        // Messages from the subject batch's beginning that a plain subscription took.
        let mut reached = 0;
        for subscription in &destinations.matches.plain {
            if self.passes_over(subscription) {
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
        if !batch.subject.starts_with(REPLY_PREFIX) || account.replies.is_empty() {
            return Undelivered::From(0);
        }
        buffers.cost += REQUEST_COST * batch.messages.len();
        let replies = |one: &SubjectBatch<'_>| self.reply(buffers, account, one);
        self.one_by_one(batch, replies)
    }

    fn passes_over(&self, subscription: &Subscription) -> bool {
        let is_deaf = |connection| Arc::ptr_eq(&subscription.connection, connection);
        self.no_echo.is_some_and(is_deaf) || self.is_service && subscription.is_shadow()
    }
}

/// Takes what was left of a subject batch from a peer to members of the queue groups at other
/// peers, or back, but not to `except`. That the members here have left is told
/// before, so whoever gets it does not send it back.
pub fn pass_on(
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
        let counted = (account.name.as_bytes(), &account.over_routes);
        remotes.pass_on(buffers, counted, batch, left, except, flush);
    }
}

/// Does something with a subject batch in pieces of at most `len` messages; returns which
/// of all its messages were missed.
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

/// What the peers' members of each queue group are to serve: all, or what the
/// members here `left`.
fn shares(remotes: &Remotes, mut left: HashMap<&[u8], Vec<usize>>) -> Vec<Share> {
    let share = |name| left.remove(name).map_or(Share::All, Share::Some);
    remotes.queues().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::Message;

    #[test]
    fn what_is_missed_is_what_nobody_took() {
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

    /// Of a subject batch in pieces the indexes are those of the whole subject batch, whatever the
    /// length of the pieces.
    #[test]
    fn what_is_missed_of_pieces_is_told_by_its_place_in_the_whole() {
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
            // Of each piece the odd messages are missed, or all from the second on.
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
