//! The peers of the cluster with interest in one subject, or the leafnodes, and delivery to them.
//!
//! Each account keeps the interest of its peers in a sublist of its own, apart from its
//! subscribers: a message from a peer is looked up among the subscribers and the leafnodes alone, so
//! it is never forwarded to another peer. However many entries of a peer match a message, the
//! peer gets it once, with the list of queue groups of which it is to serve one member
//! each.

use std::sync::Arc;

use hashbrown::HashMap;
use monitor_client::{PathMember, PathPeer};

use super::{
    batch::SubjectBatch,
    remote::{InAccount, RemoteInterest},
    remote_choice::{Choice, Peer, RemoteQueue, Share, choose},
    route::{Routed, TooLong},
};
use crate::{
    connection::{Connection, buffers::ThreadBuffers},
    protocol::message_trace::{not_delivered, survey::Survey},
    sublist::{Entry, Matches},
    telemetry::{MonotonicMillis, pool::allocated},
};

/// More members of a queue group at the peers count as so many.
const WEIGHT_MAX: u64 = 1 << 30;

/// The peers with interest in one subject.
#[derive(Default)]
pub struct Remotes {
    peers: Vec<Peer>,
    queues: Vec<RemoteQueue>,
    /// Whether members of the same groups here go first.
    prefers_local: bool,
}

/// The queue groups that a peer names for its messages.
#[derive(Clone, Copy)]
pub struct Named<'a> {
    /// Their names, separated by blanks; empty for none.
    pub names: &'a [u8],
    /// Whether the messages are for these groups alone.
    pub only: bool,
}

/// Messages from a peer that were for a member of a queue group here, and there is
/// none any more.
pub struct Left<'a> {
    /// The group.
    pub queue: &'a [u8],
    /// Their indexes in the subject batch.
    pub messages: Vec<usize>,
}

/// Which messages of a subject batch went to some peer.
pub enum Reached {
    /// Every one.
    All,
    /// The ones with these indexes, in order.
    Some(Vec<usize>),
}

/// The result of handing a subject batch over to peers.
struct Handed {
    /// Each message was accepted by at least one peer.
    all: bool,
    /// The ones that a queue group's member has received.
    reached: Vec<usize>,
    /// Messages that a peer did not accept, and whether they were too long for it.
    refused: Vec<(Choice, bool)>,
}

impl Remotes {
    /// Gathers the results of a look-up. A peer to which local interest is still being
    /// announced is left out; once all is announced, earlier look-ups are invalidated.
    pub fn new(matches: &Matches<RemoteInterest>, prefers_local: bool) -> Self {
        let is_announced = |entry: &&Arc<RemoteInterest>| entry.connection.is_announced();
        let mut remotes = Self {
            prefers_local,
            ..Self::default()
        };
        for entry in matches.plain.iter().filter(is_announced) {
            let peer = remotes.peer(&entry.connection);
            remotes.peers[peer].plain = true;
        }
        for members in &matches.queues {
            let mut members = members.iter().filter(is_announced).peekable();
            let Some(name) = members.peek().and_then(|first| first.queue()) else {
                continue;
            };
            let mut sum = 0;
            let members = members
                .map(|member| {
                    sum += u64::from(member.weight.max(1));
                    (remotes.peer(&member.connection), sum)
                })
                .collect();
            remotes.queues.push(RemoteQueue {
                name: name.into(),
                members,
            });
        }
        remotes
    }

    /// Bytes that it uses besides itself.
    pub fn memory(&self) -> usize {
        let members = |queue: &RemoteQueue| {
            allocated(queue.name.len())
                + allocated(queue.members.capacity() * size_of::<(usize, u64)>())
        };
        allocated(self.peers.capacity() * size_of::<Peer>())
            + allocated(self.queues.capacity() * size_of::<RemoteQueue>())
            + self.queues.iter().map(members).sum::<usize>()
    }

    /// Whether no peer has interest in the subject.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The names of the queue groups, in the order of [`Remotes::deliver`]'s
    /// shares.
    pub fn queues(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.queues.iter().map(|queue| &*queue.name)
    }

    /// Members of each queue group at the peers, by its name, among which those
    /// here take their share; none if those here go first.
    pub fn weights(&self) -> HashMap<&[u8], usize> {
        let queues = match self.prefers_local {
            true => &[][..],
            false => &self.queues,
        };
        let weight = |queue: &RemoteQueue| {
            let mut before = 0;
            let mut weight = 0;
            for (peer, sum) in &queue.members {
                if !self.peers[*peer].connection.is_closing() {
                    weight += sum - before;
                }
                before = *sum;
            }
            // Whatever numbers the peers report, the sum cannot overflow.
            weight.min(WEIGHT_MAX) as usize
        };
        let weights = queues.iter().map(|queue| (&*queue.name, weight(queue)));
        weights.collect()
    }

