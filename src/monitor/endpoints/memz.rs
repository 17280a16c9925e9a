//! `/memz`: what holds the memory, and everything that has an end.

use monitor_client::{Ceiling, MemoryCause, MemoryHolder, Memz};

use super::{super::Monitor, query::Query, refusal::Refusal, time_text::rfc3339};

/// The answer, as of the last sample. It has no parameters.
pub fn answer(monitor: &Monitor, _query: &Query) -> Result<Memz, Refusal> {
    let report = monitor.diagnosis.report();
    let memory = &report.memory;
    let causes = memory.causes.iter().map(|cause| MemoryCause {
        cause: cause.name.into(),
        bytes: cause.bytes,
        count: cause.count,
    });
    let holders = memory.holders.iter().map(|holder| MemoryHolder {
        cid: holder.cid,
        name: holder.name.clone(),
        pending_bytes: holder.pending,
        subscriptions: holder.subscriptions,
    });
    let ceilings = report.ceilings.iter().map(|ceiling| Ceiling {
        name: ceiling.kind.name().into(),
        used: ceiling.used,
        limit: ceiling.limit,
        unit: ceiling.kind.unit().into(),
        growth: ceiling.growth,
        exhausted_in: ceiling.exhausted_in,
        holder: ceiling.holder.clone(),
    });
    Ok(Memz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        sampled: rfc3339(report.sampled.time_of_day()),
        age: report.sampled.age().as_secs_f64(),
        resident: memory.resident,
        causes: causes.collect(),
        holders: holders.collect(),
        ceilings: ceilings.collect(),
    })
}
