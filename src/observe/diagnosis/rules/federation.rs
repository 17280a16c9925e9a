//! The federation: no upstream broker, messages that are not passed on, a site that answers later
//! than it used to, nodes that do not answer, and a federation broker that takes its share and does
//! nothing with it.

use std::time::Duration;

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::{
    federation::{
        figures::Direction, refusal::Refusal, session::PENDING_MAX, silent_nodes::SilentNode,
    },
    observe::diagnosis::humanize::{bytes, plural, time},
};

/// How many times what is usual a round trip takes that has grown.
const GROWN_TIMES: u32 = 2;

/// Messages that a member takes before its silence means something.
const TAKEN_MIN: u64 = 5;

const NODES_SILENT_CAUSE: &str = "`mcollectived` or `choria server` hangs there, its clock is wrong, so that it takes requests \
     for expired, or it does not accept their signature (its CA, CRL or policy).";

/// Silent nodes that a finding names.
const NODES_NAMED: usize = 5;

/// A round trip that was measured longer ago than this says nothing about now.
const RECENT: Duration = Duration::from_secs(600);

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "federation-unreachable",
        levels: "critical",
        meaning: "This broker is the federation broker of its site (block `federation`) and none \
                  of the upstream brokers is connected. Clients there reach the nodes of this site \
                  through other federation brokers of it, or not at all.",
        cause: "The upstream brokers are down, cannot be reached, or refuse this one (login, \
                certificate, permissions).",
        remedy: "The text names the reason of the last attempt. Check host and port in `upstream`, \
                 the certificates, and on the upstream brokers the log and the permissions: the \
                 federation subscribes to `choria.federation.NAME.federation` there.",
        pace: Pace::Lasting,
        find: unreachable,
    },
    Rule {
        code: "federation-refused",
        levels: "warning",
        meaning: "The federation did not pass messages on, within the time `incident_window`. Each \
                  is counted by its reason in /federationz.",
        cause: "By the reason: a client of another collective than those of the block \
                `federation`, something that is no Choria message on the federation's subjects, or \
                an attempt to publish on subjects that are not for agents, nodes or replies.",
        remedy: "Name all collectives of the site in `collectives`. Otherwise find who publishes on \
                 the subject: /topz on the upstream brokers for requests, here for replies; and \
                 permit it only to clients.",
        pace: Pace::AtOnce,
        find: refused,
    },
    Rule {
        code: "federation-dropped",
        levels: "warning",
        meaning: "The federation dropped replies of the site, within the time `incident_window`: \
                  more waited for the upstream broker than is kept.",
        cause: "The upstream broker or the network to it takes less than the site sends, or the \
                replies of a whole fleet came at once.",
        remedy: "Check the network to the upstream broker and its load. Ask in batches (`--batch` \
                 of mco), or add federation brokers: each other broker of the site may have the \
                 same block.",
        pace: Pace::AtOnce,
        find: dropped,
    },
    Rule {
        code: "federation-slow",
        levels: "warning",
        meaning: "Requests to the agent `discovery`, such as those of `mco ping`, are answered \
                  later than usual: the shortest of the last sixteen round trips takes more than \
                  twice as long, and longer by the time `route_rtt`. Round trips that end within \
                  one `interval` count as one. What lasts for a day is the usual.",
        cause: "The nodes, their broker or the network of the site are slow.",
        remedy: "Compare with a plain `mco ping` to the site. Check the load of this broker's host \
                 (/explainz), then the network to the nodes.",
        pace: Pace::Lasting,
        find: slow,
    },
    Rule {
        code: "federation-nodes-silent",
        levels: "warning",
        meaning: "Nodes that are connected to this broker, the federation broker of their site, got \
                  requests to all nodes and have answered none, while others did: clients see fewer \
                  nodes than there are. A request counts if it has no filter, or asks only for \
                  agents whose subjects the node has subscribed to, and if some node has answered \
                  it; those of the security plugin psk, which cannot be read, do not count. \
                  Twenty answers of the node should have come here, all federation brokers of \
                  the site taken into account.",
        cause: NODES_SILENT_CAUSE,
        remedy: "Look into the log of the named nodes, and at their clocks; then restart the \
                 service. /federationz has the nodes and how many requests each has not answered. \
                 Nodes that answer to `mco ping` at the site itself lack the permission to publish \
                 to `choria.federation.NAME.collective`.",
        pace: Pace::Slow,
        find: silent_nodes,
    },
    Rule {
        code: "federation-member-silent",
        levels: "warning",
        meaning: "A client is a member of the queue group of a federation (the subject is \
                  `choria.federation.NAME.federation` or `.collective`), took several messages, \
                  and has published none since, while another member did. Its share of the \
                  requests or replies may be lost.",
        cause: "A federation broker of its own (Ruby's or Choria's) whose process is stopped or \
                hangs, or which has lost its other side.",
        remedy: "Look at that process on the named host, and restart it. Until it answers pings \
                 or is closed for not doing so (`ping_interval` times `ping_max`), it keeps its \
                 share: stop it to have the others take all.",
        pace: Pace::Slow,
        find: silent_member,
    },
];