    /// Bytes of these names in a line.
    pub fn names_len(&self) -> usize {
        self.queues.iter().map(|queue| queue.name.len() + 1).sum()
    }

    /// Delivers a subject batch of an account, counted there, to the peers: to those that
    /// want every message, and each queue group's share to one peer per message, drawn by
    /// weight. Messages that such a peer does not accept are `dealt` to the group's local
    /// members, which leaves those that no member accepts.
    #[expect(clippy::too_many_arguments, reason = "each is another one's")]
    pub fn deliver(
        &self,
        buffers: &mut ThreadBuffers,
        account: InAccount<'_>,
        batch: &SubjectBatch<'_>,
        shares: &[Share],
        now: MonotonicMillis,
        flush: bool,
        deal: impl Fn(&mut ThreadBuffers, &[u8], &mut Vec<usize>),
    ) -> Reached {
        if let Some(survey) = buffers.survey() {
            return self.survey(survey, shares);
        }
        let choices = choose(&self.peers, &self.queues, batch, shares);
        buffers.cost += choices.len();
        let handed = self.hand_over(buffers, account, batch, (&choices, false), now, flush);
        let mut reached = handed.reached;
        if !handed.refused.is_empty() {
            self.deliver_refused(buffers, batch, handed.refused, &mut reached, deal);
        }
        reached.sort_unstable();
        match handed.all {
            true => Reached::All,
            false => Reached::Some(reached),
        }
    }

    /// Notes which peers get the message of a survey, and which may get it for a queue group.
    #[cold]
    fn survey(&self, survey: &mut Survey, shares: &[Share]) -> Reached {
        let mut is_taken = false;
        for peer in self.peers.iter().filter(|peer| peer.plain) {
            let gets = !peer.connection.is_closing();
            is_taken |= gets;
            survey.member(PathMember {
                name: peer.connection.identity.lock().name.clone(),
                cid: peer.connection.cid,
                gets,
                reason: match gets {
                    true => String::new(),
                    false => not_delivered::CLOSED.into(),
                },
            });
        }
        for (queue, share) in self.queues.iter().zip(shares) {
            let has_some = match share {
                Share::All => true,
                Share::Some(messages) => !messages.is_empty(),
            };
            let mut before = 0;
            let peers = queue.members.iter().map(|(peer, sum)| {
                let peer = &self.peers[*peer].connection;
                let candidate = has_some && !peer.is_closing();
                is_taken |= candidate;
                PathPeer {
                    name: peer.identity.lock().name.clone(),
                    weight: sum - std::mem::replace(&mut before, *sum),
                    candidate,
                }
            });
            survey.queue_peers(&queue.name, peers.collect());
        }
        match is_taken {
            true => Reached::All,
            false => Reached::Some(Vec::new()),
        }
    }

