//! Mode `violations`: publishes and subscriptions that a client was not allowed. Only midge
//! counts them.

use monitor_client::{Kind, Varz};

use super::{
    Check, Failure, Status, culprit,
    need::{Need, may, must, of},
    recent_events::{self, EVENTS_NEED},
    since,
};
use crate::{
    baseline::{Look, Span},
    deadline::Step,
    metric::{VIOLATIONS, VIOLATIONS_NEW},
    text::plural,
};

const TOTAL: &str = "violations";

pub(super) static NEEDS: &[Need] = &[
    of(
        "/varz",
        Step::Varz,
        &[
            must("server_id", Kind::Text),
            must("start", Kind::Text),
            must("now", Kind::Text),
            may("permission_violations", Kind::Count, &VIOLATIONS),
        ],
    ),
    EVENTS_NEED,
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    since::run(check, sample, judge)
}

fn sample(check: &mut Check) -> Result<(u64, Look), Failure> {
    let varz: Varz = check.varz()?;
    let Some(total) = varz.permission_violations else {
        return Err(Failure::unknown(format!(
            "{} has no \"permission_violations\": only midge counts them",
            check.place("/varz")
        )));
    };
    let look = Look::of(&varz, [(TOTAL, total)])?;
    Ok((total, look))
}

fn judge(check: &mut Check, total: &u64, span: Option<&Span>) -> Result<(), Failure> {
    check.report.total(VIOLATIONS.label, Some(*total));
    let Some(span) = span else {
        let text = format!("{} since the start", plural(*total, "permission violation"));
        check.report.say(Status::Ok, &text);
        return Ok(());
    };
    let new = span.new_of(TOTAL);
    let what = format!("{} {span}", plural(new, "permission violation"));
    culprit::state(check, &VIOLATIONS_NEW, new, &what, |check| {
        recent_events::culprits(check, "auth.violation", span)
    });
    Ok(())
}
