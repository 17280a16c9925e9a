//! Checks deliveries to a connection whose user may not receive everything, or who may publish to
//! the reply subject of each request it receives.

use std::sync::Arc;

use super::{permissions::Permissions, responses::Grants};
use crate::telemetry::MonotonicMillis;

/// Called for each delivery to subscriptions that [`Permissions`] allows in part only.
pub struct DeliveryFilter {
    /// What the user may do.
    pub permissions: Arc<Permissions>,
    /// Records requests if the user may respond to them.
    pub grants: Option<Arc<Grants>>,
}

impl DeliveryFilter {
    /// Whether messages to `subject` may be delivered.
    pub fn allows(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.permissions.may_receive(subject, queue)
    }

    /// Records that a message with this reply subject was delivered.
    pub fn record_request(&self, reply: &[u8]) {
        if let Some(grants) = &self.grants
            && !self.permissions.may_publish(reply)
        {
            grants.grant(reply, MonotonicMillis::now());
        }
    }
}
