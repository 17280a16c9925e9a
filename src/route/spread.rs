//! How the clients are spread over the members of the cluster: the diagnosis reports it if that is
//! uneven, and `server::rebalance` moves some.

use std::sync::Arc;

use super::{
    cluster::{Cluster, Route},
    membership::Member,
};
use crate::telemetry::MonotonicMillis;

/// How the clients are spread over the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Spread {
    /// Clients at this broker.
    pub own: u64,
    /// An even share of all clients.
    pub share: u64,
    /// The other members that take clients: id, name, and how many they have.
    pub others: Vec<(String, String, u64)>,
    /// Since when all that they told is known: when the first of them told it.
    pub told: MonotonicMillis,
}

impl Spread {
    /// How many clients this broker has beyond an even share, that is if another one has fewer.
    pub fn surplus(&self) -> u64 {
        match self
            .others
            .iter()
            .any(|(_, _, clients)| *clients < self.share)
        {
            true => self.own.saturating_sub(self.share),
            false => 0,
        }
    }
}

impl Cluster {
    /// How the clients are spread over the members that take any; `own` is how many are here. `None`
    /// as long as a member has not told how many it has, and without other members.
    pub fn spread(&self, own: u64) -> Option<Spread> {
        if self.is_leaving() {
            return None;
        }
        let members = self.members_for_clients();
        let told: Vec<_> = members
            .iter()
            .map(|member| member.clients)
            .collect::<Option<_>>()?;
        let oldest = told.iter().map(|(_, at)| *at).min()?;
        let total = own + told.iter().map(|(clients, _)| clients).sum::<u64>();
        let others = members.iter().zip(&told);
        Some(Spread {
            own,
            share: total.div_ceil(told.len() as u64 + 1),
            others: others
                .map(|(member, (clients, _))| (member.id.clone(), member.name.clone(), *clients))
                .collect(),
            told: oldest,
        })
    }

    /// The other members that take clients.
    fn members_for_clients(&self) -> Vec<Member> {
        let routes = self.routes();
        let mut members = self.snapshot().members;
        members.retain(|member| {
            let mut routes = routes.iter().filter(|route| route.remote_id == member.id);
            member.connected
                && !member.leaving
                && routes.any(|route| !route.announced_urls().plain.is_empty())
        });
        members
    }

    /// Whether another member takes clients.
    pub fn others_take_clients(&self) -> bool {
        !self.members_for_clients().is_empty()
    }

    /// The addresses for clients of those members that have fewer of them than an even share.
    pub fn urls_of_others(&self, spread: &Spread) -> Vec<String> {
        let has_room = |route: &&Arc<Route>| {
            let mut others = spread.others.iter();
            others.any(|(id, _, clients)| *id == route.remote_id && *clients < spread.share)
        };
        let routes = self.routes();
        let routes = routes.iter().filter(has_room);
        routes
            .flat_map(|route| route.announced_urls().plain)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surplus_is_what_another_member_has_room_for() {
        let surplus = |own, share, others: &[u64]| {
            let others = others.iter();
            let spread = Spread {
                own,
                share,
                others: others
                    .map(|it| (String::new(), String::new(), *it))
                    .collect(),
                told: MonotonicMillis(0),
            };
            spread.surplus()
        };
        assert_eq!(surplus(30, 10, &[0, 0]), 20);
        assert_eq!(surplus(11, 11, &[10, 11]), 0);
        assert_eq!(surplus(5, 10, &[20, 5]), 0);
        assert_eq!(surplus(12, 10, &[10, 10]), 0, "nobody has room");
    }
}
