//! Leafnodes and hubs: a hub that is not connected, connections in a circle, and connections that are
//! lost again and again or are slow.

use std::time::Duration;

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::{
    leafnode::remote::RemoteView,
    observe::diagnosis::humanize::{plural, time},
    protocol::leafnode::{IS_MUTUAL, LOOP_DETECTED},
    telemetry::MonotonicMillis,
};

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "leafnode-unreachable",
        levels: "critical",
        meaning: "This broker is a leafnode (`remotes` in the block `leafnodes`) and not connected \
                  to a hub that it is to join. Messages between the clients here and those of the \
                  hub do not arrive.",
        cause: "The hub is down, cannot be reached, or refuses this broker (login, certificate, \
                an older version than it lets in, the same cluster name).",
        remedy: "The text names the reason of the last attempt. Check the URLs of the remote, its \
                 login and certificates, and read the log of the hub.",
        pace: Pace::Certain,
        find: unreachable,
    },
    Rule {
        code: "leafnode-loop",
        levels: "critical",
        meaning: "Leafnode connections form a circle, within the time `incident_window`: a message \
                  would come back to where it was sent. The connection that closes the circle is \
                  refused, and its leafnode tries again after 30 to 60 seconds. Of two brokers that \
                  are each other's leafnodes the connection that was there first is kept.",
        cause: "Two brokers are each other's leafnodes, or a leafnode reaches the same hub on two \
                ways: directly and through another leafnode, or twice in accounts that are one.",
        remedy: "Remove one of the connections: take the remote that the text names out of the \
                 configuration of its broker. A leafnode needs one remote for each cluster and \
                 account, with the URLs of all its members.",
        pace: Pace::AtOnce,
        find: loops,
    },
    Rule {
        code: "leafnode-flapping",
        levels: "warning",
        meaning: "The connection to a leafnode or to a hub was lost at least `route_losses` times \
                  within the time `incident_window`.",
        cause: "The network between the two loses packets, one of them restarts, cannot take its \
                messages fast enough, or sends what the other one does not permit.",
        remedy: "Read the reasons in /eventsz?type=leafnode here, and the log of the other broker.",
        pace: Pace::AtOnce,
        find: flapping,
    },
    Rule {
        code: "leafnode-slow",
        levels: "warning",
        meaning: "A round trip to a leafnode or to a hub takes longer than `route_rtt`.",
        cause: "The other broker or its host is overloaded or stopped, or the network between the \
                two is slow or loses packets.",
        remedy: "Check the named broker first (the load of its host), then the network between the \
                 two.",
        pace: Pace::Lasting,
        find: slow,
    },
];

/// The hubs that are not connected, and whether it is for a circle.
fn absent(evidence: &Evidence) -> impl Iterator<Item = (RemoteView, bool)> {
    let views = evidence.server.leafnodes.remotes.views().into_iter();
    let absent = views.filter(|view| !view.disabled && view.cid.is_none());
    absent.map(|view| {
        let is_loop = view.last_error.contains(LOOP_DETECTED);
        (view, is_loop)
    })
}

/// What tells a remote from others for as long as it is configured: not where it was tried last.
fn subject(view: &RemoteView) -> String {
    let url = view.urls.first().map_or("", String::as_str);
    format!("{url} {}", view.account)
}

/// A hub, as texts name it.
fn named(view: &RemoteView) -> String {
    match &*view.name {
        "" => view.url.clone(),
        name => format!("{name:?} ({})", view.url),
    }
}

fn unreachable(evidence: &Evidence) -> Vec<Symptom> {
    let absent = absent(evidence).filter(|(_, is_loop)| !is_loop);
    let symptoms = absent.map(|(view, _)| {
        let before = match view.connects {
            0 => "has not been connected yet",
            _ => "is not connected any more",
        };
        let attempts = match view.attempts {
            0 => "it is being dialled".to_owned(),
            failed => plural(u64::from(failed), "failed attempt"),
        };
        let why = match &*view.last_error {
            "" => String::new(),
            error => format!(": {error}"),
        };
        let text = format!(
            "the hub {} of account {} {before}, for {}, {attempts}{why}",
            named(&view),
            view.account,
            time(view.since.until(MonotonicMillis::now())),
        );
        critical(&subject(&view), 0, text)
    });
    symptoms.collect()
}

fn loops(evidence: &Evidence) -> Vec<Symptom> {
    let own = absent(evidence).filter(|(_, is_loop)| *is_loop);
    let own = own.map(|(view, _)| {
        let (hub, account) = (named(&view), &view.account);
        let text = match view.last_error.contains(IS_MUTUAL) {
            true => format!(
                "the hub {hub} of account {account} is {IS_MUTUAL}, as a leafnode of this broker: \
                 remove this remote"
            ),
            false => format!(
                "the hub {hub} of account {account} refuses this broker, as the connection closes a \
                 circle: it is reached on another way already"
            ),
        };
        critical(&subject(&view), 0, text)
    });
    let refused = evidence.history.leafnode_loops.by_subject();
    let hubs = evidence.server.leafnodes.remotes.views();
    let refused = refused.into_iter().map(|sum| {
        let is_hub = |view: &RemoteView| view.cid.is_some() && view.name == sum.subject;
        let why = match hubs.iter().any(is_hub) {
            true => format!(
                "it is {IS_MUTUAL}, as a hub of this broker: remove the remote there, or the one here"
            ),
            false => "its connection closes a circle: it reaches this broker on another way already"
                .to_owned(),
        };
        let text = format!(
            "the leafnode was refused {} within {}, as {why}",
            plural(sum.count.times, "time"),
            time(evidence.thresholds.incident_window),
        );
        critical(&sum.subject, sum.count.cid, text)
    });
    own.chain(refused).collect()
}

fn flapping(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.leafnode_losses.by_subject();
    let often = sums
        .into_iter()
        .filter(|sum| sum.count.times >= evidence.thresholds.route_losses);
    let symptoms = often.map(|sum| {
        let text = format!(
            "the connection was lost {} within {}",
            plural(sum.count.times, "time"),
            time(evidence.thresholds.incident_window),
        );
        warning(&sum.subject, 0, text)
    });
    symptoms.collect()
}

fn slow(evidence: &Evidence) -> Vec<Symptom> {
    let limit = evidence.thresholds.route_rtt;
    let all = evidence.server.leafnodes.all();
    let slow = all.iter().filter_map(|leaf| {
        let rtt = leaf
            .connection
            .rtt()
            .filter(|rtt: &Duration| *rtt >= limit)?;
        let what = match leaf.remote {
            Some(_) => "hub",
            None => "leafnode",
        };
        let text = format!(
            "a round trip to the {what} takes {} (limit: {})",
            time(rtt),
            time(limit)
        );
        Some(warning(&leaf.name, leaf.connection.cid, text))
    });
    slow.collect()
}

fn critical(subject: &str, cid: u64, text: String) -> Symptom {
    Symptom {
        severity: Severity::Critical,
        ..warning(subject, cid, text)
    }
}
