//! Two connections to the same broker: which one becomes the route.
//!
//! Brokers that are started together dial each other at the same moment, and each
//! may let in the connection that the other is about to refuse. So both choose by
//! the same rule: it is the one that the broker with the smaller id has dialled.
//! Of two that the same broker has dialled, that broker keeps the first. What it
//! does not choose a broker ends itself, and keeps the other waiting for a moment:
//! a nats-server has no rule, and a broker may be behind with its news.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    cluster::{Cluster, Origin, Route},
    register::Conflict,
};
use crate::{config::options::cluster::ClusterOptions, connection::CloseReason};

/// How long the route that stands may take to end, before the second is refused.
const DUEL_TIMEOUT: Duration = Duration::from_secs(1);

/// Registers a route, in the place of one that has to go, if there is one.
/// `let_in_by` are the settings by which the other side was let in.
pub(super) async fn enter(
    cluster: &Arc<Cluster>,
    route: &Arc<Route>,
    let_in_by: &ClusterOptions,
) -> Result<(), Conflict> {
    let known = match cluster.register(route, let_in_by) {
        Err(Conflict::Duplicate(known)) => known,
        result => return result,
    };
    if known.is_ours() && route.is_ours() {
        return Err(Conflict::Duplicate(known));
    }
    if route.goes_before(&known, &cluster.node.server_id) {
        known.connection.close(CloseReason::DuplicateRoute);
    }
    // It is no fault if it does not end: the second is refused then.
    let _ = timeout(DUEL_TIMEOUT, cluster.until_ended(&known)).await;
    cluster.register(route, let_in_by)
}

impl Route {
    /// Whether this broker has dialled.
    fn is_ours(&self) -> bool {
        self.origin != Origin::Accepted
    }

    /// Whether this one is to stand instead of the other, as the broker behind both
    /// knows, too.
    fn goes_before(&self, known: &Self, own_id: &str) -> bool {
        let knows_rule = !self.info.lock().midge.is_empty();
        let smaller_is_ours = *own_id < *self.remote_id;
        knows_rule && self.is_ours() != known.is_ours() && self.is_ours() == smaller_is_ours
    }
}
