//! `/clusterz`: the mesh as a matrix: which members are expected, which are there,
//! which of them have routes to which, and what is wrong between them.

use std::{collections::HashMap, sync::Arc};

use monitor_client::{ClusterMember, Clusterz, Disagreement, PeerRoute, SrvRecord};

use super::{super::Monitor, query::Query, refusal::Refusal, time_text::rfc3339};
use crate::{
    COMPATIBLE_VERSION, VERSION,
    observe::diagnosis::{Report, rules::is_about_the_mesh},
    route::{
        Cluster, Route,
        membership::{Member, MembershipSnapshot, Target},
    },
    telemetry::MonotonicMillis,
};

/// The answer. It has no parameters.
pub fn answer(monitor: &Monitor, _query: &Query) -> Result<Clusterz, Refusal> {
    let server = &monitor.server;
    let report = monitor.diagnosis.report();
    let mut members = match &server.cluster {
        Some(cluster) => {
            let planned_absence = server.options().diagnosis.planned_absence;
            let snapshot = cluster.snapshot();
            members(
                cluster,
                snapshot.with_overdue(MonotonicMillis::now(), planned_absence),
            )
        }
        None => Vec::new(),
    };
    if let Some(own) = members.first_mut() {
        own.max_payload = server.broker.info.read().max_payload;
    }
    let is_missed = |member: &&ClusterMember| member.own || member.connected || !member.leaving;
    let is_there = |member: &&ClusterMember| member.own || member.connected;
    Ok(Clusterz {
        server_id: server.id.clone(),
        server_name: server.name.clone(),
        now: monitor.now_text(),
        cluster: server.broker.info.read().cluster.clone(),
        expected: members.iter().filter(is_missed).count().max(1),
        present: members.iter().filter(is_there).count().max(1),
        srv: server
            .cluster
            .as_deref()
            .map(srv_records)
            .unwrap_or_default(),
        age: report.sampled.age().as_secs_f64(),
        disagreements: disagreements(&report),
        members,
    })
}

/// The SRV records that list members.
pub(super) fn srv_records(cluster: &Cluster) -> Vec<SrvRecord> {
    let time = |at: MonotonicMillis| rfc3339(at.time_of_day());
    let records = cluster.records().into_iter();
    records
        .map(|record| SrvRecord {
            listed: record.addresses().collect(),
            left_out: record.left_out,
            answered: record.answered_at.map(time).unwrap_or_default(),
            ttl: record.ttl.as_secs(),
            next: time(record.next),
            failing_since: record.failing_since.map(time).unwrap_or_default(),
            failures: record.failures,
            error: record.error,
            name: record.name,
        })
        .collect()
}

fn disagreements(report: &Report) -> Vec<Disagreement> {
    let now = MonotonicMillis::now();
    let findings = report.findings.iter();
    findings
        .filter(|finding| is_about_the_mesh(finding.code))
        .map(|finding| Disagreement {
            code: finding.code.into(),
            severity: finding.severity.name().into(),
            subject: finding.subject.clone(),
            since: rfc3339(finding.since.time_of_day()),
            age: finding.since.until(now).as_secs_f64(),
            text: finding.text.clone(),
        })
        .collect()
}

