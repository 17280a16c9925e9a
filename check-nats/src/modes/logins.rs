//! Mode `logins`: clients that were not let in. midge counts them; of a nats-server, the
//! closed connections have them.

use monitor_client::{EventInfo, Kind, Varz};

use super::{
    Check, Failure, Status,
    connection::{CLOSED, CLOSED_NEED},
    culprit::{Culprit, found, names, tell},
    need::{Need, may, of_run},
    recent_events::{self, EVENTS_NEED},
    since,
};
use crate::{
    baseline::{Look, Span},
    metric::{
        LOGINS_ACCEPTED, LOGINS_REFUSED, LOGINS_REFUSED_NEW, Metric, ROUTE_TLS_FAILED,
        ROUTE_TLS_NEW, TLS_FAILED, TLS_FAILED_NEW,
    },
    text::plural,
};

const REFUSED: &str = "refused";
const TLS: &str = "tls";
const ROUTE_TLS: &str = "route tls";

/// Kinds of events about clients that were not let in.
const EVENTS: &str = "auth.failed,tls.failed";

pub(super) static NEEDS: &[Need] = &[
    of_run(&[
        may("logins.accepted", Kind::Count, &LOGINS_ACCEPTED),
        may("tls.failures", Kind::Count, &TLS_FAILED),
        may("cluster.tls.failures", Kind::Count, &ROUTE_TLS_FAILED),
    ]),
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
    let events = match new {
        [0, 0, 0] => Vec::new(),
        _ => found(check, |check| recent_events::in_span(check, EVENTS, span)),
    };
    let turned_away = |count, is_one: fn(&EventInfo) -> bool| TurnedAway {
        count,
        at_least: "",
        culprits: recent_events::by_subject(events.iter().filter(|event| is_one(event))),
    };
    let [refused, tls, route_tls] = new;
    if route_tls_failures(varz).is_some() {
        turned_away(route_tls, is_of_route).watch(
            check,
            &ROUTE_TLS_NEW,
            "failed TLS handshake",
            &format!("with other brokers {span}"),
        );
    }
    let refused = turned_away(refused, |event| event.kind == "auth.failed");
    let tls = turned_away(tls, |event| {
        event.kind == "tls.failed" && !is_of_route(event)
    });
    state(check, span, &refused, &tls);
    Ok(())
}

/// Whether an event is about a handshake at the route port: only its words say so.
fn is_of_route(event: &EventInfo) -> bool {
    event.kind == "tls.failed" && event.text.starts_with("TLS route handshake")
}

/// A nats-server has no totals, but why its last connections were closed.
fn by_closed_connections(check: &mut Check, span: &Span) -> Result<(), Failure> {
    let closed = CLOSED.closed_in(check, span)?;
    let at_least = match closed.is_cut || !closed.gap.is_empty() {
        true => "at least ",
        false => "",
    };
    let turned_away = |reason: &str| {
        let all = closed.connections.iter();
        let culprits: Vec<Culprit> = all
            .filter(|connection| connection.reason.starts_with(reason))
            .map(|connection| Culprit {
                name: connection.who(),
                line: format!("{}: {}", connection.who(), connection.reason),
            })
            .collect();
        TurnedAway {
            count: culprits.len() as u64,
            at_least,
            culprits,
        }
    };
    let (refused, tls) = (turned_away("Authentication"), turned_away("TLS Handshake"));
    state(check, span, &refused, &tls);
    closed.say_gap(check);
    Ok(())
}

/// Those who were not let in for one reason.
struct TurnedAway {
    count: u64,
    /// Before the count: empty, or that there may be more.
    at_least: &'static str,
    culprits: Vec<Culprit>,
}

impl TurnedAway {
    fn phrase(&self, noun: &str, when: &str) -> String {
        let names = if self.count > 0 {
            names(&self.culprits)
        } else {
            String::new()
        };
        format!(
            "{}{} {when}{names}",
            self.at_least,
            plural(self.count, noun)
        )
    }

    /// Sets a metric, and names them if it alerts.
    fn watch(&self, check: &mut Check, metric: &Metric, noun: &str, when: &str) {
        let text = self.phrase(noun, when);
        if check.report.watch(metric.label, self.count, None, &text) {
            tell(check, &self.culprits);
        }
    }
}

fn state(check: &mut Check, span: &Span, refused: &TurnedAway, tls: &TurnedAway) {
    let when = span.to_string();
    let text = refused.phrase("refused login", &when);
    check
        .report
        .state(LOGINS_REFUSED_NEW.label, refused.count, None, &text);
    tell(check, &refused.culprits);
    tls.watch(check, &TLS_FAILED_NEW, "failed TLS handshake", &when);
}
