//! What is not passed on.

use serde_json::{Value, json};
use test_support::{Broker, RawClient, wait_until};

use super::{Node, REPLY, admin, ask, federationz, figure, publish, request, round_trip, site};

/// Whoever may send requests to the federation can publish on the site only to its agents,
/// services and nodes. What else comes is counted by its reason, and told once.
#[test]
fn only_subjects_of_the_collectives_are_published_on() {
    let central = Broker::midge().start();
    let site = site("prod", &[&central], "collectives: [mcollective, eu]");
    let mut spy = RawClient::connect_quietly(site.client_addr());
    spy.send("SUB > 1\r\n");
    spy.sync();
    let mut admin = admin(&central);
    let with_reply = |subject: &str| {
        let mut message = request("x", &["mcollective.node.web1"]);
        message["headers"]["reply-to"] = json!(subject);
        message
    };
    let refused: [(Value, &str); 9] = [
        (request("x", &["other"]), "target"),
        (
            request("x", &["mcollective.node.web1", "$SYS.REQ.SERVER.PING"]),
            "target",
        ),
        (request("x", &["us.node.web1"]), "target"),
        (
            request("x", &["choria.federation.prod.federation"]),
            "target",
        ),
        (
            request("x", &["mcollective.node.a\r\nPUB other 0\r\n"]),
            "target",
        ),
        (request("x", &[]), "no_targets"),
        (with_reply("other"), "reply_to"),
        (json!({ "headers": {} }), "not_federated"),
        (json!([1]), "malformed"),
    ];
    for _ in 0..2 {
        for (message, _) in &refused {
            ask(&mut admin, "prod", message);
        }
    }
    let expected = json!({
        "target": 10, "no_targets": 2, "reply_to": 2, "not_federated": 2, "malformed": 2,
    });
    wait_until("all are counted", || {
        federationz(&site)["requests"]["refused_by_reason"] == expected
    });
    assert!(
        refused
            .iter()
            .all(|(_, reason)| !expected[*reason].is_null())
    );
    assert_eq!(figure(&site, "requests", "refused"), 18);
    for allowed in ["eu.node.web1", "eu.broadcast.service.a"] {
        ask(&mut admin, "prod", &request("y", &[allowed]));
    }
    for _ in 0..2 {
        let frame = spy.next_message();
        assert!(frame.arguments()[0].starts_with("eu."), "{frame:?}");
    }
    assert!(spy.sync().is_empty());
    let log = site.log();
    log.wait_for_count("is not passed on by the federation", 5);
    let findings = || site.get_json("/explainz").to_string();
    wait_until("it is a finding", || {
        findings().contains("federation-refused")
    });
    assert!(findings().contains("requests: target"));
}

/// Nodes can reply to clients, and publish on nothing else upstream.
#[test]
fn only_reply_subjects_are_published_on_upstream() {
    let central = Broker::midge().start();
    let site = site("prod", &[&central], "");
    let mut spy = RawClient::connect_quietly(central.client_addr());
    spy.send("SUB > 1\r\n");
    spy.sync();
    let mut node = RawClient::connect_quietly(site.client_addr());
    let reply = |to: &str| {
        json!({
            "data": "e30=",
            "headers": { "mc_sender": "web1", "federation": { "req": "1", "reply-to": to } },
        })
    };
    let subject = "choria.federation.prod.collective";
    for to in [
        "other",
        "mcollective.node.web1",
        "choria.federation.prod.federation",
        "mcollective.reply.>",
    ] {
        publish(&mut node, subject, &reply(to));
    }
    node.send(format!("PUB {subject} 3\r\nabc\r\n"));
    publish(&mut node, subject, &reply(REPLY));
    assert_eq!(spy.next_message().arguments()[0], REPLY);
    assert!(spy.sync().is_empty());
    let answer = federationz(&site);
    let expected = json!({ "reply_to": 4, "malformed": 1 });
    assert_eq!(answer["replies"]["refused_by_reason"], expected);
}

/// Two sites that are each other's upstream, and one that is its own.
#[test]
fn loops_of_sites_end() {
    let [first, second] = [0, 1].map(|_| test_support::free_port());
    let config = |name: &str, upstream: u16| {
        format!(
            "server_name: {name}1\n\
             federation {{ name: {name}, upstream: \"nats://127.0.0.1:{upstream}\" }}"
        )
    };
    let one = Broker::midge()
        .config(config("one", second))
        .port(first)
        .start();
    let other = Broker::midge()
        .config(config("other", first))
        .port(second)
        .start();
    super::connected(&one);
    super::connected(&other);
    let mut node = Node::at(&one, "web1");
    // A client at `other` reaches the nodes of `one`, and the other way round nobody.
    let mut client = admin(&other);
    round_trip(&mut client, "one", &mut node);
    for targets in [
        ["choria.federation.other.federation"],
        ["choria.federation.one.federation"],
        ["choria.federation.one.collective"],
    ] {
        ask(&mut client, "one", &request("loop", &targets));
    }
    wait_until("they are refused", || {
        figure(&one, "requests", "refused") == 3
    });
    // A request that was here before.
    let mut again = request("loop", &["mcollective.node.web1"]);
    let hop = json!(["nats://a:1", "one:midge @ one1", "nats://b:1"]);
    again["headers"]["seen-by"] = json!([hop]);
    ask(&mut client, "one", &again);
    wait_until("it is refused", || figure(&one, "requests", "refused") == 4);
    assert_eq!(
        federationz(&one)["requests"]["refused_by_reason"]["loop"],
        1
    );
    round_trip(&mut client, "one", &mut node);
    assert_eq!(figure(&other, "requests", "received"), 0);

    let port = test_support::free_port();
    let own = Broker::midge()
        .config(config("own", port))
        .port(port)
        .start();
    wait_until("it is told", || {
        let error = federationz(&own)["upstream"]["error"].to_string();
        error.contains("that is this broker itself")
    });
}
