//! Mode `losses`: messages that were published and never written to a socket. Only midge
//! counts them.

use std::{cmp::Reverse, collections::BTreeMap};

use monitor_client::{Kind, Varz};

use super::{
    Check, Failure, Status,
    connection::{CLOSED, CLOSED_NEED, Connection},
    culprit::{Culprit, found, names, tell},
    need::{Need, may, of_run},
    since,
};
use crate::{
    baseline::{Look, Span},
    metric::{
        LOST_BYTES_NEW, LOST_CLOSED, LOST_CLOSED_NEW, LOST_NEW, LOST_REPLIES_FULL,
        LOST_SLOW_CONSUMER, LOST_TOO_LONG, LOST_WRITE_ERROR, Metric,
    },
    text::{bytes, plural},
};

/// The reason that is no fault: a client went away in order with messages under way.
const IN_ORDER: &str = "closed";

/// The reason that mode `no-interest` is about.
const NO_INTEREST: &str = "no_interest";

/// Reasons by their names in `/varz`, with the metric of each total.
static REASONS: [(&str, &Metric); 5] = [
    ("slow_consumer", &LOST_SLOW_CONSUMER),
    ("write_error", &LOST_WRITE_ERROR),
    ("too_long", &LOST_TOO_LONG),
    ("replies_full", &LOST_REPLIES_FULL),
    (IN_ORDER, &LOST_CLOSED),
];

/// Names of totals of a look that are no reason.
const LOST: &str = "all but closed";
const BYTES: &str = "bytes of these";

pub(super) static NEEDS: &[Need] = &[
    of_run(&[
        may(
            "dropped_msgs.slow_consumer",
            Kind::Count,
            &LOST_SLOW_CONSUMER,
        ),
        may("dropped_msgs.write_error", Kind::Count, &LOST_WRITE_ERROR),
        may("dropped_msgs.too_long", Kind::Count, &LOST_TOO_LONG),
        may("dropped_msgs.replies_full", Kind::Count, &LOST_REPLIES_FULL),
        may("dropped_msgs.closed", Kind::Count, &LOST_CLOSED),
        may("dropped_bytes.slow_consumer", Kind::Count, &LOST_BYTES_NEW),
    ]),
    CLOSED_NEED,
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    since::run(check, sample, judge)
}

fn sample(check: &mut Check) -> Result<(Varz, Look), Failure> {
    let varz = check.varz()?;
    let (Some(msgs), Some(bytes)) = (&varz.dropped_msgs, &varz.dropped_bytes) else {
        return Err(Failure::unknown(format!(
            "only midge counts lost messages: {} has no \"dropped_msgs\"",
            check.place("/varz")
        )));
    };
    let reasons = REASONS
        .iter()
        .filter_map(|(reason, _)| Some((*reason, *msgs.get(*reason)?)));
    let totals = reasons.chain([(LOST, faults(msgs)), (BYTES, faults(bytes))]);
    let look = Look::of(&varz, totals)?;
    Ok((varz, look))
}

/// How much was lost by a fault. Reasons of a later version are faults, too.
fn faults(lost: &BTreeMap<String, u64>) -> u64 {
    let is_fault = |reason: &&String| !matches!(reason.as_str(), IN_ORDER | NO_INTEREST);
    let faults = lost.iter().filter(|(reason, _)| is_fault(reason));
    faults.fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

fn judge(check: &mut Check, varz: &Varz, span: Option<&Span>) -> Result<(), Failure> {
    let lost = varz.dropped_msgs.as_ref();
    for (reason, metric) in REASONS {
        let total = lost.and_then(|lost| lost.get(reason)).copied();
        check.report.total(metric.label, total);
    }
    let Some(span) = span else {
        let total = plural(lost.map_or(0, faults), "message");
        let text = format!("{total} lost since the start");
        check.report.say(Status::Ok, &text);
        return Ok(());
    };
    let (new, new_bytes, closed) = (span.new_of(LOST), span.new_of(BYTES), span.new_of(IN_ORDER));
    let culprits = match (new, closed) {
        (0, 0) => Vec::new(),
        _ => found(check, |check| losers(check, span)),
    };
    let phrase = format!(
        "{} lost {span}{}{}",
        plural(new, "message"),
        by_reason(span),
        names(&culprits)
    );
    let report = &mut check.report;
    report.state(LOST_NEW.label, new, None, &phrase);
    let phrase = format!("{} lost {span}", bytes(new_bytes as f64));
    report.watch(LOST_BYTES_NEW.label, new_bytes, None, &phrase);
    let phrase = format!(
        "{} lost {span} that waited for connections which ended",
        plural(closed, "message")
    );
    report.watch(LOST_CLOSED_NEW.label, closed, None, &phrase);
    tell(check, &culprits);
    Ok(())
}

/// ` (slow_consumer 1000, too_long 2)`; nothing if nothing was lost.
fn by_reason(span: &Span) -> String {
    let mut lost: Vec<(&str, u64)> = REASONS
        .iter()
        .filter(|(reason, _)| *reason != IN_ORDER)
        .map(|(reason, _)| (*reason, span.new_of(reason)))
        .filter(|(_, count)| *count > 0)
        .collect();
    lost.sort_by_key(|(_, count)| Reverse(*count));
    let known: u64 = lost.iter().map(|(_, count)| count).sum();
    let other = span.new_of(LOST).saturating_sub(known);
    if other > 0 {
        lost.push(("other", other));
    }
    let lost: Vec<String> = lost
        .iter()
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    match lost.is_empty() {
        true => String::new(),
        false => format!(" ({})", lost.join(", ")),
    }
}

/// The closed connections that lost messages, the one with most of them first.
fn losers(check: &mut Check, span: &Span) -> Result<Vec<Culprit>, Failure> {
    let mut closed = CLOSED.closed_in(check, span)?.connections;
    closed.retain(|connection| connection.dropped_msgs > 0);
    closed.sort_by_key(|connection| Reverse(connection.dropped_msgs));
    Ok(closed.iter().map(culprit).collect())
}

fn culprit(connection: &Connection) -> Culprit {
    let who = connection.who();
    Culprit {
        line: format!(
            "{who}: {}, {}, closed with {}",
            plural(connection.dropped_msgs, "message"),
            bytes(connection.dropped_bytes as f64),
            connection.reason
        ),
        name: who,
    }
}
