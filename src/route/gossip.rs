//! Gossip: who has a new route tells the others of the broker behind it, and
//! they dial it. So a broker that knows one of the cluster gets to know all.

use std::sync::{Arc, atomic::Ordering};

use tracing::debug;

use super::{
    cluster::{Cluster, Origin, Route},
    heard_of::{News, dial_heard_of},
    introduction::with_port,
};
use crate::{config::options::cluster::RouteUrl, protocol::route::RouteInfo};

/// News go by the common rule: a route that came from news makes none.
const BY_RULE: u8 = 0;
/// Who dials because of the news makes no further news.
const NO_FURTHER: u8 = 1;
/// Who dials because of the news spreads them in any case.
const FURTHER: u8 = 2;

/// Tells the other brokers of the one behind a new route, if that is news.
pub(super) fn fan_out(cluster: &Cluster, route: &Arc<Route>) {
    let mut info = route.info.lock().clone();
    let from_gossip = route.origin == Origin::HeardOf && info.gossip_mode != FURTHER;
    if from_gossip || info.gossip_mode == NO_FURTHER {
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
            FURTHER
        } else if route.origin == Origin::Accepted {
            NO_FURTHER
        } else {
            BY_RULE
        };
        other.connection.send_now(&info.line());
    }
}

/// Somebody told of a broker: dials it unless it is known.
pub(super) fn hear(cluster: &Arc<Cluster>, info: &RouteInfo) {
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
            let news = News {
                url,
                asks_for_login: info.auth_required,
                gossip_mode: info.gossip_mode,
            };
            dial_heard_of(cluster, news);
        }
        Err(error) => debug!("A peer named a broker that cannot be dialled: {error}"),
    }
}

/// The address by which the configuration names the broker, if it does, so that
/// it is dialled anyway.
pub(super) fn configured_as(cluster: &Cluster, info: &RouteInfo) -> Option<String> {
    let told = RouteUrl::parse(&info.ip).ok();
    let options = cluster.options();
    let found = options.routes.iter().find(|url| {
        let is = |host: &str, port: u16| url.host.eq_ignore_ascii_case(host) && url.port == port;
        is(&info.host, info.port) || told.as_ref().is_some_and(|told| is(&told.host, told.port))
    });
    found.map(ToString::to_string)
}

/// Takes what the broker behind a standing route says of itself. Returns whether it
/// exports other subjects than before.
pub(super) fn receive(cluster: &Cluster, route: &Route, info: RouteInfo) -> bool {
    route
        .connection
        .headers
        .store(info.headers, Ordering::Relaxed);
    cluster.membership.informed(&route.remote_id, &info);
    let exports = |info: &RouteInfo| info.export.as_ref().map(|it| it.get().to_owned());
    let now = exports(&info);
    let before = std::mem::replace(&mut *route.info.lock(), info);
    super::client_urls::refresh(cluster);
    exports(&before) != now
}
