//! `/routez`: the routes to the other brokers of the cluster.

use std::sync::Arc;

use monitor_client::{RouteInfo, Routez, SubDetail};

use super::{
    super::Monitor,
    clusterz::srv_records,
    query::{Listing, Query},
    refusal::Refusal,
    time_text::{rfc3339, round_trip, uptime},
    varz::signed,
};
use crate::{
    delivery::remote::RemoteInterest,
    route::{Origin, Route},
    sublist::Entry,
    telemetry::{MonotonicMillis, WallClock},
};

/// Subjects listed in one answer; a route's count shows when its list is cut
/// short.
const LISTED_MAX: usize = 64 * 1024;

/// The answer. The parameter selects what is shown of a route's interest.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Routez, Refusal> {
    Ok(list(monitor, query.listing("subs")?))
}

/// The routes at this moment, without the interest of their peers.
pub(in crate::monitor) fn build(monitor: &Monitor) -> Routez {
    list(monitor, Listing::Count)
}

fn list(monitor: &Monitor, subscriptions: Listing) -> Routez {
    let server = &monitor.server;
    let cluster = server.cluster.as_ref();
    let routes = cluster.map(|cluster| cluster.routes());
    let limits = cluster.map(|cluster| cluster.options().permissions.clone());
    let limits = limits.unwrap_or_default();
    let mut left = LISTED_MAX;
    let mut routes: Vec<_> = routes
        .unwrap_or_default()
        .iter()
        .map(|route| entry(route, subscriptions, &mut left))
        .collect();
    routes.sort_by_key(|route| route.rid);
    Routez {
        server_id: server.id.clone(),
        server_name: server.name.clone(),
        now: monitor.now_text(),
        import: limits.publish.json(),
        export: limits.subscribe.json(),
        srv: cluster
            .map(|cluster| srv_records(cluster))
            .unwrap_or_default(),
        num_routes: routes.len(),
        routes,
    }
}

fn entry(route: &Route, subscriptions: Listing, left: &mut usize) -> RouteInfo {
    let connection = &route.connection;
    let view = connection.view();
    let mut info = RouteInfo {
        rid: view.cid,
        remote_id: route.remote_id.clone(),
        remote_name: route.announced_name(),
        remote_version: view.identity.version.clone(),
        did_solicit: !matches!(route.origin, Origin::Accepted | Origin::Sibling),
        is_configured: route.is_configured(),
        ip: view.peer.ip().to_canonical().to_string(),
        port: view.peer.port(),
        start: rfc3339(view.start.time_of_day()),
        last_activity: rfc3339(view.last_active(WallClock::read())),
        rtt: view.rtt.map(round_trip).unwrap_or_default(),
        uptime: uptime(view.start.millis().age()),
        idle: uptime(view.last_activity.until(MonotonicMillis::now())),
        pending_size: signed(view.pending),
        in_msgs: signed(view.traffic.in_msgs),
        out_msgs: signed(view.traffic.out_msgs),
        in_bytes: signed(view.traffic.in_bytes),
        out_bytes: signed(view.traffic.out_bytes),
        subscriptions: u32::try_from(route.interest.count()).unwrap_or(u32::MAX),
        compression: "off".into(),
        ..RouteInfo::default()
    };
    {
        let announced = route.info.lock();
        info.import = announced.import.clone();
        info.export = announced.export.clone();
    }
    if subscriptions != Listing::Count {
        let listed = route.interest.list(*left);
        *left -= listed.len();
        for (account, interest) in &listed {
            match subscriptions {
                Listing::Detail => {
                    let detail = detail(account, interest, view.cid);
                    info.subscriptions_list_detail.push(detail);
                }
                _ => info.subscriptions_list.push(text(interest.subject())),
            }
        }
    }
    info
}

fn detail(account: &str, interest: &Arc<RemoteInterest>, cid: u64) -> SubDetail {
    let (subject, queue) = (text(interest.subject()), interest.queue().map(text));
    SubDetail {
        account: account.to_owned(),
        sid: match &queue {
            Some(queue) => format!("R {account} {subject} {queue}"),
            None => format!("R {account} {subject}"),
        },
        subject,
        qgroup: queue.unwrap_or_default(),
        cid,
        ..SubDetail::default()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
