//! `connect_urls`: the addresses that clients may fall back to, ours and those
//! that the other brokers told us of.

use std::sync::Arc;

use super::cluster::Cluster;
use crate::client;

/// Puts the list into INFO as it is now and lets the clients know if it changed.
pub(super) fn refresh(cluster: &Cluster) {
    let advertises = !cluster.options().no_advertise;
    let mut urls = Vec::new();
    if advertises && !cluster.is_leaving() {
        urls.extend(cluster.client_urls());
    }
    for route in cluster.routes() {
        let info = route.info.lock();
        if advertises && !info.ldm {
            urls.extend(info.connect_urls.iter().cloned());
        }
    }
    let mut seen = std::collections::HashSet::new();
    urls.retain(|url| seen.insert(url.clone()));
    let mut info = cluster.context.info.write();
    if info.connect_urls != urls {
        info.connect_urls = urls;
        cluster.clients_to_be_told.notify_one();
    }
}

/// Sends INFO to all clients whenever the list has changed; several changes
/// while it is at it make one more round.
pub async fn tell_clients(cluster: Arc<Cluster>) {
    loop {
        cluster.clients_to_be_told.notified().await;
        for (sent, connection) in cluster.context.registry.open().iter().enumerate() {
            client::notify_info(&cluster.context, connection);
            // A crowd is told in turn with everything else.
            if sent % 64 == 63 {
                tokio::task::yield_now().await;
            }
        }
    }
}
