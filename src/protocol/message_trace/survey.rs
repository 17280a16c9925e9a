//! A survey: who would get a message, asked with a message that goes the way of all others and is
//! delivered to nobody.
//!
//! `/pathz` begins one. It is in the thread's buffers in place of a trace, and `delivery` and
//! `account` note here what a trace would report, and besides it what a message leaves to chance:
//! all destinations of a mapping, and all members of a queue group.

use std::{
    hash::{BuildHasher, RandomState},
    mem,
};

use hashbrown::HashMap;
use monitor_client::{PathMember, PathPeer, PathQueue, PathSubscription, PathWay};

/// Ways that are followed: each may be a destination of a mapping or an imported service.
const WAYS_MAX: usize = 256;

/// How a message comes to a subject in an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WayStep {
    /// It is published there.
    Publish,
    /// A mapping changes its subject.
    Mapping,
    /// It is a request to an imported service.
    ServiceImport,
    /// It is a reply to a request of another account.
    Reply,
}

impl WayStep {
    /// Its name in the answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Mapping => "mapping",
            Self::ServiceImport => "service import",
            Self::Reply => "reply",
        }
    }
}

/// What is known of a message that nobody sends, while it is routed.
pub struct Survey {
    ways: Vec<PathWay>,
    /// The ways that led to where the message is, which is the last.
    at: Vec<usize>,
    /// The queue group whose members are asked.
    queue: Option<PathQueue>,
    /// Whether there was a row for it.
    lists_queue: bool,
    /// Where the queue groups are: way and name, and the place in the way's list.
    groups: HashMap<(usize, String), usize>,
    /// Those that there was no row for: way and hash of the name, and whether a member may get it.
    unlisted: HashMap<(usize, u64), bool>,
    hasher: RandomState,
    rows_left: usize,
    left_out: u64,
    incomplete: bool,
    /// The connection of the sender; 0 for none.
    sender: u64,
}

/// The result of a survey.
#[derive(Debug, Default)]
pub struct Surveyed {
    /// The ways.
    pub ways: Vec<PathWay>,
    /// The least that get the message.
    pub receivers: u64,
    /// The most.
    pub receivers_max: u64,
    /// Rows that were counted and not listed.
    pub left_out: u64,
    /// Whether there were more ways than are followed.
    pub incomplete: bool,
}

impl Survey {
    /// A survey that lists so many rows. `sender` is the connection whose message it is; 0 for none.
    pub fn new(rows_max: usize, sender: u64) -> Self {
        Self {
            ways: Vec::new(),
            at: Vec::new(),
            queue: None,
            lists_queue: false,
            groups: HashMap::new(),
            unlisted: HashMap::new(),
            hasher: RandomState::new(),
            rows_left: rows_max,
            left_out: 0,
            incomplete: false,
            sender,
        }
    }

    /// The connection of the sender; 0 for none.
    pub fn sender(&self) -> u64 {
        self.sender
    }

    /// Follows the message to a subject in an account; so many messages of a hundred go there.
    /// [`Survey::leave`] goes back. `false`: that is one way too many, and it does not go there.
    pub fn enter(
        &mut self,
        step: WayStep,
        rule: String,
        weight: u8,
        account: &str,
        subject: &[u8],
    ) -> bool {
        if self.ways.len() == WAYS_MAX {
            self.incomplete = true;
            return false;
        }
        let id = self.ways.len();
        self.ways.push(PathWay {
            id: id as u64,
            from: self.at.last().map(|from| *from as u64),
            step: step.name().into(),
            rule,
            weight: weight.into(),
            account: account.to_owned(),
            subject: String::from_utf8_lossy(subject).into_owned(),
            ..PathWay::default()
        });
        self.at.push(id);
        true
    }

    /// Goes back to where the message came from.
    pub fn leave(&mut self) {
        self.at.pop();
    }

    /// Notes a subscription, and whether it gets the message or may get it as a member of the queue
    /// group that was begun.
    pub fn subscription(&mut self, gets: bool, row: impl FnOnce() -> PathSubscription) {
        let may_list = self.takes_row();
        let Some(way) = self.at.last().map(|at| &mut self.ways[*at]) else {
            return;
        };
        let (yes, no, list) = match &mut self.queue {
            Some(queue) => (
                &mut queue.candidates,
                &mut queue.withheld,
                &mut queue.members,
            ),
            None => (
                &mut way.delivered,
                &mut way.withheld,
                &mut way.subscriptions,
            ),
        };
        *if gets { yes } else { no } += 1;
        if may_list {
            list.push(row());
        }
    }

