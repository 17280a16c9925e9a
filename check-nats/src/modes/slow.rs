//! Mode `slow`: consumers that were cut off because they read too slowly.

use monitor_client::{Kind, Varz};

use super::{
    Check, Compared, Connection, Failure, Page, compare,
    need::{Need, may, must, of},
    seconds_between, who,
};
use crate::{
    deadline::Step,
    metric::{SLOW_CLIENTS, SLOW_CONSUMERS, SLOW_GATEWAYS, SLOW_LEAFS, SLOW_NEW, SLOW_ROUTES},
    status::Status,
    text::{duration, plural},
};

/// The latest closed connections that are looked through for names.
const CLOSED: &str = "/connz?state=closed&sort=stop&limit=256";

/// Names on the first line; `-v` has the rest.
const NAMED_MAX: usize = 3;

pub(super) static NEEDS: &[Need] = &[
    of(
        "/varz",
        Step::Varz,
        &[
            must("server_id", Kind::Text),
            must("start", Kind::Text),
            must("now", Kind::Text),
            must("slow_consumers", Kind::Count),
            may("slow_consumer_stats.clients", Kind::Count, &SLOW_CLIENTS),
            may("slow_consumer_stats.routes", Kind::Count, &SLOW_ROUTES),
            may("slow_consumer_stats.gateways", Kind::Count, &SLOW_GATEWAYS),
            may("slow_consumer_stats.leafs", Kind::Count, &SLOW_LEAFS),
        ],
    ),
    // Only for the names of those that were cut off.
    of(
        "/connz",
        Step::Connz,
        &[
            must("connections", Kind::List),
            must("connections.*.cid", Kind::Count),
        ],
    ),
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let (varz, compared) = compare(check)?;
    set_totals(check, &varz);
    let Some(compared) = compared else {
        let total = plural(varz.slow_consumers as f64, "slow consumer");
        check
            .report
            .say(Status::Ok, &format!("{total} since the start"));
        return Ok(());
    };
    // A total that runs backwards is another server behind the same address.
    let new = (compared.now.slow_consumers - compared.then.slow_consumers).max(0.0);
    let mut phrase = format!(
        "{} in {}",
        plural(new, "new slow consumer"),
        duration(compared.seconds)
    );
    if new > 0.0 {
        phrase.push_str(&names(check, &compared));
    }
    check.report.state(SLOW_NEW.label, new, None, &phrase);
    Ok(())
}

fn set_totals(check: &mut Check, varz: &Varz) {
    let report = &mut *check.report;
    report.total(SLOW_CONSUMERS.label, Some(varz.slow_consumers as f64));
    let kinds = varz.slow_consumer_stats;
    report.total(SLOW_CLIENTS.label, kinds.map(|kinds| kinds.clients as f64));
    report.total(SLOW_ROUTES.label, kinds.map(|kinds| kinds.routes as f64));
    report.total(
        SLOW_GATEWAYS.label,
        kinds.map(|kinds| kinds.gateways as f64),
    );
    report.total(SLOW_LEAFS.label, kinds.map(|kinds| kinds.leafs as f64));
}

/// The connections that were cut, as far as the broker still has their records: `: "app-7"
/// 10.0.0.7`.
fn names(check: &mut Check, compared: &Compared) -> String {
    let closed = match check.ask::<Page>(CLOSED) {
        Ok(page) => page.connections,
        Err(failure) => {
            check
                .report
                .detail(1, &format!("names unknown: {}", failure.text));
            return String::new();
        }
    };
    let cut: Vec<&Connection> = closed
        .iter()
        .filter(|connection| was_cut(connection, &compared.then.now))
        .collect();
    if cut.is_empty() {
        return String::new();
    }
    for connection in &cut {
        check
            .report
            .detail(1, &format!("{}: {}", who(connection), connection.reason));
    }
    let named: Vec<String> = cut.iter().take(NAMED_MAX).map(|cut| who(cut)).collect();
    let more = match cut.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(": {}{more}", named.join(", "))
}

fn was_cut(connection: &Connection, since: &str) -> bool {
    let after = connection
        .stop
        .as_deref()
        .and_then(|stop| seconds_between(since, stop))
        .is_some_and(|seconds| seconds >= 0.0);
    after && connection.reason.starts_with("Slow Consumer")
}
