//! Which peer serves a queue group's message: drawn by the weight of the members that
//! the group has there.

use std::sync::Arc;

use super::{
    SubjectBatch,
    remotes::{Peer, RemoteQueue, Remotes, Share},
};
use crate::connection::Connection;

/// A queue group's message for a peer; sorted by peer, then message.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Choice {
    pub(super) peer: usize,
    pub(super) message: usize,
    pub(super) queue: usize,
}

impl Remotes {
    /// The choices of a batch, sorted; `shares` are in the order of the queue groups.
    pub(super) fn choose(&self, batch: &SubjectBatch<'_>, shares: &[Share]) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (index, (queue, share)) in self.queues.iter().zip(shares).enumerate() {
            let mut choose = |message| {
                choices.push(Choice {
                    peer: self.draw(queue),
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

    /// A peer with members that is not `except`, drawn by weight; one that wants
    /// every message only if there is no other.
    pub(super) fn draw_beside(
        &self,
        queue: &RemoteQueue,
        except: Option<&Arc<Connection>>,
    ) -> Option<usize> {
        let draw = |plain: bool| {
            let (mut drawn, mut total, mut before) = (None, 0, 0);
            for (index, sum) in &queue.members {
                let weight = sum - before;
                before = *sum;
                let Peer {
                    connection,
                    plain: is_plain,
                } = &self.peers[*index];
                let is_meant = *is_plain == plain
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
    fn draw(&self, queue: &RemoteQueue) -> usize {
        let total = queue.members.last().map_or(1, |(_, sum)| *sum);
        let at = fastrand::u64(..total);
        let drawn = queue.members.partition_point(|(_, sum)| *sum <= at);
        let count = queue.members.len();
        (0..count)
            .map(|step| queue.members[(drawn + step) % count].0)
            .find(|peer| !self.peers[*peer].connection.is_closing())
            .unwrap_or(queue.members[drawn].0)
    }
}
