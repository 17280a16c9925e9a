//! Mode `traffic`: messages and bytes per second, too many or too few.

use monitor_client::Kind;

use super::{
    Check, Failure, compare,
    need::{Need, must, of},
};
use crate::status::Status;
use crate::{
    deadline::Step,
    metric::{
        IN_BYTES, IN_BYTES_RATE, IN_MSGS, IN_MSGS_RATE, OUT_BYTES, OUT_BYTES_RATE, OUT_MSGS,
        OUT_MSGS_RATE,
    },
    text::{bytes, duration, significant},
};

pub(super) static NEEDS: &[Need] = &[of(
    "/varz",
    Step::Varz,
    &[
        must("server_id", Kind::Text),
        must("start", Kind::Text),
        must("now", Kind::Text),
        must("in_msgs", Kind::Count),
        must("out_msgs", Kind::Count),
        must("in_bytes", Kind::Count),
        must("out_bytes", Kind::Count),
    ],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let (varz, compared) = compare(check)?;
    let report = &mut *check.report;
    report.total(IN_MSGS.label, Some(varz.in_msgs as f64));
    report.total(OUT_MSGS.label, Some(varz.out_msgs as f64));
    report.total(IN_BYTES.label, Some(varz.in_bytes as f64));
    report.total(OUT_BYTES.label, Some(varz.out_bytes as f64));
    let Some(compared) = compared else {
        return Ok(());
    };
    let (then, now) = (&compared.then, &compared.now);
    let rate = |then: f64, now: f64| (now - then).max(0.0) / compared.seconds;
    let msgs = |rate: f64, way: &str| format!("{} msgs/s {way}", significant(rate));
    let size = |rate: f64, way: &str| format!("{}/s {way}", bytes(rate));

    let value = rate(then.in_msgs, now.in_msgs);
    report.state(IN_MSGS_RATE.label, value, None, &msgs(value, "in"));
    let value = rate(then.out_msgs, now.out_msgs);
    report.state(OUT_MSGS_RATE.label, value, None, &msgs(value, "out"));
    let value = rate(then.in_bytes, now.in_bytes);
    report.state(IN_BYTES_RATE.label, value, None, &size(value, "in"));
    let value = rate(then.out_bytes, now.out_bytes);
    report.state(OUT_BYTES_RATE.label, value, None, &size(value, "out"));
    let text = format!("over {}", duration(compared.seconds));
    report.say(Status::Ok, &text);
    Ok(())
}
