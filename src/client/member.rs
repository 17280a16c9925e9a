//! A client becomes a member of an account: from then on it publishes and
//! subscribes there, within the account's limits.

use std::sync::Arc;

use super::base::Base;
use crate::{
    account::{Account, AccountLimits, AccountMember},
    broker::{Broker, limits::Limits},
    connection::CloseReason,
    peer::End,
    protocol::error::ClientError,
};

/// A client's place in its account; released when it is dropped.
pub(super) struct Membership {
    broker: Arc<Broker>,
    place: Option<AccountMember>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        let account = place.account().clone();
        drop(place);
        self.broker.system.count(&account.name);
    }
}

impl Base {
    /// Reserves a place in `account`, whose limits are in force from now on.
    pub(super) fn join(&mut self, account: &Arc<Account>) -> Result<Membership, End> {
        let Some(place) = account.admit() else {
            let (reason, error) = (
                CloseReason::MaxAccountConnections,
                ClientError::MaxAccountConnections,
            );
            let detail = format!("account {:?} has {}", account.name, account.limit_text());
            return Err(End::with_error(reason, error).with(detail));
        };
        Ok(self.occupy(place))
    }

    /// The same for a client that another process of this broker had let in.
    pub(super) fn join_again(&mut self, account: &Arc<Account>) -> Membership {
        self.occupy(account.admit_again())
    }

    fn occupy(&mut self, place: AccountMember) -> Membership {
        let account = place.account();
        self.limits = narrowed(self.listener.limits(&self.broker), &account.limits());
        self.broker.system.count(&account.name);
        Membership {
            broker: self.broker.clone(),
            place: Some(place),
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
