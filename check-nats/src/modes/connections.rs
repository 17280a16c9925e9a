//! Mode `connections`: how many clients, and how many more there may be.

use monitor_client::{Kind, Varz};

use super::{
    Check, Failure, limit,
    need::{Need, may, must, of},
};
use crate::{
    deadline::Step,
    metric::{CONNECTIONS, TOTAL_CONNECTIONS},
    text::plural,
};

pub(super) static NEEDS: &[Need] = &[of(
    "/varz",
    Step::Varz,
    &[
        must("server_id", Kind::Text),
        must("connections", Kind::Count),
        must("max_connections", Kind::Number),
        may("total_connections", Kind::Count, &TOTAL_CONNECTIONS),
    ],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let varz = check.varz()?;
    let count = varz.connections;
    let max = limit(varz.max_connections);
    check
        .report
        .state(CONNECTIONS.label, count, max, &phrase(&varz));
    let total = varz.total_connections;
    check.report.total(TOTAL_CONNECTIONS.label, Some(total));
    Ok(())
}

/// `85 connections of 100`; the limit only when it is near.
pub(super) fn phrase(varz: &Varz) -> String {
    let count = plural(varz.connections, "connection");
    match limit(varz.max_connections) {
        Some(max) if varz.connections as f64 > max / 2.0 => format!("{count} of {max}"),
        _ => count,
    }
}
