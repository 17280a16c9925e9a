//! Members of a federation's queue groups that take messages and never say anything: a federation
//! broker whose process was stopped keeps its connection, and with it its share of the requests,
//! until it leaves pings unanswered. Seen from the broker that delivers to it.

use std::{collections::HashMap, sync::Arc};

use crate::{
    broker::registry::{MovedConnection, Registry},
    connection::Connection,
    sublist::Entry,
    telemetry::MonotonicMillis,
};

/// Members that are watched at a time, and groups.
const MEMBERS_MAX: usize = 256;

/// Connections with more subscriptions are no federation brokers: those have one on each side.
const SUBSCRIPTIONS_MAX: usize = 16;

/// What the subjects of a federation's queue groups begin with; the federation's name follows, then
/// `.federation` for requests or `.collective` for replies.
const PREFIX: &[u8] = b"choria.federation.";

/// What members took since they last said anything.
#[derive(Default)]
pub(super) struct SilentMembers {
    of: HashMap<u64, Taking>,
    /// When a member of the group last published, by the group's subject.
    published: HashMap<String, MonotonicMillis>,
}

/// A member that takes messages.
pub(super) struct Taking {
    pub(super) connection: Arc<Connection>,
    /// The subject of its queue group.
    pub(super) group: String,
    /// Messages it took since it last published.
    pub(super) messages: u64,
    /// When it took the first of them.
    pub(super) since: MonotonicMillis,
}

impl SilentMembers {
    /// Adds what moved since the last sample.
    pub(super) fn add(
        &mut self,
        registry: &Registry,
        moved: &[MovedConnection],
        now: MonotonicMillis,
    ) {
        self.of.retain(|cid, _| registry.find(*cid).is_some());
        for moved in moved {
            let (connection, new) = (moved.connection(), moved.new_traffic());
            let Some(group) = self.group_of(connection) else {
                continue;
            };
            if new.in_msgs > 0 {
                self.of.remove(&connection.cid);
                if self.published.len() < MEMBERS_MAX || self.published.contains_key(&group) {
                    self.published.insert(group, now);
                }
            } else if new.out_msgs > 0 && self.of.len() < MEMBERS_MAX {
                let taking = self.of.entry(connection.cid).or_insert_with(|| Taking {
                    connection: connection.clone(),
                    group,
                    messages: 0,
                    since: now,
                });
                taking.messages += new.out_msgs;
            }
        }
    }

    /// Members that took at least so many messages, while another member of their group published.
    pub(super) fn with_at_least(&self, messages: u64) -> impl Iterator<Item = &Taking> {
        let others_publish = |taking: &&Taking| {
            let published = self.published.get(&taking.group);
            published.is_some_and(|at| *at > taking.since)
        };
        let all = self.of.values();
        all.filter(move |taking| taking.messages >= messages)
            .filter(others_publish)
    }

    /// The subject of a federation's queue group of which the connection is a member.
    fn group_of(&self, connection: &Connection) -> Option<String> {
        if let Some(taking) = self.of.get(&connection.cid) {
            return Some(taking.group.clone());
        }
        let subscriptions = connection.subscriptions.lock();
        if subscriptions.len() > SUBSCRIPTIONS_MAX {
            return None;
        }
        let mut members = subscriptions.iter().filter(|it| it.queue().is_some());
        let member = members.find(|it| it.subject().starts_with(PREFIX))?;
        Some(String::from_utf8_lossy(member.subject()).into_owned())
    }
}
