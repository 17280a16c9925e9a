//! Registers and removes routes: there is at most one route to each broker, whichever side dialled.
//! The order of the steps keeps a route that ends apart from the next one to the same broker.

use std::sync::Arc;

use tracing::info;

use super::{
    cluster::{Cluster, Origin, Route},
    reconfigure::{end_reason, is_named},
};
use crate::{
    config::options::cluster::ClusterOptions, connection::CloseReason, peer::End,
    telemetry::event::EventKind,
};

/// Why a route cannot be registered.
pub(super) enum Conflict {
    /// There is already a route to that broker.
    Duplicate(Arc<Route>),
    /// The broker stops, the names of the clusters do not go together, or a reload has
    /// put other settings in force, by which there would be no such route.
    Refused(End),
}

impl Cluster {
    /// Waits until this route has been removed.
    pub(super) async fn wait_until_ended(&self, route: &Arc<Route>) {
        let mut changes = self.changes.subscribe();
        let is_registered = || {
            let known = self.route(&route.remote_id);
            known.is_some_and(|known| Arc::ptr_eq(&known, route))
        };
        while is_registered() && changes.changed().await.is_ok() {}
    }

    /// Registers a route after its handshake. Only here the name of the cluster may change: a
    /// refused peer changes nothing. `accepted_by` are the settings by which the other side was
    /// accepted.
    pub(super) fn register(
        &self,
        route: &Arc<Route>,
        accepted_by: &ClusterOptions,
    ) -> Result<(), Conflict> {
        let old = {
            let mut routes = self.routes.lock();
            if self.is_stopping() {
                let stop = End::without_error(CloseReason::ServerShutdown, "the broker stops");
                return Err(Conflict::Refused(stop));
            }
            // A later reload finds the route among the others.
            let switched = self.tls().is_some() != route.connection.tls().is_some();
            let (now, wanted) = (self.options(), self.wanted_routes());
            let settings_before = (accepted_by, &*accepted_by.routes);
            let settings = (&*now, &*wanted);
            if let Some((reason, why)) = end_reason(route, settings_before, settings, switched) {
                return Err(Conflict::Refused(End::without_error(reason, why)));
            }
            if let Some(known) = routes.get(&route.remote_id) {
                return Err(Conflict::Duplicate(known.clone()));
            }
            let is_renamed = self.adopt_name(route).map_err(Conflict::Refused)?;
            let old = is_renamed.then(|| routes.values().cloned().collect::<Vec<_>>());
            routes.insert(route.remote_id.clone(), route.clone());
            old
        };
        // Their peers know us by the old name.
        for route in old.into_iter().flatten() {
            route.connection.close(CloseReason::ClusterNameConflict);
        }
        // There is one to each broker at most: no other limit is needed.
        let registry = &self.broker.registry;
        registry.insert(&route.connection, usize::MAX);
        self.membership.record_connected(route);
        self.member_addresses.add(route.connection.peer.ip());
        self.record_event(route, &format!("Route to {} opened", route.remote_name));
        Ok(())
    }

    /// Adopts the name that the cluster must have with this route. Returns whether it changed.
    fn adopt_name(&self, route: &Route) -> Result<bool, End> {
        let agreed = {
            let info = route.info.lock();
            // The other process may have been given another name; its peers know it by that.
            if info.cluster.is_empty() || route.origin == Origin::Sibling {
                return Ok(false);
            }
            self.agree_on_name(&info.cluster, info.cluster_dynamic)?
        };
        if agreed.text == self.name().text {
            return Ok(false);
        }
        // It was dialled because of gossip, and is not authenticated.
        if route.origin == Origin::Discovered && route.connection.tls().is_none() {
            let text = format!("its cluster has a different name: {:?}", agreed.text);
            return Err(End::without_error(CloseReason::ClusterNameConflict, text));
        }
        info!("Cluster name updated to {:?}", agreed.text);
        self.broker.info.write().cluster.clone_from(&agreed.text);
        *self.name.write() = agreed;
        Ok(true)
    }

    /// Removes a route that has ended.
    pub(super) fn deregister(&self, route: &Arc<Route>, reason: CloseReason, why: &str) {
        self.broker.registry.remove(&route.connection, reason);
        // Before it is removed: afterwards this could affect the next route to the same broker.
        self.keep_lost_counts(route);
        self.membership.record_lost(route, reason);
        // A record listed it and does so no longer.
        if route.is_configured() && !is_named(route, &self.wanted_routes()) {
            self.membership.no_longer_expect(&route.remote_id);
        }
        if route.origin == Origin::Sibling {
            self.membership.forget(&route.remote_id);
            self.forget_counts(&route.remote_id);
        }
        {
            let mut routes = self.routes.lock();
            routes.remove(&route.remote_id);
            // A single broker is not bound to an adopted name: the next peer may come with another
            // one.
            if routes.is_empty() && self.options().name.is_none() {
                self.name.write().dynamic = true;
            }
        }
        self.changes.send_replace(());
        let text = format!("Route to {} ended: {why}", route.remote_name);
        self.record_event(route, &text);
    }

    fn record_event(&self, route: &Route, text: &str) {
        let (cid, subject) = (route.connection.cid, &route.remote_name);
        let events = &self.broker.telemetry.events;
        events.record(EventKind::Route, cid, subject, text);
    }
}
