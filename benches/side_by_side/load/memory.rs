//! The memory of an idle broker and of idle connections.

use std::{thread, time::Duration};

use super::Stage;
use crate::{
    broker::Memory,
    endpoint::{Endpoint, Stream},
    failure::Result,
    sample::{Metric, Sample},
    wire::connect_all,
};

/// How long a broker is idle before its memory is read: midge unmaps the code of its start some
/// seconds later, which must not fall between two readings that are compared.
pub(super) const REST: Duration = Duration::from_secs(4);
const SUBSCRIPTIONS_EACH: usize = 4;

/// The memory of a broker that has just started.
pub(super) fn idle(stage: &Stage) -> Result<Sample> {
    thread::sleep(REST);
    Ok(Sample::default().with_memory(stage.memory()?))
}

/// The additional memory per idle connection.
pub(super) fn connections(stage: &Stage, count: usize) -> Result<Sample> {
    let count = stage.connections(count);
    thread::sleep(REST);
    let before = stage.memory()?;
    let connections = open_idle(&stage.broker().clients, count)?;
    thread::sleep(REST);
    let after = stage.memory()?;
    let kib = kib_each(before, after, connections.len());
    Ok(Sample::default()
        .with_memory(after)
        .with(Metric::ConnectionKib, kib))
}

/// The additional memory per connection.
pub(super) fn kib_each(before: Memory, after: Memory, connections: usize) -> f64 {
    let added = after.current.saturating_sub(before.current) as f64;
    added / 1024.0 / connections as f64
}

/// Idle connections with a few subscriptions each.
pub(super) fn open_idle(broker: &Endpoint, count: usize) -> Result<Vec<Stream>> {
    connect_all(broker, count, |number| {
        (0..SUBSCRIPTIONS_EACH)
            .flat_map(|sid| format!("SUB idle.{number}.{sid} {sid}\r\n").into_bytes())
            .collect()
    })
}
