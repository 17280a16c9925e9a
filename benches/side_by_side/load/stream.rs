//! Streams of messages at full speed: without a subscriber, one to one, fan-out, queue groups.

use std::time::{Duration, Instant};

use super::{Stage, WARM_UP, mesh};
use crate::{
    failure::{Result, fail},
    flow::{Flow, Run},
    inbox::{Expect, Inbox},
    publisher::Publisher,
    receivers::Tally,
    sample::{Sample, measure},
    wire::{self, TIMEOUT, connect},
};

/// No limit of messages in a chunk, only of its bytes.
pub(super) const UNLIMITED: usize = usize::MAX;

/// Publishes to a subject without interest.
pub(super) fn publish(stage: &Stage, payload: usize) -> Result<Sample> {
    let stream = connect(&stage.broker().clients, b"")?;
    let mut publisher = Publisher::new(stream, "bench.0", payload, UNLIMITED);
    publish_for(&mut publisher, stage.seconds * WARM_UP)?;
    let (run, usage) = measure(&stage.clocks(), || {
        publish_for(&mut publisher, stage.seconds)
    })?;
    await_counted(stage, publisher.sent())?;
    let sample = Sample::of_units(run.published, run.seconds, usage);
    Ok(sample.with_memory(stage.memory()?))
}

/// Publishers to one subscriber each.
pub(super) fn pairs(stage: &Stage, pairs: usize, payload: usize) -> Result<Sample> {
    let mut flow = pair_flow(stage, pairs, payload, UNLIMITED)?;
    measure_flow(stage, &mut flow, |run| run.published)
}

/// One publisher to many subscribers; counts deliveries.
pub(super) fn fan_out(stage: &Stage, subscribers: usize, payload: usize) -> Result<Sample> {
    let mut flow = fan_flow(stage, subscribers, payload)?;
    measure_flow(stage, &mut flow, |run| run.delivered)
}

/// One publisher to a queue group.
pub(super) fn queue(stage: &Stage, members: usize, payload: usize) -> Result<Sample> {
    let broker = &stage.broker().clients;
    let streams = wire::connect_all(broker, members, |_| b"SUB bench.0 group 1\r\n".to_vec())?;
    let inboxes = streams
        .into_iter()
        .map(|stream| {
            let header = header(0, payload);
            Inbox::new(stream, Expect::Share { header }, payload)
        })
        .collect();
    let publisher = Publisher::new(connect(broker, b"")?, "bench.0", payload, UNLIMITED);
    let mut flow = Flow::new(vec![publisher], inboxes, Tally::Sum, payload)?;
    measure_flow(stage, &mut flow, |run| run.published)
}

/// A flow of `pairs` publishers and subscribers; at most `chunk` messages are sent at a time.
pub(super) fn pair_flow(stage: &Stage, pairs: usize, payload: usize, chunk: usize) -> Result<Flow> {
    let mut inboxes = Vec::new();
    let mut publishers = Vec::new();
    for pair in 0..pairs {
        let stream = connect(
            stage.receiver_endpoint(),
            format!("SUB bench.{pair} 1\r\n").as_bytes(),
        )?;
        let header = header(pair, payload);
        inboxes.push(Inbox::new(stream, Expect::All { header }, payload));
        let stream = connect(stage.sender_endpoint(), b"")?;
        let subject = format!("bench.{pair}");
        publishers.push(Publisher::new(stream, &subject, payload, chunk));
    }
    mesh::await_interest(stage)?;
    Flow::new(publishers, inboxes, Tally::Each, payload)
}

/// A flow of one publisher and `subscribers` subscribers at each broker.
pub(super) fn fan_flow(stage: &Stage, subscribers: usize, payload: usize) -> Result<Flow> {
    let mut streams = Vec::new();
    for broker in stage.brokers {
        let setup = |_| b"SUB bench.0 1\r\n".to_vec();
        streams.extend(wire::connect_all(&broker.clients, subscribers, setup)?);
    }
    mesh::await_interest(stage)?;
    let inboxes = streams
        .into_iter()
        .map(|stream| {
            let header = header(0, payload);
            Inbox::new(stream, Expect::All { header }, payload)
        })
        .collect();
    let publisher = Publisher::new(
        connect(stage.sender_endpoint(), b"")?,
        "bench.0",
        payload,
        UNLIMITED,
    );
    Flow::new(vec![publisher], inboxes, Tally::Each, payload)
}

/// Warms up, measures a run at full speed and checks that nothing else was received.
pub(super) fn measure_flow(
    stage: &Stage,
    flow: &mut Flow,
    units: fn(&Run) -> u64,
) -> Result<Sample> {
    measure_with(stage, flow, units, Flow::run)
}

/// The same with another way to run the flow.
pub(super) fn measure_with(
    stage: &Stage,
    flow: &mut Flow,
    units: fn(&Run) -> u64,
    mut run: impl FnMut(&mut Flow, f64) -> Result<Run>,
) -> Result<Sample> {
    run(flow, stage.seconds * WARM_UP)?;
    let (run, usage) = measure(&stage.clocks(), || run(flow, stage.seconds))?;
    flow.check_no_extra()?;
    let sample = Sample::of_units(units(&run), run.seconds, usage);
    Ok(sample.with_memory(stage.memory()?))
}

/// The line before every message on `bench.<number>` to subscription 1.
fn header(number: usize, payload: usize) -> String {
    format!("MSG bench.{number} 1 {payload}\r\n")
}

/// Publishes and waits until the broker has processed everything.
fn publish_for(publisher: &mut Publisher, seconds: f64) -> Result<Run> {
    let before = publisher.sent();
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        publisher.send_chunk()?;
    }
    wire::ping(publisher.stream())?;
    Ok(Run {
        published: publisher.sent() - before,
        delivered: 0,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// There is no receiver, so the broker's own counter shows that nothing was lost.
fn await_counted(stage: &Stage, sent: u64) -> Result<()> {
    let start = Instant::now();
    loop {
        let counted = stage.broker().varz("in_msgs")?;
        if counted == sent {
            return Ok(());
        }
        if start.elapsed() > TIMEOUT / 4 {
            fail!("/varz counts {counted} messages in, {sent} were published");
        }
    }
}
