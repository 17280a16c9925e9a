//! What a broker needs for a fleet of a given size, for docs/sizing.md: the CPU time of a handshake
//! and login, memory of an idle node, CPU time of a broadcast and its answers.

use std::thread;

use super::{
    Stage,
    fleet::Fleet,
    memory::{REST, kib_each},
};
use crate::{
    certificates::Node,
    endpoint::Endpoint,
    failure::Result,
    sample::{Metric, Sample, measure},
};

/// Broadcasts that all nodes answer.
const ROUNDS: usize = 5;

/// Connects the nodes, a hundred at a time, and measures them; rates and CPU time are per node and
/// round. The keys of nodes are cheap, because other machines would use them.
pub(super) fn run(stage: &Stage, nodes: usize) -> Result<Sample> {
    let endpoint = Endpoint {
        tls: Some(stage.certificates()?.client(Node::Light, false)?),
        ..stage.sender_endpoint().clone()
    };
    thread::sleep(REST);
    let before = stage.memory()?;
    let connect = || Fleet::open(&endpoint, stage.connections(nodes));
    let (mut fleet, connecting) = measure(&stage.clocks(), connect)?;
    thread::sleep(REST);
    let idle = stage.memory()?;
    let nodes = fleet.nodes.len();
    // The first round warms up.
    fleet.round()?;
    let rounds = || (0..ROUNDS).map(|_| fleet.round()).collect();
    let (latencies_ns, usage): (Vec<u64>, _) = measure(&stage.clocks(), rounds)?;
    let seconds = latencies_ns.iter().sum::<u64>() as f64 / 1e9;
    let handshake_us = connecting.broker.as_secs_f64() * 1e6 / nodes as f64;
    Ok(Sample::of_units((nodes * ROUNDS) as u64, seconds, usage)
        .with_memory(idle)
        .with(Metric::HandshakeCpuUs, handshake_us)
        .with(Metric::ConnectionKib, kib_each(before, idle, nodes))
        .with(Metric::TimeMs, seconds * 1e3 / ROUNDS as f64))
}
