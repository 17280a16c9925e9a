//! `connect_urls`: the addresses for clients that INFO lists, of this broker and of the others; those
//! that connect by WebSocket have a list of their own. So do leafnodes (`leafnode_urls`), which go to
//! another member when theirs is lost.
//!
//! Clients forget brokers that the list does not contain, so it must never omit one that is
//! available. Therefore a broker that stops leaves the list unchanged, and the addresses of a
//! member stay in it for a moment after its route was lost: most lost routes come back immediately.

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

/// How long the addresses of a member stay in the list after its route was lost: time for a second
/// attempt to dial it.
const LOSS_GRACE: Duration = Duration::from_millis(1500);

/// Limit of an address in the list, in bytes.
const URL_LEN_MAX: usize = 300;

/// Limit of the whole list in bytes, since every client gets it: enough for more than a thousand
/// members. This broker's own addresses come first.
const URLS_LEN_MAX: usize = 32 * 1024;

/// Limit of members whose addresses are kept after a loss.
const LOST_MAX: usize = 512;

/// Client addresses of members whose routes were lost a moment ago, by member id, with the id of
/// the route's connection.
#[derive(Default)]
pub(super) struct LostUrls(Mutex<BTreeMap<String, LostMember>>);

#[derive(Clone)]
struct LostMember {
    /// The connection id of its last route.
    cid: u64,
    /// Where it accepts routes.
    address: String,
    /// Where it accepts clients.
    urls: ClientUrls,
}

/// `host:port` where clients and leafnodes connect to a broker.
#[derive(Clone, Debug, Default)]
pub struct ClientUrls {
    /// At the client port.
    pub plain: Vec<String>,
    /// By WebSocket.
    pub websocket: Vec<String>,
    /// At the port for leafnodes.
    pub leafnodes: Vec<String>,
}

impl ClientUrls {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.websocket.is_empty() && self.leafnodes.is_empty()
    }
}

/// Updates the lists in INFO, and announces them to the clients if one has changed.
pub(super) fn refresh(cluster: &Cluster) {
    // Concurrent updates are serialised, so that the newer list is written last. The lock of INFO
    // cannot serve for this, because it is taken while the routes are locked.
    let _update = cluster.urls_update.lock();
    // Ordered by id, lost or not, so that the order is stable.
    let lost = cluster.lost_urls.0.lock().clone();
    let lost = lost.into_iter().map(|(id, member)| (id, member.urls));
    let mut members: BTreeMap<String, ClientUrls> = lost.collect();
    for route in cluster.routes() {
        let announced = route.announced_urls();
        members.insert(route.remote_id.clone(), announced);
    }
    let mut others: Vec<ClientUrls> = members.into_values().collect();
    let mut own = match cluster.is_leaving() {
        true => ClientUrls::default(),
        false => cluster.client_urls(),
    };
    let leafnodes = others.iter().flat_map(|urls| &urls.leafnodes);
    let known = &cluster.broker.leafnode_urls;
    if replace(cluster, &mut known.list.write(), own.leafnodes, leafnodes) {
        known.changed.notify_one();
    }
    // This setting is about clients alone.
    if cluster.options().no_advertise {
        others.clear();
        (own.plain, own.websocket) = Default::default();
    }
    let plain = others.iter().flat_map(|urls| &urls.plain);
    let mut has_changed = replace(
        cluster,
        &mut cluster.broker.info.write().connect_urls,
        own.plain,
        plain,
    );
    if let Some(info) = &mut *cluster.broker.websocket.write() {
        let websocket = others.iter().flat_map(|urls| &urls.websocket);
        has_changed |= replace(cluster, &mut info.connect_urls, own.websocket, websocket);
    }
    if has_changed {
        cluster.client_info_changed.notify_one();
    }
}

/// Replaces a list by those of this broker and of the others. Returns whether it has changed.
fn replace<'a>(
    cluster: &Cluster,
    list: &mut Vec<String>,
    own: Vec<String>,
    others: impl Iterator<Item = &'a String>,
) -> bool {
    let mut others = others.peekable();
    // A single broker lists no address for clients, who know the one they used. Once there were others,
    // its own address stays in the list. That for leafnodes is there from the beginning.
    let lists_own = others.peek().is_some() || !list.is_empty();
    let mut urls = if lists_own { own } else { Vec::new() };
    urls.extend(others.cloned());
    let mut seen = HashSet::new();
    let mut len = 0;
    urls.retain(|url| {
        let fits = url.len() <= URL_LEN_MAX && len + url.len() <= URLS_LEN_MAX;
        let is_accepted = fits && seen.insert(url.clone());
        len += if is_accepted { url.len() } else { 0 };
        is_accepted
    });
    // Checked after the routes: those that the stop has ended are missing in the list.
    let has_changed = !cluster.is_stopping() && *list != urls;
    if has_changed {
        *list = urls;
    }
    has_changed
}

/// Keeps a member's addresses for a moment when its route ends, unless the member is in lame duck
/// mode or has stopped.
pub(super) fn keep_lost_urls(cluster: &Arc<Cluster>, route: &Route) {
    let urls = route.announced_urls();
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
pub async fn send_info_to_clients(cluster: Arc<Cluster>) {
    loop {
        cluster.client_info_changed.notified().await;
        for (sent, connection) in cluster
            .broker
            .registry
            .open(Kind::Client)
            .iter()
            .enumerate()
        {
            info::notify_info(&cluster.broker, connection);
            // Yield, so that other tasks run as well.
            if sent % 64 == 63 {
                give_way().await;
            }
        }
    }
}

impl Route {
    /// The client addresses that the other broker announced; none if it is in lame duck mode or has
    /// stopped.
    pub(super) fn announced_urls(&self) -> ClientUrls {
        let info = self.info.lock();
        match info.ldm || self.has_stopped() {
            true => ClientUrls::default(),
            false => ClientUrls {
                plain: info.connect_urls.clone(),
                websocket: info.ws_connect_urls.clone(),
                leafnodes: info.leafnode_urls.iter().take(1).cloned().collect(),
            },
        }
    }
}
