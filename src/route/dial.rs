//! Dials configured brokers and those that SRV records list, repeatedly and without end. Those
//! announced by peers are dialled by [`super::discovered`].

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::sleep};
use tracing::{debug, error, info};

use super::{
    Ended, client_urls,
    cluster::{Cluster, Origin},
    failing::is_fault,
    handshake::{Handshake, NotDialled},
    records, refuse, serve,
};
use crate::{
    broker::{
        dialling::{self, Failures, growing_pause},
        resolve::resolve,
    },
    config::options::cluster::RouteUrl,
    connection::{CloseReason, accepting::OpenSocket},
    telemetry::{MonotonicMillis, event::EventKind, log_throttle::LogThrottle},
};

/// Time limit of connecting.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Pause between two attempts; with `connect_backoff` the first one.
const RETRY: Duration = Duration::from_secs(1);

/// Pause before an address is dialled again that led to this broker itself.
const OURSELVES_RETRY: Duration = Duration::from_secs(60);

/// The random part of every pause, so that two brokers that dial each other at the same moment do
/// not repeat that.
const JITTER: Duration = Duration::from_millis(100);

/// Dials every configured or listed broker in a task of its own, including later ones.
pub async fn dial_configured(cluster: Arc<Cluster>) {
    while !cluster.is_stopping() {
        records::ask_for_all(&cluster);
        for url in cluster.wanted_routes() {
            let address = url.to_string();
            if cluster.dialled.lock().insert(address.clone()) {
                tokio::spawn(keep_route(cluster.clone(), address));
            }
        }
        cluster.reconfigured.notified().await;
    }
}

/// Keeps a route to a broker as long as it is configured.
async fn keep_route(cluster: Arc<Cluster>, address: String) {
    let mut failures = Failures::default();
    let mut leads_here = false;
    while let Some(url) = cluster.next_to_dial(&address) {
        match dial(&cluster, &url, Origin::Configured, 0).await {
            Ended::Lost { pause, reason } => {
                failures = Failures::default();
                cluster.ask_again_for(&url);
                sleep(pause + jitter()).await;
                // A short interruption is repaired before a failure is reported.
                if !is_fault(reason) {
                    continue;
                }
            }
            Ended::Duplicate(remote_id) => {
                failures = Failures::default();
                cluster.membership.record_found(&url, &remote_id, false);
                if cluster.keep_configured(&remote_id, &address).await {
                    sleep(cluster.failing.pause_left(&remote_id) + jitter()).await;
                    continue;
                }
            }
            Ended::Ourselves => {
                cluster
                    .membership
                    .record_found(&url, &cluster.node.server_id, true);
                if !std::mem::replace(&mut leads_here, true) {
                    info!("Route {url} leads to this broker itself");
                }
                // The id proves nothing, so the address is tried again later.
                sleep(OURSELVES_RETRY).await;
            }
            Ended::Failed(_, why) => {
                cluster.membership.record_failure(&url, &why);
                note_failure(&mut failures, &cluster, &url, &why, None);
                cluster.ask_again_for(&url);
            }
        }
        sleep(pause(cluster.options().connect_backoff, failures.count)).await;
    }
}

impl Cluster {
    /// Waits until there is no route to the broker with this id, which a configured address leads
    /// to, or until that address is removed from the configuration. Meanwhile every route to the
    /// broker counts as configured, whichever side dialled.
    async fn keep_configured(&self, remote_id: &str, address: &String) -> bool {
        let mut had_route = false;
        while let Some(route) = self.route(remote_id) {
            let wanted = self.wanted_routes();
            if !wanted.iter().any(|url| url.to_string() == *address) {
                return had_route;
            }
            had_route = true;
            route
                .configured_as
                .lock()
                .get_or_insert_with(|| address.clone());
            self.wait_until_ended(&route).await;
        }
        had_route
    }

    /// The present settings for dialling `address`; `None` if it is not configured any more.
    fn next_to_dial(&self, address: &str) -> Option<RouteUrl> {
        let mut dialled = self.dialled.lock();
        let mut urls = self.wanted_routes().into_iter();
        let url = urls.find(|url| !self.is_stopping() && url.to_string() == address);
        if url.is_none() {
            dialled.remove(address);
        }
        url
    }
}

