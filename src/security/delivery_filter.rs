//! What stands between deliveries and a connection whose user may not receive
//! everything, or gets permission to respond with each request.

use std::sync::Arc;

use super::{permissions::Permissions, responses::Grants};
use crate::telemetry::MonotonicMillis;

/// Asked at each delivery to the subscriptions that are judged.
pub struct DeliveryFilter {
    /// What the user may do.
    pub permissions: Arc<Permissions>,
    /// Notes requests, where responses are permitted.
    pub grants: Option<Arc<Grants>>,
}

impl DeliveryFilter {
    /// Whether messages to `subject` may be delivered.
    pub fn lets_through(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.permissions.may_receive(subject, queue)
    }

    /// A message was delivered that asks for a response to `reply`.
    pub fn asked(&self, reply: &[u8]) {
        if let Some(grants) = &self.grants
            && !self.permissions.may_publish(reply)
        {
            grants.grant(reply, MonotonicMillis::now());
        }
    }
}
