//! TLS handshakes with certificates on both sides: one by one, and many at a time while other
//! clients are connected.

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use super::{
    Stage, WARM_UP, fleet,
    paced::{latencies_ns, pace_while, paced_flow},
};
use crate::{
    certificates::Node,
    endpoint::{Endpoint, Stream},
    failure::{During, Failure, Result, fail},
    sample::{Metric, Sample, measure, percentile_us},
    sys,
    wire::{connect, connect_in_waves},
};

/// Messages per second during the storm.
const PACE: u32 = 5000;

/// How much longer than other loads the pair runs alone: in 8 s, 40 late batches are above p99.
const QUIET_TIME: f64 = 8.0;

/// Threads of the load generator that connect in a storm.
const CONNECTING_THREADS: usize = 2;

/// Connects, logs in and disconnects; per connection.
pub(super) fn one_by_one(stage: &Stage, resume: bool) -> Result<Sample> {
    let endpoint = Endpoint {
        tls: Some(stage.certificates()?.client(Node::Puppet, resume)?),
        ..stage.sender_endpoint().clone()
    };
    // The first one has no session to resume.
    connect(&endpoint, b"")?;
    let work = || {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(stage.seconds);
        let (mut done, mut resumed) = (0, 0);
        while Instant::now() < end {
            let stream = connect(&endpoint, b"")?;
            done += 1;
            resumed += u64::from(stream.is_resumed());
        }
        Ok((done, resumed, start.elapsed().as_secs_f64()))
    };
    let ((done, resumed, seconds), usage) = measure(&stage.clocks(), work)?;
    let percent = resumed as f64 * 100.0 / done as f64;
    Ok(Sample::of_units(done, seconds, usage)
        .with_memory(stage.memory()?)
        .with(Metric::ResumedPercent, percent))
}

/// Nodes that connect all at once while a pair exchanges messages at a steady rate; per node.
pub(super) fn storm(stage: &Stage, nodes: usize) -> Result<Sample> {
    let nodes = stage.connections(nodes);
    let mut flow = paced_flow(stage)?;
    let quiet_time = stage.seconds * QUIET_TIME;
    let mut quiet = Vec::new();
    for seconds in [quiet_time * WARM_UP, quiet_time] {
        let time = Duration::from_secs_f64(seconds);
        pace_while(&mut flow, PACE, |elapsed| elapsed < time)?;
        quiet = latencies_ns(&mut flow);
    }
    quiet.sort_unstable();

    let left = AtomicUsize::new(CONNECTING_THREADS);
    let endpoint = Endpoint {
        tls: Some(stage.certificates()?.client(Node::Light, false)?),
        ..stage.sender_endpoint().clone()
    };
    let work = || {
        let start = Instant::now();
        thread::scope(|scope| {
            let connect_nodes: Vec<_> = (0..CONNECTING_THREADS)
                .map(|part| {
                    let (left, endpoint) = (&left, &endpoint);
                    scope.spawn(move || {
                        let connected = connect_nodes(endpoint, part, nodes / CONNECTING_THREADS);
                        left.fetch_sub(1, SeqCst);
                        (connected, start.elapsed())
                    })
                })
                .collect();
            let paced = pace_while(&mut flow, PACE, |_| left.load(SeqCst) > 0);
            let mut streams = Vec::new();
            let mut time = Duration::ZERO;
            for thread in connect_nodes {
                let Ok((connected, took)) = thread.join() else {
                    fail!("a connecting thread panicked");
                };
                streams.extend(connected?);
                time = time.max(took);
            }
            paced.map(|_| (streams.len(), time.as_secs_f64()))
        })
    };
    let ((connected, seconds), usage) = measure(&stage.clocks(), work)?;
    flow.check_no_extra()?;
    let mut beside = latencies_ns(&mut flow);
    beside.sort_unstable();
    let factor = percentile_us(&beside, 0.99) / percentile_us(&quiet, 0.99);
    Ok(Sample::of_units(connected as u64, seconds, usage)
        .with_memory(stage.memory()?)
        .with_latencies(beside)
        .with(Metric::P99Factor, factor))
}

/// A part of the nodes; all begin before the first one has finished. In reality other machines do
/// this work, so here it has the lowest priority and is cheap.
fn connect_nodes(endpoint: &Endpoint, part: usize, nodes: usize) -> Result<Vec<Stream>> {
    sys::lower_priority().during("cannot lower a thread's priority")?;
    connect_in_waves(endpoint, nodes, nodes, |node| {
        fleet::setup(part * nodes + node)
    })
    .map_err(|Failure(text)| Failure(format!("a node of the storm: {text}")))
}
