//! Modes `no-interest` and `violations`: one total of midge, which names who is behind it. Other
//! brokers do not count these.

use monitor_client::{Kind, SubjectLoad, Topz, Varz};

use super::{
    Check, Failure, Status,
    culprit::{self, Culprit},
    need::{Need, for_names, may, must, of_run},
    recent_events::{self, EVENTS_NEED},
    since,
};
use crate::{
    baseline::{Look, Span},
    deadline::Step,
    metric::{Metric, NO_INTEREST, NO_INTEREST_NEW, VIOLATIONS, VIOLATIONS_NEW},
    text::{plural, quoted, quoted_subject},
};

/// Windows of `/topz` with their seconds; the last one has no end.
const WINDOWS: [(f64, &str); 2] = [(60.0, "1m"), (300.0, "5m")];

/// What is counted.
struct Counted {
    /// Its place in `/varz`; also its name in the state.
    field: &'static str,
    total: fn(&Varz) -> Option<u64>,
    /// One of them, and what follows the number of several.
    noun: &'static str,
    more: &'static str,
    /// All of them.
    all: &'static str,
    metric: &'static Metric,
    new: &'static Metric,
    find: fn(&mut Check, &Span) -> Result<Vec<Culprit>, Failure>,
}

/// Messages that reached nobody.
static WITHOUT_INTEREST: Counted = Counted {
    field: "dropped_msgs.no_interest",
    total: |varz| varz.dropped_msgs.as_ref()?.get("no_interest").copied(),
    noun: "message",
    more: " without a subscriber",
    all: "messages without a subscriber",
    metric: &NO_INTEREST,
    new: &NO_INTEREST_NEW,
    find: subjects,
};

/// Publishes and subscriptions that a client was not allowed.
static REFUSED: Counted = Counted {
    field: "permission_violations",
    total: |varz| varz.permission_violations,
    noun: "permission violation",
    more: "",
    all: "permission violations",
    metric: &VIOLATIONS,
    new: &VIOLATIONS_NEW,
    find: |check, span| recent_events::culprits(check, "auth.violation", span),
};

pub(super) static NO_INTEREST_NEEDS: &[Need] = &[
    of_run(&[may(WITHOUT_INTEREST.field, Kind::Count, &NO_INTEREST)]),
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

pub(super) static VIOLATIONS_NEEDS: &[Need] = &[
    of_run(&[may(REFUSED.field, Kind::Count, &VIOLATIONS)]),
    EVENTS_NEED,
];

pub(super) fn no_interest(check: &mut Check) -> Result<(), Failure> {
    WITHOUT_INTEREST.run(check)
}

pub(super) fn violations(check: &mut Check) -> Result<(), Failure> {
    REFUSED.run(check)
}

impl Counted {
    fn run(&self, check: &mut Check) -> Result<(), Failure> {
        since::run(
            check,
            |check| self.sample(check),
            |check, total, span| self.judge(check, *total, span),
        )
    }

    fn sample(&self, check: &mut Check) -> Result<(u64, Look), Failure> {
        let varz = check.varz()?;
        let Some(total) = (self.total)(&varz) else {
            return Err(Failure::unknown(format!(
                "only midge counts {}: {} has no \"{}\"",
                self.all,
                check.place("/varz"),
                self.field
            )));
        };
        let look = Look::of(&varz, [(self.field, total)])?;
        Ok((total, look))
    }

    fn judge(&self, check: &mut Check, total: u64, span: Option<&Span>) -> Result<(), Failure> {
        check.report.total(self.metric.label, Some(total));
        let counted = |number: u64| format!("{}{}", plural(number, self.noun), self.more);
        let Some(span) = span else {
            let text = format!("{} since the start", counted(total));
            check.report.say(Status::Ok, &text);
            return Ok(());
        };
        let new = span.new_of(self.field);
        let what = format!("{} {span}", counted(new));
        culprit::state(check, self.new, new, &what, |check| {
            (self.find)(check, span)
        });
        Ok(())
    }
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
