//! Mode `latency`: how long messages stay in the broker, and how late its own threads
//! get to run. Only midge measures it.

use monitor_client::{Kind, Latencyz, RecentLatency};

use super::{
    Check, Failure,
    need::{Need, must, of_midge},
};
use crate::{
    deadline::Step,
    metric::{LATENCY_COUNT, LATENCY_MAX, LATENCY_P50, LATENCY_P99, SCHED_MAX, SCHED_P99},
    text::{duration, plural, quoted, quoted_subject},
};

/// Readers that `-v` names.
const NAMED_MAX: usize = 5;

pub(super) static NEEDS: &[Need] = &[of_midge(
    "/latencyz",
    Step::Latencyz,
    "only midge measures its latency",
    &[
        must("server_id", Kind::Text),
        must("total.last_minute.count", Kind::Count),
        must("total.last_minute.p50", Kind::Count),
        must("total.last_minute.p99", Kind::Count),
        must("total.last_minute.max", Kind::Count),
        must("scheduling_delay.last_minute.p99", Kind::Count),
        must("scheduling_delay.last_minute.max", Kind::Count),
    ],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let answer: Latencyz = check.ask("/latencyz")?;
    for late in answer.worst.iter().take(NAMED_MAX) {
        let name = match late.name.is_empty() {
            true => String::new(),
            false => format!(" {}", quoted(&late.name)),
        };
        let text = format!(
            "cid {}{name}: {} at most, with {}",
            late.cid,
            duration(late.max),
            quoted_subject(&late.subject)
        );
        check.report.detail(1, &text);
    }
    let RecentLatency {
        count,
        p50,
        p99,
        max,
    } = answer.total.last_minute;
    let phrase = match count {
        0 => "nothing was delivered in the last minute".to_owned(),
        _ => format!("99 of 100 messages written within {}", duration(p99)),
    };
    let report = &mut check.report;
    report.state(LATENCY_P99.label, p99, None, &phrase);
    let phrase = format!("half of the messages written within {}", duration(p50));
    report.watch(LATENCY_P50.label, p50, None, &phrase);
    let phrase = format!("a message written after {}", duration(max));
    report.watch(LATENCY_MAX.label, max, None, &phrase);
    report.total(LATENCY_COUNT.label, Some(count as f64));
    report.detail(1, &format!("{} measured", plural(count, "write")));

    let delay = answer.scheduling_delay.last_minute;
    let phrase = format!(
        "the broker's threads are delayed by {}",
        duration(delay.p99)
    );
    report.state(SCHED_P99.label, delay.p99, None, &phrase);
    let phrase = format!(
        "a thread of the broker was delayed by {}",
        duration(delay.max)
    );
    report.watch(SCHED_MAX.label, delay.max, None, &phrase);
    Ok(())
}
