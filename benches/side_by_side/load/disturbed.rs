//! A stream, and the same stream while something else happens on the same broker: the result is the
//! difference.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use super::{
    Stage, WARM_UP, memory,
    stream::{UNLIMITED, fan_flow, pair_flow},
    subscriptions,
};
use crate::{
    broker::fetch,
    failure::{Failure, Result, fail},
    flow::{Flow, Run},
    sample::{Metric, Sample, Usage, measure},
    scenario::Burden,
    wire::connect,
};

/// Brokers ping a new client once, about two seconds after its CONNECT; ten thousand of these pings
/// should not be measured.
pub(super) const FIRST_PINGS: Duration = Duration::from_secs(3);

/// Interval of reading the monitoring pages.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// One or two subscribers that stop reading, in addition to healthy ones.
pub(super) fn slow_consumer(stage: &Stage, healthy: usize, payload: usize) -> Result<Sample> {
    /// A broker first buffers for a stalled subscriber; the time must be long enough to see what it
    /// does when the buffer is full.
    const STALLED_TIME: f64 = 3.0;
    let mut flow = fan_flow(stage, healthy, payload)?;
    flow.run(stage.seconds * WARM_UP)?;
    let (before, usage) = measure(&stage.clocks(), || flow.run(stage.seconds))?;
    let mut rates = Vec::new();
    for count in [1, 2] {
        let stalled = (0..count)
            .map(|_| connect(&stage.broker().clients, b"SUB bench.0 1\r\n"))
            .collect::<Result<Vec<_>>>()?;
        let run = flow.run(stage.seconds * STALLED_TIME)?;
        rates.push(run.rate());
        drop(stalled);
    }
    let after = flow.run(stage.seconds)?;
    flow.check_no_extra()?;
    let usual = (before.rate() + after.rate()) / 2.0;
    Ok(Sample::of_units(before.delivered, before.seconds, usage)
        .with_memory(stage.memory()?)
        .with(Metric::KeptWithOneStalled, rates[0] / usual)
        .with(Metric::KeptWithTwoStalled, rates[1] / usual))
}

/// Monitoring pages are read often while many clients are connected.
pub(super) fn monitored(stage: &Stage, connections: usize, payload: usize) -> Result<Sample> {
    /// Alternating quiet and polled periods, so that a drift affects both.
    const TURNS: usize = 3;
    let connections = stage.connections(connections);
    let idle = memory::open_idle(&stage.broker().clients, connections)?;
    check_connz(stage, idle.len())?;
    let mut flow = pair_flow(stage, 1, payload, UNLIMITED)?;
    flow.run(stage.seconds * WARM_UP)?;
    let (mut quiet, mut polled) = (Total::default(), Total::default());
    for _ in 0..TURNS {
        quiet.add(measure(&stage.clocks(), || flow.run(stage.seconds))?);
        let run = || polled_run(stage, &mut flow, &["/varz", CONNZ]).map(|(run, _)| run);
        polled.add(measure(&stage.clocks(), run)?);
    }
    flow.check_no_extra()?;
    Ok(polled
        .sample()
        .with_memory(stage.memory()?)
        .with(
            Metric::LossPercent,
            (1.0 - polled.rate() / quiet.rate()) * 100.0,
        )
        .with(Metric::CpuFactor, polled.cpu() / quiet.cpu()))
}

/// Many idle connections or unrelated subscriptions.
pub(super) fn burdened(stage: &Stage, burden: Burden, payload: usize) -> Result<Sample> {
    let broker = &stage.broker().clients;
    let mut flow = pair_flow(stage, 1, payload, UNLIMITED)?;
    flow.run(stage.seconds * WARM_UP)?;
    let (mut without, mut with) = (Total::default(), Total::default());
    without.add(measure(&stage.clocks(), || flow.run(stage.seconds))?);
    let burden = match burden {
        Burden::Connections(count) => memory::open_idle(broker, stage.connections(count))?,
        Burden::Subscriptions => {
            let patterns = subscriptions::patterns(subscriptions::HOSTS / stage.divisor);
            subscriptions::subscribe(broker, &patterns)?
        }
    };
    thread::sleep(FIRST_PINGS);
    flow.run(stage.seconds * WARM_UP)?;
    with.add(measure(&stage.clocks(), || flow.run(stage.seconds))?);
    drop(burden);
    flow.check_no_extra()?;
    Ok(with
        .sample()
        .with_memory(stage.memory()?)
        .with(Metric::CpuFactor, with.cpu() / without.cpu()))
}

/// The sum of some runs.
#[derive(Default)]
pub(super) struct Total {
    published: u64,
    seconds: f64,
    broker: Duration,
    load: Duration,
}

impl Total {
    pub(super) fn add(&mut self, (run, usage): (Run, Usage)) {
        self.published += run.published;
        self.seconds += run.seconds;
        self.broker += usage.broker;
        self.load += usage.load;
    }

    pub(super) fn rate(&self) -> f64 {
        self.published as f64 / self.seconds
    }

    pub(super) fn cpu(&self) -> f64 {
        self.broker.as_secs_f64() / self.published as f64
    }

    fn sample(&self) -> Sample {
        let usage = Usage {
            broker: self.broker,
            load: self.load,
        };
        Sample::of_units(self.published, self.seconds, usage)
    }
}

/// Runs the flow while a thread reads monitoring pages; also returns how long each poll of all
/// pages took, in ns.
pub(super) fn polled_run(
    stage: &Stage,
    flow: &mut Flow,
    pages: &[&str],
) -> Result<(Run, Vec<u64>)> {
    let finished = AtomicBool::new(false);
    let (run, poll) = thread::scope(|scope| {
        let poller = scope.spawn(|| poll(stage, &finished, pages));
        let run = flow.run(stage.seconds);
        finished.store(true, SeqCst);
        let poll = poller.join();
        (run, poll)
    });
    let polls = match poll {
        Ok(polls) => polls?,
        Err(_) => fail!("the polling thread panicked"),
    };
    let expected = (stage.seconds / POLL_INTERVAL.as_secs_f64() / 2.0) as usize;
    if polls.len() < expected {
        let polls = polls.len();
        fail!("only {polls} polls were answered, at least {expected} were due");
    }
    Ok((run?, polls))
}

fn poll(stage: &Stage, finished: &AtomicBool, pages: &[&str]) -> Result<Vec<u64>> {
    let mut polls = Vec::new();
    let start = Instant::now();
    for turn in 0.. {
        let next = start + POLL_INTERVAL * turn;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        if finished.load(SeqCst) {
            break;
        }
        let begun = Instant::now();
        for page in pages {
            fetch(stage.broker().monitor, page)?;
        }
        polls.push(begun.elapsed().as_nanos() as u64);
    }
    Ok(polls)
}

/// All connections on one page.
const CONNZ: &str = "/connz?limit=4096";

/// Checks that the polled page lists the connections.
fn check_connz(stage: &Stage, least: usize) -> Result<()> {
    let connz: serde_json::Value = serde_json::from_slice(&stage.broker().page(CONNZ)?)
        .map_err(|error| Failure(format!("{CONNZ} is no JSON: {error}")))?;
    match connz["connections"].as_array() {
        Some(listed) if listed.len() >= least => Ok(()),
        Some(listed) => fail!("{CONNZ} lists {} connections of {least}", listed.len()),
        None => fail!("{CONNZ} has no list of connections"),
    }
}
