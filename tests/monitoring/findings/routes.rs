//! Findings about the mesh: members that are killed, stopped, disconnected in one
//! direction, and a healthy mixed mesh without findings.

use std::{fs, process::Command, sync::atomic::Ordering};

use serde_json::Value;

use super::{appears, clears, findings, proxy::Way, stays_silent, text, thresholds};
use test_support::{Broker, http, wait_for, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

/// The rules about the mesh.
const CODES: [&str; 6] = [
    "members-differ",
    "route-asymmetric",
    "route-failing",
    "route-flapping",
    "route-missing",
    "route-slow",
];

/// A member that samples the mesh often.
pub(super) fn plan(kind: Kind, name: &str, port: u16, routes: &[u16], more: &str) -> Plan {
    let mut plan = Plan::new(kind, name, port, routes);
    if kind == Kind::Midge {
        plan.config = thresholds(more);
    }
    plan
}

/// Plans of members with routes to all others: `n0`, `n1` and so on.
pub(super) fn plans(kinds: &[Kind], more: &str) -> Vec<Plan> {
    let ports: Vec<u16> = kinds.iter().map(|_| free_port()).collect();
    let plan = |(index, kind): (usize, &Kind)| {
        let mut others = ports.clone();
        others.remove(index);
        plan(*kind, &format!("n{index}"), ports[index], &others, more)
    };
    kinds.iter().enumerate().map(plan).collect()
}

pub(super) fn start(plans: &[Plan]) -> Vec<Member> {
    let members: Vec<Member> = plans.iter().map(Plan::start).collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

/// `check_nats --mode cluster --expect N`: its exit code and what it printed.
fn check(broker: &Broker, expect: usize) -> (Option<i32>, String) {
    let output = Command::new(test_support::tools::check_nats())
        .args(["--url", &broker.monitor_url(), "--mode", "cluster"])
        .args(["--expect", &expect.to_string(), "-v"])
        .output()
        .expect("check_nats starts");
    let result = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), result)
}

pub(super) fn checks(broker: &Broker, expect: usize, code: i32) -> String {
    wait_for(&format!("check_nats ends with {code}"), || {
        let (ended, result) = check(broker, expect);
        (ended == Some(code)).then_some(result)
    })
}

/// Whether every member of the matrix reports a route to every other.
fn all_see_all(clusterz: &Value, count: usize) -> bool {
    let members = clusterz["members"].as_array().expect("members");
    members.len() == count
        && members.iter().all(|member| {
            let sees = member["sees"].as_array().expect("a row");
            sees.len() == count - 1 && sees.iter().all(|sight| sight["connected"] == true)
        })
}

/// Midges, a nats-server 2.15 and a 2.9 in one mesh: the only finding is that the latter
/// is older, and each reports its routes.
#[test]
fn a_healthy_mixed_mesh_has_no_findings() {
    let kinds = [Kind::Midge, Kind::Midge, Kind::Nats, Kind::Nats29];
    let members = start(&plans(&kinds, ""));
    let broker = &members[0].broker;
    wait_until("every row of the matrix is full", || {
        all_see_all(&broker.get_json("/clusterz"), 4)
    });
    let finding = appears(broker, "members-differ");
    assert_eq!(
        (&finding["subject"], &finding["severity"]),
        (&"n3".into(), &"info".into())
    );
    assert!(
        text(&finding).contains("it is nats-server 2.9."),
        "{finding}"
    );
    for code in CODES.iter().filter(|code| **code != "members-differ") {
        // While the mesh forms, members are missing.
        clears(broker, code);
        stays_silent(broker, code);
    }
    assert_eq!(findings(broker, "members-differ").len(), 1);
    let clusterz = broker.get_json("/clusterz");
    assert_eq!(
        (&clusterz["expected"], &clusterz["present"]),
        (&4.into(), &4.into())
    );
    for member in clusterz["members"].as_array().expect("members") {
        let is_own = member["own"] == true;
        assert_eq!(is_own, member["name"] == "n0", "{member}");
        assert_ne!(member["sees"][0]["rtt"].as_f64(), Some(0.0), "{member}");
        assert!(is_own || member["reported"] != "", "{member}");
        assert!(is_own || member["configured"] == true, "{member}");
    }
    checks(broker, 4, 0);
    let result = checks(broker, 5, 2);
    assert!(result.contains("4 members of 5"), "{result}");
    // A nats-server reports its own routes.
    checks(&members[2].broker, 4, 0);
    checks(&members[2].broker, 5, 2);
}

