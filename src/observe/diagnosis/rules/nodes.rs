//! The nodes of the fleet: those that are missing, lists that cannot be read, and clients that are
//! spread unevenly over the members.

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::{
    nodes::NodeView,
    observe::diagnosis::humanize::{plural, time},
};

/// Nodes that the text names.
const NAMED_MAX: usize = 5;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "nodes-missing",
        levels: "warning",
        meaning: "Nodes that should be connected (block `nodes`) have been connected to no member of \
                  the cluster for longer than `missing_after`. /nodesz lists all of them with the \
                  time and the member where each was seen last. Clients of nats-servers in the \
                  mesh are not seen.",
        cause: "Their hosts or agents are down, the network between them and the brokers is, or \
                they are not let in; or a host is gone for good.",
        remedy: "Look at the named nodes: is the host up, does the agent run, what does its log \
                 say? /eventsz?type=auth,tls has those that were not let in. Take hosts that are \
                 gone for good out of `expected` or its file; a learned one is forgotten by POST \
                 /forget?node=NAME to the monitoring socket of each broker that has it.",
        pace: Pace::AtOnce,
        find: missing,
    },
    Rule {
        code: "nodes-unreadable",
        levels: "warning",
        meaning: "The file of expected nodes, or the state file of nodes that were seen, cannot be \
                  used, or there are more nodes than are watched. What was read last stays in \
                  force.",
        cause: "The file was removed, has a line that is no certname, or its folder belongs to \
                another user.",
        remedy: "Mend what the text names: both files are tried again every few seconds. A state \
                 file with lines that are not midge's is kept with the ending `.bad`: remove it \
                 when you have looked at it.",
        pace: Pace::Lasting,
        find: unreadable,
    },
    Rule {
        code: "clients-uneven",
        levels: "info",
        meaning: "This broker has more clients than an even share of all clients of the cluster: by \
                  the number `uneven_clients` and by a quarter of the share. Another member has \
                  fewer than that share. Each member reports only itself. Connections that have not \
                  logged in do not count here and at other midges.",
        cause: "The other members were restarted one after the other: clients stay where they have \
                connected to, so the member that came back last has the fewest.",
        remedy: "Send POST /rebalance to the monitoring socket of this broker: it sends the surplus \
                 to the other members, some each second (docs/fleet.md). Nothing is wrong if a \
                 member is meant to have more.",
        pace: Pace::Slow,
        find: uneven,
    },
];

fn missing(evidence: &Evidence) -> Vec<Symptom> {
    let view = evidence.server.broker.nodes.view();
    if view.missing == 0 {
        return Vec::new();
    }
    let mut nodes: Vec<&NodeView> = view.missing().collect();
    nodes.sort_by_key(|node| std::cmp::Reverse(node.absent));
    let mut named: Vec<String> = nodes
        .iter()
        .take(NAMED_MAX)
        .map(|node| text(node))
        .collect();
    let more = nodes.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    let text = format!(
        "{} of {} not connected to any broker: {}",
        view.missing,
        plural(view.nodes.len() as u64, "expected node"),
        named.join("; ")
    );
    vec![warning("nodes", 0, text)]
}

fn text(node: &NodeView) -> String {
    let absent = time(node.absent.unwrap_or_default());
    let last = match &node.last {
        None => "never seen".to_owned(),
        Some(last) => format!("last at {} from {}", last.member, last.address),
    };
    format!("{} for {absent}, {last}", node.name)
}

fn unreadable(evidence: &Evidence) -> Vec<Symptom> {
    let view = evidence.server.broker.nodes.view();
    let mut symptoms = Vec::new();
    for (subject, error) in [
        ("expected nodes", &view.file_error),
        ("state of the nodes", &view.state_error),
    ] {
        if !error.is_empty() {
            symptoms.push(warning(subject, 0, error.clone()));
        }
    }
    if view.left_out > 0 {
        let left_out = plural(view.left_out as u64, "node");
        let text = format!("{left_out} beyond the limits of the broker are not watched");
        symptoms.push(warning("number of nodes", 0, text));
    }
    symptoms
}

fn uneven(evidence: &Evidence) -> Vec<Symptom> {
    let Some(spread) = evidence.server.spread() else {
        return Vec::new();
    };
    let surplus = spread.surplus();
    if surplus
        < evidence
            .thresholds
            .uneven_clients
            .max(spread.share / 4)
            .max(1)
    {
        return Vec::new();
    }
    let others: Vec<String> = spread
        .others
        .iter()
        .take(NAMED_MAX)
        .map(|(_, name, clients)| format!("{name} {clients}"))
        .collect();
    let progress = evidence.server.rebalancing.progress();
    let moving = match progress.filter(|progress| progress.running) {
        Some(progress) => format!(
            "; {} of {} have been sent there",
            progress.moved, progress.to_move
        ),
        None => String::new(),
    };
    let text = format!(
        "{} here, and an even share is {}: {} too many; others have: {}{moving}",
        plural(spread.own, "client"),
        spread.share,
        surplus,
        others.join(", ")
    );
    let name = &evidence.server.name;
    vec![Symptom {
        severity: Severity::Info,
        ..warning(name, 0, text)
    }]
}
