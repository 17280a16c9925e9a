//! Mode `logins`: clients that were not let in. midge counts them; of a nats-server, the
//! closed connections have them.

use monitor_client::{Kind, Varz};

use super::{
    Check, Failure, Status,
    connection::{CLOSED, CLOSED_NEED, Connection},
    culprit::{Culprit, found, names, tell},
    need::{Need, may, must, of},
    recent_events::{self, EVENTS_NEED},
    since,
};
use crate::{
    baseline::{Look, Span},
    deadline::Step,
    metric::{
        LOGINS_ACCEPTED, LOGINS_REFUSED, LOGINS_REFUSED_NEW, ROUTE_TLS_FAILED, ROUTE_TLS_NEW,
        TLS_FAILED, TLS_FAILED_NEW,
    },
    text::plural,
};

const REFUSED: &str = "refused";
const TLS: &str = "tls";
const ROUTE_TLS: &str = "route tls";

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
            may("cluster.tls.failures", Kind::Count, &ROUTE_TLS_FAILED),
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
    let totals = [
        (REFUSED, refused(&varz)),
        (TLS, tls_failures(&varz)),
        (ROUTE_TLS, route_tls_failures(&varz).unwrap_or(0)),
    ];
    let look = Look::of(&varz, totals)?;
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

/// Of the route port; `None` without TLS there, and of a nats-server.
fn route_tls_failures(varz: &Varz) -> Option<u64> {
    varz.cluster["tls"]["failures"].as_u64()
}

fn judge(check: &mut Check, varz: &Varz, span: Option<&Span>) -> Result<(), Failure> {
    let report = &mut check.report;
    let logins = varz.logins.as_ref();
    report.total(LOGINS_ACCEPTED.label, logins.map(|logins| logins.accepted));
    report.total(LOGINS_REFUSED.label, logins.map(|_| refused(varz)));
    report.total(TLS_FAILED.label, varz.tls.as_ref().map(|tls| tls.failures));
    report.total(ROUTE_TLS_FAILED.label, route_tls_failures(varz));
    let Some(span) = span else {
        if logins.is_some() {
            let text = format!("{} since the start", plural(refused(varz), "refused login"));
            report.say(Status::Ok, &text);
        }
        return Ok(());
    };
    match logins {
        Some(_) => by_totals(check, varz, span),
        None => by_closed_connections(check, span),
    }
}

fn by_totals(check: &mut Check, varz: &Varz, span: &Span) -> Result<(), Failure> {
    let new = [REFUSED, TLS, ROUTE_TLS].map(|name| span.new_of(name));
    let culprits = match new {
        [0, 0, 0] => Vec::new(),
        _ => found(check, |check| recent_events::culprits(check, EVENTS, span)),
    };
    let [refused, tls, route_tls] = new;
    if route_tls_failures(varz).is_some() {
        let what = plural(route_tls, "failed TLS handshake");
        let text = format!("{what} with other brokers {span}{}", names(&culprits));
        check
            .report
            .watch(ROUTE_TLS_NEW.label, route_tls, None, &text);
    }
    state(check, span, [refused, tls], "", &culprits);
    Ok(())
}

/// A nats-server has no totals, but why its last connections were closed.
fn by_closed_connections(check: &mut Check, span: &Span) -> Result<(), Failure> {
    let closed = CLOSED.closed_in(check, span)?;
    let at_least = match closed.is_cut || !closed.gap.is_empty() {
        true => "at least ",
        false => "",
    };
    let of = |reason: &str| {
        let mut of_reason: Vec<&Connection> = closed.connections.iter().collect();
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
    closed.say_gap(check);
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