    /// The subscriptions from here on are members of this queue group, until [`Survey::end_queue`].
    pub fn begin_queue(&mut self, name: &[u8]) {
        self.lists_queue = self.takes_row();
        self.queue = Some(PathQueue {
            queue: String::from_utf8_lossy(name).into_owned(),
            ..PathQueue::default()
        });
    }

    /// All members here are noted.
    pub fn end_queue(&mut self) {
        if let (Some(queue), Some(at)) = (mem::take(&mut self.queue), self.at.last().copied()) {
            if !self.lists_queue {
                let key = (at, self.hasher.hash_one(queue.queue.as_bytes()));
                *self.unlisted.entry(key).or_default() |= queue.candidates > 0;
                return;
            }
            let queues = &mut self.ways[at].queues;
            self.groups.insert((at, queue.queue.clone()), queues.len());
            queues.push(queue);
        }
    }

    /// Notes the brokers that have members of a queue group.
    pub fn queue_peers(&mut self, name: &[u8], peers: Vec<PathPeer>) {
        let Some(at) = self.at.last().copied() else {
            return;
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let hash = (at, self.hasher.hash_one(name.as_bytes()));
        let listed = (at, name);
        if !self.groups.contains_key(&listed) && !self.unlisted.contains_key(&hash) {
            self.begin_queue(listed.1.as_bytes());
            self.end_queue();
        }
        if let Some(group) = self.groups.get(&listed) {
            self.ways[at].queues[*group].peers = peers;
        } else if let Some(is_served) = self.unlisted.get_mut(&hash) {
            *is_served |= peers.iter().any(|peer| peer.candidate);
        }
    }

    /// Notes a broker with interest outside of queue groups.
    pub fn member(&mut self, member: PathMember) {
        if let Some(at) = self.at.last() {
            self.ways[*at].members.push(member);
        }
    }

    /// Notes imports that are not followed.
    pub fn pruned(&mut self, count: u64) {
        if let Some(at) = self.at.last() {
            self.ways[*at].pruned += count;
        }
    }

    fn takes_row(&mut self) -> bool {
        match self.rows_left.checked_sub(1) {
            Some(left) => {
                self.rows_left = left;
                true
            }
            None => {
                self.left_out += 1;
                false
            }
        }
    }

    /// The result, once the message has gone all ways. `is_served` says whether the broker itself
    /// answers a subject that the publisher's messages come to in an account.
    pub fn finish(mut self, is_served: impl Fn(&str, &[u8]) -> bool) -> Surveyed {
        for way in &mut self.ways {
            let is_own = [WayStep::Publish, WayStep::Mapping].map(WayStep::name);
            way.served_by_broker =
                is_own.contains(&&*way.step) && is_served(&way.account, way.subject.as_bytes());
        }
        let mut unlisted = vec![0; self.ways.len()];
        for (at, _) in self
            .unlisted
            .iter()
            .filter(|(_, is_served)| **is_served)
            .map(|it| *it.0)
        {
            unlisted[at] += 1;
        }
        let (receivers, receivers_max) = count(&self.ways, &unlisted);
        for queue in self.ways.iter_mut().flat_map(|way| &mut way.queues) {
            queue.rule = rule(queue).into();
        }
        Surveyed {
            ways: self.ways,
            receivers,
            receivers_max,
            left_out: self.left_out,
            incomplete: self.incomplete,
        }
    }
}

/// How the member that gets the message is chosen.
fn rule(queue: &PathQueue) -> &'static str {
    let elsewhere = queue.peers.iter().any(|peer| peer.candidate);
    match (queue.candidates, elsewhere) {
        (0, false) => "no member can take it",
        (0, true) if queue.withheld > 0 => {
            "no member here can take it: a broker, drawn by the number of its members"
        }
        (0, true) => "no member is here: a broker, drawn by the number of its members",
        (_, false) if queue.peers.is_empty() => "one of the members here, drawn at random",
        (_, false) => "one of the members here, drawn at random: they go first (queue_policy)",
        (_, true) => {
            "one of all members, drawn at random: those here, and those of other brokers, by their \
             number"
        }
    }
}

