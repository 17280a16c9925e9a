//! Mode `resources`: the broker's use of its machine.

use monitor_client::Kind;

use super::{
    Check, Failure,
    need::{Need, must, of},
};
use crate::{
    deadline::Step,
    metric::{CPU, MEM, SUBSCRIPTIONS},
    text::{bytes, plural, significant},
};

pub(super) static NEEDS: &[Need] = &[of(
    "/varz",
    Step::Varz,
    &[
        must("server_id", Kind::Text),
        must("mem", Kind::Count),
        must("cpu", Kind::Count),
        must("subscriptions", Kind::Count),
    ],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let varz = check.varz()?;
    let report = &mut *check.report;
    let phrase = format!("{} memory", bytes(varz.mem as f64));
    report.state(MEM.label, varz.mem, None, &phrase);
    let phrase = format!("{} % cpu", significant(varz.cpu));
    report.state(CPU.label, varz.cpu, None, &phrase);
    let subscriptions = varz.subscriptions;
    let phrase = plural(subscriptions, "subscription");
    report.state(SUBSCRIPTIONS.label, subscriptions, None, &phrase);
    Ok(())
}
