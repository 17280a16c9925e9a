//! The endpoints show what clients did.

use std::collections::BTreeSet;

use serde_json::Value;

use test_support::{Broker, RawClient, wait_for, wait_until};

fn client(broker: &Broker, name: &str, user: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":\"{name}\",\"user\":\"{user}\"}}\r\n"
    ));
    client.sync();
    client
}

fn names(answer: &Value) -> Vec<&str> {
    let connections = answer["connections"]
        .as_array()
        .expect("a list of connections");
    connections
        .iter()
        .filter_map(|entry| entry["name"].as_str())
        .collect()
}

fn entry(broker: &Broker, query: &str, name: &str) -> Option<Value> {
    let answer = broker.get_json(query);
    let connections = answer["connections"]
        .as_array()
        .expect("a list of connections");
    connections
        .iter()
        .find(|entry| entry["name"] == name)
        .cloned()
}

/// Totals change by what was published and delivered, and requests are counted.
#[test]
fn varz_counts_messages_connections_and_requests() {
    let broker = Broker::midge().start();
    let before = broker.get_json("/varz");
    let mut reader = client(&broker, "reader", "");
    reader.send("SUB a.* 1\r\nSUB a.b 2\r\n");
    reader.sync();
    let mut writer = client(&broker, "writer", "");
    writer.send("PUB a.b 5\r\nhello\r\nPUB a.c 3\r\nabc\r\nPUB nobody 2\r\nno\r\n");
    writer.sync();
    broker.get("/subscriptionsz");
    broker.get("/nope");
    let varz = broker.get_json("/varz");
    for (name, expected) in [
        ("in_msgs", 3),
        ("in_bytes", 10),
        ("out_msgs", 3),
        ("out_bytes", 13),
        ("in_client_msgs", 3),
        ("out_client_bytes", 13),
        ("connections", 2),
        ("subscriptions", 2),
    ] {
        assert_eq!(varz[name], expected, "{name}");
    }
    let accepted = |varz: &Value| varz["total_connections"].as_u64().expect("a number");
    assert_eq!(accepted(&varz) - accepted(&before), 2);
    let requests = &varz["http_req_stats"];
    assert_eq!(requests["/varz"], 2);
    assert_eq!(requests["/subsz"], 1);
    assert_eq!(requests.as_object().map(|paths| paths.len()), Some(2));
    assert!(varz["mem"].as_u64().is_some_and(|bytes| bytes > 1 << 20));
    assert!(
        varz["gomaxprocs"]
            .as_u64()
            .is_some_and(|workers| workers > 0)
    );
    assert_eq!(varz["port"], broker.client_addr().port());
}

/// The processor use is not zero once there is some.
#[test]
fn varz_shows_processor_use() {
    let broker = Broker::midge().start();
    let mut writer = client(&broker, "writer", "");
    wait_until("the broker's processor use is shown", || {
        writer.send("PUB a 5\r\nhello\r\n".repeat(10_000));
        writer.sync();
        broker.get_json("/varz")["cpu"]
            .as_f64()
            .is_some_and(|percent| percent > 0.5)
    });
}

/// Together, the pages contain each connection once.
#[test]
fn a_thousand_connections_are_listed_and_paged() {
    let broker = Broker::midge().start();
    let mut clients: Vec<_> = (0..1000).map(|_| broker.connect()).collect();
    clients.iter_mut().for_each(|client| {
        client.sync();
    });
    let all = broker.get_json("/connz");
    assert_eq!(all["num_connections"], 1000);
    assert_eq!(all["total"], 1000);
    let ids = |answer: &Value| -> Vec<u64> {
        let connections = answer["connections"].as_array().expect("a list").iter();
        connections
            .filter_map(|entry| entry["cid"].as_u64())
            .collect()
    };
    let expected = ids(&all);
    assert!(expected.is_sorted());
    let mut paged = Vec::new();
    while paged.len() < 1000 {
        let page = broker.get_json(&format!("/connz?limit=300&offset={}", paged.len()));
        assert_eq!(page["offset"], paged.len());
        assert_eq!(page["limit"], 300);
        assert_eq!(page["total"], 1000);
        let found = ids(&page);
        assert!(!found.is_empty());
        paged.extend(found);
    }
    assert_eq!(paged, expected);
    let ports: BTreeSet<_> = clients.iter().map(RawClient::local_port).collect();
    let listed: BTreeSet<_> = all["connections"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| u16::try_from(entry["port"].as_u64()?).ok())
        .collect();
    assert_eq!(ports, listed);
}

/// `sort`, `cid` and `user` have their documented effect.
#[test]
fn connections_are_sorted_and_selected() {
    let broker = Broker::midge().start();
    let mut clients = [
        client(&broker, "few", "ann"),
        client(&broker, "many", "bob"),
        client(&broker, "none", "ann"),
    ];
    clients[0].send("SUB a 1\r\nPUB x 1\r\n1\r\n");
    clients[1].send("SUB a 1\r\nSUB b 2\r\nPUB x 1\r\n1\r\nPUB x 1\r\n1\r\n");
    clients.iter_mut().for_each(|client| {
        client.sync();
    });
    for (sort, expected) in [
        ("cid", ["few", "many", "none"]),
        ("subs", ["many", "few", "none"]),
        ("msgs_from", ["many", "few", "none"]),
    ] {
        let answer = broker.get_json(&format!("/connz?sort={sort}"));
        assert_eq!(names(&answer), expected, "{sort}");
    }
    let by_user = broker.get_json("/connz?user=ann");
    assert_eq!(names(&by_user), ["few", "none"]);
    assert_eq!(by_user["total"], 3);
    let many = entry(&broker, "/connz?auth=1", "many").expect("an entry");
    assert_eq!(many["authorized_user"], "bob");
    let by_id = broker.get_json(&format!("/connz?cid={}", many["cid"]));
    assert_eq!(names(&by_id), ["many"]);
    assert_eq!(by_id["limit"], 1);
}