/// This broker, then the others, then those that were never connected.
fn members(cluster: &Cluster, snapshot: MembershipSnapshot) -> Vec<ClusterMember> {
    let MembershipSnapshot { targets, members } = snapshot;
    let others: Vec<&Target> = targets.iter().filter(|t| !t.is_ourselves).collect();
    let target_of = |member: &Member| {
        others.iter().find(|target| {
            target.leads_to.as_ref() == Some(&member.id) || target.address == member.address
        })
    };
    let never_there = others.iter().filter(|target| {
        let is_known =
            |member: &Member| target_of(member).is_some_and(|t| t.address == target.address);
        !members.iter().any(is_known)
    });
    let mut all = vec![own(cluster)];
    all.extend(members.iter().map(|member| {
        ClusterMember {
            configured: target_of(member).is_some() || is_configured(cluster, member),
            tries: target_of(member).map_or(0, |target| target.failures),
            srv: target_of(member)
                .map(|target| record(target))
                .unwrap_or_default(),
            ..known(member, target_of(member).map_or("", |target| &target.error))
        }
    }));
    all.extend(never_there.map(|target| ClusterMember {
        name: target.address.clone(),
        address: target.address.clone(),
        configured: true,
        srv: record(target),
        error: target.error.clone(),
        tries: target.failures,
        ..ClusterMember::default()
    }));
    let routes = cluster.routes();
    let routes: HashMap<&str, &Arc<Route>> = routes
        .iter()
        .map(|route| (&*route.remote_id, route))
        .collect();
    let rows: Vec<Vec<PeerRoute>> = all
        .iter()
        .map(
            |seer| match members.iter().find(|member| member.id == seer.id) {
                _ if seer.own => row(&all, seer, |seen| own_sight(&routes, seen)),
                Some(Member {
                    view: Some(view), ..
                }) => {
                    // Looked up once for every cell of the row.
                    let sights: HashMap<&str, _> = view
                        .routes
                        .iter()
                        .map(|route| (&*route.id, route))
                        .collect();
                    row(&all, seer, |seen| {
                        let route = sights.get(&*seen.id)?;
                        Some(PeerRoute {
                            connected: true,
                            configured: route.configured,
                            rtt: route.rtt.map(|rtt| rtt.as_secs_f64()),
                            pending: route.pending,
                            ..PeerRoute::default()
                        })
                    })
                }
                _ => Vec::new(),
            },
        )
        .collect();
    for (member, row) in all.iter_mut().zip(rows) {
        member.sees = row;
    }
    all
}

fn record(target: &Target) -> String {
    target.record.clone().unwrap_or_default()
}

/// One cell for every member except the row's own.
fn row(
    all: &[ClusterMember],
    seer: &ClusterMember,
    route: impl Fn(&ClusterMember) -> Option<PeerRoute>,
) -> Vec<PeerRoute> {
    let others = all.iter().filter(|seen| !std::ptr::eq(*seen, seer));
    others
        .map(|seen| PeerRoute {
            id: seen.id.clone(),
            name: seen.name.clone(),
            ..route(seen).unwrap_or_default()
        })
        .collect()
}

fn own_sight(routes: &HashMap<&str, &Arc<Route>>, seen: &ClusterMember) -> Option<PeerRoute> {
    let route = routes.get(&*seen.id)?;
    let view = route.connection.view();
    Some(PeerRoute {
        connected: true,
        configured: seen.configured,
        rtt: view.rtt.map(|rtt| rtt.as_secs_f64()),
        pending: view.pending as u64,
        ..PeerRoute::default()
    })
}

fn own(cluster: &Cluster) -> ClusterMember {
    ClusterMember {
        id: cluster.node.server_id.clone(),
        name: cluster.node.called.clone(),
        version: COMPATIBLE_VERSION.into(),
        midge: VERSION.into(),
        address: cluster.node.address.to_string(),
        own: true,
        leaving: cluster.is_leaving(),
        ..ClusterMember::default()
    }
}

fn known(member: &Member, dial_error: &str) -> ClusterMember {
    let lost_by = member.lost_by.filter(|_| !member.connected);
    ClusterMember {
        id: member.id.clone(),
        name: member.name.clone(),
        version: member.version.clone(),
        midge: member.midge.clone(),
        address: member.address.clone(),
        connected: member.connected,
        leaving: member.leaving,
        since: rfc3339(member.since.time_of_day()),
        last_seen: rfc3339(member.last_received.time_of_day()),
        error: match (dial_error, lost_by) {
            ("", Some(reason)) => reason.to_string(),
            _ => dial_error.to_owned(),
        },
        losses: member.losses,
        max_payload: member.max_payload,
        reported: member
            .view
            .as_ref()
            .map_or_else(String::new, |view| rfc3339(view.at.time_of_day())),
        ..ClusterMember::default()
    }
}

fn is_configured(cluster: &Cluster, member: &Member) -> bool {
    let route = cluster.route(&member.id);
    route.is_some_and(|route| route.is_configured())
}
