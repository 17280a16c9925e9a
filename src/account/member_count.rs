//! Counts the connections of an account for its limit: those here, and those that other members of
//! the cluster report.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::{Account, AccountLimits};

/// Number of times that an account got a limit; see [`Account::limit_generation`].
static LIMITS: AtomicU64 = AtomicU64::new(0);

/// A connection's membership in its account; it ends when dropped.
pub struct AccountMember(Arc<Account>);

impl AccountMember {
    /// The account.
    pub fn account(&self) -> &Arc<Account> {
        &self.0
    }
}

/// Connections of an account at the other members of the cluster.
#[derive(Default)]
pub(super) struct RemoteCounts {
    /// Number by member id.
    members: Mutex<BTreeMap<String, usize>>,
    /// Their sum.
    all: AtomicUsize,
    /// The sum over members that keep their connections if there are too many; see
    /// [`Account::excess`].
    before: AtomicUsize,
    /// The generation of the limit that they are counted for.
    limit: AtomicU64,
}

impl Account {
    /// Adds a connection; `None` if the account has reached its limit.
    pub fn admit(self: &Arc<Self>) -> Option<AccountMember> {
        let max = self.limits().max_connections.unwrap_or(usize::MAX);
        let remote_connections = self.remote_connections();
        let one_more = |count: usize| (count + remote_connections < max).then_some(count + 1);
        self.connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| AccountMember(self.clone()))
    }

    /// Adds a connection that was in the account already, at another process of this broker.
    pub fn admit_again(self: &Arc<Self>) -> AccountMember {
        self.connections.fetch_add(1, Ordering::Relaxed);
        AccountMember(self.clone())
    }

    /// Its connections at other members of the cluster, as they reported.
    pub fn remote_connections(&self) -> usize {
        self.remote_counts.all.load(Ordering::Relaxed)
    }

    /// Describes the limit and how much of it is used at other members.
    pub fn limit_text(&self) -> String {
        let max = self.limits().max_connections.unwrap_or_default();
        let begin = format!("max_connections {max}");
        match self.remote_connections() {
            0 => begin,
            1 => begin + "; 1 connection is at another broker",
            count => format!("{begin}; {count} connections are at other brokers"),
        }
    }

    /// A number that changes each time the account gets a limit of connections; `None` if it has
    /// none. Other members must be asked for their counts then.
    pub fn limit_generation(&self) -> Option<u64> {
        let is_limited = self.limits().max_connections.is_some();
        is_limited.then(|| self.remote_counts.limit.load(Ordering::Relaxed))
    }

    /// Applies a change of the limits from `before`. Without a limit nothing is counted, and what
    /// was counted is dropped because it would be out of date by the next limit.
    pub(super) fn apply_limit_change(&self, before: &AccountLimits) {
        if self.limits().max_connections.is_none() {
            self.remote_counts.members.lock().clear();
            self.remote_counts.all.store(0, Ordering::Relaxed);
            self.remote_counts.before.store(0, Ordering::Relaxed);
        } else if before.max_connections.is_none() {
            let number = LIMITS.fetch_add(1, Ordering::Relaxed);
            self.remote_counts.limit.store(number, Ordering::Relaxed);
        }
    }

    /// Records the number of its connections at another member, if it has a limit. `own_id` is the
    /// id of this broker.
    pub fn record_remote_connections(&self, member: &str, connections: usize, own_id: &str) {
        let RemoteCounts {
            members,
            all,
            before,
            ..
        } = &self.remote_counts;
        let mut members = members.lock();
        // Checked under the lock: the removal of the limit clears the numbers afterwards.
        let is_limited = self.limits().max_connections.is_some();
        match connections {
            count if count > 0 && is_limited => {
                members.insert(member.to_owned(), count.min(u32::MAX as usize))
            }
            _ => members.remove(member),
        };
        all.store(members.values().sum(), Ordering::Relaxed);
        let smaller = members.iter().filter(|(id, _)| id.as_str() < own_id);
        before.store(smaller.map(|(_, count)| count).sum(), Ordering::Relaxed);
    }

    /// How many of `connections` are too many. Several members may accept connections at the same
    /// moment: then members with smaller ids keep theirs, so that no more than necessary are
    /// closed.
    pub fn excess(&self, connections: usize) -> usize {
        let max = self.limits().max_connections.unwrap_or(usize::MAX);
        let before = self.remote_counts.before.load(Ordering::Relaxed);
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
    fn dropping_a_member_frees_its_place() {
        let account = Arc::new(Account::new("A"));
        let limits = AccountLimits {
            max_connections: Some(1),
            ..AccountLimits::default()
        };
        account.redefine(limits, None);
        let first = account.admit();
        assert!(first.is_some() && account.admit().is_none());
        assert_eq!(account.connections(), 1);
        drop(first);
        assert!(account.admit().is_some());
    }

    #[test]
    fn connections_at_other_members_count() {
        let account = Arc::new(Account::new("A"));
        let limits = AccountLimits {
            max_connections: Some(3),
            ..AccountLimits::default()
        };
        account.redefine(limits, None);
        assert_eq!(account.limit_text(), "max_connections 3");
        account.record_remote_connections("B", 9, "M");
        let expected = "max_connections 3; 9 connections are at other brokers";
        assert_eq!(account.limit_text(), expected);
        account.record_remote_connections("B", 1, "M");
        account.record_remote_connections("X", 1, "M");
        let first = account.admit();
        assert!(first.is_some() && account.admit().is_none());
        // Those at B stay, those at X must be closed.
        assert_eq!(
            [0, 1, 2, 3, 4].map(|here| account.excess(here)),
            [0, 0, 0, 1, 2]
        );
        account.record_remote_connections("B", 9, "M");
        assert_eq!(account.excess(2), 2);
        account.record_remote_connections("B", 0, "M");
        account.record_remote_connections("X", 0, "M");
        assert_eq!((account.remote_connections(), account.excess(3)), (0, 0));
        assert!(account.admit().is_some());
    }

    /// Reported numbers are dropped with the limit that they were counted for.
    #[test]
    fn counts_are_dropped_with_the_limit() {
        let account = Arc::new(Account::new("A"));
        let limit = |max| AccountLimits {
            max_connections: max,
            ..AccountLimits::default()
        };
        let redefine = |max| account.redefine(limit(max), None);
        redefine(Some(3));
        let first = account.limit_generation();
        account.record_remote_connections("B", 3, "M");
        redefine(Some(4));
        assert_eq!(
            account.limit_generation(),
            first,
            "who counts was asked already"
        );
        assert_eq!(account.remote_connections(), 3);
        redefine(None);
        account.record_remote_connections("B", 3, "M");
        assert_eq!(
            (account.remote_connections(), account.limit_generation()),
            (0, None)
        );
        redefine(Some(3));
        assert_eq!(account.remote_connections(), 0);
        assert!(
            account
                .limit_generation()
                .is_some_and(|since| Some(since) != first)
        );
    }
}
