//! Who is in an account, counted for its limit: its connections here, and as many
//! as the other members of the cluster tell of.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::{Account, AccountLimits};

/// Limits that accounts have been given; see [`Account::limited_since`].
static LIMITS: AtomicU64 = AtomicU64::new(0);

/// A connection's place in its account; given back when it is dropped.
pub struct AccountMember(Arc<Account>);

impl AccountMember {
    /// The account.
    pub fn account(&self) -> &Arc<Account> {
        &self.0
    }
}

/// Connections of an account at the other members of the cluster.
#[derive(Default)]
pub(super) struct Elsewhere {
    /// By the ids of the members.
    members: Mutex<BTreeMap<String, usize>>,
    /// All of them.
    all: AtomicUsize,
    /// Those at members that keep theirs when there are too many; see
    /// [`Account::surplus`].
    before: AtomicUsize,
    /// Number of the limit for which they are counted.
    limit: AtomicU64,
}

impl Account {
    /// Takes a connection in; `None` if the account has as many as it may have.
    pub fn enter(self: &Arc<Self>) -> Option<AccountMember> {
        let max = self.limits().max_connections.unwrap_or(usize::MAX);
        let elsewhere = self.elsewhere();
        let one_more = |count: usize| (count + elsewhere < max).then_some(count + 1);
        self.connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| AccountMember(self.clone()))
    }

    /// Its connections at the other members of the cluster, as far as they tell.
    pub fn elsewhere(&self) -> usize {
        self.elsewhere.all.load(Ordering::Relaxed)
    }

    /// How many connections it may have, and how many of these places are taken at
    /// other members.
    pub fn room(&self) -> String {
        let max = self.limits().max_connections.unwrap_or_default();
        let begin = format!("max_connections {max}");
        match self.elsewhere() {
            0 => begin,
            1 => begin + "; 1 connection is at another broker",
            count => format!("{begin}; {count} connections are at other brokers"),
        }
    }

    /// A number that is another one each time that the account is given a limit of its
    /// connections; `None` without one. Who counts for it has to be asked then.
    pub fn limited_since(&self) -> Option<u64> {
        let is_limited = self.limits().max_connections.is_some();
        is_limited.then(|| self.elsewhere.limit.load(Ordering::Relaxed))
    }

    /// Its limits have become other ones than `before`. Without a limit nothing is noted,
    /// and what was is forgotten: by the time of the next limit it is out of date.
    pub(super) fn relimit(&self, before: &AccountLimits) {
        if self.limits().max_connections.is_none() {
            self.elsewhere.members.lock().clear();
            self.elsewhere.all.store(0, Ordering::Relaxed);
            self.elsewhere.before.store(0, Ordering::Relaxed);
        } else if before.max_connections.is_none() {
            let number = LIMITS.fetch_add(1, Ordering::Relaxed);
            self.elsewhere.limit.store(number, Ordering::Relaxed);
        }
    }

    /// Notes how many connections it has at another member, if it has a limit. `own_id`
    /// is the id of this broker.
    pub fn note_elsewhere(&self, member: &str, connections: usize, own_id: &str) {
        let Elsewhere {
            members,
            all,
            before,
            ..
        } = &self.elsewhere;
        let mut members = members.lock();
        // Looked at under the lock: who takes the limit away clears them afterwards.
        let is_limited = self.limits().max_connections.is_some();
        match connections {
            count if count > 0 && is_limited => {
                members.insert(member.to_owned(), count.min(u32::MAX as usize))
            }
            _ => members.remove(member),
        };
        all.store(members.values().sum(), Ordering::Relaxed);
        let of_before = members.iter().filter(|(id, _)| id.as_str() < own_id);
        before.store(of_before.map(|(_, count)| count).sum(), Ordering::Relaxed);
    }

    /// How many of so many connections here are too many. Members may take in some
    /// at the same moment: then those with smaller ids keep theirs, so that no more
    /// are cut than have to be.
    pub fn surplus(&self, connections: usize) -> usize {
        let max = self.limits().max_connections.unwrap_or(usize::MAX);
        let before = self.elsewhere.before.load(Ordering::Relaxed);
        (connections + before).saturating_sub(max).min(connections)
    }
}

impl Drop for AccountMember {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::AccountLimits;

    #[test]
    fn a_place_is_free_again_when_its_connection_has_gone() {
        let account = Arc::new(Account::new("A"));
        let limits = AccountLimits {
            max_connections: Some(1),
            ..AccountLimits::default()
        };
        account.redefine(limits, None);
        let first = account.enter();
        assert!(first.is_some() && account.enter().is_none());
        assert_eq!(account.connections(), 1);
        drop(first);
        assert!(account.enter().is_some());
    }

    #[test]
    fn connections_elsewhere_count() {
        let account = Arc::new(Account::new("A"));
        let limits = AccountLimits {
            max_connections: Some(3),
            ..AccountLimits::default()
        };
        account.redefine(limits, None);
        assert_eq!(account.room(), "max_connections 3");
        account.note_elsewhere("B", 9, "M");
        let told = "max_connections 3; 9 connections are at other brokers";
        assert_eq!(account.room(), told);
        account.note_elsewhere("B", 1, "M");
        account.note_elsewhere("X", 1, "M");
        let first = account.enter();
        assert!(first.is_some() && account.enter().is_none());
        // Those at B stay, those at X have to go.
        assert_eq!(
            [0, 1, 2, 3, 4].map(|here| account.surplus(here)),
            [0, 0, 0, 1, 2]
        );
        account.note_elsewhere("B", 9, "M");
        assert_eq!(account.surplus(2), 2);
        account.note_elsewhere("B", 0, "M");
        account.note_elsewhere("X", 0, "M");
        assert_eq!((account.elsewhere(), account.surplus(3)), (0, 0));
        assert!(account.enter().is_some());
    }

    /// Numbers of elsewhere do not outlive the limit for which they were told.
    #[test]
    fn what_was_counted_for_a_limit_goes_with_it() {
        let account = Arc::new(Account::new("A"));
        let limit = |max| AccountLimits {
            max_connections: max,
            ..AccountLimits::default()
        };
        let redefine = |max| account.redefine(limit(max), None);
        redefine(Some(3));
        let first = account.limited_since();
        account.note_elsewhere("B", 3, "M");
        redefine(Some(4));
        assert_eq!(
            account.limited_since(),
            first,
            "who counts was asked already"
        );
        assert_eq!(account.elsewhere(), 3);
        redefine(None);
        account.note_elsewhere("B", 3, "M");
        assert_eq!((account.elsewhere(), account.limited_since()), (0, None));
        redefine(Some(3));
        assert_eq!(account.elsewhere(), 0);
        assert!(
            account
                .limited_since()
                .is_some_and(|since| Some(since) != first)
        );
    }
}
