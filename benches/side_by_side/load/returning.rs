//! A fleet that comes back after its broker was away: real clients
//! (`async-nats`) that wait as long as most do, and then come again.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectErrorKind, ConnectOptions};
use rustls::ClientConfig;
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{sleep, timeout_at},
};

use super::Stage;
use crate::{
    certificates::Node,
    failure::{During, Failure, Result},
    sample::{Metric, Sample, measure},
};

/// How long a client waits until it is connected; what nats.go, nats.c, nats.py
/// and nats.java do if not told otherwise.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it pauses before it comes again, and up to how much longer: nats.go's
/// figures for TLS.
const PAUSE: Duration = Duration::from_secs(2);
const JITTER: Duration = Duration::from_secs(1);

/// Over what time they come at first.
const SPREAD: Duration = Duration::from_secs(5);

/// When the broker is given up.
const LIMIT: Duration = Duration::from_secs(60);

/// All nodes connect; per node that came through.
pub(super) fn run(stage: &Stage, nodes: usize) -> Result<Sample> {
    let nodes = stage.connections(nodes);
    let tls = stage.certificates()?.client(Node::Light, false)?;
    let address = stage.near().address;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .during("cannot start a runtime")?;
    let work = || {
        let start = Instant::now();
        let back = runtime.block_on(come_back(nodes, address, &tls))?;
        Ok((back, start.elapsed().as_secs_f64()))
    };
    let ((back, seconds), usage) = measure(&stage.clocks(), work)?;
    let percent = back.len() as f64 * 100.0 / nodes as f64;
    Ok(Sample::of_units(back.len() as u64, seconds, usage)
        .with_memory(stage.memory()?)
        .with(Metric::TimeMs, seconds * 1e3)
        .with(Metric::BackPercent, percent))
}

/// Returns those who are connected when all are, or at the limit.
async fn come_back(
    nodes: usize,
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
) -> Result<Vec<Client>> {
    let end = tokio::time::Instant::now() + LIMIT;
    let mut coming = JoinSet::new();
    for number in 0..nodes {
        let part = number as f64 / nodes as f64;
        coming.spawn(node(part, address, tls.clone()));
    }
    let mut back = Vec::with_capacity(nodes);
    while let Ok(Some(joined)) = timeout_at(end, coming.join_next()).await {
        let Ok(connected) = joined else {
            return Err(Failure("a returning node panicked".into()));
        };
        back.push(connected?);
    }
    Ok(back)
}

/// A node; `part` of them come before it.
async fn node(part: f64, address: SocketAddr, tls: Arc<ClientConfig>) -> Result<Client> {
    sleep(SPREAD.mul_f64(part)).await;
    // Neighbours do not come again together.
    let pause = PAUSE + JITTER.mul_f64(part * 1000.0 % 1.0);
    loop {
        let options = ConnectOptions::new()
            .require_tls(true)
            .tls_client_config((*tls).clone())
            .connection_timeout(PATIENCE);
        match options.connect(address.to_string()).await {
            Ok(client) => return Ok(client),
            Err(error) if is_passing(error.kind()) => sleep(pause).await,
            Err(error) => return Err(Failure(format!("a returning node: {error}"))),
        }
    }
}

/// Whether to come again may help.
fn is_passing(kind: ConnectErrorKind) -> bool {
    matches!(kind, ConnectErrorKind::TimedOut | ConnectErrorKind::Io)
}
