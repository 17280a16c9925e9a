//! Mode `no-interest`: messages that reached nobody. Only midge counts them.

use monitor_client::{Kind, SubjectLoad, Topz, Varz};

use super::{
    Check, Failure, Status,
    culprit::{self, Culprit},
    need::{Need, for_names, may, must, of},
    since,
};
use crate::{
    baseline::{Look, Span},
    deadline::Step,
    metric::{NO_INTEREST, NO_INTEREST_NEW},
    text::{plural, quoted, quoted_subject},
};

const TOTAL: &str = "no_interest";

/// Windows of `/topz` with their seconds; the last one has no end.
const WINDOWS: [(f64, &str); 2] = [(60.0, "1m"), (300.0, "5m")];

pub(super) static NEEDS: &[Need] = &[
    of(
        "/varz",
        Step::Varz,
        &[
            must("server_id", Kind::Text),
            must("start", Kind::Text),
            must("now", Kind::Text),
            may("dropped_msgs.no_interest", Kind::Count, &NO_INTEREST),
        ],
    ),
    for_names(
        "/topz",
        Step::Topz,
        &[
            must("server_id", Kind::Text),
            must("no_interest", Kind::List),
            must("no_interest.*.subject", Kind::Text),
        ],
    ),
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    since::run(check, sample, judge)
}

fn sample(check: &mut Check) -> Result<(u64, Look), Failure> {
    let varz: Varz = check.varz()?;
    let lost = varz.dropped_msgs.as_ref();
    let Some(total) = lost.and_then(|lost| lost.get(TOTAL)).copied() else {
        return Err(Failure::unknown(format!(
            "{} has no \"dropped_msgs.no_interest\": only midge counts such messages",
            check.place("/varz")
        )));
    };
    let look = Look::of(&varz, [(TOTAL, total)])?;
    Ok((total, look))
}

fn judge(check: &mut Check, total: &u64, span: Option<&Span>) -> Result<(), Failure> {
    check.report.total(NO_INTEREST.label, Some(*total));
    let Some(span) = span else {
        let text = format!(
            "{} without a subscriber since the start",
            plural(*total, "message")
        );
        check.report.say(Status::Ok, &text);
        return Ok(());
    };
    let new = span.new_of(TOTAL);
    let what = format!("{} without a subscriber {span}", plural(new, "message"));
    culprit::state(check, &NO_INTEREST_NEW, new, &what, |check| {
        subjects(check, span)
    });
    Ok(())
}

/// The subjects with most of these messages, in the shortest window that has the whole span.
fn subjects(check: &mut Check, span: &Span) -> Result<Vec<Culprit>, Failure> {
    let fitting = WINDOWS.iter().find(|(seconds, _)| span.seconds < *seconds);
    let window = fitting.map_or("start", |(_, window)| window);
    let answer: Topz = check.ask(&format!("/topz?window={window}&n=100"))?;
    let line = |load: &SubjectLoad| Culprit {
        name: quoted_subject(&load.subject),
        line: format!(
            "{}: {} in the window {window}, for example from {}",
            quoted_subject(&load.subject),
            plural(load.msgs, "message"),
            quoted(&load.publisher)
        ),
    };
    Ok(answer.no_interest.iter().map(line).collect())
}
