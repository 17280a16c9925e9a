//! The mesh: routes that are missing, come and go, or are slow, and members that see
//! different meshes.

use std::time::Duration;

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::{
    VERSION,
    observe::{
        diagnosis::humanize::{bytes, plural, time},
        mesh::{Gap, Mesh, RouteNow},
    },
    route::membership::Member,
    server::housekeeping::VIEWS_EVERY,
};

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "route-missing",
        levels: "critical; info for the time `planned_absence` if it said that it leaves",
        meaning: "There is no route to a broker that the configuration names or an SRV record \
                  lists, or that was a member and did not say that it leaves (lame duck mode). \
                  Messages between its clients and the clients here do not arrive. A broker known \
                  only from other members counts as missing for a day.",
        cause: "That broker is down, cannot be reached, or refuses this one (password, \
                certificate, another cluster name).",
        remedy: "Read why the last attempt failed (/clusterz), and the log of the named broker. If \
                 it is gone for good, remove it from `routes` and reload, or from the SRV record; \
                 if only other members named it, send POST /forget?member=NAME to the monitoring \
                 socket.",
        pace: Pace::Certain,
        find: missing,
    },
    Rule {
        code: "route-flapping",
        levels: "warning",
        meaning: "The route to a broker was lost at least `route_losses` times within the time \
                  `incident_window`.",
        cause: "The network between the two loses packets, the other broker restarts, or it cannot \
                take its messages fast enough.",
        remedy: "Read the reasons in /eventsz?type=route on both brokers.",
        pace: Pace::AtOnce,
        find: flapping,
    },
    Rule {
        code: "route-failing",
        levels: "warning",
        meaning: "Routes to a broker end again and again for the same reason, soon after they \
                  start. The pauses between attempts grow to 30 seconds. The finding stays until a \
                  route has lasted for a minute, or for the time `incident_window` if that is \
                  shorter.",
        cause: "One of the two brokers sends something that the other does not accept, or more \
                than it can take.",
        remedy: "The text names the reason. Compare the versions and limits of the two brokers \
                 (max_payload, max_control_line, max_pending), and read the log of the named one.",
        pace: Pace::AtOnce,
        find: failing,
    },
    Rule {
        code: "route-slow",
        levels: "warning",
        meaning: "Another broker of the cluster is slow: a round trip takes longer than \
                  `route_rtt`, messages wait for it as for a slow consumer, or it has not answered \
                  for the time `route_silence`.",
        cause: "That broker or its host is overloaded or stopped, or the network between the two \
                is slow or loses packets.",
        remedy: "Check the named broker first (its /explainz, the load of its host), then the \
                 network between the two.",
        pace: Pace::Lasting,
        find: slow,
    },
    Rule {
        code: "route-asymmetric",
        levels: "warning",
        meaning: "Members do not see the same mesh: one has a route to another that does not see \
                  it, or two have no route to each other, or a member has a route to a broker that \
                  this one does not know. Messages between the clients of these brokers do not \
                  arrive. A midge that lacks a route of its own reports `route-missing`, which is \
                  critical.",
        cause: "The two brokers cannot reach each other, or their configurations name different \
                brokers.",
        remedy: "Compare /clusterz on both brokers and the `routes` in their configurations, and \
                 read both logs.",
        pace: Pace::Slow,
        find: asymmetric,
    },
    Rule {
        code: "members-differ",
        levels: "warning; info if only the versions differ",
        meaning: "Members of the cluster differ in something that should be the same: \
                  `max_payload`, `max_control_line`, the accounts that have subscriptions, or the \
                  version of midge or nats-server.",
        cause: "A configuration or a package was rolled out to some members only.",
        remedy: "Finish the roll-out: give all members the same max_payload, max_control_line and \
                 accounts, then reload; routes stay connected. A nats-server announces its new \
                 max_payload only with its next route.",
        pace: Pace::Lasting,
        find: differ,
    },
];

