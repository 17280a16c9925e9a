//! Routes come and go: a broker has at most one route to another, whoever dialled.
//! What goes with a route is noted in an order that keeps a route that ends apart
//! from the next one to the same broker.

use std::sync::Arc;

use tracing::info;

use super::{
    cluster::{Cluster, Origin, Route},
    reconfigure::ends_by,
};
use crate::{
    config::options::cluster::ClusterOptions, connection::CloseReason, peer::End,
    telemetry::event::EventKind,
};

/// Why a route cannot be registered.
pub(super) enum Conflict {
    /// There is this route to that broker.
    Duplicate(Arc<Route>),
    /// The broker stops, the names of the clusters do not go together, or a reload has
    /// put other settings in force, by which there would be no such route.
    Refused(End),
}

impl Cluster {
    /// Returns once this route is taken out.
    pub(super) async fn until_ended(&self, route: &Arc<Route>) {
        let mut changes = self.changes.subscribe();
        let stands = || {
            let known = self.route(&route.remote_id);
            known.is_some_and(|known| Arc::ptr_eq(&known, route))
        };
        while stands() && changes.changed().await.is_ok() {}
    }

    /// Registers a route whose sides know each other. Only now the name of the
    /// cluster may change: what is not let in changes nothing.
    /// `let_in_by` are the settings by which the other side was let in.
    pub(super) fn register(
        &self,
        route: &Arc<Route>,
        let_in_by: &ClusterOptions,
    ) -> Result<(), Conflict> {
        let old = {
            let mut routes = self.routes.lock();
            if self.is_stopping() {
                let stop = End::silent(CloseReason::ServerShutdown, "the broker stops");
                return Err(Conflict::Refused(stop));
            }
            // A reload that comes later finds the route among the others.
            let switched = self.tls().is_some() != route.connection.tls().is_some();
            if let Some((reason, why)) = ends_by(route, let_in_by, &self.options(), switched) {
                return Err(Conflict::Refused(End::silent(reason, why)));
            }
            if let Some(known) = routes.get(&route.remote_id) {
                return Err(Conflict::Duplicate(known.clone()));
            }
            let is_renamed = self.take_over_name(route).map_err(Conflict::Refused)?;
            let old = is_renamed.then(|| routes.values().cloned().collect::<Vec<_>>());
            routes.insert(route.remote_id.clone(), route.clone());
            old
        };
        // They know us by the old name.
        for route in old.into_iter().flatten() {
            route.connection.close(CloseReason::ClusterNameConflict);
        }
        // There is one to each broker at most: no other limit is needed.
        let registry = &self.broker.registry;
        registry.insert(&route.connection, usize::MAX);
        self.membership.entered(route);
        self.member_addresses.add(route.connection.peer.ip());
        self.note(route, &format!("Route to {} opened", route.remote_name));
        Ok(())
    }

    /// Takes over the name that the cluster is to have with this route; whether
    /// it is another one.
    fn take_over_name(&self, route: &Route) -> Result<bool, End> {
        let agreed = {
            let info = route.info.lock();
            if info.cluster.is_empty() {
                return Ok(false);
            }
            self.agree(&info.cluster, info.cluster_dynamic)?
        };
        if agreed.text == self.name().text {
            return Ok(false);
        }
        // It was dialled because somebody told of it, and has proved nothing.
        if route.origin == Origin::HeardOf && route.connection.tls().is_none() {
            let text = format!("its cluster has a different name: {:?}", agreed.text);
            return Err(End::silent(CloseReason::ClusterNameConflict, text));
        }
        info!("Cluster name updated to {:?}", agreed.text);
        self.broker.info.write().cluster.clone_from(&agreed.text);
        *self.name.write() = agreed;
        Ok(true)
    }

    /// Takes out a route that has ended.
    pub(super) fn deregister(&self, route: &Arc<Route>, reason: CloseReason, why: &str) {
        self.broker.registry.remove(&route.connection, reason);
        // While it is still there nobody takes its place, whom this would be noted of.
        self.lose_counts(route);
        self.membership.left(route, reason);
        {
            let mut routes = self.routes.lock();
            routes.remove(&route.remote_id);
            // A name that was taken over holds nobody who goes on alone: the next
            // one may come with another.
            if routes.is_empty() && self.options().name.is_none() {
                self.name.write().dynamic = true;
            }
        }
        self.changes.send_replace(());
        let text = format!("Route to {} ended: {why}", route.remote_name);
        self.note(route, &text);
    }

    fn note(&self, route: &Route, text: &str) {
        let (cid, subject) = (route.connection.cid, &route.remote_name);
        let events = &self.broker.telemetry.events;
        events.record(EventKind::Route, cid, subject, text);
    }
}
