//! What goes through, and how it looks on the other side.

use serde_json::{Value, json};
use test_support::{Broker, RawClient, wait_until};

use super::{
    Node, REPLY, admin, ask, federationz, figure, read, request, round_trip, senders, site,
};

/// Each step has the subject, the headers and the hops that were recorded with separate federation
/// brokers; `mco federation trace` needs exactly these five hops.
#[test]
fn a_request_and_its_reply_look_as_recorded() {
    for central in [Broker::midge(), Broker::nats_server()] {
        let central = central.start();
        let site = site("prod", &[&central], "");
        let mut node = Node::at(&site, "web1.example.net");
        let mut admin = admin(&central);
        let sent = request("0f8c", &["mcollective.node.web1.example.net"]);
        ask(&mut admin, "prod", &sent);

        let frame = node.client.next_message();
        assert_eq!(frame.arguments().len(), 3, "no reply subject: {frame:?}");
        let (subject, received) = read(&frame);
        assert_eq!(subject, "mcollective.node.web1.example.net");
        let upstream = central.client_url();
        let local = format!("nats://{}", site.client_addr());
        let who = "prod:midge @ prod1";
        let hop = json!([upstream, who, local]);
        let mut expected = sent.clone();
        expected["headers"]["reply-to"] = json!("choria.federation.prod.collective");
        expected["headers"]["federation"] = json!({ "req": "0f8c", "reply-to": REPLY });
        expected["headers"]["seen-by"] = json!([sent["headers"]["seen-by"][0], hop]);
        assert_eq!(received, expected);

        node.answer(&received);
        let frame = admin.next_message();
        assert_eq!(frame.arguments().len(), 3, "no reply subject: {frame:?}");
        let (subject, reply) = read(&frame);
        assert_eq!(subject, REPLY);
        assert_eq!(reply["data"], "reply of web1.example.net");
        let headers = &reply["headers"];
        assert_eq!(headers["mc_sender"], "web1.example.net");
        assert!(headers.get("federation").is_none(), "{headers}");
        let hops = headers["seen-by"].as_array().expect("hops");
        assert_eq!(hops[3], json!([local, who, upstream]));
        // The client itself adds the fifth.
        assert_eq!(hops.len(), 4);
    }
}

/// The names of Choria's own federation broker, for dashboards made for it.
#[test]
fn the_metrics_have_chorias_names_too() {
    let central = Broker::midge().start();
    let site = site("prod", &[&central], "");
    let mut node = Node::at(&site, "web1");
    let mut admin = admin(&central);
    for _ in 0..3 {
        round_trip(&mut admin, "prod", &mut node);
    }
    let labels = |side: &str| {
        format!(
            "{{name=\"midge\",worker=\"midge\",connected_to=\"{side}\",cluster=\"prod\",\
             identity=\"prod1\"}}"
        )
    };
    let expected: Vec<String> = [
        ("received_msgs", "federation", 3),
        ("received_msgs", "collective", 3),
        ("published_msgs", "federation", 3),
        ("published_msgs", "collective", 3),
        ("errors", "federation", 0),
    ]
    .into_iter()
    .map(|(name, side, count)| format!("choria_federation_{name}{} {count}\n", labels(side)))
    .collect();
    wait_until("all are counted", || {
        let metrics = site.get("/metrics").body;
        expected.iter().all(|line| metrics.contains(line))
    });
    for (broker, query) in [(&site, "?exporter=0"), (&central, "")] {
        let metrics = broker.get(&format!("/metrics{query}")).body;
        assert!(!metrics.contains("choria_federation"), "{query}");
    }
}

/// Version 2 of the protocol; what is not known here stays as it was written.
#[test]
fn version_2_and_unknown_values_pass_unchanged() {
    let central = Broker::midge().start();
    let site = site("prod", &[&central], "");
    let mut node = Node::at(&site, "web1");
    let mut admin = admin(&central);
    let sent = r#"{"protocol":"io.choria.protocol.v2.transport", "n":1.50e3,"data":"c2ln\/ZWQ=",
 "headers":{"sender":"admin","reply":"REPLY","big":123456789012345678901234567890,"federation":
 {"request":"r1","targets":["mcollective.node.web1"],"x":1.0}},"last" : [ ] }"#;
    let sent = sent.replace("REPLY", REPLY);
    let len = sent.len();
    admin.send(format!(
        "PUB choria.federation.prod.federation {len}\r\n{sent}\r\n"
    ));
    let frame = node.client.next_message();
    let expected = format!(
        r#"{{"protocol":"io.choria.protocol.v2.transport", "n":1.50e3,"data":"c2ln\/ZWQ=",
 "headers":{{"sender":"admin","reply":"choria.federation.prod.collective","big":123456789012345678901234567890,"federation":{{"request":"r1","x":1.0,"reply":"{REPLY}"}}}},"last" : [ ] }}"#
    );
    assert_eq!(String::from_utf8_lossy(&frame.body), expected);
    let reply = expected.replace("\"sender\":\"admin\"", "\"sender\":\"web1\"");
    let len = reply.len();
    let subject = "choria.federation.prod.collective";
    node.client
        .send(format!("PUB {subject} {len}\r\n{reply}\r\n"));
    let body = admin.next_message().body;
    let body = String::from_utf8_lossy(&body);
    assert!(
        body.contains("\"n\":1.50e3") && body.contains("\"last\" : [ ]"),
        "{body}"
    );
    assert!(!body.contains("federation\":{"), "{body}");
}

