//! Dialling other brokers: the configured ones for ever. Those that were only heard
//! of are up to [`super::heard_of`].

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tracing::{debug, error, info};

use super::{
    Ended,
    cluster::{Cluster, Origin},
    failing::is_fault,
    handshake::Handshake,
    refuse,
    resolve::resolve,
    serve,
};
use crate::{
    config::options::cluster::RouteUrl,
    connection::{CloseReason, accepting::OpenSocket},
    telemetry::{MonotonicMillis, event::EventKind, log_throttle::LogThrottle},
};

/// How long the other side may take to accept.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two tries; with `connect_backoff` the first one.
const RETRY: Duration = Duration::from_secs(1);

/// The longest time between two tries with `connect_backoff`.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Time until a broker that says that it is this one is dialled again.
const OURSELVES_RETRY: Duration = Duration::from_secs(60);

/// A random part of every pause, so that two brokers that dial each other at
/// the same moment do not do so again.
const JITTER: Duration = Duration::from_millis(100);

/// Reasons that are told of one broker until it is reached.
const REASONS_MAX: usize = 8;

/// One in so many failures of the same broker is logged, whatever the reason.
const REPORT_EVERY: u32 = 3600;

/// Dials every configured broker, each in a task of its own; those that are
/// configured later, too.
pub async fn dial_configured(cluster: Arc<Cluster>) {
    while !cluster.is_stopping() {
        for url in &cluster.options().routes {
            let address = url.to_string();
            if cluster.cared_for.lock().insert(address.clone()) {
                tokio::spawn(keep_route(cluster.clone(), address));
            }
        }
        cluster.reconfigured.notified().await;
    }
}

/// Keeps a route to a configured broker for as long as it is configured.
async fn keep_route(cluster: Arc<Cluster>, address: String) {
    let mut failures = Failures::default();
    let mut leads_here = false;
    while let Some(url) = cluster.next_to_dial(&address) {
        match dial(&cluster, &url, Origin::Configured, 0).await {
            Ended::Lost { pause, reason } => {
                failures = Failures::default();
                sleep(pause + jitter()).await;
                // A short cut is mended before anybody is told of it.
                if !is_fault(reason) {
                    continue;
                }
            }
            Ended::Duplicate(remote_id) => {
                failures = Failures::default();
                cluster.membership.found(&url, &remote_id, false);
                cluster.keep_as_configured(&remote_id, &address).await;
            }
            Ended::Ourselves => {
                cluster
                    .membership
                    .found(&url, &cluster.node.server_id, true);
                if !std::mem::replace(&mut leads_here, true) {
                    info!("Route {url} leads to this broker itself");
                }
                // So it said, and has proved nothing: not believed for ever.
                sleep(OURSELVES_RETRY).await;
            }
            Ended::Failed(_, why) => {
                cluster.membership.failed(&url, &why);
                failures.add(&cluster, &url, &why, None);
            }
        }
        sleep(pause(cluster.options().connect_backoff, failures.count)).await;
    }
}

impl Cluster {
    /// Returns once there is no route to the broker of that id, to which a configured
    /// address leads, or the address is configured no more. Until then every route to
    /// it counts as configured, whoever dialled.
    async fn keep_as_configured(&self, remote_id: &str, address: &String) {
        while let Some(route) = self.route(remote_id) {
            let options = self.options();
            if !options.routes.iter().any(|url| url.to_string() == *address) {
                return;
            }
            route
                .configured_as
                .lock()
                .get_or_insert_with(|| address.clone());
            self.until_ended(&route).await;
        }
    }

    /// How the configuration has it that the broker at `address` is dialled now;
    /// `None` if nobody needs to care for it any more.
    fn next_to_dial(&self, address: &str) -> Option<RouteUrl> {
        let mut cared_for = self.cared_for.lock();
        let options = self.options();
        let mut urls = options.routes.iter();
        let url = urls.find(|url| !self.is_stopping() && url.to_string() == address);
        if url.is_none() {
            cared_for.remove(address);
        }
        url.cloned()
    }
}

/// How long to wait after so many failures in a row; with `backoff` the longer,
/// the more.
pub(super) fn pause(backoff: bool, failures: u32) -> Duration {
    let base = match backoff {
        true => RETRY
            .saturating_mul(1 << failures.saturating_sub(1).min(5))
            .min(RETRY_MAX),
        false => RETRY,
    };
    base + jitter()
}

/// The random part of a pause.
pub(super) fn jitter() -> Duration {
    JITTER.mul_f64(fastrand::f64())
}

/// Failures in a row of dialling one broker.
#[derive(Default)]
pub(super) struct Failures {
    pub(super) count: u32,
    /// Why, as far as it was told.
    told: BTreeSet<String>,
}

impl Failures {
    /// Counts one. A reason that is new is told, others now and then; where others name
    /// whom to dial, as far as `throttle` lets it.
    pub(super) fn add(
        &mut self,
        cluster: &Cluster,
        url: &RouteUrl,
        why: &str,
        throttle: Option<&LogThrottle>,
    ) {
        self.count += 1;
        let count = self.count;
        let text = format!("Error trying to connect to route (attempt {count}): {url}: {why}");
        let is_new = self.told.len() < REASONS_MAX && self.told.insert(why.to_owned());
        let is_worth_telling = is_new || count.is_multiple_of(REPORT_EVERY);
        let told = match throttle {
            _ if !is_worth_telling => None,
            None => Some(text.clone()),
            Some(throttle) => {
                throttle.throttle(MonotonicMillis::now(), text.clone(), "that failed")
            }
        };
        if let Some(text) = told {
            error!("{text}");
            let events = &cluster.context.telemetry.events;
            events.record(EventKind::Route, 0, &url.to_string(), &text);
        } else {
            debug!("{text}");
        }
    }
}

/// Dials once and serves the route until it ends.
pub(super) async fn dial(
    cluster: &Arc<Cluster>,
    url: &RouteUrl,
    origin: Origin,
    gossip_mode: u8,
) -> Ended {
    let (stream, peer) = match connect(cluster, url, origin).await {
        Ok(connected) => connected,
        Err(error) => return Ended::Failed(None, error.to_string()),
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
                cluster.membership.found(url, id, false);
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
        Err(refusal) => {
            let ended = refuse(&connection, &stream, &refusal.refusal).await;
            match (refusal.refusal.reason, refusal.remote_id) {
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

/// Connects to one of the addresses of a host, the first that answers.
async fn connect(
    cluster: &Cluster,
    url: &RouteUrl,
    origin: Origin,
) -> io::Result<(TcpStream, SocketAddr)> {
    let calls = &cluster.context.telemetry.calls;
    let mut addresses = resolve(calls, &url.host, url.port).await?;
    if origin == Origin::Configured {
        for address in &addresses {
            cluster.member_addresses.add(address.ip());
        }
    }
    fastrand::shuffle(&mut addresses);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match timeout(DIAL_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_only_if_they_shall_and_are_never_the_same() {
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
