//! Which peer serves a queue group's message: drawn by the weight of the members that
//! the group has there.

use std::sync::Arc;

use super::batch::SubjectBatch;
use crate::connection::Connection;

/// A queue group's message for a peer; sorted by peer, then message.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Choice {
    pub(super) peer: usize,
    pub(super) message: usize,
    pub(super) queue: usize,
}

/// A peer with interest in the subject.
pub(super) struct Peer {
    pub(super) connection: Arc<Connection>,
    /// Whether it has interest in every message.
    pub(super) plain: bool,
}

/// A queue group with members behind peers.
pub(super) struct RemoteQueue {
    pub(super) name: Box<[u8]>,
    /// Index of the peer, and the sum of the weights up to and with it.
    pub(super) members: Vec<(usize, u64)>,
}

/// Which messages of a subject batch a queue group's remote members are to serve.
pub enum Share {
    /// All: no member is here.
    All,
    /// The ones that no local member accepted.
    Some(Vec<usize>),
}

/// The choices of a batch, sorted; `shares` are in the order of the queue groups.
pub(super) fn choose(
    peers: &[Peer],
    queues: &[RemoteQueue],
    batch: &SubjectBatch<'_>,
    shares: &[Share],
) -> Vec<Choice> {
    let mut choices = Vec::new();
    for (index, (queue, share)) in queues.iter().zip(shares).enumerate() {
        let mut choose = |message| {
            choices.push(Choice {
                peer: queue.draw(peers),
                message,
                queue: index,
            });
        };
        match share {
            Share::All => (0..batch.messages.len()).for_each(&mut choose),
            Share::Some(messages) => messages.iter().copied().for_each(&mut choose),
        }
    }
    choices.sort_unstable();
    choices
}

impl RemoteQueue {
    /// A peer with members that is not `except`, drawn by weight; one that would deliver the
    /// message to others as well only if there is no other.
    pub(super) fn draw_beside(
        &self,
        peers: &[Peer],
        except: Option<&Arc<Connection>>,
    ) -> Option<usize> {
        let draw = |twice: bool| {
            let (mut drawn, mut total, mut before) = (None, 0, 0);
            for (index, sum) in &self.members {
                let weight = sum - before;
                before = *sum;
                let Peer {
                    connection,
                    plain: is_plain,
                } = &peers[*index];
                let delivers_twice = *is_plain && !connection.takes_queues_only();
                let is_meant = delivers_twice == twice
                    && !connection.is_closing()
                    && except.is_none_or(|it| !Arc::ptr_eq(it, connection));
                if is_meant {
                    total += weight;
                    if fastrand::u64(..total) < weight {
                        drawn = Some(*index);
                    }
                }
            }
            drawn
        };
        draw(false).or_else(|| draw(true))
    }

    /// A member drawn by weight among those whose route is not ending.
    fn draw(&self, peers: &[Peer]) -> usize {
        let total = self.members.last().map_or(1, |(_, sum)| *sum);
        let at = fastrand::u64(..total);
        let drawn = self.members.partition_point(|(_, sum)| *sum <= at);
        let count = self.members.len();
        (0..count)
            .map(|step| self.members[(drawn + step) % count].0)
            .find(|peer| !peers[*peer].connection.is_closing())
            .unwrap_or(self.members[drawn].0)
    }
}