fn missing(evidence: &Evidence) -> Vec<Symptom> {
    let mesh = &evidence.sample.mesh;
    let now = evidence.sample.at;
    let mut symptoms = Vec::new();
    let mut reported: Vec<&str> = Vec::new();
    for target in &mesh.snapshot.targets {
        // It may have dialled and left before it was dialled.
        let is_at = |member: &&Member| member.address == target.address;
        let member = match target.leads_to.as_deref() {
            Some(id) => mesh.snapshot.member(id),
            None => mesh.snapshot.members.iter().find(is_at),
        };
        let is_there = member.is_some_and(|member| member.connected);
        // After a restart it may have come back by itself under another id.
        let is_back = mesh.present().any(|there| there.address == target.address);
        if target.is_ourselves || is_there || is_back {
            continue;
        }
        let dialled = match target.failures {
            0 => "it is being dialled".to_owned(),
            failures => format!(
                "{} to connect failed, the last one: {}",
                plural(failures, "attempt"),
                target.error
            ),
        };
        let (subject, before) = match member {
            Some(member) => {
                reported.push(&member.id);
                (&*member.name, lost(member, now))
            }
            None => (&*target.address, "there has never been one".to_owned()),
        };
        let (id, name) = member.map_or(("", ""), |member| (&member.id, &member.name));
        let named_by = match &target.record {
            Some(record) => format!("the SRV record {record} lists"),
            None => "the configuration names".to_owned(),
        };
        let is_planned = member.is_some_and(|member| member.leaving);
        let text = format!(
            "{named_by} {}, but there is no route to it: {}{before}; {dialled}{}",
            target.address,
            if is_planned {
                "it said that it leaves, "
            } else {
                ""
            },
            still_seen(&mesh.seen_by(id, name))
        );
        let severity = match is_planned {
            true => Severity::Info,
            false => Severity::Critical,
        };
        symptoms.push(Symptom {
            severity,
            ..warning(subject, 0, text)
        });
    }
    let absent =
        mesh.snapshot.members.iter().filter(|member| {
            !member.connected && !member.leaving && !reported.contains(&&*member.id)
        });
    for member in absent {
        let text = format!(
            "{} at {} was a member, but there is no route to it: {}{}",
            member.name,
            member.address,
            lost(member, now),
            still_seen(&mesh.seen_by(&member.id, &member.name))
        );
        symptoms.push(critical(&member.name, text));
    }
    symptoms
}

/// How the route to it was lost.
fn lost(member: &Member, now: crate::telemetry::MonotonicMillis) -> String {
    let reason = member.lost_by.map(|reason| format!(" ({reason})"));
    format!(
        "it was lost {} ago{}",
        time(member.since.until(now)),
        reason.unwrap_or_default()
    )
}

fn still_seen(by: &[&str]) -> String {
    match by {
        [] => String::new(),
        [name] => format!("; {name} still has a route to it"),
        names => format!("; {} still have a route to it", names.join(", ")),
    }
}

fn critical(subject: &str, text: String) -> Symptom {
    Symptom {
        severity: Severity::Critical,
        ..warning(subject, 0, text)
    }
}

fn flapping(evidence: &Evidence) -> Vec<Symptom> {
    let sums = evidence.history.route_losses.by_subject();
    sums.into_iter()
        .filter(|sum| sum.count.times >= evidence.thresholds.route_losses)
        .map(|sum| {
            let member = evidence.sample.mesh.snapshot.members.iter();
            let by = member
                .filter(|member| member.name == sum.subject)
                .find_map(|member| member.lost_by);
            let text = format!(
                "the route was lost {} within {}{}",
                plural(sum.count.times, "time"),
                time(evidence.thresholds.incident_window),
                by.map_or_else(String::new, |by| format!(", most recently: {by}"))
            );
            warning(&sum.subject, 0, text)
        })
        .collect()
}

fn failing(evidence: &Evidence) -> Vec<Symptom> {
    let now = evidence.sample.at;
    let recent = evidence.thresholds.incident_window;
    let failed = evidence.sample.mesh.failed.iter();
    let lately = failed.filter(|failed| failed.next.until(now) < recent);
    let symptoms = lately.map(|failed| {
        let next = match now.until(failed.next) {
            Duration::ZERO => "the next attempt may start now".to_owned(),
            left => format!("the next attempt is in {}", time(left)),
        };
        let text = format!(
            "the route failed {} in a row for the same reason, last {} ago: {}; {next}",
            plural(u64::from(failed.times), "time"),
            time(failed.at.until(now)),
            failed.why
        );
        warning(&failed.name, 0, text)
    });
    symptoms.collect()
}

fn slow(evidence: &Evidence) -> Vec<Symptom> {
    let mesh = &evidence.sample.mesh;
    let slow = mesh.present().filter_map(|member| {
        let route = mesh.route(&member.id)?;
        let reasons = [
            silence(evidence, member),
            far(evidence, member, route),
            backlog(evidence, route),
        ];
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        let text = reasons.join("; ");
        (!text.is_empty()).then(|| warning(&member.name, route.cid, text))
    });
    slow.collect()
}

/// A member that used to answer and no longer does.
fn silence(evidence: &Evidence, member: &Member) -> Option<String> {
    let now = evidence.sample.at;
    // One that has never answered may not be able to.
    let asked = member.requested_at.filter(|_| member.view.is_some())?;
    let silent = asked.until(now);
    if silent < evidence.thresholds.route_silence {
        return None;
    }
    let silence = member.last_received.until(now);
    let text = match silence < silent / 2 {
        true => "but still sends: what this broker sends does not arrive there",
        false => "nor sent anything else: it hangs, or what it sends does not arrive here",
    };
    Some(format!("it has not answered for {}, {text}", time(silent)))
}

