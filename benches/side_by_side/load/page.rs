//! A monitoring page of a broker with many connections: CPU time per request, duration while
//! messages are exchanged, and the effect on these.

use super::{
    Stage, WARM_UP,
    disturbed::{FIRST_PINGS, Total, polled_run},
    memory,
    stream::{UNLIMITED, pair_flow},
};
use crate::{
    broker::fetch,
    failure::Result,
    sample::{Metric, Sample, measure},
    scenario::Page,
};

/// Requests whose CPU time is measured on an idle broker.
const REQUESTS: u64 = 20;
const PAYLOAD: usize = 128;

/// Measures requests while a pair exchanges messages; per request.
pub(super) fn run(stage: &Stage, page: Page, connections: usize) -> Result<Sample> {
    /// Alternating quiet and polled periods, so that a drift affects both.
    const TURNS: usize = 3;
    let pages = pages(stage, page)?;
    let broker = &stage.broker().clients;
    let _idle = memory::open_idle(broker, stage.connections(connections))?;
    let mut flow = pair_flow(stage, 1, PAYLOAD, UNLIMITED)?;
    std::thread::sleep(FIRST_PINGS);

    let request = || {
        let start = std::time::Instant::now();
        for page in (0..REQUESTS).flat_map(|_| pages) {
            fetch(stage.broker().monitor, page)?;
        }
        Ok(start.elapsed().as_secs_f64())
    };
    let (seconds, usage) = measure(&stage.clocks(), request)?;

    flow.run(stage.seconds * WARM_UP)?;
    let (mut quiet, mut polled) = (Total::default(), Total::default());
    let mut latencies_ns = Vec::new();
    for _ in 0..TURNS {
        quiet.add(measure(&stage.clocks(), || flow.run(stage.seconds))?);
        let (run, usage) = measure(&stage.clocks(), || polled_run(stage, &mut flow, pages))?;
        latencies_ns.extend(run.1);
        polled.add((run.0, usage));
    }
    flow.check_no_extra()?;
    Ok(Sample::of_units(REQUESTS, seconds, usage)
        .with_memory(stage.memory()?)
        .with_latencies(latencies_ns)
        .with(
            Metric::LossPercent,
            (1.0 - polled.rate() / quiet.rate()) * 100.0,
        )
        .with(Metric::CpuFactor, polled.cpu() / quiet.cpu()))
}

/// The paths of a request on this broker.
fn pages(stage: &Stage, page: Page) -> Result<&'static [&'static str]> {
    Ok(match page {
        Page::Connz => &["/connz?limit=1024&subs=1"],
        Page::Varz => &["/varz"],
        Page::Metrics => match stage.broker().has_page("/metrics")? {
            true => &["/metrics"],
            false => &["/varz", "/connz", "/subsz", "/routez"],
        },
    })
}
