//! Mode `logins`: clients that were not let in. midge counts them; of a nats-server, the
//! closed connections have them.

use monitor_client::{Kind, Varz};

use super::{
    Check, Failure, Status,
    connection::{CLOSED, CLOSED_MAX, CLOSED_NEED, Connection, closed_in},
    culprit::{Culprit, found, names, tell},
    need::{Need, may, must, of},
    recent_events::{self, EVENTS_NEED},
    since,
};
use crate::{
    baseline::{Look, Span},
    deadline::Step,
    metric::{LOGINS_ACCEPTED, LOGINS_REFUSED, LOGINS_REFUSED_NEW, TLS_FAILED, TLS_FAILED_NEW},
    text::plural,
};

const REFUSED: &str = "refused";
const TLS: &str = "tls";

/// Kinds of events about clients that were not let in.
const EVENTS: &str = "auth.failed,tls.failed";

pub(super) static NEEDS: &[Need] = &[
    of(
        "/varz",
        Step::Varz,
        &[
            must("server_id", Kind::Text),
            must("start", Kind::Text),
            must("now", Kind::Text),
            may("logins.accepted", Kind::Count, &LOGINS_ACCEPTED),
            may("tls.failures", Kind::Count, &TLS_FAILED),
        ],
    ),
    EVENTS_NEED,
    // Of a nats-server: the verdict itself, but only from the second run on.
    CLOSED_NEED,
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    since::run(check, sample, judge)
}

fn sample(check: &mut Check) -> Result<(Varz, Look), Failure> {
    let varz = check.varz()?;
    let look = Look::of(
        &varz,
        [(REFUSED, refused(&varz)), (TLS, tls_failures(&varz))],
    )?;
    Ok((varz, look))
}

fn refused(varz: &Varz) -> u64 {
    let reasons = varz
        .logins
        .iter()
        .flat_map(|logins| logins.refused.values());
    reasons.fold(0_u64, |sum, count| sum.saturating_add(*count))
}

fn tls_failures(varz: &Varz) -> u64 {
    varz.tls.as_ref().map_or(0, |tls| tls.failures)
}

fn judge(check: &mut Check, varz: &Varz, span: Option<&Span>) -> Result<(), Failure> {
    let report = &mut check.report;
    let logins = varz.logins.as_ref();
    report.total(LOGINS_ACCEPTED.label, logins.map(|logins| logins.accepted));
    report.total(LOGINS_REFUSED.label, logins.map(|_| refused(varz)));
    report.total(TLS_FAILED.label, varz.tls.as_ref().map(|tls| tls.failures));
    let Some(span) = span else {
        if logins.is_some() {
            let text = format!("{} since the start", plural(refused(varz), "refused login"));
            report.say(Status::Ok, &text);
        }
        return Ok(());
    };
    match logins {
        Some(_) => by_totals(check, span),
        None => by_closed_connections(check, span),
    }
}

fn by_totals(check: &mut Check, span: &Span) -> Result<(), Failure> {
    let (refused, tls) = (span.new_of(REFUSED), span.new_of(TLS));
    let culprits = match (refused, tls) {
        (0, 0) => Vec::new(),
        _ => found(check, |check| recent_events::culprits(check, EVENTS, span)),
    };
    state(check, span, [refused, tls], "", &culprits);
    Ok(())
}

/// A nats-server has no totals, but why its last connections were closed.
fn by_closed_connections(check: &mut Check, span: &Span) -> Result<(), Failure> {
    let closed = closed_in(check, CLOSED, span)?;
    // Older ones of the span may be missing.
    let at_least = match closed.len() < CLOSED_MAX {
        true => "",
        false => "at least ",
    };
    let of = |reason: &str| {
        let mut of_reason: Vec<&Connection> = closed.iter().collect();
        of_reason.retain(|connection| connection.reason.starts_with(reason));
        of_reason
    };
    let (refused, tls) = (of("Authentication"), of("TLS Handshake"));
    let culprits: Vec<Culprit> = refused
        .iter()
        .chain(&tls)
        .map(|connection| Culprit {
            name: connection.who(),
            line: format!("{}: {}", connection.who(), connection.reason),
        })
        .collect();
    let counts = [refused.len() as u64, tls.len() as u64];
    state(check, span, counts, at_least, &culprits);
    Ok(())
}

fn state(
    check: &mut Check,
    span: &Span,
    [refused, tls]: [u64; 2],
    at_least: &str,
    culprits: &[Culprit],
) {
    let names = names(culprits);
    let phrase = |count: u64, what: &str| {
        let names = if count > 0 { &*names } else { "" };
        format!("{at_least}{} {span}{names}", plural(count, what))
    };
    let report = &mut check.report;
    let text = phrase(refused, "refused login");
    report.state(LOGINS_REFUSED_NEW.label, refused, None, &text);
    let text = phrase(tls, "failed TLS handshake");
    report.watch(TLS_FAILED_NEW.label, tls, None, &text);
    tell(check, culprits);
}
