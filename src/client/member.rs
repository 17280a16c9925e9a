//! A client becomes a member of an account: from then on it publishes and
//! subscribes there, within the account's limits.

use std::sync::Arc;

use super::{end::End, session::Session};
use crate::{account::Account, connection::CloseReason, protocol::error::ClientError};

impl Session {
    /// Makes the client a member of `account` and of no other. Its
    /// subscriptions in the one before must have ended.
    pub(super) fn enter(&mut self, account: Arc<Account>) -> Result<(), End> {
        self.membership = None;
        let Some(membership) = account.enter() else {
            return Err(End {
                reason: CloseReason::MaxAccountConnections,
                error: Some(ClientError::MaxAccountConnections),
                detail: format!(
                    "account {:?} has max_connections {}",
                    account.name,
                    account.limits.max_connections.unwrap_or_default()
                ),
            });
        };
        let server = &self.context.limits;
        let limits = &account.limits;
        self.max_payload = limits
            .max_payload
            .unwrap_or(usize::MAX)
            .min(server.max_payload);
        self.max_subscriptions = match server.max_subscriptions {
            0 => limits.max_subscriptions,
            max => Some(limits.max_subscriptions.unwrap_or(max).min(max)),
        };
        self.membership = Some(membership);
        self.cache.clear();
        self.account = account;
        Ok(())
    }
}
