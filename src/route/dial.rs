//! Dialling other brokers: the configured ones for ever, those that were heard
//! of a few times.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::{sleep, timeout},
};
use tracing::{debug, error, info};

use super::{
    Ended,
    cluster::{Cluster, Origin},
    handshake::Handshake,
    refuse, serve,
};
use crate::{config::options::cluster::RouteUrl, connection::CloseReason};

/// How long the other side may take to accept.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two tries; with `connect_backoff` the first one.
const RETRY: Duration = Duration::from_secs(1);

/// The longest time between two tries with `connect_backoff`.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A random part of every pause, so that two brokers that dial each other at
/// the same moment do not do so again.
const JITTER: Duration = Duration::from_millis(100);

/// One in so many failures of the same broker is logged, after the first.
const REPORT_EVERY: u32 = 3600;

/// How often a broker that was only heard of is dialled after its route was
/// lost: a short cut of the network must not tear the mesh for good.
const RETRIES_AFTER_LOSS: u32 = 30;

/// Dials every configured broker, each in a task of its own.
pub fn dial_configured(cluster: &Arc<Cluster>) {
    for url in &cluster.options.routes {
        tokio::spawn(keep_route(cluster.clone(), url.clone()));
    }
}

/// Dials a broker that somebody told of, unless that is being done.
pub(super) fn dial_heard_of(cluster: &Arc<Cluster>, url: RouteUrl, gossip_mode: u8) {
    let address = url.to_string();
    if !cluster.heard_of.lock().insert(address.clone()) {
        return;
    }
    let cluster = cluster.clone();
    tokio::spawn(async move {
        try_route(&cluster, &url, gossip_mode).await;
        cluster.heard_of.lock().remove(&address);
    });
}

/// Keeps a route to a configured broker.
async fn keep_route(cluster: Arc<Cluster>, url: RouteUrl) {
    let mut failures = 0;
    while !cluster.is_stopping() {
        match dial(&cluster, &url, Origin::Configured, 0).await {
            Ended::Lost => failures = 0,
            Ended::Duplicate(remote_id) => {
                failures = 0;
                cluster.until_gone(&remote_id).await;
            }
            Ended::Ourselves => {
                info!("Route {url} leads to this broker itself: not dialled any more");
                return;
            }
            Ended::Failed(why) => {
                failures += 1;
                report(&url, failures, &why);
            }
        }
        sleep(pause(&cluster, failures)).await;
    }
}

/// Tries to get a route to a broker that was heard of.
async fn try_route(cluster: &Arc<Cluster>, url: &RouteUrl, gossip_mode: u8) {
    let mut tries_left = cluster.options.connect_retries;
    let mut failures = 0;
    loop {
        match dial(cluster, url, Origin::HeardOf, gossip_mode).await {
            Ended::Lost => {
                failures = 0;
                tries_left = tries_left.max(RETRIES_AFTER_LOSS);
                sleep(JITTER.mul_f64(fastrand::f64())).await;
                continue;
            }
            Ended::Duplicate(_) | Ended::Ourselves => return,
            Ended::Failed(why) => {
                failures += 1;
                report(url, failures, &why);
            }
        }
        if tries_left == 0 || cluster.is_stopping() {
            return;
        }
        tries_left -= 1;
        sleep(pause(cluster, failures)).await;
    }
}

fn pause(cluster: &Cluster, failures: u32) -> Duration {
    let base = match cluster.options.connect_backoff {
        true => RETRY
            .saturating_mul(1 << failures.saturating_sub(1).min(5))
            .min(RETRY_MAX),
        false => RETRY,
    };
    base + JITTER.mul_f64(fastrand::f64())
}

fn report(url: &RouteUrl, failures: u32, why: &str) {
    let line = format!("Error trying to connect to route (attempt {failures}): {url}: {why}");
    match failures == 1 || failures.is_multiple_of(REPORT_EVERY) {
        true => error!("{line}"),
        false => debug!("{line}"),
    }
}

/// Dials once and serves the route until it ends.
async fn dial(cluster: &Arc<Cluster>, url: &RouteUrl, origin: Origin, gossip_mode: u8) -> Ended {
    let (stream, peer) = match connect(url).await {
        Ok(connected) => connected,
        Err(error) => return Ended::Failed(error.to_string()),
    };
    if cluster.is_stopping() {
        return Ended::Failed("the broker stops".into());
    }
    let stream = Arc::new(stream);
    let connection = cluster.connection(&stream, peer);
    let handshake = Handshake::new(cluster, &connection, &stream);
    let ended = match handshake.dial(url, gossip_mode).await {
        Ok(introduced) => {
            debug!("Route {url} leads to {}", introduced.info.server_id);
            serve(cluster, &connection, &stream, introduced, origin).await
        }
        Err(refusal) => {
            let ended = refuse(cluster, &connection, &stream, &refusal.refusal).await;
            match (refusal.refusal.reason, refusal.remote_id) {
                (CloseReason::DuplicateRoute, Some(id)) if id == cluster.node.server_id => {
                    Ended::Ourselves
                }
                (CloseReason::DuplicateRoute, Some(id)) => {
                    if origin == Origin::Configured {
                        cluster.mark_configured(&id);
                    }
                    Ended::Duplicate(id)
                }
                _ => ended,
            }
        }
    };
    connection.outbound().release();
    ended
}

/// Connects to one of the addresses of a host, the first that answers.
async fn connect(url: &RouteUrl) -> io::Result<(TcpStream, SocketAddr)> {
    let mut addresses: Vec<_> = lookup_host((url.host.as_str(), url.port)).await?.collect();
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
