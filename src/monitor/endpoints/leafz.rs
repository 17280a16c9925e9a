//! `/leafz`: the leafnode connections.

use monitor_client::{LeafInfo, LeafRemote, Leafz};

use super::{
    super::Monitor,
    query::Query,
    refusal::Refusal,
    time_text::{rfc3339, round_trip, uptime},
    varz::signed,
};
use crate::{
    leafnode::{Leafnode, remote::RemoteView},
    server::Server,
    telemetry::{MonotonicMillis, WallClock},
};

/// Subjects listed in one answer; a leafnode's count shows when its list is cut short.
const LISTED_MAX: usize = 64 * 1024;

/// The answer. The parameters select among leafnodes, and whether their interest is listed.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Leafz, Refusal> {
    let account = query.text("acc");
    Ok(list(monitor, query.boolean("subs")?, &account))
}

/// The present values, without the interest of leafnodes.
pub(in crate::monitor) fn build(monitor: &Monitor) -> Leafz {
    list(monitor, false, "")
}

fn list(monitor: &Monitor, lists_subjects: bool, account: &str) -> Leafz {
    let server = &monitor.server;
    let all = server.leafnodes.all();
    let mut left = LISTED_MAX;
    let leafs: Vec<LeafInfo> = all
        .iter()
        .filter(|leaf| account.is_empty() || leaf.account.name == account)
        .map(|leaf| {
            let mut info = entry(leaf);
            if lists_subjects {
                info.subscriptions_list = leaf.interest.subjects(left);
                left -= info.subscriptions_list.len();
            }
            info
        })
        .collect();
    Leafz {
        server_id: server.id.clone(),
        now: monitor.now_text(),
        leafnodes: leafs.len(),
        leafs,
        remotes: remotes(server, account),
    }
}

fn entry(leaf: &Leafnode) -> LeafInfo {
    let view = leaf.connection.view();
    LeafInfo {
        id: view.cid,
        name: leaf.name.clone(),
        // What this broker is on the connection.
        is_spoke: leaf.side.is_hub,
        is_isolated: leaf.side.is_isolated,
        account: leaf.account.name.clone(),
        ip: view.peer.ip().to_canonical().to_string(),
        port: view.peer.port(),
        rtt: view.rtt.map(round_trip).unwrap_or_default(),
        in_msgs: signed(view.traffic.in_msgs),
        out_msgs: signed(view.traffic.out_msgs),
        in_bytes: signed(view.traffic.in_bytes),
        out_bytes: signed(view.traffic.out_bytes),
        subscriptions: u32::try_from(leaf.interest.count()).unwrap_or(u32::MAX),
        compression: "off".into(),
        remote_account: leaf.remote_account.clone(),
        remote_version: view.identity.version.clone(),
        user: view.identity.user.clone(),
        certname: view.identity.certname.clone(),
        start: rfc3339(view.start.time_of_day()),
        last_activity: rfc3339(view.last_active(WallClock::read())),
        uptime: uptime(view.start.millis().age()),
        idle: uptime(view.last_activity.until(MonotonicMillis::now())),
        pending_size: signed(view.pending),
        ..LeafInfo::default()
    }
}

/// The hubs of an account; an empty name selects all.
fn remotes(server: &Server, account: &str) -> Vec<LeafRemote> {
    let views = server.leafnodes.remotes.views().into_iter();
    let views = views.filter(|view| account.is_empty() || view.account == account);
    views.map(hub).collect()
}

fn hub(view: RemoteView) -> LeafRemote {
    LeafRemote {
        connected: view.cid.is_some(),
        since: rfc3339(view.since.time_of_day()),
        age: view.since.age().as_secs_f64(),
        rtt: view.rtt.map(|rtt| rtt.as_secs_f64()),
        cid: view.cid.unwrap_or(0),
        account: view.account,
        urls: view.urls,
        url: view.url,
        name: view.name,
        disabled: view.disabled,
        attempts: view.attempts,
        connects: view.connects,
        last_error: view.last_error,
    }
}
