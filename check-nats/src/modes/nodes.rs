//! Mode `nodes`: whether the expected nodes are connected to some member of the cluster. Only midge
//! watches them.

use monitor_client::{Kind, Nodesz};

use super::{
    Check, Failure,
    need::{Need, must, of_midge},
};
use crate::{
    deadline::Step,
    metric::{NODES_AGE, NODES_EXPECTED, NODES_MISSING, NODES_PRESENT},
    text::{duration, plural, quoted},
};

/// Nodes that the first line names.
const NAMED_MAX: usize = 5;

pub(super) static NEEDS: &[Need] = &[of_midge(
    "/nodesz",
    Step::Nodesz,
    "only midge watches nodes",
    &[
        must("server_id", Kind::Text),
        must("enabled", Kind::Flag),
        must("age", Kind::Count),
        must("expected", Kind::Count),
        must("present", Kind::Count),
        must("missing", Kind::Count),
        must("left_out", Kind::Count),
        must("nodes", Kind::List),
    ],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let answer: Nodesz = check.ask("/nodesz?limit=100")?;
    if !answer.enabled {
        let text = "this broker watches no nodes: its configuration has no block nodes";
        return Err(Failure::unknown(text));
    }
    let report = &mut check.report;
    let missing = answer.missing as f64;
    let mut names: Vec<String> = answer
        .nodes
        .iter()
        .take(NAMED_MAX)
        .map(|node| quoted(&node.certname))
        .collect();
    let more = answer.missing.saturating_sub(names.len());
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let named = match names.is_empty() {
        true => String::new(),
        false => format!(": {}", names.join(", ")),
    };
    let phrase = format!(
        "{} of {} missing{named}",
        answer.missing,
        plural(answer.expected as f64, "expected node")
    );
    let limit = Some(answer.expected as f64).filter(|expected| *expected > 0.0);
    report.state(NODES_MISSING.label, missing, limit, &phrase);
    report.watch(
        NODES_AGE.label,
        answer.age,
        None,
        &format!("looked at {} ago", duration(answer.age)),
    );
    report.total(NODES_EXPECTED.label, Some(answer.expected as f64));
    report.total(NODES_PRESENT.label, Some(answer.present as f64));
    for node in &answer.nodes {
        let last = match &*node.member {
            "" => "it was never seen".to_owned(),
            member => format!(
                "last seen {} at {} ({})",
                quoted(&node.last_seen),
                quoted(member),
                quoted(&node.address)
            ),
        };
        let absent = duration(node.absent);
        let text = format!("{}: missing for {absent}; {last}", quoted(&node.certname));
        report.detail(1, &text);
    }
    for error in [&answer.file_error, &answer.state_error] {
        if !error.is_empty() {
            report.detail(0, &quoted(error));
        }
    }
    if answer.left_out > 0 {
        let text = format!(
            "{} beyond the broker's limits",
            plural(answer.left_out as f64, "node")
        );
        report.detail(0, &text);
    }
    Ok(())
}
