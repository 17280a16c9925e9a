//! The holders of a port's places, in the order in which they are cut.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use tokio::time::Instant;

use super::{Lost, Source};

/// Sources that share their places: members' addresses separately.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Party {
    pub(super) is_member: bool,
    pub(super) source: Source,
}

/// Orders the parties: the one with most places is last, and of those with as many the one
/// with the connection that has been silent for longest.
type Rank = (usize, Reverse<u64>, Party);

#[derive(Default)]
pub(super) struct State {
    /// Counts all activity; also numbers places.
    tick: u64,
    pub(super) held: HashMap<u64, HeldPlace>,
    /// Places of each party, by their last activity.
    pub(super) parties: HashMap<Party, BTreeMap<u64, u64>>,
    pub(super) non_members: BTreeSet<Rank>,
    pub(super) members: BTreeSet<Rank>,
    /// Places that others than members hold.
    pub(super) non_members_len: usize,
}

pub(super) type Cut = Box<dyn FnOnce(Lost) + Send>;

pub(super) struct HeldPlace {
    party: Party,
    last_active: u64,
    pub(super) until: Instant,
    pub(super) cut: Cut,
}

impl State {
    fn next_tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    pub(super) fn insert(&mut self, party: Party, until: Instant, cut: Cut) -> u64 {
        let id = self.next_tick();
        let held = HeldPlace {
            party,
            last_active: id,
            until,
            cut,
        };
        self.held.insert(id, held);
        self.non_members_len += usize::from(!party.is_member);
        self.change(party, |places| {
            places.insert(id, id);
        });
        id
    }

    pub(super) fn mark_active(&mut self, id: u64) {
        let now = self.next_tick();
        let Some(held) = self.held.get_mut(&id) else {
            return;
        };
        let (party, before) = (held.party, std::mem::replace(&mut held.last_active, now));
        self.change(party, |places| {
            places.remove(&before);
            places.insert(now, id);
        });
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<HeldPlace> {
        let held = self.held.remove(&id)?;
        self.non_members_len -= usize::from(!held.party.is_member);
        self.change(held.party, |places| {
            places.remove(&held.last_active);
        });
        Some(held)
    }

    /// Removes the place that is next to be cut; `of_all`: members too.
    pub(super) fn take_from(&mut self, of_all: bool) -> Option<HeldPlace> {
        let non_members = self.non_members.last();
        let members = self.members.last().filter(|_| of_all);
        let (_, _, party) = *non_members.max(members)?;
        let (_, id) = self.parties.get(&party)?.first_key_value()?;
        self.remove(*id)
    }

    /// Changes the places of a party, and with them its rank.
    fn change(&mut self, party: Party, change: impl FnOnce(&mut BTreeMap<u64, u64>)) {
        let ranking = match party.is_member {
            true => &mut self.members,
            false => &mut self.non_members,
        };
        let places = self.parties.entry(party).or_default();
        if let Some(rank) = rank(party, places) {
            ranking.remove(&rank);
        }
        change(places);
        match rank(party, places) {
            Some(rank) => {
                ranking.insert(rank);
            }
            None => {
                self.parties.remove(&party);
            }
        }
    }
}

/// The rank of a party; `None` without places.
fn rank(party: Party, places: &BTreeMap<u64, u64>) -> Option<Rank> {
    let (oldest, _) = places.first_key_value()?;
    Some((places.len(), Reverse(*oldest), party))
}
