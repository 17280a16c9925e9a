//! Spreading: a run of messages is taken to everybody it reaches, in its own
//! account and beyond. Clients and routes publish through here.

use std::{
    cell::OnceCell,
    sync::{Arc, atomic::Ordering},
};

use hashbrown::HashMap;

use super::{Account, Reach, path::Path, replies::REPLY_PREFIX};
use crate::{
    connection::{
        Connection, Subscription,
        delivery::{Pick, Run, deal_out, deal_rest},
        remote::{Left, Reached, Remotes, Share},
        worker::Worker,
    },
    sublist::Entry,
    telemetry::Clock,
};

/// Messages times queue groups that are dealt out at once: bounds what is held of
/// a run that many groups want.
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
    pub deaf: Option<&'a Arc<Connection>>,
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

/// The messages of a run that nobody took.
#[derive(Debug, Eq, PartialEq)]
pub enum Missed {
    /// From this index on.
    From(usize),
    /// At these indexes, ascending.
    These(Vec<usize>),
}

impl Missed {
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

    /// Whether nobody took any of a run of `len` messages, at least one.
    pub(super) fn is_all_of(&self, len: usize) -> bool {
        match self {
            Self::From(from) => *from == 0,
            Self::These(these) => these.len() == len,
        }
    }

    /// The indexes, of a run of `len` messages.
    pub fn indexes(self, len: usize) -> Vec<usize> {
        match self {
            Self::From(from) => (from..len).collect(),
            Self::These(these) => these,
        }
    }
}

