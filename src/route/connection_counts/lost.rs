//! Members whose routes were lost, and whose numbers of connections remain valid for a while.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::{
    route::{cluster::Route, introduction::with_port},
    telemetry::MonotonicMillis,
};

/// How long the numbers of a member without a route remain valid: at least as long as nats-server
/// waits, which is five times the interval at which members publish them.
const LOST_FOR: Duration = Duration::from_secs(150);

/// Limit of members without a route whose numbers are kept; beyond it the oldest is dropped.
const LOST_MAX: usize = 256;

/// The members, by id.
#[derive(Default)]
pub(super) struct LostMembers(Mutex<HashMap<String, Lost>>);

/// A member whose route was lost.
pub(super) struct Lost {
    pub(super) at: MonotonicMillis,
    pub(super) identity: Identity,
}

/// What identifies a member although it has another id.
pub(super) struct Identity {
    /// Its name, if one is configured.
    name: Option<String>,
    /// The address of its route listener. If it listens on all addresses, this may be the same for
    /// every member.
    address: String,
}

impl Identity {
    /// That of the member behind a route.
    pub(super) fn of(route: &Route) -> Self {
        let info = route.info.lock();
        let is_named = !info.server_name.is_empty() && info.server_name != info.server_id;
        let host = route.connection.peer.ip().to_canonical().to_string();
        Self {
            name: is_named.then(|| info.server_name.clone()),
            address: match info.ip.is_empty() {
                true => with_port(&host, info.port),
                false => info.ip.clone(),
            },
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.address == other.address || self.name.is_some() && self.name == other.name
    }
}

impl LostMembers {
    /// Adds a member whose route was lost; returns the one that is dropped for it.
    pub(super) fn add(&self, id: &str, lost: Lost) -> Option<String> {
        let mut members = self.0.lock();
        members.insert(id.to_owned(), lost);
        if members.len() <= LOST_MAX {
            return None;
        }
        let oldest = members.iter().min_by_key(|(_, lost)| lost.at);
        let oldest = oldest.map(|(id, _)| id.clone())?;
        members.remove(&oldest);
        Some(oldest)
    }

    /// Removes a member that has a route again, and other ids of the same member; returns these.
    pub(super) fn remove_returned(&self, id: &str, identity: &Identity) -> Vec<String> {
        let mut members = self.0.lock();
        members.remove(id);
        let is_same = |_: &String, lost: &mut Lost| lost.identity.is_same(identity);
        members.extract_if(is_same).map(|(id, _)| id).collect()
    }

    /// Removes the members that were lost for too long.
    pub(super) fn expire(&self, now: MonotonicMillis) -> Vec<String> {
        let mut members = self.0.lock();
        let is_expired = |_: &String, lost: &mut Lost| lost.at.until(now) >= LOST_FOR;
        members.extract_if(is_expired).map(|(id, _)| id).collect()
    }

    /// The member is not expected any more.
    pub(super) fn forget(&self, id: &str) {
        self.0.lock().remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, address: &str) -> Identity {
        Identity {
            name: (!name.is_empty()).then(|| name.to_owned()),
            address: address.to_owned(),
        }
    }

    /// The counts of a lost member are valid until too much time has passed or it comes back with
    /// another id.
    #[test]
    fn counts_of_a_lost_member_are_kept_for_a_while() {
        let members = LostMembers::default();
        let at = MonotonicMillis::now();
        for (id, name, address) in [
            ("A", "a", "h:1"),
            ("B", "b", "h:2"),
            ("C", "", "h:3"),
            ("D", "", "h:4"),
        ] {
            let identity = identity(name, address);
            assert_eq!(members.add(id, Lost { at, identity }), None);
        }
        // The same id, one with the same name, one with the same address, and an unrelated one.
        assert!(
            members
                .remove_returned("A", &identity("a", "h:1"))
                .is_empty()
        );
        assert_eq!(members.remove_returned("B2", &identity("b", "h:9")), ["B"]);
        assert_eq!(members.remove_returned("C2", &identity("", "h:3")), ["C"]);
        assert!(
            members
                .remove_returned("X", &identity("", "h:8"))
                .is_empty()
        );
        let later = |time: Duration| MonotonicMillis(at.0 + time.as_millis() as u64);
        assert!(members.expire(later(LOST_FOR / 2)).is_empty());
        assert_eq!(members.expire(later(LOST_FOR * 2)), ["D"]);
        assert!(members.expire(later(LOST_FOR * 2)).is_empty());
    }

    #[test]
    fn lost_members_are_limited() {
        let members = LostMembers::default();
        for number in 0..=LOST_MAX {
            let name = format!("m{number}");
            let lost = Lost {
                at: MonotonicMillis(number as u64),
                identity: identity(&name, &name),
            };
            let dropped = members.add(&name, lost);
            let oldest = (number == LOST_MAX).then(|| "m0".to_owned());
            assert_eq!(dropped, oldest);
        }
    }
}
