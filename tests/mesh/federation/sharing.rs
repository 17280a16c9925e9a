//! Several federation brokers of one site.

use serde_json::json;
use test_support::{
    Broker, RawClient, free_port,
    mesh::{self, Kind, Member, Plan},
    wait_until,
};

use super::{
    Node, admin, ask, block, connected, federationz, figure, publish, read, request,
    request_to_all, senders, site,
};

/// A mesh of three members, each of them a federation broker of the site.
fn mesh_of_three(central: &Broker) -> Vec<Member> {
    let first = free_port();
    let members: Vec<Member> = (0..3)
        .map(|index| {
            let (port, routes) = match index {
                0 => (first, vec![]),
                _ => (free_port(), vec![first]),
            };
            let mut plan = Plan::new(Kind::Midge, &format!("n{index}"), port, &routes);
            plan.config = block("prod", &[central], "");
            plan.start()
        })
        .collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    for member in &members {
        connected(&member.broker);
        let subject = "choria.federation.prod.collective";
        wait_until("all know all", || member.knowing(subject) == 2);
    }
    members
}

/// The members divide the work: each request reaches each node once, and each reply the client.
#[test]
fn members_of_a_mesh_share_without_doubles() {
    let central = Broker::midge().start();
    let members = mesh_of_three(&central);
    let mut nodes: Vec<Node> = members
        .iter()
        .enumerate()
        .map(|(index, member)| Node::at(&member.broker, &format!("web{index}")))
        .collect();
    for member in &members {
        wait_until("the nodes are known", || {
            member.knows("mcollective.broadcast.agent.rpcutil")
        });
    }
    let mut admin = admin(&central);
    const REQUESTS: usize = 60;
    for index in 0..REQUESTS {
        let target = ["mcollective.broadcast.agent.rpcutil"];
        ask(&mut admin, "prod", &request(&index.to_string(), &target));
    }
    for node in &mut nodes {
        let mut ids: Vec<String> = (0..REQUESTS)
            .map(|_| {
                let request = node.next();
                node.answer(&request);
                request["headers"]["federation"]["req"].to_string()
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), REQUESTS);
        assert!(node.client.sync().is_empty());
    }
    for _ in 0..REQUESTS * nodes.len() {
        admin.next_message();
    }
    assert!(admin.sync().is_empty());
    for (direction, all) in [("requests", REQUESTS), ("replies", REQUESTS * nodes.len())] {
        let counts: Vec<u64> = members
            .iter()
            .map(|member| figure(&member.broker, direction, "received"))
            .collect();
        assert_eq!(
            counts.iter().sum::<u64>(),
            all as u64,
            "{direction}: {counts:?}"
        );
        assert!(
            counts.iter().all(|count| *count > 0),
            "{direction}: {counts:?}"
        );
    }
}

/// The nodes' answers are shared, and yet the broker of a node that never answers knows it, and
/// accuses no other.
#[test]
fn a_node_that_never_answers_is_known_where_it_is_connected() {
    let central = Broker::midge().start();
    let members = mesh_of_three(&central);
    let at = |index: usize, name: &str| Node::at(&members[index].broker, name);
    let mut well = [at(0, "web0"), at(0, "web1"), at(1, "web2"), at(2, "web3")];
    let _hung = at(0, "hung");
    for member in &members {
        wait_until("the nodes are known", || {
            member.knows("mcollective.broadcast.agent.rpcutil")
        });
    }
    let mut admin = admin(&central);
    let mut number = 0;
    let nodes = |member: &Member| federationz(&member.broker)["nodes"].clone();
    wait_until("it is silent", || {
        for _ in 0..20 {
            number += 1;
            ask(&mut admin, "prod", &request_to_all(&number.to_string()));
            well.iter_mut().for_each(Node::serve);
            assert_eq!(senders(&mut admin, well.len()).len(), well.len());
        }
        let known = nodes(&members[0]);
        let named = known["silent_nodes"].as_array().expect("a list");
        assert!(named.iter().all(|node| node["name"] == "hung"), "{known}");
        named.len() == 1
    });
    let known = nodes(&members[0]);
    // A third of the answers comes to each.
    assert!(
        known["silent_nodes"][0]["requests"].as_u64() >= Some(60),
        "{known}"
    );
    for member in &members[1..] {
        let known = nodes(member);
        assert_eq!(known["silent"], 0, "{known}");
        assert!(known["requests_answered"].as_u64() > Some(0), "{known}");
    }
}

/// A federation broker of Choria's in the same queue groups takes its share.
#[test]
fn a_separate_federation_broker_takes_its_share() {
    let central = Broker::midge().start();
    let site = site("prod", &[&central], "");
    let mut other =
        [&central, &site].map(|broker| RawClient::connect_quietly(broker.client_addr()));
    other[0].send("SUB choria.federation.prod.federation prod_federation 1\r\n");
    other[1].send("SUB choria.federation.prod.collective prod_collective 1\r\n");
    other.iter_mut().for_each(|side| drop(side.sync()));
    let mut node = Node::at(&site, "web1");
    let mut admin = admin(&central);
    const REQUESTS: usize = 60;
    for index in 0..REQUESTS {
        let target = ["mcollective.node.web1"];
        ask(&mut admin, "prod", &request(&index.to_string(), &target));
    }
    admin.sync();
    let [upstream, local] = &mut other;
    let theirs = upstream.sync();
    for frame in &theirs {
        let (_, mut message) = read(frame);
        let client = message["headers"]["reply-to"].clone();
        message["headers"]["federation"]["reply-to"] = client;
        message["headers"]["reply-to"] = json!("choria.federation.prod.collective");
        publish(local, "mcollective.node.web1", &message);
    }
    for _ in 0..REQUESTS {
        node.serve();
    }
    node.client.sync();
    let replies = local.sync();
    for frame in &replies {
        let (_, mut message) = read(frame);
        let to = message["headers"]["federation"]["reply-to"].clone();
        let headers = message["headers"].as_object_mut().expect("headers");
        headers.remove("federation");
        publish(upstream, to.as_str().expect("a subject"), &message);
    }
    for _ in 0..REQUESTS {
        admin.next_message();
    }
    assert!(admin.sync().is_empty());
    for (direction, theirs) in [("requests", theirs.len()), ("replies", replies.len())] {
        let ours = figure(&site, direction, "published");
        assert_eq!(ours, (REQUESTS - theirs) as u64, "{direction}");
        assert!(ours > 0 && theirs > 0, "{direction}: {ours} and {theirs}");
    }
}

/// A member that stops leaves the queue groups before: nothing that was asked is lost.
#[test]
fn a_member_that_stops_loses_nothing() {
    for signal in [libc::SIGTERM, libc::SIGUSR2] {
        let central = Broker::midge().start();
        let mut members = mesh_of_three(&central);
        let mut node = Node::at(&members[0].broker, "web1");
        for member in &members[1..] {
            wait_until("the node is known", || {
                member.knows("mcollective.node.web1")
            });
        }
        let mut admin = admin(&central);
        let mut leaving = members.remove(2);
        leaving.broker.signal(signal);
        const REQUESTS: usize = 300;
        for index in 0..REQUESTS {
            let target = ["mcollective.node.web1"];
            ask(&mut admin, "prod", &request(&index.to_string(), &target));
            node.serve();
            assert_eq!(senders(&mut admin, 1).len(), 1);
        }
        leaving.broker.wait_exit();
        leaving.broker.log().wait_for("the federation is left");
    }
}