impl Sender<'_> {
    /// Takes a run that was published in `account` to everybody it reaches.
    /// Returns what nobody took. `flush` writes to the sockets at once where
    /// that can be done.
    pub fn spread(
        &self,
        worker: &mut Worker,
        account: &Arc<Account>,
        run: &Run<'_>,
        reach: &Reach,
        flush: bool,
    ) -> Missed {
        if run.messages.len() > 1 && reach.must_interleave() {
            return self.one_by_one(run, |one| self.spread(worker, account, one, reach, false));
        }
        let Some(beyond) = &reach.beyond else {
            return self.deliver(worker, account, run, reach, flush);
        };
        if let Some(mapped) = &beyond.mapped {
            return in_chunks(run, mapped.stays_for(), |run| {
                let reach = mapped.choose(account, run.subject, &self.path);
                let run = Run {
                    subject: &reach.matches.subject,
                    ..*run
                };
                self.spread(worker, account, &run, &reach, flush)
            });
        }
        if beyond.cut > 0 && self.describe.is_some() {
            let cut = beyond.cut * run.messages.len() as u64;
            account.cut_paths.fetch_add(cut, Ordering::Relaxed);
        }
        let mut missed = self.deliver(worker, account, run, reach, flush);
        worker.cost += REQUEST_COST * beyond.services.len() * run.messages.len();
        for service in &beyond.services {
            let requests = |one: &Run<'_>| self.request(worker, account, one, service);
            missed = missed.and(self.one_by_one(run, requests));
        }
        missed
    }

    /// Does something with each message of a run by itself, which returns
    /// whether the message was missed.
    fn one_by_one(&self, run: &Run<'_>, mut act: impl FnMut(&Run<'_>) -> Missed) -> Missed {
        let is_missed = |index: &usize| {
            let one = Run {
                messages: &run.messages[*index..=*index],
                ..*run
            };
            act(&one).is_all_of(1)
        };
        Missed::These((0..run.messages.len()).filter(is_missed).collect())
    }

    /// Takes a run to the subscribers of its subject, and replies to whoever
    /// waits for them in another account.
    fn deliver(
        &self,
        worker: &mut Worker,
        account: &Arc<Account>,
        run: &Run<'_>,
        reach: &Reach,
        flush: bool,
    ) -> Missed {
        let matches = &reach.matches;
        let none = Remotes::default();
        let remotes = match self.to_peers {
            true => reach.remotes(account),
            false => &none,
        };
        let now = match matches.is_empty() && remotes.is_empty() {
            true => Clock(0),
            false => worker.now(),
        };
        let queues = matches.queues.len() + remotes.queues().len();
        if queues * run.messages.len() > CHOICES_MAX && run.messages.len() > 1 {
            let len = (CHOICES_MAX / queues).max(1);
            return in_chunks(run, len, |run| {
                self.deliver(worker, account, run, reach, flush)
            });
        }
        worker.cost += queues;
        let mut missed = self.deliver_to_plain(worker, run, reach, now, flush);
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
            let unserved = deal_out(worker, run, members, elsewhere, excludes, now, flush);
            if !remotes.is_empty()
                && let Some(name) = name
            {
                left.insert(name, unserved.clone());
            }
            missed = missed.and(Missed::These(unserved));
        }
        if !remotes.is_empty() {
            let shares = shares(remotes, left);
            let counted = (account.name.as_bytes(), &account.over_routes);
            let by_name = OnceCell::new();
            let deal = |worker: &mut Worker, name: &[u8], left: &mut Vec<usize>| {
                let by_name = by_name.get_or_init(|| reach.queues_by_name());
                if let Some(members) = by_name.get(name) {
                    let excludes = |member: &Subscription| self.passes_over(member);
                    deal_rest(worker, run, members, left, excludes, now, flush);
                }
            };
            let reached = remotes.deliver(worker, counted, run, &shares, now, flush, deal);
            missed = missed.and(match reached {
                Reached::All => Missed::These(Vec::new()),
                Reached::Some(taken) => {
                    let is_missed = |at: &usize| taken.binary_search(at).is_err();
                    Missed::These((0..run.messages.len()).filter(is_missed).collect())
                }
            });
        }
        missed.and(self.deliver_replies(worker, account, run))
    }

    /// Takes a run that came from a peer of the cluster to the subscribers
    /// here, and to one member here of each of these queue groups, whose names
    /// blanks divide. Returns what is left of groups that have no member here any
    /// more: the peer could not know that yet.
    pub fn take_from_peer<'a>(
        &self,
        worker: &mut Worker,
        account: &Arc<Account>,
        run: &Run<'_>,
        reach: &Reach,
        queues: &'a [u8],
        flush: bool,
    ) -> Vec<Left<'a>> {
        if run.messages.len() > 1 && reach.must_interleave() {
            let mut left = Vec::new();
            for (index, messages) in run.messages.chunks(1).enumerate() {
                let one = Run { messages, ..*run };
                let of_one = self.take_from_peer(worker, account, &one, reach, queues, false);
                left.extend(of_one.into_iter().map(|Left { queue, .. }| Left {
                    queue,
                    messages: vec![index],
                }));
            }
            return left;
        }
        let now = worker.now();
        self.deliver_to_plain(worker, run, reach, now, flush);
        let mut left = Vec::new();
        if !queues.is_empty() {
            worker.cost += reach.matches.queues.len();
            let by_name = reach.queues_by_name();
            for queue in queues.split(|byte| *byte == b' ') {
                let messages = match by_name.get(queue) {
                    Some(members) => {
                        let missed = deal_out(worker, run, members, 0, |_| false, now, flush);
                        // A member that stays may not have them. Nor may they go on
                        // then: those elsewhere may be such, too, and send them back
                        // for ever.
                        match members.iter().all(Subscription::has_left) {
                            true => missed,
                            false => continue,
                        }
                    }
                    None => (0..run.messages.len()).collect(),
                };
                if !messages.is_empty() {
                    left.push(Left { queue, messages });
                }
            }
        }
        self.deliver_replies(worker, account, run);
        left
    }

    fn deliver_to_plain(
        &self,
        worker: &mut Worker,
        run: &Run<'_>,
        reach: &Reach,
        now: Clock,
        flush: bool,
    ) -> Missed {
        worker.cost += reach.matches.plain.len() * run.cost();
        // Messages from the run's beginning that a plain subscription took.
        let mut reached = 0;
        for subscription in &reach.matches.plain {
            if self.passes_over(subscription) {
                continue;
            }
            let taken = subscription.deliver(worker, run, Pick::ALL, now, flush);
            reached = reached.max(taken);
        }
        Missed::From(reached)
    }

    fn deliver_replies(
        &self,
        worker: &mut Worker,
        account: &Arc<Account>,
        run: &Run<'_>,
    ) -> Missed {
        if !run.subject.starts_with(REPLY_PREFIX) || account.replies.is_empty() {
            return Missed::From(0);
        }
        worker.cost += REQUEST_COST * run.messages.len();
        let replies = |one: &Run<'_>| self.reply(worker, account, one);
        self.one_by_one(run, replies)
    }

    fn passes_over(&self, subscription: &Subscription) -> bool {
        let is_deaf = |connection| Arc::ptr_eq(&subscription.connection, connection);
        self.deaf.is_some_and(is_deaf) || self.is_service && subscription.is_shadow()
    }
}

