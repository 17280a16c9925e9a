//! Which members are no longer expected: those that the configuration or the operator no longer
//! names, those that were gone too long, and those beyond the limit.

use std::time::Duration;

use super::{Member, Membership, MembershipSnapshot, State, Target};
use crate::{config::options::cluster::RouteUrl, telemetry::MonotonicMillis};

/// How long a member is expected to return that the configuration does not name.
const EXPECTED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Limit of members without a route.
const ABSENT_MAX: usize = 256;

impl MembershipSnapshot {
    /// A member that said that it leaves is missed like any other once it has been gone for
    /// `planned`, if it is still configured or listed.
    #[must_use]
    pub fn with_overdue(mut self, now: MonotonicMillis, planned: Duration) -> Self {
        let targets = &self.targets;
        for member in &mut self.members {
            let is_here = |target: &Target| {
                target.leads_to.as_ref() == Some(&member.id) || target.address == member.address
            };
            let is_overdue = !member.connected && member.since.until(now) >= planned;
            member.leaving &= !(is_overdue && targets.iter().any(is_here));
        }
        self
    }
}

impl Membership {
    /// Removes members without a route that the configuration does not name, and records of
    /// addresses that it does not name any more.
    pub(in crate::route) fn forget_unnamed(&self, configured: &[RouteUrl]) {
        let named: Vec<String> = configured.iter().map(ToString::to_string).collect();
        let mut state = self.0.lock();
        state.targets.retain(|address, _| named.contains(address));
        let State {
            targets, members, ..
        } = &mut *state;
        members.retain(|id, member| {
            let leads_here = |target: &Target| target.leads_to.as_ref() == Some(id);
            member.connected || named.contains(&member.address) || targets.values().any(leads_here)
        });
    }

    /// A record lists a broker at this address no longer: it is not missed, if it is gone.
    pub(in crate::route) fn forget_target(&self, address: &str) {
        let mut state = self.0.lock();
        let target = state.targets.remove(address).unwrap_or_default();
        let is_there = |id: &String, member: &Member| {
            member.address == address || target.leads_to.as_ref() == Some(id)
        };
        state
            .members
            .retain(|id, member| member.connected || !is_there(id, member));
    }

    /// A member that is gone is not missed.
    pub(in crate::route) fn no_longer_expect(&self, id: &str) {
        if let Some(member) = self.0.lock().members.get_mut(id) {
            member.leaving = true;
        }
    }

    /// Removes members without a route by name, id or address, if the configuration does not name
    /// them. Returns their names.
    pub(in crate::route) fn forget(&self, which: &str) -> Vec<String> {
        let mut forgotten = Vec::new();
        self.0.lock().members.retain(|id, member| {
            let is_selected = [id, &member.name, &member.address].map(|it| it == which);
            let is_removed = !member.connected && is_selected.contains(&true);
            if is_removed {
                forgotten.push(member.name.clone());
            }
            !is_removed
        });
        forgotten
    }
}

impl State {
    /// Drops members that were lost long ago, and those beyond the limit.
    pub(super) fn forget(&mut self, now: MonotonicMillis) {
        self.members
            .retain(|_, member| member.connected || member.since.until(now) < EXPECTED_FOR);
        let mut absent: Vec<(MonotonicMillis, String)> = self
            .members
            .values()
            .filter(|member| !member.connected)
            .map(|member| (member.since, member.id.clone()))
            .collect();
        absent.sort();
        let surplus = absent.len().saturating_sub(ABSENT_MAX);
        for (_, id) in absent.drain(..surplus) {
            self.members.remove(&id);
        }
        let Self {
            members, certnames, ..
        } = self;
        certnames.retain(|address, certname_seen| {
            certname_seen.at.until(now) < EXPECTED_FOR
                || members.values().any(|it| it.address == *address)
        });
    }
}
