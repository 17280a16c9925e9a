//! Gossip: a broker announces the peer of a new route to its other peers, and they dial it. So a
//! broker that knows one member of the cluster gets routes to all.

use std::sync::{Arc, atomic::Ordering};

use tracing::debug;

use super::{
    cluster::{Cluster, Origin, Route},
    discovered::{Announcement, dial_discovered},
    introduction::with_port,
};
use crate::{config::options::cluster::RouteUrl, protocol::route::RouteInfo};

/// The default rule: a route that was established because of gossip is not announced further.
const GOSSIP_DEFAULT: u8 = 0;
/// The receiver must not announce its new route further.
const GOSSIP_DISABLED: u8 = 1;
/// The receiver announces its new route in any case.
const GOSSIP_OVERRIDE: u8 = 2;

/// Announces the peer of a new route to the other peers, if the rules permit it.
pub(super) fn announce(cluster: &Cluster, route: &Arc<Route>) {
    // The others know its address already.
    if route.origin == Origin::Sibling {
        return;
    }
    let mut info = route.info.lock().clone();
    let from_gossip = route.origin == Origin::Discovered && info.gossip_mode != GOSSIP_OVERRIDE;
    if from_gossip || info.gossip_mode == GOSSIP_DISABLED {
        return;
    }
    if info.ip.is_empty() {
        let host = route.connection.peer.ip().to_canonical().to_string();
        info.ip = format!("nats-route://{}/", with_port(&host, info.port));
    }
    for other in cluster.routes() {
        if other.remote_id == route.remote_id {
            continue;
        }
        let is_explicit = |route: &Route| route.origin == Origin::Configured;
        info.gossip_mode = if is_explicit(route) || is_explicit(&other) {
            GOSSIP_OVERRIDE
        } else if route.origin == Origin::Accepted {
            GOSSIP_DISABLED
        } else {
            GOSSIP_DEFAULT
        };
        other.connection.send_now(&info.line());
    }
}

/// Handles the announcement of a broker: dials it unless it is known.
pub(super) fn handle(cluster: &Arc<Cluster>, info: &RouteInfo) {
    if info.server_id == cluster.node.server_id
        || cluster.route(&info.server_id).is_some()
        || configured_as(cluster, info).is_some()
    {
        return;
    }
    let address = match info.ip.is_empty() {
        true => with_port(&info.host, info.port),
        false => info.ip.clone(),
    };
    match RouteUrl::parse(&address) {
        Ok(url) => {
            let announcement = Announcement {
                url,
                asks_for_login: info.auth_required,
                gossip_mode: info.gossip_mode,
            };
            dial_discovered(cluster, announcement);
        }
        Err(error) => debug!("A peer named a broker that cannot be dialled: {error}"),
    }
}

/// The address under which the configuration names the broker, if it does; then it is dialled
/// anyway.
pub(super) fn configured_as(cluster: &Cluster, info: &RouteInfo) -> Option<String> {
    let announced = RouteUrl::parse(&info.ip).ok();
    let wanted = cluster.wanted_routes();
    let found = wanted.iter().find(|url| {
        let is = |host: &str, port: u16| url.host.eq_ignore_ascii_case(host) && url.port == port;
        is(&info.host, info.port)
            || announced
                .as_ref()
                .is_some_and(|announced| is(&announced.host, announced.port))
    });
    found.map(ToString::to_string)
}

/// Handles a new INFO of a peer. Returns whether its export permissions have changed.
pub(super) fn update_info(cluster: &Cluster, route: &Route, info: RouteInfo) -> bool {
    route
        .connection
        .headers
        .store(info.headers, Ordering::Relaxed);
    cluster.membership.record_info(&route.remote_id, &info);
    let exports = |info: &RouteInfo| info.export.as_ref().map(|it| it.get().to_owned());
    let now = exports(&info);
    let before = std::mem::replace(&mut *route.info.lock(), info);
    super::client_urls::refresh(cluster);
    exports(&before) != now
}