#[test]
pub fn a_killed_member_is_reported_missing_until_it_returns() {
    let plans = plans(&[Kind::Midge, Kind::Midge, Kind::Nats], "");
    let mut members = start(&plans);
    for index in [1, 2] {
        let name = plans[index].name.clone();
        clears(&members[0].broker, "route-missing");
        stays_silent(&members[0].broker, "route-missing");
        members[index].broker.kill();
        let finding = appears(&members[0].broker, "route-missing");
        assert_eq!(
            (&finding["subject"], &finding["severity"]),
            (&Value::from(&*name), &"critical".into())
        );
        let broker = &members[0].broker;
        wait_until("the last dial error is reported", || {
            let finding = appears(broker, "route-missing");
            text(&finding).contains("Connection refused") && text(&finding).contains(" attempt")
        });
        let result = checks(broker, 3, 2);
        assert!(result.contains(&format!("{name:?} is missing")), "{result}");
        let clusterz = broker.get_json("/clusterz");
        let all = clusterz["members"].as_array().expect("members");
        let gone = all.iter().find(|member| member["name"] == *name);
        let gone = gone.expect("it is still listed");
        assert_eq!(gone["connected"], false, "{gone}");
        assert_ne!(gone["last_seen"], "", "{gone}");
        assert_eq!(clusterz["disagreements"][0]["code"], "route-missing");
        assert_eq!(broker.get("/healthz?probe=live").status, 200);
        assert_eq!(broker.get("/healthz?probe=ready").status, 200);
        members[index] = plans[index].start();
        clears(&members[0].broker, "route-missing");
        checks(&members[0].broker, 3, 0);
    }
}

/// A member that said that it leaves is not missing for a while: that is information, and no check
/// complains. The finding is over as soon as the member is back, however long others take to clear.
#[test]
fn a_planned_absence_is_no_alarm_and_ends_with_the_return() {
    let kinds = [Kind::Midge, Kind::Midge, Kind::Nats];
    let mut plans = plans(&kinds, "");
    plans[0].config =
        thresholds("planned_absence: 1h").replace("clear_after: 200ms", "clear_after: 1h");
    for leaving in &mut plans[1..] {
        leaving.config += "\nlame_duck_duration: \"30s\"\nlame_duck_grace_period: \"1ms\"\n";
    }
    let mut members = start(&plans);
    for index in [1, 2] {
        // A nats-server without clients leaves without a word to the others.
        let client = members[index].client();
        members[index].broker.signal(libc::SIGUSR2);
        members[index].broker.wait_exit();
        drop(client);
        let finding = appears(&members[0].broker, "route-missing");
        assert_eq!(finding["severity"], "info", "{finding}");
        assert!(
            text(&finding).contains("it said that it leaves"),
            "{finding}"
        );
        checks(&members[0].broker, 2, 0);
        members[index] = plans[index].start();
        clears(&members[0].broker, "route-missing");
        checks(&members[0].broker, 3, 0);
    }
    // Without a word it is missing at once.
    members[1].broker.kill();
    let finding = appears(&members[0].broker, "route-missing");
    assert_eq!(finding["severity"], "critical", "{finding}");
}

/// A broker that is in no configuration is reported missing as well, by its name.
#[test]
fn a_member_that_only_dialled_in_is_reported_missing_too() {
    let ports = [free_port(), free_port()];
    let known = plan(Kind::Midge, "n0", ports[0], &[], "").start();
    let dialling = plan(Kind::Midge, "n1", ports[1], &ports[..1], "");
    let mut member = dialling.start();
    mesh::wait_for_mesh(&[&known, &member]);
    stays_silent(&known.broker, "route-missing");
    member.broker.kill();
    let finding = appears(&known.broker, "route-missing");
    assert_eq!(finding["subject"], "n1");
    assert!(text(&finding).contains("was a member"), "{finding}");
    let _back = dialling.start();
    clears(&known.broker, "route-missing");
}

