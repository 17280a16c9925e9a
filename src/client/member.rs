//! A client becomes a member of an account: from then on it publishes and
//! subscribes there, within the account's limits.

use std::sync::Arc;

use super::{Limits, end::End, session::Session};
use crate::{
    account::{Account, AccountLimits},
    connection::CloseReason,
    protocol::error::ClientError,
};

impl Session {
    /// Makes the client a member of `account` and of no other. Its
    /// subscriptions in the one before must have ended.
    pub(super) fn join(&mut self, account: Arc<Account>) -> Result<(), End> {
        self.give_back_place();
        let Some(membership) = account.admit() else {
            return Err(End {
                refused: None,
                reason: CloseReason::MaxAccountConnections,
                error: Some(ClientError::MaxAccountConnections),
                detail: format!("account {:?} has {}", account.name, account.limit_text()),
            });
        };
        self.limits = narrowed(self.context.limits.current(), &account.limits());
        self.membership = Some(membership);
        self.context.system.count(&account.name);
        self.cache.clear();
        self.account = account;
        Ok(())
    }

    /// Gives its place in the account back, if it has one.
    pub(super) fn give_back_place(&mut self) {
        if self.membership.take().is_some() {
            self.context.system.count(&self.account.name);
        }
    }
}

/// The broker's limits, or lower ones where the account has them.
pub(super) fn narrowed(limits: Arc<Limits>, account: &AccountLimits) -> Arc<Limits> {
    if account.max_payload.is_none() && account.max_subscriptions.is_none() {
        return limits;
    }
    let lower = |limit: Option<usize>, own: usize| limit.unwrap_or(own).min(own);
    let max_payload = lower(account.max_payload, limits.max_payload);
    Arc::new(Limits {
        max_payload,
        large_payload: limits.large_payload.min(max_payload),
        max_subscriptions: match account.max_subscriptions {
            Some(max) => Some(lower(limits.max_subscriptions, max)),
            None => limits.max_subscriptions,
        },
        ..Limits::clone(&limits)
    })
}