/// A broadcast to two sites: the nodes of both answer, and neither site sees the other's traffic.
#[test]
fn sites_answer_together_and_do_not_see_each_other() {
    let central = Broker::midge().start();
    let sites = ["eu", "us"].map(|name| site(name, &[&central], ""));
    let mut spies = [0, 1].map(|index| {
        let mut spy = RawClient::connect_quietly(sites[index].client_addr());
        spy.send("SUB > 1\r\n");
        spy.sync();
        spy
    });
    let mut nodes = [
        Node::at(&sites[0], "eu1"),
        Node::at(&sites[0], "eu2"),
        Node::at(&sites[1], "us1"),
    ];
    let mut admin = admin(&central);
    let message = request("all", &["mcollective.broadcast.agent.rpcutil"]);
    for name in ["eu", "us"] {
        ask(&mut admin, name, &message);
    }
    nodes.iter_mut().for_each(Node::serve);
    let all = senders(&mut admin, 3);
    assert_eq!(all.into_iter().collect::<Vec<_>>(), ["eu1", "eu2", "us1"]);
    for (spy, messages) in spies.iter_mut().zip([3, 2]) {
        let seen = spy.sync();
        assert_eq!(seen.len(), messages, "{seen:?}");
    }
    assert!(admin.sync().is_empty());
}

/// A direct request goes to each site with the targets of all of them.
#[test]
fn hundreds_of_targets_get_one_copy_each() {
    let central = Broker::midge().start();
    let site = site("prod", &[&central], "");
    let mut all = RawClient::connect_quietly(site.client_addr());
    for index in 0..400 {
        all.send(format!(
            "SUB mcollective.node.n{index}.example.net {index}\r\n"
        ));
    }
    all.sync();
    let targets: Vec<String> = (0..1000)
        .map(|index| format!("mcollective.node.n{index}.example.net"))
        .collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let mut admin = admin(&central);
    for chunk in targets.chunks(500) {
        ask(&mut admin, "prod", &request("many", chunk));
    }
    let mut subjects: Vec<String> = (0..400).map(|_| read(&all.next_message()).0).collect();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), 400);
    wait_until("all are counted", || {
        figure(&site, "requests", "published") == 1000
    });
    assert_eq!(figure(&site, "requests", "without_receiver"), 600);
    assert_eq!(figure(&site, "requests", "received"), 2);
    assert!(all.sync().is_empty());
}

/// Payloads above the size from which they are shared between receivers.
#[test]
fn large_messages_pass_in_both_directions() {
    let central = Broker::midge().start();
    let site = site("prod", &[&central], "");
    let mut nodes = ["web1", "web2"].map(|name| Node::at(&site, name));
    let mut admin = admin(&central);
    for len in [3_000, 5_000, 700_000] {
        let mut sent = request("big", &["mcollective.broadcast.agent.rpcutil"]);
        sent["data"] = json!("x".repeat(len));
        ask(&mut admin, "prod", &sent);
        for node in &mut nodes {
            let received = node.next();
            assert_eq!(received["data"], sent["data"]);
            let mut reply: Value = received.clone();
            reply["headers"]["mc_sender"] = json!(node.name);
            publish_reply(node, &reply);
        }
        assert_eq!(senders(&mut admin, 2).len(), 2);
    }
}

fn publish_reply(node: &mut Node, reply: &Value) {
    super::publish(&mut node.client, "choria.federation.prod.collective", reply);
}

/// The nodes are in an account of their own, as at brokers that Choria's brokers have routes to.
#[test]
fn nodes_in_another_account_are_served() {
    let central = Broker::midge().start();
    let text = format!(
        "accounts {{ choria {{ users: [{{ user: node, password: p }}] }}, other {{}} }}\n\
         no_auth_user: node\n{}",
        super::block("prod", &[&central], "account: choria")
    );
    let site = Broker::midge().config(text).start();
    super::connected(&site);
    let mut node = Node::at(&site, "web1");
    let mut admin = admin(&central);
    round_trip(&mut admin, "prod", &mut node);
    assert_eq!(federationz(&site)["account"], "choria");
}

/// The time of a round trip is measured from the traffic itself.
#[test]
fn round_trips_and_counts_are_shown() {
    let central = Broker::midge().start();
    let site = site("prod", &[&central], "");
    let mut node = Node::at(&site, "web1");
    let mut admin = admin(&central);
    let plain = Broker::midge().start();
    assert_eq!(federationz(&plain)["enabled"], false);
    for index in 0..20 {
        let target = ["mcollective.node.web1"];
        ask(&mut admin, "prod", &request(&index.to_string(), &target));
        node.serve();
        assert_eq!(senders(&mut admin, 1).len(), 1);
    }
    let answer = federationz(&site);
    assert_eq!(
        (&answer["enabled"], &answer["name"]),
        (&json!(true), &json!("prod"))
    );
    assert_eq!(answer["collectives"], json!(["mcollective"]));
    let upstream = &answer["upstream"];
    assert_eq!(
        upstream["address"],
        json!(central.client_addr().to_string())
    );
    assert!(
        upstream["rtt"].as_f64().is_some_and(|rtt| rtt > 0.0),
        "{upstream}"
    );
    for direction in ["requests", "replies"] {
        for name in ["received", "published"] {
            assert_eq!(answer[direction][name], 20, "{direction} {name}: {answer}");
        }
        for name in ["dropped", "refused", "without_receiver"] {
            assert_eq!(answer[direction][name], 0, "{direction} {name}: {answer}");
        }
    }
    let trips = &answer["round_trips"];
    assert_eq!(trips["count"], 20, "{trips}");
    assert!(trips["p50"].as_f64() <= trips["p99"].as_f64(), "{trips}");
    // These were no requests to the agent discovery.
    assert!(trips["shortest"].is_null(), "{trips}");
    let metrics = site.get("/metrics").body;
    for line in [
        "midge_federation_up{federation=\"prod\"} 1",
        "midge_federation_published_messages_total{direction=\"replies\"} 20",
        "midge_federation_round_trip_seconds_count 20",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}
