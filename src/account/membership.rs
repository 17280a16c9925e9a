//! Who is in an account, counted for its limit.

use std::sync::{Arc, atomic::Ordering};

use super::Account;

/// A connection's place in its account; given back when it is dropped.
pub struct Membership(Arc<Account>);

impl Account {
    /// Takes a connection in; `None` if the account has as many as it may have.
    pub fn enter(self: &Arc<Self>) -> Option<Membership> {
        let max = self.limits().max_connections.unwrap_or(usize::MAX);
        let one_more = |count| (count < max).then_some(count + 1);
        self.connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| Membership(self.clone()))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{account::AccountLimits, connection::worker::with_worker};

    #[test]
    fn a_place_is_free_again_when_its_connection_has_gone() {
        let account = Arc::new(Account::new("A"));
        let limits = AccountLimits {
            max_connections: Some(1),
            ..AccountLimits::default()
        };
        with_worker(|worker| account.redefine(worker, limits, None));
        let first = account.enter();
        assert!(first.is_some() && account.enter().is_none());
        assert_eq!(account.connections(), 1);
        drop(first);
        assert!(account.enter().is_some());
    }
}
