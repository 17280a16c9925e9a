//! Mode `traffic`: messages and bytes per second, too many or too few.

use monitor_client::{Kind, Varz};

use super::{
    Check, Failure, Status,
    need::{Need, must, of_run},
    since,
};
use crate::{
    baseline::{Look, Span},
    metric::{
        IN_BYTES, IN_BYTES_RATE, IN_MSGS, IN_MSGS_RATE, OUT_BYTES, OUT_BYTES_RATE, OUT_MSGS,
        OUT_MSGS_RATE,
    },
    text::{bytes, significant},
};

pub(super) static NEEDS: &[Need] = &[of_run(&[
    must("in_msgs", Kind::Count),
    must("out_msgs", Kind::Count),
    must("in_bytes", Kind::Count),
    must("out_bytes", Kind::Count),
])];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    since::run(check, sample, judge)
}

fn sample(check: &mut Check) -> Result<(Varz, Look), Failure> {
    let varz = check.varz()?;
    let totals = totals(&varz).map(|(label, total)| (label, total.unsigned_abs()));
    let look = Look::of(&varz, totals)?;
    Ok((varz, look))
}

/// The totals by the labels of their metrics.
fn totals(varz: &Varz) -> [(&'static str, i64); 4] {
    [
        (IN_MSGS.label, varz.in_msgs),
        (OUT_MSGS.label, varz.out_msgs),
        (IN_BYTES.label, varz.in_bytes),
        (OUT_BYTES.label, varz.out_bytes),
    ]
}

fn judge(check: &mut Check, varz: &Varz, span: Option<&Span>) -> Result<(), Failure> {
    let report = &mut check.report;
    for (label, total) in totals(varz) {
        report.total(label, Some(total));
    }
    let Some(span) = span else { return Ok(()) };
    if span.seconds <= 0.0 {
        let text = "no rate: the broker's uptime has not changed";
        report.say(Status::Ok, text);
        return Ok(());
    }
    for (total, rate, way) in [
        (&IN_MSGS, &IN_MSGS_RATE, "in"),
        (&OUT_MSGS, &OUT_MSGS_RATE, "out"),
    ] {
        let value = span.new_of(total.label) as f64 / span.seconds;
        let phrase = format!("{} msgs/s {way}", significant(value));
        report.state(rate.label, value, None, &phrase);
    }
    for (total, rate, way) in [
        (&IN_BYTES, &IN_BYTES_RATE, "in"),
        (&OUT_BYTES, &OUT_BYTES_RATE, "out"),
    ] {
        let value = span.new_of(total.label) as f64 / span.seconds;
        let phrase = format!("{}/s {way}", bytes(value));
        report.state(rate.label, value, None, &phrase);
    }
    report.say(Status::Ok, &format!("all {span}"));
    Ok(())
}