/// Subscriptions are shown as a count, as subjects, or in full.
#[test]
fn subscriptions_have_three_levels_of_detail() {
    let broker = Broker::midge().start();
    let mut client = client(&broker, "reader", "");
    client.send("SUB a.> 1\r\nSUB b crew 2\r\nUNSUB 2 7\r\nPUB b 1\r\n1\r\n");
    client.sync();
    let count = entry(&broker, "/connz", "reader").expect("an entry");
    assert_eq!(count["subscriptions"], 2);
    assert!(count.get("subscriptions_list").is_none());
    let subjects = entry(&broker, "/connz?subs=1", "reader").expect("an entry");
    let list = subjects["subscriptions_list"].as_array().expect("a list");
    let list: BTreeSet<_> = list.iter().filter_map(Value::as_str).collect();
    assert_eq!(list, BTreeSet::from(["a.>", "b"]));
    let full = entry(&broker, "/connz?subs=detail", "reader").expect("an entry");
    let details = full["subscriptions_list_detail"]
        .as_array()
        .expect("a list");
    let queue = details
        .iter()
        .find(|detail| detail["subject"] == "b")
        .expect("b");
    assert_eq!(queue["qgroup"], "crew");
    assert_eq!(queue["sid"], "2");
    assert_eq!(queue["msgs"], 1);
    assert_eq!(queue["max"], 7);
    assert_eq!(queue["cid"], full["cid"]);
    for (query, total) in [
        ("test=a.b.c", 1),
        ("test=b", 1),
        ("test=c", 0),
        ("acc=$G", 2),
        ("acc=x", 0),
    ] {
        let answer = broker.get_json(&format!("/subsz?subs=1&{query}"));
        assert_eq!(answer["total"], total, "{query}");
        let listed = answer["subscriptions_list"].as_array().map_or(0, Vec::len);
        assert_eq!(listed, total, "{query}");
    }
    let page = broker.get_json("/subsz?subs=1&offset=1&limit=1");
    assert_eq!(page["total"], 2);
    assert_eq!(page["subscriptions_list"].as_array().map(Vec::len), Some(1));
}

/// A closed connection keeps its counters and shows why it was closed.
#[test]
fn closed_connections_have_a_reason() {
    let broker = Broker::midge().start();
    let mut leaver = client(&broker, "leaver", "ann");
    leaver.send("SUB kept 1\r\nPUB x 3\r\nabc\r\n");
    leaver.sync();
    drop(leaver);
    let mut babbler = client(&broker, "babbler", "");
    babbler.send("NONSENSE\r\n");
    babbler.read_to_end();
    for (name, reason) in [
        ("leaver", "Client Closed"),
        ("babbler", "Protocol Violation"),
    ] {
        let closed = wait_for("the closed connection is listed", || {
            entry(&broker, "/connz?state=closed&subs=1", name)
        });
        assert_eq!(closed["reason"], reason);
        assert!(closed["stop"].is_string());
        if name == "leaver" {
            assert_eq!(closed["in_bytes"], 3);
            assert_eq!(closed["subscriptions_list"][0], "kept");
        }
    }
    let stay = client(&broker, "stayer", "");
    assert_eq!(names(&broker.get_json("/connz")), ["stayer"]);
    let any = broker.get_json("/connz?state=any");
    assert!(
        ["leaver", "babbler", "stayer"]
            .iter()
            .all(|name| names(&any).contains(name))
    );
    let by_reason = broker.get_json("/connz?state=closed&sort=reason");
    let reasons: Vec<_> = by_reason["connections"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["reason"].as_str())
        .collect();
    assert!(reasons.is_sorted(), "{reasons:?}");
    drop(stay);
}

/// Client names are escaped, in JSON and on the page.
#[test]
fn client_supplied_names_are_escaped() {
    let broker = Broker::midge().start();
    let mut untrusted_peer = broker.connect();
    untrusted_peer.send("CONNECT {\"verbose\":false,\"name\":\"<blink>\\\"\\u0000\\n\"}\r\n");
    untrusted_peer.sync();
    assert!(entry(&broker, "/connz", "<blink>\"\0\n").is_some());
    assert!(!broker.get("/").body.contains("<blink>"));
}

/// The page refers to no other host, and its links work.
#[test]
fn the_index_page_loads_nothing_external() {
    let broker = Broker::midge().start();
    let page = broker.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        !page.body.contains("//"),
        "a link to another host: {}",
        page.body
    );
    let links: Vec<_> = page.body.split("<a href=\"").skip(1).collect();
    assert!(links.len() >= 10);
    for link in links {
        let path = link.split('"').next().expect("a path");
        let path = path.strip_prefix('.').expect("a relative link");
        assert_eq!(broker.get(path).status, 200, "{path}");
    }
}
