//! Decides which of two connections to the same broker becomes the route.
//!
//! Brokers that start together dial each other at the same moment, and each may accept the
//! connection that the other is about to refuse. So both use the same rule: the connection that the
//! broker with the smaller id has dialled is kept. Of two that the same broker has dialled, that
//! broker keeps the first. Each broker closes the connection that was not chosen, and lets a new
//! one wait for a moment: a nats-server has no such rule, and the other broker may not have noticed
//! the end yet.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    cluster::{Cluster, Origin, Route},
    register::Conflict,
};
use crate::{config::options::cluster::ClusterOptions, connection::CloseReason};

/// How long to wait for the end of the existing route before the second one is refused.
const REPLACE_TIMEOUT: Duration = Duration::from_secs(1);

/// Registers a route, and closes an existing one if the rule prefers the new one. `accepted_by` are
/// the settings by which the other side was accepted.
pub(super) async fn register_or_replace(
    cluster: &Arc<Cluster>,
    route: &Arc<Route>,
    accepted_by: &ClusterOptions,
) -> Result<(), Conflict> {
    let known = match cluster.register(route, accepted_by) {
        Err(Conflict::Duplicate(known)) => known,
        result => return result,
    };
    if known.is_dialled_here() && route.is_dialled_here() {
        return Err(Conflict::Duplicate(known));
    }
    if route.replaces(&known, &cluster.node.server_id) {
        known.connection.close(CloseReason::DuplicateRoute);
    }
    // If it does not end in time, the second one is refused.
    let _ = timeout(REPLACE_TIMEOUT, cluster.wait_until_ended(&known)).await;
    cluster.register(route, accepted_by)
}

impl Route {
    /// Whether this broker has dialled.
    fn is_dialled_here(&self) -> bool {
        self.origin != Origin::Accepted
    }

    /// Whether this route replaces the other one by the rule, which the other broker knows, too.
    fn replaces(&self, known: &Self, own_id: &str) -> bool {
        let knows_rule = !self.info.lock().midge.is_empty();
        let smaller_is_ours = *own_id < *self.remote_id;
        knows_rule
            && self.is_dialled_here() != known.is_dialled_here()
            && self.is_dialled_here() == smaller_is_ours
    }
}