/// Takes what was left of a run from a peer to members of the queue groups at other
/// peers, or back, but not to `except`. That the members here have left is told
/// before, so whoever gets it does not send it back.
pub fn pass_on(
    worker: &mut Worker,
    account: &Account,
    run: &Run<'_>,
    reach: &Reach,
    left: &[Left<'_>],
    except: Option<&Arc<Connection>>,
    flush: bool,
) {
    let remotes = reach.remotes(account);
    if !remotes.is_empty() {
        let counted = (account.name.as_bytes(), &account.over_routes);
        remotes.pass_on(worker, counted, run, left, except, flush);
    }
}

/// Does something with a run in pieces of at most `len` messages; returns which
/// of all its messages were missed.
fn in_chunks(run: &Run<'_>, len: usize, mut act: impl FnMut(&Run<'_>) -> Missed) -> Missed {
    let mut missed = Vec::new();
    let mut begin = 0;
    for messages in run.messages.chunks(len) {
        let indexes = act(&Run { messages, ..*run }).indexes(messages.len());
        missed.extend(indexes.iter().map(|index| begin + index));
        begin += messages.len();
    }
    Missed::These(missed)
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
    use crate::connection::delivery::Message;

    #[test]
    fn what_is_missed_is_what_nobody_took() {
        let these = |indexes: &[usize]| Missed::These(indexes.to_vec());
        for (one, other, both) in [
            (Missed::From(2), Missed::From(3), Missed::From(3)),
            (Missed::From(2), these(&[0, 1, 2, 4]), these(&[2, 4])),
            (these(&[0, 1]), Missed::From(1), these(&[1])),
            (these(&[0, 2, 5]), these(&[1, 2, 5, 7]), these(&[2, 5])),
            (these(&[]), Missed::From(0), these(&[])),
        ] {
            assert_eq!(one.and(other), both);
        }
        assert_eq!(Missed::From(1).indexes(3), [1, 2]);
    }

    /// Of a run in pieces the indexes are those of the whole run, whatever the
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
        let run = Run {
            subject: b"a",
            source: b"",
            messages: &messages,
            shared: None,
        };
        for len in 1..=11 {
            // Of each piece the odd messages are missed, or all from the second on.
            let odd = |piece: &Run<'_>| {
                let missed = (0..piece.messages.len())
                    .filter(|index| piece.messages[*index].tail_start % 2 == 1);
                Missed::These(missed.collect())
            };
            let missed = in_chunks(&run, len, odd).indexes(messages.len());
            assert_eq!(missed, [1, 3, 5, 7, 9], "pieces of {len}");
            let missed = in_chunks(&run, len, |_| Missed::From(1)).indexes(messages.len());
            let wanted: Vec<usize> = (0..10).filter(|index| index % len != 0).collect();
            assert_eq!(missed, wanted, "pieces of {len}");
        }
    }
}
