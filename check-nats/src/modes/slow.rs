//! Mode `slow`: consumers that were cut off because they read too slowly.

use monitor_client::{Incident, Kind, Slowz, Varz};

use super::{
    Check, Failure, Status,
    connection::{CLOSED_NEED, CLOSED_WITH_SUBJECTS, Connection, subjects},
    culprit::{self, Culprit, found},
    need::{Need, for_names, may, must, of_run},
    since,
};
use crate::{
    baseline::{Look, Span},
    deadline::Step,
    metric::{SLOW_CLIENTS, SLOW_CONSUMERS, SLOW_GATEWAYS, SLOW_LEAFS, SLOW_NEW, SLOW_ROUTES},
    text::{bytes, duration, plural, quoted_subject},
};

/// Incidents, which have the subjects that waited; midge keeps no more.
const INCIDENTS: &str = "/slowz?limit=512";

const TOTAL: &str = "slow_consumers";

pub(super) static NEEDS: &[Need] = &[
    of_run(&[
        must("slow_consumers", Kind::Count),
        may("slow_consumer_stats.clients", Kind::Count, &SLOW_CLIENTS),
        may("slow_consumer_stats.routes", Kind::Count, &SLOW_ROUTES),
        may("slow_consumer_stats.gateways", Kind::Count, &SLOW_GATEWAYS),
        may("slow_consumer_stats.leafs", Kind::Count, &SLOW_LEAFS),
    ]),
    for_names(
        "/slowz",
        Step::Slowz,
        &[
            must("server_id", Kind::Text),
            must("incidents", Kind::List),
            must("incidents.*.state", Kind::Text),
        ],
    ),
    CLOSED_NEED,
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    since::run(check, sample, judge)
}

fn sample(check: &mut Check) -> Result<(Varz, Look), Failure> {
    let varz = check.varz()?;
    let look = Look::of(&varz, [(TOTAL, varz.slow_consumers.unsigned_abs())])?;
    Ok((varz, look))
}

fn judge(check: &mut Check, varz: &Varz, span: Option<&Span>) -> Result<(), Failure> {
    set_totals(check, varz);
    let Some(span) = span else {
        let total = plural(varz.slow_consumers, "slow consumer");
        check
            .report
            .say(Status::Ok, &format!("{total} since the start"));
        return Ok(());
    };
    let new = span.new_of(TOTAL);
    let what = format!("{} {span}", plural(new, "new slow consumer"));
    culprit::state(check, &SLOW_NEW, new, &what, |check| cut_off(check, span));
    Ok(())
}

fn set_totals(check: &mut Check, varz: &Varz) {
    let report = &mut check.report;
    report.total(SLOW_CONSUMERS.label, Some(varz.slow_consumers));
    let kinds = varz.slow_consumer_stats;
    report.total(SLOW_CLIENTS.label, kinds.map(|kinds| kinds.clients));
    report.total(SLOW_ROUTES.label, kinds.map(|kinds| kinds.routes));
    report.total(SLOW_GATEWAYS.label, kinds.map(|kinds| kinds.gateways));
    report.total(SLOW_LEAFS.label, kinds.map(|kinds| kinds.leafs));
}

/// Those that were cut off, as far as the broker still has their records.
fn cut_off(check: &mut Check, span: &Span) -> Result<Vec<Culprit>, Failure> {
    let evicted = found(check, |check| {
        let answer = check.ask_if_there::<Slowz>(INCIDENTS)?;
        let mut evicted = answer.unwrap_or_default().incidents;
        evicted.retain(|incident| incident.state == "evicted" && span.includes(&incident.end));
        Ok(evicted.iter().map(of_incident).collect())
    });
    if !evicted.is_empty() {
        return Ok(evicted);
    }
    let closed = CLOSED_WITH_SUBJECTS.closed_in(check, span)?.connections;
    let cut = closed
        .iter()
        .filter(|connection| connection.reason.starts_with("Slow Consumer"));
    Ok(cut.map(of_connection).collect())
}

fn of_incident(incident: &Incident) -> Culprit {
    let name = [&incident.name, &incident.certificate, &incident.user]
        .into_iter()
        .find(|name| !name.is_empty());
    let who = Connection {
        cid: incident.cid,
        name: name.cloned().unwrap_or_default(),
        ip: incident.address.clone(),
        ..Connection::default()
    }
    .who();
    let waiting = incident.subjects.iter().map(|share| &*share.subject);
    let line = format!(
        "{who}: {} behind, {} lost ({}) with {}; {}",
        duration(incident.duration),
        plural(incident.lost_msgs, "message"),
        bytes(incident.lost_bytes as f64),
        subjects(waiting, incident.subjects.len()),
        incident.evidence
    );
    let name = match incident.subjects.first() {
        Some(most) => format!("{who} with {}", quoted_subject(&most.subject)),
        None => who,
    };
    Culprit { name, line }
}

fn of_connection(connection: &Connection) -> Culprit {
    let subscribed = connection.subscriptions_list.iter().map(String::as_str);
    let subscribed = subjects(subscribed, connection.subscriptions);
    let line = match &*subscribed {
        "" => format!("{}: {}", connection.who(), connection.reason),
        subjects => format!(
            "{}: {}, subscribed to {subjects}",
            connection.who(),
            connection.reason
        ),
    };
    Culprit {
        name: connection.who(),
        line,
    }
}