/// A member that is gone for good is forgotten when it is removed from the file, or by
/// the command; no other member is.
#[test]
fn a_member_gone_for_good_is_forgotten() {
    let ports = [free_port(), free_port(), free_port()];
    let mut first = plan(Kind::Midge, "n0", ports[0], &ports[1..2], "");
    first.config += "\nmonitor { unix: m.sock }";
    let mut alone = plan(Kind::Midge, "n0", ports[0], &[], "");
    alone.config = first.config.clone();
    let first = first.start();
    let mut named = plan(Kind::Midge, "n1", ports[1], &[], "").start();
    let mut dialling = plan(Kind::Midge, "n2", ports[2], &ports[..1], "").start();
    wait_until("both are connected", || first.peers().len() == 2);
    let forget = |member: &str| {
        let socket = first.broker.folder().join("m.sock");
        http::request_unix(&socket, "POST", &format!("/forget?member={member}"))
    };
    assert_eq!(forget("n2").status, 409, "it is there");
    dialling.broker.kill();
    named.broker.kill();
    wait_until("both are reported missing", || {
        findings(&first.broker, "route-missing").len() == 2
    });
    assert_eq!(forget("n1").status, 409, "the file names it");
    assert_eq!(forget("nobody").status, 409);
    assert_eq!(forget("").status, 400);
    let forgotten = forget("n2");
    assert_eq!(forgotten.status, 200, "{forgotten:?}");
    assert_eq!(forgotten.json()["forgotten"], serde_json::json!(["n2"]));
    wait_until("one is reported missing", || {
        findings(&first.broker, "route-missing").len() == 1
    });
    first.reload(&alone.text());
    clears(&first.broker, "route-missing");
    let members = first.broker.get_json("/clusterz")["members"].clone();
    assert_eq!(members.as_array().map(Vec::len), Some(1), "{members}");
}

#[test]
pub fn a_hanging_member_is_reported_until_it_continues() {
    let plans = plans(
        &[Kind::Midge, Kind::Midge, Kind::Nats],
        "route_silence: 500ms",
    );
    let members = start(&plans);
    let broker = &members[0].broker;
    wait_until("every row of the matrix is full", || {
        all_see_all(&broker.get_json("/clusterz"), 3)
    });
    for hanging in &members[1..] {
        stays_silent(broker, "route-slow");
        hanging.broker.signal(libc::SIGSTOP);
        let finding = appears(broker, "route-slow");
        hanging.broker.signal(libc::SIGCONT);
        assert_eq!(finding["subject"], *hanging.name);
        assert!(text(&finding).contains("has not answered"), "{finding}");
        clears(broker, "route-slow");
    }
}

#[test]
pub fn a_flapping_route_is_reported() {
    let plans = plans(&[Kind::Midge, Kind::Midge], "incident_window: 1h");
    let mut members = start(&plans);
    for losses in 1..=3 {
        members[1].broker.kill();
        wait_until("the loss is noticed", || members[0].peers().is_empty());
        members[1] = plans[1].start();
        mesh::wait_for_mesh(&[&members[0], &members[1]]);
        if losses == 2 {
            let found = findings(&members[0].broker, "route-flapping");
            assert!(found.is_empty(), "{found:?}");
        }
    }
    let finding = appears(&members[0].broker, "route-flapping");
    assert_eq!(finding["subject"], "n1");
    assert!(text(&finding).contains("lost 3 times"), "{finding}");
    let config = members[0].broker.folder().join("broker.conf");
    let before = fs::read_to_string(&config).expect("the configuration");
    fs::write(&config, before.replace("window: 1h", "window: 1s")).expect("written");
    members[0].broker.signal(libc::SIGHUP);
    clears(&members[0].broker, "route-flapping");
}

#[test]
pub fn a_repeatedly_failing_route_is_reported() {
    let (port, times) = mesh::failing_peer(2);
    let member = plan(Kind::Midge, "n0", free_port(), &[port], "").start();
    stays_silent(&member.broker, "route-failing");
    let finding = appears(&member.broker, "route-failing");
    assert_eq!(finding["subject"], "nonsense");
    assert!(text(&finding).contains("failed 2 times"), "{finding}");
    assert!(text(&finding).contains("Protocol Violation"), "{finding}");
    clears(&member.broker, "route-failing");
    assert_eq!(times.try_iter().count(), 3);
}

