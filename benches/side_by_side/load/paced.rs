//! A stream at a steady rate, far below what a broker can do: latency and CPU time per message when
//! little can be batched.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Stage, WARM_UP};
use crate::{
    clock::now_ns,
    failure::{During, Result, fail},
    flow::{Flow, Run},
    inbox::{Expect, Inbox},
    publisher::Publisher,
    receivers::Tally,
    sample::{Sample, measure},
    sys,
    wire::connect,
};

const PAYLOAD: usize = 128;
/// Messages that are sent together.
const BATCH: usize = 10;

/// Measures `rate` messages per second from one publisher to one subscriber.
pub(super) fn run(stage: &Stage, rate: u32) -> Result<Sample> {
    let mut flow = paced_flow(stage)?;
    pace(&mut flow, rate, stage.seconds * WARM_UP)?;
    latencies_ns(&mut flow);
    let (run, usage) = measure(&stage.clocks(), || pace(&mut flow, rate, stage.seconds))?;
    flow.check_no_extra()?;
    Ok(Sample::of_units(run.published, run.seconds, usage)
        .with_memory(stage.memory()?)
        .with_latencies(latencies_ns(&mut flow)))
}

/// A pair for [`pace`]; this thread must be the one that sends.
pub(super) fn paced_flow(stage: &Stage) -> Result<Flow> {
    sys::sleep_precisely().during("cannot make sleeps precise")?;
    let broker = &stage.broker().clients;
    let header = format!("MSG bench.0 1 {PAYLOAD}\r\n");
    let stream = connect(broker, b"SUB bench.0 1\r\n")?;
    let inbox = Inbox::new(stream, Expect::All { header }, PAYLOAD).with_latencies();
    let publisher = Publisher::new(connect(broker, b"")?, "bench.0", PAYLOAD, BATCH);
    Flow::new(vec![publisher], vec![inbox], Tally::Each, PAYLOAD)
}

/// Sends at the rate for `seconds`; fails if the rate was not reached.
fn pace(flow: &mut Flow, rate: u32, seconds: f64) -> Result<Run> {
    let time = Duration::from_secs_f64(seconds);
    let run = pace_while(flow, rate, |elapsed| elapsed < time)?;
    if run.seconds > seconds * 1.1 {
        fail!(
            "the pace was not held: {} messages took {:.2} s",
            run.published,
            run.seconds
        );
    }
    Ok(run)
}

/// Sends batches at their scheduled times as long as `continues` holds for the next one; a late batch
/// is sent immediately.
pub(super) fn pace_while(
    flow: &mut Flow,
    rate: u32,
    continues: impl Fn(Duration) -> bool,
) -> Result<Run> {
    let interval = Duration::from_secs(1) * BATCH as u32 / rate;
    flow.drive(|publishers, _, mut sent| {
        let start = Instant::now();
        for batch in 0.. {
            if !continues(interval * batch) {
                break;
            }
            let next = start + interval * batch;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            for publisher in &mut *publishers {
                sent += publisher.send_stamped(now_ns())?;
            }
        }
        Ok(sent)
    })
}

/// Takes the latencies measured since the last call.
pub(super) fn latencies_ns(flow: &mut Flow) -> Vec<u64> {
    flow.inboxes()
        .iter_mut()
        .filter_map(|inbox| inbox.latencies_ns.as_mut())
        .flat_map(std::mem::take)
        .collect()
}