fn unreachable(evidence: &Evidence) -> Vec<Symptom> {
    let Some(federation) = evidence.server.federation() else {
        return Vec::new();
    };
    let state = federation.figures.upstream();
    let Some(missing_for) = state.unreachable_for() else {
        return Vec::new();
    };
    let why = match &*state.error {
        "" => "it is being connected".to_owned(),
        error => error.to_owned(),
    };
    let attempts = match state.failures {
        0 => String::new(),
        failures => format!(" after {}", plural(failures, "failed attempt")),
    };
    let text = format!(
        "no upstream broker of the federation {:?} has been connected for {}{attempts}: {why}",
        federation.options.name,
        time(missing_for),
    );
    vec![Symptom {
        severity: Severity::Critical,
        ..warning(&federation.options.name, 0, text)
    }]
}

fn refused(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.federation_refused.by_subject();
    let symptoms = sums.iter().map(|sum| {
        let reason = sum.subject.split_once(": ").map(|(_, reason)| reason);
        let mut known = Refusal::ALL.into_iter();
        let known = known.find(|refusal| Some(refusal.name()) == reason);
        let why = known.map_or("", Refusal::text);
        let text = format!(
            "{} within {} not passed on by the federation: {why}",
            plural(sum.count.times, "message"),
            time(evidence.thresholds.incident_window),
        );
        warning(&sum.subject, 0, text)
    });
    symptoms.collect()
}

fn dropped(evidence: &Evidence) -> Vec<Symptom> {
    let dropped = evidence.history.federation_dropped.total();
    if dropped == 0 {
        return Vec::new();
    }
    let text = format!(
        "{} within {} dropped by the federation: more waited than is kept ({} for the upstream \
         broker, max_pending before that)",
        plural(dropped, "message"),
        time(evidence.thresholds.incident_window),
        bytes(PENDING_MAX),
    );
    vec![warning(Direction::Replies.name(), 0, text)]
}

fn slow(evidence: &Evidence) -> Vec<Symptom> {
    let Some(federation) = evidence.server.federation() else {
        return Vec::new();
    };
    let trips = federation.figures.round_trips();
    let (Some(shortest), Some(usual), Some(at)) = (trips.shortest, trips.usual, trips.shortest_at)
    else {
        return Vec::new();
    };
    let is_recent = at.millis().until(evidence.sample.at) < RECENT;
    let more = shortest.saturating_sub(usual);
    let has_grown = shortest > usual * GROWN_TIMES && more >= evidence.thresholds.route_rtt;
    if !is_recent || !has_grown {
        return Vec::new();
    }
    let text = format!(
        "the nodes of the site answer the agent discovery after {} at the least; usual is {}",
        time(shortest),
        time(usual),
    );
    vec![warning(&federation.options.name, 0, text)]
}

fn silent_nodes(evidence: &Evidence) -> Vec<Symptom> {
    let Some(federation) = evidence.server.federation() else {
        return Vec::new();
    };
    let nodes = federation.figures.silent_nodes.view();
    let Some(first) = nodes.named.first() else {
        return Vec::new();
    };
    let name = |node: &SilentNode| format!("{} ({})", node.name, plural(node.requests, "request"));
    let named = nodes.named.iter().take(NODES_NAMED).map(name);
    let mut named: Vec<String> = named.collect();
    let more = nodes.silent - named.len();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    let text = format!(
        "{} of {} connected here have answered no request to all nodes for {}, while others did: {}",
        nodes.silent,
        plural(nodes.asked, "node"),
        time(first.since.age()),
        named.join(", "),
    );
    let cause = (nodes.denied > 0).then(|| {
        let (subject, _) = federation.reply_group();
        let others = match nodes.denied < nodes.silent {
            true => format!(" The others: {NODES_SILENT_CAUSE}"),
            false => String::new(),
        };
        format!(
            "The permissions at this broker: answers of {} to {subject} were refused here.{others}",
            plural(nodes.denied, "node")
        )
    });
    vec![Symptom {
        cause,
        ..warning(&federation.options.name, 0, text)
    }]
}

fn silent_member(evidence: &Evidence) -> Vec<Symptom> {
    let silent = evidence.history.silent_members.with_at_least(TAKEN_MIN);
    let symptoms = silent.filter_map(|(cid, taking)| {
        let who = evidence.server.broker.registry.who(cid)?;
        let text = format!(
            "{who} took {} of the queue group on {:?} and has published nothing for {}; other \
             members do",
            plural(taking.messages, "message"),
            taking.group,
            time(taking.since.age()),
        );
        Some(warning(&who, cid, text))
    });
    symptoms.collect()
}
