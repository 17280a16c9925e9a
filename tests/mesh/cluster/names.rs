//! The generated names of members without a configured name: they survive a restart and
//! are never the name of another member.

use std::collections::BTreeSet;

use super::tls;
use test_support::{
    free_port,
    mesh::{self, Kind, Plan},
};
use test_support::{pki::Pki, wait_until};

/// A member without a name is named after its certname, or without TLS after its route
/// address. It keeps the name after a restart, and no other member is reported missing.
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
        let called = match with_tls {
            true => "node7".to_owned(),
            false => format!("127.0.0.1:{}", ports[1]),
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