/// The least and the most that get the message. `unlisted` has the queue groups of each way that get
/// it and are not listed.
fn count(ways: &[PathWay], unlisted: &[u64]) -> (u64, u64) {
    // A way is before those that it leads to. Of the destinations of a mapping one is chosen; all
    // other ways are taken.
    let all = ways.iter().zip(unlisted);
    let all = all.map(|(way, unlisted)| own(way) + unlisted);
    let mut counts: Vec<(u64, u64)> = all.map(|count| (count, count)).collect();
    let mut mapped: Vec<Option<(u64, u64)>> = vec![None; ways.len()];
    for (at, way) in ways.iter().enumerate().rev() {
        if let Some((least, most)) = mapped[at] {
            counts[at].0 += least;
            counts[at].1 += most;
        }
        let Some(from) = way.from.and_then(|from| usize::try_from(from).ok()) else {
            continue;
        };
        let (least, most) = counts[at];
        if way.step == WayStep::Mapping.name() {
            let (known_least, known_most) = mapped[from].unwrap_or((least, most));
            mapped[from] = Some((known_least.min(least), known_most.max(most)));
        } else {
            counts[from].0 += least;
            counts[from].1 += most;
        }
    }
    counts.first().copied().unwrap_or_default()
}

/// How many get it at this subject.
fn own(way: &PathWay) -> u64 {
    let is_served =
        |queue: &&PathQueue| queue.candidates > 0 || queue.peers.iter().any(|peer| peer.candidate);
    let queues = way.queues.iter().filter(is_served).count();
    let members = way.members.iter().filter(|member| member.gets).count();
    way.delivered + (queues + members) as u64 + u64::from(way.served_by_broker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gets(survey: &mut Survey, count: usize) {
        for _ in 0..count {
            survey.subscription(true, PathSubscription::default);
        }
    }

    #[test]
    fn receivers_are_counted_over_all_ways() {
        let mut survey = Survey::new(10, 0);
        assert!(survey.enter(WayStep::Publish, String::new(), 100, "A", b"a"));
        // One of two destinations, of which one leads to a service as well.
        assert!(survey.enter(WayStep::Mapping, "a".into(), 50, "A", b"b"));
        gets(&mut survey, 2);
        assert!(survey.enter(WayStep::ServiceImport, String::new(), 100, "B", b"b"));
        gets(&mut survey, 1);
        survey.leave();
        survey.leave();
        assert!(survey.enter(WayStep::Mapping, "a".into(), 50, "A", b"c"));
        survey.begin_queue(b"q");
        gets(&mut survey, 3);
        survey.end_queue();
        let peers = |candidate| {
            vec![PathPeer {
                name: "east".into(),
                weight: 2,
                candidate,
            }]
        };
        survey.queue_peers(b"q", peers(true));
        survey.queue_peers(b"r", peers(true));
        survey.queue_peers(b"s", peers(false));
        survey.leave();
        let surveyed = survey.finish(|_, _| false);
        assert_eq!((surveyed.receivers, surveyed.receivers_max), (2, 3));
        assert_eq!(surveyed.ways.len(), 4);
    }

    /// Queue groups beyond the rows are counted, each once, and not held.
    #[test]
    fn queue_groups_beyond_the_rows_are_counted() {
        let mut survey = Survey::new(4, 0);
        survey.enter(WayStep::Publish, String::new(), 100, "A", b"a");
        for number in 0..100 {
            survey.begin_queue(format!("q{number}").as_bytes());
            gets(&mut survey, 1);
            survey.end_queue();
        }
        let peers = || {
            vec![PathPeer {
                candidate: true,
                ..PathPeer::default()
            }]
        };
        for number in 50..150 {
            survey.queue_peers(format!("q{number}").as_bytes(), peers());
        }
        assert_eq!(survey.ways[0].queues.len(), 2);
        let surveyed = survey.finish(|_, _| false);
        assert_eq!(surveyed.receivers, 150);
        // Of 150 groups and 100 members.
        assert_eq!(surveyed.left_out, 246);
        assert_eq!(surveyed.ways[0].queues[1].members.len(), 1);
        assert!(!surveyed.ways[0].queues[1].rule.is_empty());
    }

    #[test]
    fn rows_and_ways_are_bounded_and_the_rest_is_counted() {
        let mut survey = Survey::new(10, 0);
        survey.enter(WayStep::Publish, String::new(), 100, "A", b"a");
        gets(&mut survey, 12);
        survey.subscription(false, PathSubscription::default);
        let entered = (0..2 * WAYS_MAX)
            .filter(|_| {
                let is_followed = survey.enter(WayStep::Reply, String::new(), 100, "B", b"b");
                if is_followed {
                    survey.leave();
                }
                is_followed
            })
            .count();
        assert_eq!(entered, WAYS_MAX - 1);
        let surveyed = survey.finish(|account, _| account == "B");
        assert_eq!(surveyed.ways[0].subscriptions.len(), 10);
        assert_eq!(
            (surveyed.ways[0].delivered, surveyed.ways[0].withheld),
            (12, 1)
        );
        assert_eq!((surveyed.left_out, surveyed.incomplete), (3, true));
        assert_eq!(surveyed.receivers, 12);
    }
}
