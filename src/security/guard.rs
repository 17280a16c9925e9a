//! What stands between deliveries and a subscription whose user may not receive
//! everything, or gets permission to respond with each request.

use std::sync::Arc;

use super::{permissions::Permissions, responses::Grants};
use crate::telemetry::Clock;

/// Asked at each delivery to the subscriptions that have one.
pub struct Guard {
    /// Judges subjects, where the subscription takes some that are denied.
    pub denies: Option<Arc<Permissions>>,
    /// Notes requests, where responses are permitted.
    pub grants: Option<Arc<Responding>>,
}

/// Who may respond, and to what.
pub struct Responding {
    /// What is permitted anyway.
    pub permissions: Arc<Permissions>,
    /// What requests permit.
    pub grants: Grants,
}

impl Guard {
    /// Whether messages to `subject` may be delivered.
    pub fn lets_through(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        let denies = self.denies.as_ref();
        denies.is_none_or(|permissions| permissions.may_receive(subject, queue))
    }

    /// A message was delivered that asks for a response to `reply`.
    pub fn asked(&self, reply: &[u8]) {
        if let Some(responding) = &self.grants
            && !responding.permissions.may_publish(reply)
        {
            responding.grants.grant(reply, Clock::now());
        }
    }
}
