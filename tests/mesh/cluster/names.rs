//! The generated names of members and of clusters without a configured name: those of members
//! survive a restart and are never the name of another member; that of a cluster is the same at
//! each member, whoever joins.

use std::{collections::BTreeSet, fs};

use super::tls;
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};
use test_support::{pki::Pki, wait_until};

/// A member without a name is named after its certname; without TLS a midge after its host, a
/// nats-server after its route address. It keeps the name after a restart, and no other member is
/// reported missing.
#[test]
fn unnamed_members_keep_their_generated_name() {
    let pki = Pki::new(&["n0", "node7"]);
    for (kind, with_tls) in [
        (Kind::Nats, true),
        (Kind::Nats, false),
        (Kind::Midge, true),
        (Kind::Midge, false),
    ] {
        let ports = [free_port(), free_port()];
        let plan = |kind, index: usize, certname: &str| {
            let mut plan = Plan::new(kind, "n0", ports[index], &ports[..index]);
            if with_tls {
                plan.cluster += &format!("\n  {}", tls::block(&pki, certname, &pki, ""));
            }
            plan
        };
        let seer = plan(Kind::Midge, 0, "n0").start();
        let nameless = plan(kind, 1, "node7");
        let text = nameless.text().replace("server_name: n0\n", "");
        let called = match (with_tls, kind) {
            (true, _) => "node7".to_owned(),
            (false, Kind::Midge) => hostname(),
            (false, _) => format!("127.0.0.1:{}", ports[1]),
        };
        let mut ids = Vec::new();
        for _ in 0..2 {
            let mut member = nameless.start_with(text.clone());
            wait_until("there is a route", || seer.routes().len() == 1);
            let id = seer.routes()[0]["remote_id"].clone();
            assert!(!ids.contains(&id), "it has another id each time");
            ids.push(id);
            seer.broker
                .log()
                .wait_for(&format!("created to \"{called}\""));
            let members = seer.broker.get_json("/clusterz")["members"].clone();
            let members = members.as_array().expect("members").clone();
            let others = members.iter().filter(|one| one["name"] == called.as_str());
            assert_eq!(others.count(), 1, "{kind:?} {with_tls}: {members:?}");
            assert!(members.len() <= 2, "{members:?}");
            if kind == Kind::Midge {
                // It calls itself the same.
                let own = member.broker.get_json("/clusterz")["members"][0].clone();
                assert_eq!(own["own"], true);
                assert_eq!(own["name"], *called);
            }
            member.broker.stop();
            wait_until("it is gone", || seer.routes().is_empty());
        }
    }
}

/// Unnamed members that share one certificate are distinguished by their addresses, and a
/// member configured with such a name is accepted.
#[test]
fn members_sharing_a_certificate_are_distinct() {
    let pki = Pki::new(&["shared"]);
    let ports: Vec<u16> = (0..5).map(|_| free_port()).collect();
    let text = |index: usize, name: &str| {
        let mut plan = Plan::new(Kind::Midge, "x", ports[index], &ports[..1.min(index)]);
        plan.cluster += &format!("\n  {}", tls::block(&pki, "shared", &pki, ""));
        plan.text().replace("server_name: x\n", name)
    };
    let start = |index: usize, name: &str| {
        Plan::new(Kind::Midge, "x", ports[index], &[]).start_with(text(index, name))
    };
    let seer = start(0, "");
    let mut members: Vec<_> = (1..4).map(|index| start(index, "")).collect();
    let all = |connected: usize| {
        wait_until(&format!("three are known, {connected} connected"), || {
            let members = seer.broker.get_json("/clusterz")["members"].clone();
            let members = members.as_array().cloned().unwrap_or_default();
            let others = || members.iter().filter(|member| member["own"] != true);
            let names: BTreeSet<String> =
                others().map(|member| member["name"].to_string()).collect();
            let there = others().filter(|it| it["connected"] == true).count();
            (names.len(), there) == (3, connected)
        });
    };
    all(3);
    for member in &mut members {
        member.broker.kill();
    }
    all(0);
    members[2] = start(3, "");
    all(1);
    members[0] = start(1, "");
    all(2);
    let named = start(4, "server_name: shared\n");
    mesh::wait_for_mesh(&[&seer, &members[0], &members[2], &named]);
    seer.broker.log().assert_lacks("duplicate name");
}

fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("the host's name");
    name.trim().to_owned()
}

/// Members of one host are told apart: only one that is alone with it has the host's name, and
/// none has that of the broker that shows it.
#[test]
fn members_of_one_host_are_distinct() {
    let ports = [free_port(), free_port(), free_port()];
    let start = |index: usize| {
        let plan = Plan::new(Kind::Midge, "x", ports[index], &ports[..index]);
        plan.start_with(plan.text().replace("server_name: x\n", ""))
    };
    let members = [0, 1, 2].map(start);
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    for member in &members {
        let clusterz = member.broker.get_json("/clusterz");
        let all = clusterz["members"].as_array().cloned().unwrap_or_default();
        let names: BTreeSet<String> = all.iter().map(|it| it["name"].to_string()).collect();
        assert_eq!(names.len(), 3, "{clusterz}");
        assert_eq!(all[0]["name"], hostname().as_str());
    }
}

/// The text of a member of a cluster without a name.
fn unnamed(plan: &Plan) -> String {
    plan.text().replace("name: mesh\n", "\n")
}

/// The ids of the connections that are a member's routes.
fn rids(member: &Member) -> BTreeSet<u64> {
    let routes = member.routes().into_iter();
    routes.filter_map(|route| route["rid"].as_u64()).collect()
}

fn cluster_name(member: &Member) -> String {
    let name = member.broker.connect().info()["cluster"].clone();
    name.as_str().unwrap_or_default().to_owned()
}

/// Whoever joins a cluster without a name, no route between its members ends: they have the name
/// already that the newcomer makes up or takes over.
#[test]
fn a_member_that_joins_ends_no_route() {
    let seed = free_port();
    let start = |kind: Kind, name: &str, port: u16, routes: &[u16]| {
        let plan = Plan::new(kind, name, port, routes);
        plan.start_with(unnamed(&plan))
    };
    let mut members = vec![start(Kind::Midge, "n0", seed, &[])];
    for index in 1..3 {
        let name = format!("n{index}");
        members.push(start(Kind::Midge, &name, free_port(), &[seed]));
    }
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    let before: Vec<BTreeSet<u64>> = members.iter().map(rids).collect();
    let name = cluster_name(&members[0]);
    for (round, kind) in [
        Kind::Midge,
        Kind::Nats,
        Kind::Nats29,
        Kind::Midge,
        Kind::Nats,
    ]
    .into_iter()
    .enumerate()
    {
        let joined = start(kind, &format!("j{round}"), free_port(), &[seed]);
        let all: Vec<&Member> = members.iter().chain([&joined]).collect();
        mesh::wait_for_mesh(&all);
        for (member, before) in members.iter().zip(&before) {
            assert!(
                rids(member).is_superset(before),
                "{kind:?}: a route has ended"
            );
            assert_eq!(cluster_name(member), name);
        }
        wait_until("it has taken the name over", || {
            cluster_name(&joined) == name
        });
        drop(joined);
        wait_until("it is gone", || {
            members.iter().all(|member| member.routes().len() == 2)
        });
    }
}