/// The pause after this many consecutive failures; with `backoff` it grows.
pub(super) fn pause(backoff: bool, failures: u32) -> Duration {
    let base = match backoff {
        true => growing_pause(RETRY, failures),
        false => RETRY,
    };
    base + jitter()
}

/// The random part of a pause.
pub(super) fn jitter() -> Duration {
    JITTER.mul_f64(fastrand::f64())
}

/// Counts a failure, and logs it if it is due; `throttle` limits the lines about addresses that peers
/// announced.
pub(super) fn note_failure(
    failures: &mut Failures,
    cluster: &Cluster,
    url: &RouteUrl,
    why: &str,
    throttle: Option<&LogThrottle>,
) {
    let is_due = failures.add(why);
    let count = failures.count;
    let text = format!("Error trying to connect to route (attempt {count}): {url}: {why}");
    let reported = match throttle {
        _ if !is_due => None,
        None => Some(text.clone()),
        Some(throttle) => throttle.throttle(MonotonicMillis::now(), text.clone(), "that failed"),
    };
    if let Some(text) = reported {
        error!("{text}");
        let events = &cluster.broker.telemetry.events;
        events.record(EventKind::Route, 0, &url.to_string(), &text);
    } else {
        debug!("{text}");
    }
}

/// Dials once, and serves the route until it ends.
pub(super) async fn dial(
    cluster: &Arc<Cluster>,
    url: &RouteUrl,
    origin: Origin,
    gossip_mode: u8,
) -> Ended {
    let (stream, peer) = match connect(cluster, url, origin).await {
        Ok(connected) => connected,
        Err(error) => {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                client_urls::forget_refusing(cluster, url);
            }
            return Ended::Failed(None, error.to_string());
        }
    };
    if cluster.is_stopping() {
        return Ended::Failed(None, "the broker stops".into());
    }
    let _open = OpenSocket::new();
    let stream = Arc::new(stream);
    let connection = cluster.connection(&stream, peer);
    let secured = cluster.secure_dialled(&connection, &stream, &url.host);
    if let Err(failure) = secured.await {
        connection.close(CloseReason::TlsHandshakeFailure);
        connection.outbound().release();
        return Ended::Failed(None, format!("TLS handshake error: {failure}"));
    }
    let handshake = Handshake::new(cluster, &connection, &stream);
    let ended = match handshake.dial(url, gossip_mode).await {
        Ok(introduced) => {
            debug!("Route {url} leads to {}", introduced.info.server_id);
            if origin == Origin::Configured {
                let id = &introduced.info.server_id;
                cluster.membership.record_found(url, id, false);
            }
            let configured = (origin == Origin::Configured).then(|| url.to_string());
            serve(
                cluster,
                &connection,
                &stream,
                introduced,
                origin,
                configured,
            )
            .await
        }
        Err(NotDialled { end, remote_id }) => {
            let ended = refuse(&connection, &stream, &end).await;
            match (end.reason, remote_id) {
                (CloseReason::DuplicateRoute, Some(id)) if id == cluster.node.server_id => {
                    Ended::Ourselves
                }
                (CloseReason::DuplicateRoute, Some(id)) => Ended::Duplicate(id),
                _ => ended,
            }
        }
    };
    connection.outbound().release();
    ended
}

/// Connects to one of the addresses of a host.
async fn connect(
    cluster: &Cluster,
    url: &RouteUrl,
    origin: Origin,
) -> io::Result<(TcpStream, SocketAddr)> {
    let calls = &cluster.broker.telemetry.calls;
    let addresses = resolve(calls, &url.host, url.port).await?;
    if origin == Origin::Configured {
        for address in &addresses {
            cluster.member_addresses.add(address.ip());
        }
    }
    dialling::connect(addresses, DIAL_TIMEOUT).await
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pauses_grow_only_with_backoff_and_have_a_random_part() {
        for (backoff, seconds) in [
            (false, [1, 1, 1, 1, 1, 1, 1, 1]),
            (true, [1, 1, 2, 4, 8, 16, 30, 30]),
        ] {
            for (failures, seconds) in (0..).zip(seconds) {
                let least = Duration::from_secs(seconds);
                let pauses: BTreeSet<_> = (0..100).map(|_| pause(backoff, failures)).collect();
                assert!(
                    pauses
                        .iter()
                        .all(|it| (least..=least + JITTER).contains(it))
                );
                assert!(pauses.len() > 50, "hardly any jitter");
            }
        }
    }
}