fn far(evidence: &Evidence, member: &Member, route: &RouteNow) -> Option<String> {
    let limit = evidence.thresholds.route_rtt;
    // Requests for its routes are more frequent than pings.
    let answered = member.view.as_ref().map(|view| view.took);
    let rtt = answered.or(route.rtt)?;
    (rtt >= limit).then(|| format!("a round trip takes {} (limit: {})", time(rtt), time(limit)))
}

fn backlog(evidence: &Evidence, route: &RouteNow) -> Option<String> {
    let (now, backlog) = (evidence.sample.at, &route.backlog);
    backlog
        .is_slow(now, evidence.thresholds.slow_percent)
        .then(|| {
            format!(
                "{} wait in its queue, {:.0} % of max_pending; it has taken nothing for {}",
                bytes(backlog.pending as u64),
                backlog.percent(),
                time(backlog.stuck_for(now))
            )
        })
}

fn asymmetric(evidence: &Evidence) -> Vec<Symptom> {
    let mesh = &evidence.sample.mesh;
    let every = evidence.thresholds.interval * VIEWS_EVERY;
    let gaps = mesh.gaps(evidence.sample.at, every).into_iter().map(|gap| {
        let Gap {
            from,
            to,
            is_seen_back,
        } = gap;
        let text = match is_seen_back {
            Some(true) => format!("{to} has a route to {from}, but {from} has none to {to}"),
            Some(false) => format!("{from} and {to} have no route to each other"),
            None => format!("{from} has no route to {to}, which does not list its routes"),
        };
        warning(&format!("{from} - {to}"), 0, text)
    });
    let unknown = mesh.unknown_members().into_iter().map(|(name, by)| {
        let text = format!("{by} has a route to {name}, but this broker has none");
        warning(name, 0, text)
    });
    gaps.chain(unknown).collect()
}

fn differ(evidence: &Evidence) -> Vec<Symptom> {
    let mesh = &evidence.sample.mesh;
    let symptoms = mesh.present().filter_map(|member| {
        let harmful = [
            limits(evidence, member),
            lines(mesh, member),
            accounts(mesh, member),
        ];
        let harmful: Vec<String> = harmful.into_iter().flatten().collect();
        if harmful.is_empty() {
            return version(mesh, member).map(|text| Symptom {
                severity: Severity::Info,
                ..warning(&member.name, 0, text)
            });
        }
        Some(warning(&member.name, 0, harmful.join("; ")))
    });
    symptoms.collect()
}

fn limits(evidence: &Evidence, member: &Member) -> Option<String> {
    let own = evidence.server.broker.limits.current().max_payload as u64;
    let max_payload = u64::try_from(member.max_payload).unwrap_or(0);
    (max_payload != own && max_payload > 0).then(|| {
        format!(
            "its max_payload is {}, here it is {}: one broker may accept a message that is too \
             large for clients of the other",
            bytes(max_payload),
            bytes(own)
        )
    })
}

/// Interest and messages that exceed the control lines that it accepts.
fn lines(mesh: &Mesh, member: &Member) -> Option<String> {
    let route = mesh.route(&member.id)?;
    let unannounced = (route.unannounced > 0).then(|| {
        format!(
            "{} with subscribers here cannot be sent to it, so it does not send their messages",
            plural(route.unannounced as u64, "subject")
        )
    });
    let lost = (route.too_long > 0).then(|| {
        format!(
            "{} could not be sent to it",
            plural(route.too_long, "message")
        )
    });
    let what: Vec<String> = [unannounced, lost].into_iter().flatten().collect();
    (!what.is_empty()).then(|| {
        format!(
            "it accepts control lines of at most {}: {}",
            bytes(route.line_max as u64),
            what.join("; ")
        )
    })
}

/// Its subscriptions in accounts that this broker does not define.
fn accounts(mesh: &Mesh, member: &Member) -> Option<String> {
    let unknown = &mesh.route(&member.id)?.unknown;
    let quoted = unknown.names.iter().map(|name| format!("{name:?}"));
    let mut names = quoted.collect::<Vec<_>>().join(", ");
    let further = unknown.accounts - unknown.names.len();
    if further > 0 {
        names += &format!(" and {further} more");
    }
    let refused = match unknown.refused {
        0 => String::new(),
        more => format!(
            "; {} in further accounts were dropped",
            plural(more as u64, "subscription")
        ),
    };
    (unknown.entries > 0).then(|| {
        format!(
            "it has {} in accounts that this broker does not define ({names}): messages \
             published here do not get there{refused}",
            plural(unknown.entries as u64, "subscription")
        )
    })
}

fn version(mesh: &Mesh, member: &Member) -> Option<String> {
    if !member.is_nats_server() {
        let other = member.midge != VERSION;
        return other.then(|| format!("it is midge {}, this broker is {VERSION}", member.midge));
    }
    let newest = mesh.newest_nats_server()?;
    (newest.version != member.version).then(|| {
        format!(
            "it is nats-server {}, {} is {}",
            member.version, newest.name, newest.version
        )
    })
}