    /// Forwards messages from one peer, whose members here have left, to members at other
    /// peers, drawn by weight; never to `except`. They are for the queue groups alone. A peer that
    /// does not know such messages and also has interest outside of queue groups, where they are
    /// delivered a second time, is the last resort.
    pub fn pass_on(
        &self,
        buffers: &mut ThreadBuffers,
        account: InAccount<'_>,
        batch: &SubjectBatch<'_>,
        left: &[Left<'_>],
        except: Option<&Arc<Connection>>,
        flush: bool,
    ) {
        let by_name: HashMap<&[u8], usize> = self.queues().zip(0..).collect();
        let mut choices = Vec::new();
        for Left { queue, messages } in left {
            let Some(queue) = by_name.get(queue).copied() else {
                continue;
            };
            for message in messages.iter().copied() {
                if let Some(peer) = self.queues[queue].draw_beside(&self.peers, except) {
                    choices.push(Choice {
                        peer,
                        message,
                        queue,
                    });
                }
            }
        }
        // A group that is named twice has the message once.
        choices.sort_unstable_by_key(|choice| (choice.message, choice.queue));
        choices.dedup_by_key(|choice| (choice.message, choice.queue));
        choices.sort_unstable();
        let now = buffers.now();
        buffers.cost += choices.len();
        let mut handed = self.hand_over(buffers, account, batch, (&choices, true), now, flush);
        if !handed.refused.is_empty() {
            let nobody = |_: &mut ThreadBuffers, _: &[u8], _: &mut Vec<usize>| {};
            self.deliver_refused(buffers, batch, handed.refused, &mut handed.reached, nobody);
        }
    }

    /// Delivers to each peer its chosen messages, and all messages to those that want every
    /// one, unless they are `passed_on`.
    fn hand_over(
        &self,
        buffers: &mut ThreadBuffers,
        account: InAccount<'_>,
        batch: &SubjectBatch<'_>,
        (choices, passed_on): (&[Choice], bool),
        now: MonotonicMillis,
        flush: bool,
    ) -> Handed {
        let mut reached = Vec::new();
        let mut refused = Vec::new();
        let mut all = false;
        for (index, peer) in self.peers.iter().enumerate() {
            let start = choices.partition_point(|choice| choice.peer < index);
            let mine = &choices[start..];
            let mine = &mine[..mine.partition_point(|choice| choice.peer == index)];
            let plain = peer.plain && !passed_on;
            if !plain && mine.is_empty() {
                continue;
            }
            let names = |message: usize| {
                let start = mine.partition_point(|choice| choice.message < message);
                let of_message = mine[start..]
                    .iter()
                    .take_while(move |choice| choice.message == message);
                of_message.map(|choice| &*self.queues[choice.queue].name)
            };
            let routed = match mine.is_empty() {
                true => Routed::Plain,
                false => Routed::Queues {
                    plain,
                    passed_on,
                    names: &|message, text| {
                        for name in names(message) {
                            text.extend_from_slice(name);
                            text.push(b' ');
                        }
                    },
                },
            };
            let route = &peer.connection;
            let taken = route.deliver_routed(buffers, account, batch, &routed, now, flush);
            let Some((appended, too_long)) = taken else {
                refused.extend(mine.iter().map(|choice| (*choice, false)));
                continue;
            };
            if appended.msgs > 0 {
                account.totals.sent.add(appended.msgs, appended.bytes);
                all |= plain;
            }
            match too_long.is_empty() {
                true => reached.extend(mine.iter().map(|choice| choice.message)),
                false => sort_out(mine, &too_long, &mut reached, &mut refused),
            }
        }
        Handed {
            all,
            reached,
            refused,
        }
    }

    /// Delivers messages here that peers did not accept, each with whether it was too long:
    /// that is booked at the peer if no local member accepts it.
    #[cold]
    fn deliver_refused(
        &self,
        buffers: &mut ThreadBuffers,
        batch: &SubjectBatch<'_>,
        mut refused: Vec<(Choice, bool)>,
        reached: &mut Vec<usize>,
        deal: impl Fn(&mut ThreadBuffers, &[u8], &mut Vec<usize>),
    ) {
        refused.sort_unstable_by_key(|(choice, _)| (choice.queue, choice.message));
        for of_queue in refused.chunk_by(|(one, _), (other, _)| one.queue == other.queue) {
            let messages = of_queue.iter().map(|(choice, _)| choice.message);
            let mut left: Vec<usize> = messages.collect();
            let queue = &self.queues[of_queue[0].0.queue];
            deal(buffers, &queue.name, &mut left);
            for (choice, is_too_long) in of_queue {
                if left.binary_search(&choice.message).is_err() {
                    reached.push(choice.message);
                } else if *is_too_long {
                    let bytes = u64::from(batch.messages[choice.message].total_len);
                    let route = &self.peers[choice.peer].connection;
                    route.refuse_too_long(1, bytes);
                }
            }
        }
    }

    fn peer(&mut self, connection: &Arc<Connection>) -> usize {
        let known = self
            .peers
            .iter()
            .position(|peer| Arc::ptr_eq(&peer.connection, connection));
        known.unwrap_or_else(|| {
            self.peers.push(Peer {
                connection: connection.clone(),
                plain: false,
            });
            self.peers.len() - 1
        })
    }
}

/// Sorts what a peer was to take into what it took and what was too long.
#[cold]
fn sort_out(
    mine: &[Choice],
    too_long: &[TooLong],
    reached: &mut Vec<usize>,
    refused: &mut Vec<(Choice, bool)>,
) {
    // Both are in the order of the messages, and of the places in those.
    let mut too_long = too_long.iter().peekable();
    for of_message in mine.chunk_by(|one, other| one.message == other.message) {
        for (place, choice) in of_message.iter().enumerate() {
            let message = choice.message;
            match too_long.next_if(|it| **it == TooLong { message, place }) {
                Some(_) => refused.push((*choice, true)),
                None => reached.push(message),
            }
        }
    }
}
