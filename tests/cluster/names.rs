//! What members are called that were given no name: by something that is the same
//! when they are started anew.

use crate::{
    mesh::{Kind, Plan, free_port},
    support::{pki::Pki, wait_until},
    tls,
};

/// Without a name a member is called by its certname, and without TLS by where it
/// takes routes; started anew it is the same member and nobody misses another one.
#[test]
fn nameless_members_keep_what_they_are_called() {
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
            assert!(
                seer.broker
                    .log()
                    .contains(&format!("created to \"{called}\""))
            );
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
