//! `connect_urls`: the addresses that clients may fall back to, ours and those
//! that the other brokers told us of.
//!
//! What clients are told must never take from them a member that lives: they
//! forget whoever is not in the list. So a broker that stops leaves the list as
//! it was, and the addresses behind a route that was lost stay in it for a
//! moment: most such routes come back at once. They are removed without delay if
//! the member said that it leaves or stops, or if its route port refuses a connection.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::sleep;

use super::cluster::{Cluster, Route};
use crate::{
    broker::info,
    config::options::cluster::RouteUrl,
    connection::{Kind, buffers::give_way},
};

/// How long the addresses of a member stay in the list after its route was lost: a
/// second try to dial it fits in.
const LOSS_GRACE: Duration = Duration::from_millis(1500);

/// Bytes of the longest address that clients are told.
const URL_LEN_MAX: usize = 300;

/// Bytes of all addresses that clients are told, each of them and whoever comes: more
/// than a thousand members have. This broker's own come first.
const URLS_LEN_MAX: usize = 32 * 1024;

/// Members of which that is remembered at once.
const LOST_MAX: usize = 512;

/// Members whose routes were lost a moment ago, by their ids.
#[derive(Default)]
pub(super) struct Lost(Mutex<BTreeMap<String, LostMember>>);

#[derive(Clone)]
struct LostMember {
    /// The connection id of its last route.
    cid: u64,
    /// Where it accepts routes.
    address: String,
    /// Where it accepts clients.
    urls: Vec<String>,
}

/// Puts the list into INFO as it is now and lets the clients know if it changed.
pub(super) fn refresh(cluster: &Cluster) {
    // Of two at once the one that gathers later writes later. Not the lock of INFO,
    // which is taken while the routes are locked.
    let _gathering = cluster.gathering_urls.lock();
    let options = cluster.options();
    let mut others = Vec::new();
    if !options.no_advertise {
        // By their ids, whether lost or not, so that the order stays.
        let lost = cluster.lost_urls.0.lock().clone();
        let lost = lost.into_iter().map(|(id, member)| (id, member.urls));
        let mut members: BTreeMap<String, Vec<String>> = lost.collect();
        for route in cluster.routes() {
            let told = route.told_urls();
            members.insert(route.remote_id.clone(), told);
        }
        others.extend(members.into_values().flatten());
    }
    let mut info = cluster.broker.info.write();
    // Alone a broker names no address: clients know the one that they came by. Once
    // there were others, its own stays.
    let is_named = !others.is_empty() || !info.connect_urls.is_empty();
    let mut urls = match is_named && !options.no_advertise && !cluster.is_leaving() {
        true => cluster.client_urls(),
        false => Vec::new(),
    };
    urls.append(&mut others);
    let mut seen = HashSet::new();
    let mut len = 0;
    urls.retain(|url| {
        let fits = url.len() <= URL_LEN_MAX && len + url.len() <= URLS_LEN_MAX;
        let is_taken = fits && seen.insert(url.clone());
        len += if is_taken { url.len() } else { 0 };
        is_taken
    });
    // Looked at behind the routes: those that end because of it are missing in
    // what was gathered.
    if !cluster.is_stopping() && info.connect_urls != urls {
        info.connect_urls = urls;
        cluster.clients_to_be_told.notify_one();
    }
}

/// A route is about to be taken out: its member's addresses stay in the list for a
/// moment, unless the member leaves or has stopped.
pub(super) fn keep_for_a_moment(cluster: &Arc<Cluster>, route: &Route) {
    let urls = route.told_urls();
    let (cid, id) = (route.connection.cid, route.remote_id.clone());
    {
        let mut lost = cluster.lost_urls.0.lock();
        if urls.is_empty() || (lost.len() >= LOST_MAX && !lost.contains_key(&id)) {
            return;
        }
        let address = route.address.clone();
        lost.insert(id.clone(), LostMember { cid, address, urls });
    }
    let cluster = cluster.clone();
    tokio::spawn(async move {
        sleep(LOSS_GRACE).await;
        {
            let mut lost = cluster.lost_urls.0.lock();
            if lost.get(&id).is_some_and(|member| member.cid == cid) {
                lost.remove(&id);
            }
        }
        refresh(&cluster);
    });
}

/// The route port at `url` refuses connections: the broker there does not run, so
/// clients cannot fall back to it.
pub(super) fn forget_refusing(cluster: &Cluster, url: &RouteUrl) {
    let address = url.to_string();
    let id = cluster.membership.leads_to(&address);
    let has_changed = {
        let mut lost = cluster.lost_urls.0.lock();
        let before = lost.len();
        lost.retain(|of, member| Some(of) != id.as_ref() && member.address != address);
        lost.len() < before
    };
    if has_changed {
        refresh(cluster);
    }
}

/// Sends INFO to all clients whenever the list has changed; several changes
/// while it is at it make one more round.
pub async fn tell_clients(cluster: Arc<Cluster>) {
    loop {
        cluster.clients_to_be_told.notified().await;
        for (sent, connection) in cluster
            .broker
            .registry
            .open(Kind::Client)
            .iter()
            .enumerate()
        {
            info::notify_info(&cluster.broker, connection);
            // A crowd is told in turn with everything else.
            if sent % 64 == 63 {
                give_way().await;
            }
        }
    }
}

impl Route {
    /// Where clients may connect to the other broker, as it said; nowhere when it
    /// leaves or has stopped.
    fn told_urls(&self) -> Vec<String> {
        let info = self.info.lock();
        match info.ldm || self.has_stopped() {
            true => Vec::new(),
            false => info.connect_urls.clone(),
        }
    }
}
