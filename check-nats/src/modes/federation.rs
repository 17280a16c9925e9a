//! Mode `federation`: whether the federation broker of a Choria site serves. Only midge has one.

use monitor_client::{FederationNodes, Federationz, Kind};

use super::{
    Check, Failure,
    need::{Need, may, must, of_midge},
};
use crate::{
    deadline::Step,
    metric::{
        FEDERATION_DROPPED, FEDERATION_PENDING, FEDERATION_REFUSED, FEDERATION_REPLIES,
        FEDERATION_REQUESTS, FEDERATION_RTT, FEDERATION_SILENT, FEDERATION_UP,
    },
    report::Report,
    text::{bytes, duration, plural, quoted},
};

pub(super) static NEEDS: &[Need] = &[of_midge(
    "/federationz",
    Step::Federationz,
    "only midge can be the federation broker of a site",
    &[
        must("server_id", Kind::Text),
        must("enabled", Kind::Flag),
        must("upstream.connected", Kind::Flag),
        must("upstream.age", Kind::Count),
        must("upstream.pending", Kind::Count),
        must("requests.received", Kind::Count),
        must("requests.refused", Kind::Count),
        must("replies.received", Kind::Count),
        must("replies.refused", Kind::Count),
        must("replies.dropped", Kind::Count),
        may("nodes.silent", Kind::Count, &FEDERATION_SILENT),
    ],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let answer: Federationz = check.ask("/federationz")?;
    if !answer.enabled {
        let text = "this broker is no federation broker: its configuration has no block federation";
        return Err(Failure::unknown(text));
    }
    let Federationz {
        name,
        upstream,
        requests,
        replies,
        round_trips,
        nodes,
        ..
    } = answer;
    let report = &mut check.report;
    let age = duration(upstream.age);
    let site = quoted(&name);
    let phrase = match upstream.connected {
        true => format!("site {site} connected to {}", quoted(&upstream.address)),
        false => format!(
            "site {site} has had no upstream broker for {age}: {}",
            quoted(&upstream.error)
        ),
    };
    let connected = f64::from(u8::from(upstream.connected));
    report.state(FEDERATION_UP.label, connected, None, &phrase);
    let pending = upstream.pending as f64;
    let phrase = format!("{} wait for the upstream broker", bytes(pending));
    let limit = Some(upstream.pending_max as f64).filter(|max| *max > 0.0);
    report.watch(FEDERATION_PENDING.label, pending, limit, &phrase);
    if let Some(shortest) = round_trips.shortest {
        let phrase = format!("the nodes answer after {} at the least", duration(shortest));
        report.watch(FEDERATION_RTT.label, shortest, None, &phrase);
    }
    report_nodes(report, &nodes);
    report.total(FEDERATION_REQUESTS.label, Some(requests.received as f64));
    report.total(FEDERATION_REPLIES.label, Some(replies.received as f64));
    let refused = requests.refused.saturating_add(replies.refused);
    report.total(FEDERATION_REFUSED.label, Some(refused as f64));
    report.total(FEDERATION_DROPPED.label, Some(replies.dropped as f64));
    for (direction, traffic) in [("requests", &requests), ("replies", &replies)] {
        for (reason, count) in &traffic.refused_by_reason {
            let refused = plural(*count as f64, "message");
            let text = format!("{direction}: {refused} refused: {}", quoted(reason));
            report.detail(1, &text);
        }
    }
    if upstream.connected && !upstream.error.is_empty() {
        let text = format!("the last trouble upstream: {}", quoted(&upstream.error));
        report.detail(1, &text);
    }
    Ok(())
}

/// The nodes that do not answer, and their names.
fn report_nodes(report: &mut Report, nodes: &FederationNodes) {
    let (silent, asked) = (nodes.silent as f64, nodes.asked as f64);
    let phrase = format!(
        "{} of {} here do not answer",
        nodes.silent,
        plural(asked, "node")
    );
    let limit = Some(asked).filter(|asked| *asked > 0.0);
    report.watch(FEDERATION_SILENT.label, silent, limit, &phrase);
    for node in &nodes.silent_nodes {
        let requests = plural(f64::from(node.requests), "request");
        let refused = match node.denied {
            true => "; the broker refuses its answers: see its permissions",
            false => "",
        };
        let (name, since) = (quoted(&node.name), quoted(&node.since));
        let text = format!("{name} has not answered {requests} since {since}{refused}");
        report.detail(1, &text);
    }
}
