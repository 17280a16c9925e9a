//! Members of a federation's queue groups that take messages and never say anything: a federation
//! broker whose process was stopped keeps its connection, and with it its share of the requests,
//! until it leaves pings unanswered. Seen from the broker that delivers to it.

use std::collections::HashMap;

use crate::{
    connection::Connection,
    sublist::Entry,
    telemetry::{MonotonicMillis, load::TrafficDelta, pool::allocated},
};

/// Members that are watched at a time, and groups.
const MEMBERS_MAX: usize = 256;

/// Bytes of a group's subject that is watched: longer ones are no federation's.
const SUBJECT_LEN_MAX: usize = 256;

/// Connections with more subscriptions are no federation brokers: those have one on each side.
const SUBSCRIPTIONS_MAX: usize = 16;

/// What the subjects of a federation's queue groups begin with; the federation's name follows, then
/// `.federation` for requests or `.collective` for replies.
const PREFIX: &[u8] = b"choria.federation.";

/// What members took since they last said anything.
#[derive(Default)]
pub(super) struct SilentMembers {
    /// By connection.
    of: HashMap<u64, Taking>,
    /// When a member last published, by the subject of a group with another that only takes.
    published: HashMap<String, MonotonicMillis>,
}

/// A member that takes messages.
pub(super) struct Taking {
    /// The subject of its queue group.
    pub(super) group: String,
    /// Messages it took since it last published.
    pub(super) messages: u64,
    /// When it took the first of them.
    pub(super) since: MonotonicMillis,
}

impl SilentMembers {
    /// Adds what a member of the queue group on the subject `group` moved since the last sample.
    pub(super) fn add(
        &mut self,
        cid: u64,
        group: String,
        new: &TrafficDelta,
        now: MonotonicMillis,
    ) {
        if new.in_msgs > 0 {
            self.of.remove(&cid);
            let is_asked = self.of.values().any(|taking| taking.group == group);
            if is_asked {
                self.published.insert(group, now);
            }
        } else if new.out_msgs > 0 && (self.of.len() < MEMBERS_MAX || self.of.contains_key(&cid)) {
            let taking = self.of.entry(cid).or_insert_with(|| Taking {
                group,
                messages: 0,
                since: now,
            });
            taking.messages += new.out_msgs;
        }
    }

    /// Forgets members that are not connected any more, and groups without a member that only takes.
    pub(super) fn retain(&mut self, is_open: impl Fn(u64) -> bool) {
        self.of.retain(|cid, _| is_open(*cid));
        let of = &self.of;
        self.published
            .retain(|group, _| of.values().any(|taking| taking.group == *group));
    }

    /// Members that took at least so many messages, while another member of their group published.
    pub(super) fn with_at_least(&self, messages: u64) -> impl Iterator<Item = (u64, &Taking)> {
        let all = self.of.iter().map(|(cid, taking)| (*cid, taking));
        all.filter(move |(_, taking)| {
            let published = self.published.get(&taking.group);
            taking.messages >= messages && published.is_some_and(|at| *at > taking.since)
        })
    }

    /// Bytes that it holds.
    pub(super) fn memory(&self) -> usize {
        let groups = self.of.values().map(|taking| &taking.group);
        let texts: usize = groups
            .chain(self.published.keys())
            .map(|group| allocated(group.capacity()))
            .sum();
        texts
            + self.of.capacity() * size_of::<(u64, Taking)>()
            + self.published.capacity() * size_of::<(String, MonotonicMillis)>()
    }
}

/// The subject of a federation's queue group of which the connection is a member.
pub(super) fn group_of(connection: &Connection) -> Option<String> {
    let subscriptions = connection.subscriptions.lock();
    if subscriptions.len() > SUBSCRIPTIONS_MAX {
        return None;
    }
    let mut members = subscriptions.iter().filter(|it| it.queue().is_some());
    let member = members
        .find(|it| it.subject().starts_with(PREFIX) && it.subject().len() <= SUBJECT_LEN_MAX)?;
    Some(String::from_utf8_lossy(member.subject()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: TrafficDelta = moved(0, 3);
    const PUBLISHED: TrafficDelta = moved(1, 0);

    const fn moved(in_msgs: u64, out_msgs: u64) -> TrafficDelta {
        TrafficDelta {
            in_msgs,
            in_bytes: 0,
            out_msgs,
            out_bytes: 0,
            connects: 0,
        }
    }

    fn silent(members: &SilentMembers) -> Vec<u64> {
        members.with_at_least(5).map(|(cid, _)| cid).collect()
    }

    #[test]
    fn a_member_is_silent_while_another_of_its_group_publishes() {
        let mut members = SilentMembers::default();
        let mut add = |cid, group: &str, new: &TrafficDelta, at| {
            members.add(cid, group.into(), new, MonotonicMillis(at));
            silent(&members)
        };
        assert!(add(1, "a", &TOOK, 10).is_empty());
        assert!(add(1, "a", &TOOK, 20).is_empty(), "nobody publishes");
        assert!(add(2, "b", &PUBLISHED, 30).is_empty(), "another group");
        assert_eq!(add(3, "a", &PUBLISHED, 40), [1]);
        assert!(add(1, "a", &PUBLISHED, 50).is_empty());
        assert!(add(1, "a", &TOOK, 60).is_empty(), "too few");
        assert!(add(1, "a", &TOOK, 70).is_empty(), "nobody published since");
    }

    #[test]
    fn members_and_groups_have_a_limit_and_are_forgotten() {
        let mut members = SilentMembers::default();
        for cid in 0..2 * MEMBERS_MAX as u64 {
            for new in [TOOK, TOOK] {
                members.add(cid, format!("group {cid}"), &new, MonotonicMillis(1));
            }
            members.add(
                u64::MAX,
                format!("group {cid}"),
                &PUBLISHED,
                MonotonicMillis(2),
            );
        }
        assert_eq!(silent(&members).len(), MEMBERS_MAX);
        assert!(members.published.len() <= MEMBERS_MAX);
        // A known one is still counted.
        members.add(0, "group 0".into(), &TOOK, MonotonicMillis(3));
        assert_eq!(members.of[&0].messages, 9);
        members.retain(|cid| cid == 7);
        assert_eq!(silent(&members), [7]);
        assert_eq!(members.published.len(), 1);
    }
}