/// Data from one member does not arrive at the other: both report it with what they know
/// of the direction, and after two unanswered pings the route is closed.
#[test]
fn a_route_blocked_in_one_direction_is_reported_with_the_direction() {
    let ports = [free_port(), free_port()];
    let near = plan(Kind::Midge, "n0", ports[0], &[], "route_silence: 500ms").start();
    let way = Way::to(ports[0], 0);
    let mut far = plan(
        Kind::Midge,
        "n1",
        ports[1],
        &[way.port],
        "route_silence: 500ms",
    );
    let pings = "name: mesh\n  ping_interval: \"3s\"\n  ping_max: 2";
    far.cluster = pings.into();
    let far = far.start();
    mesh::wait_for_mesh(&[&near, &far]);
    for broker in [&near.broker, &far.broker] {
        wait_until("every row of the matrix is full", || {
            all_see_all(&broker.get_json("/clusterz"), 2)
        });
        stays_silent(broker, "route-slow");
    }
    // Data from n0 arrives over the connection that n1 dialled.
    way.back.held.store(true, Ordering::Relaxed);
    let says = |broker: &Broker, words: &str| {
        wait_until(words, || {
            findings(broker, "route-slow")
                .iter()
                .any(|finding| text(finding).contains(words))
        });
    };
    says(&near.broker, "what this broker sends does not arrive there");
    says(&far.broker, "nor sent anything else");
    let result = checks(&far.broker, 2, 1);
    assert!(result.contains("route-slow \"n0\""), "{result}");
    way.back.held.store(false, Ordering::Relaxed);
    clears(&near.broker, "route-slow");
    clears(&far.broker, "route-slow");

    way.back.held.store(true, Ordering::Relaxed);
    let result = checks(&far.broker, 2, 2);
    assert!(result.contains("\"n0\" is missing"), "{result}");
    way.back.held.store(false, Ordering::Relaxed);
    clears(&far.broker, "route-missing");
    checks(&far.broker, 2, 0);
}

#[test]
fn a_distant_member_is_reported_as_slow() {
    let ports = [free_port(), free_port()];
    let near = plan(Kind::Midge, "n0", ports[0], &[], "").start();
    let way = Way::to(ports[0], 0);
    let far = plan(
        Kind::Midge,
        "n1",
        ports[1],
        &[way.port],
        "route_silence: 60s",
    )
    .start();
    mesh::wait_for_mesh(&[&near, &far]);
    stays_silent(&far.broker, "route-slow");
    way.forth.delay_ms.store(400, Ordering::Relaxed);
    let finding = appears(&far.broker, "route-slow");
    assert!(text(&finding).contains("a round trip takes"), "{finding}");
    way.forth.delay_ms.store(0, Ordering::Relaxed);
    clears(&far.broker, "route-slow");
}

/// Two members have routes to a third but not to each other: the third reports it, and
/// the two learn of each other.
#[test]
pub fn members_without_a_route_between_them_are_named() {
    let (hub, ports) = (free_port(), [free_port(), free_port()]);
    let reported = [free_port(), free_port()];
    let middle = plan(Kind::Midge, "n2", hub, &[], "").start();
    let apart: Vec<Member> = [0, 1]
        .map(|index| {
            let mut plan = plan(Kind::Midge, &format!("n{index}"), ports[index], &[hub], "");
            // Nothing listens there yet.
            plan.cluster = format!(
                "name: mesh\n  connect_retries: 100\n  cluster_advertise: \"127.0.0.1:{}\"",
                reported[index]
            );
            plan.start()
        })
        .into();
    let finding = appears(&middle.broker, "route-asymmetric");
    assert!(
        text(&finding).contains("n0 and n1 have no route to each other"),
        "{finding}"
    );
    let finding = appears(&apart[0].broker, "route-asymmetric");
    assert_eq!(finding["subject"], "n1");
    assert!(text(&finding).contains("n2 has a route to n1"), "{finding}");
    let result = checks(&middle.broker, 3, 1);
    assert!(result.contains("route-asymmetric"), "{result}");

    let _ways: Vec<Way> = (0..2)
        .map(|index| Way::to(ports[index], reported[index]))
        .collect();
    clears(&middle.broker, "route-asymmetric");
    clears(&apart[0].broker, "route-asymmetric");
    stays_silent(&middle.broker, "route-asymmetric");
}
