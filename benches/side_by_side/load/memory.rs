//! What a broker's memory is when nothing happens.

use std::{
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use super::Stage;
use crate::{
    failure::Result,
    sample::{Metric, Sample},
    wire::connect_all,
};

/// How long a broker rests before its memory is read.
const REST: Duration = Duration::from_secs(1);
const SUBSCRIPTIONS_EACH: usize = 4;

/// The memory of a broker that has just started.
pub(super) fn idle(stage: &Stage) -> Result<Sample> {
    thread::sleep(REST);
    Ok(Sample::default().with_memory(stage.broker.memory()?))
}

/// What each of many idle connections adds to it.
pub(super) fn connections(stage: &Stage, count: usize) -> Result<Sample> {
    let count = stage.connections(count);
    thread::sleep(REST);
    let before = stage.broker.memory()?;
    let connections = open_idle(stage.broker.clients, count)?;
    thread::sleep(REST);
    let after = stage.broker.memory()?;
    let added = after.current.saturating_sub(before.current) as f64;
    let kib = added / 1024.0 / connections.len() as f64;
    Ok(Sample::default()
        .with_memory(after)
        .with(Metric::ConnectionKib, kib))
}

/// Connections with a few subscriptions each, on which nothing happens.
pub(super) fn open_idle(broker: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    connect_all(broker, count, |number| {
        (0..SUBSCRIPTIONS_EACH)
            .flat_map(|sid| format!("SUB idle.{number}.{sid} {sid}\r\n").into_bytes())
            .collect()
    })
}
