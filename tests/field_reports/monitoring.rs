//! Responses of the monitoring port that were wrong, empty or too widely accessible.

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::Value;

use crate::{both, client, connections, number, publish, subjects};
use test_support::{Broker, wait_until};

/// The number of subscriptions in `/varz` grew with each request for it. Requests must
/// not change it.
#[test]
fn nats_server_2176_requests_do_not_change_the_number_of_subscriptions() {
    let config = "accounts { A { users: [ { user: a, password: a } ] }, B { users: [ { user: b, \
                  password: b } ] } }";
    for builder in both() {
        let broker = builder.config(config).start();
        let mut clients: Vec<_> = ["a", "b", "b"]
            .into_iter()
            .map(|name| crate::user(&broker, name, name))
            .collect();
        for client in &mut clients {
            client.send("SUB one 1\r\nSUB two.* 2\r\nSUB > q 3\r\n");
            client.sync();
        }
        let first = number(&broker.get_json("/varz")["subscriptions"]);
        for _ in 0..10 {
            broker.get_json("/subsz");
            broker.get_json("/connz?subs=1");
            assert_eq!(broker.get_json("/varz")["subscriptions"], first);
        }
        let mine: u64 = connections(&broker, "")
            .iter()
            .map(|it| number(&it["subscriptions"]))
            .sum();
        assert_eq!(mine, 9);
        assert!(first >= 9);
    }
}

/// `/subsz` was empty as soon as there were accounts. It must count and list the
/// subscriptions of all of them, of one on request, and those that match a subject.
#[test]
fn nats_server_1357_subscriptions_of_all_accounts_are_listed() {
    let config = "accounts { A { users: [ { user: a, password: a } ] }, B { users: [ { user: b, \
                  password: b } ] } }";
    for builder in both() {
        let broker = builder.config(config).start();
        let mut clients = ["a", "b"].map(|name| crate::user(&broker, name, name));
        for (client, subject) in clients.iter_mut().zip(["from.*", "from.b"]) {
            client.send(format!("SUB {subject} 1\r\n"));
            client.sync();
        }
        let listed = |query: &str| {
            let answer = broker.get_json(&format!("/subsz?subs=1&limit=1000&{query}"));
            let list = answer["subscriptions_list"].as_array().cloned();
            let subjects = list.unwrap_or_default().into_iter().filter_map(|it| {
                let subject = it["subject"].as_str()?.to_owned();
                subject.starts_with("from.").then_some(subject)
            });
            subjects.collect::<BTreeSet<String>>()
        };
        let both = BTreeSet::from(["from.*".to_owned(), "from.b".to_owned()]);
        assert!(number(&broker.get_json("/subsz")["num_subscriptions"]) >= 2);
        assert_eq!(listed(""), both);
        assert_eq!(listed("acc=A"), BTreeSet::from(["from.*".to_owned()]));
        assert_eq!(listed("test=from.b"), both);
        assert_eq!(listed("test=from.c"), BTreeSet::from(["from.*".to_owned()]));
    }
}

/// `/connz?state=all` was empty on a busy broker. It must list open and closed ones
/// together, up to the limit, and show their number.
#[test]
fn nats_server_770_open_and_closed_connections_are_listed_together() {
    const OPEN: usize = 150;
    const CLOSED: usize = 120;
    for builder in both() {
        let broker = builder.start();
        let open: Vec<_> = (0..OPEN)
            .map(|at| client(&broker, &format!("open-{at}")))
            .collect();
        for at in 0..CLOSED {
            client(&broker, &format!("gone-{at}"));
        }
        wait_until("those that left are closed", || {
            connections(&broker, "state=closed&limit=1024").len() >= CLOSED
        });
        let answer = broker.get_json("/connz?state=all&limit=1024");
        let listed = answer["connections"].as_array().expect("a list");
        let names: BTreeSet<&str> = listed.iter().filter_map(|it| it["name"].as_str()).collect();
        let count = |what: &str| names.iter().filter(|name| name.starts_with(what)).count();
        assert_eq!((count("open-"), count("gone-")), (OPEN, CLOSED));
        assert!(number(&answer["total"]) as usize >= OPEN + CLOSED);
        let few = broker.get_json("/connz?state=all&limit=7");
        assert_eq!(few["connections"].as_array().map(Vec::len), Some(7));
        assert_eq!(few["num_connections"], 7);
        drop(open);
    }
}

/// Connections sorted by idle time were in alphabetical order, ten seconds before nine.
/// The longest must come first.
#[test]
fn nats_server_4462_connections_are_sorted_by_their_idle_time() {
    for builder in both() {
        let broker = builder.start();
        let mut clients: Vec<_> = (0..5)
            .map(|at| client(&broker, &format!("c{at}")))
            .collect();
        // The last activity of each, in another order than their start.
        let order = [3, 0, 4, 1, 2];
        for at in order {
            let last = |broker: &Broker| {
                let listed = connections(broker, "");
                let entry = listed.into_iter().find(|it| it["name"] == format!("c{at}"));
                entry.expect("listed")["last_activity"].clone()
            };
            let before = last(&broker);
            wait_until("its activity is recorded", || {
                clients[at].send(publish("a", 1));
                clients[at].sync();
                last(&broker) != before
            });
        }
        let listed = connections(&broker, "sort=idle");
        let names: Vec<&str> = listed.iter().filter_map(|it| it["name"].as_str()).collect();
        let expected: Vec<String> = order.iter().map(|at| format!("c{at}")).collect();
        assert_eq!(names, expected);
    }
}

/// Behind a proxy with a path, the links of the index page were wrong. They must be
/// relative, with and without a configured path.
#[test]
fn nats_server_1553_links_of_the_index_page_work() {
    for (config, page) in [
        ("", "/"),
        ("http_base_path: \"/nats\"", "/nats"),
        ("http_base_path: \"/nats/one\"", "/nats/one"),
    ] {
        let broker = Broker::midge().config(config).start();
        let answer = broker.get(page);
        assert_eq!(answer.status, 200, "{page}");
        let links: BTreeSet<&str> = answer
            .body
            .split("href=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .filter(|link| !link.starts_with('#') && !link.starts_with("data:"))
            .collect();
        assert!(links.len() > 3, "{links:?}");
        // As a browser does: the part after the last slash is replaced.
        let (folder, _) = page.rsplit_once('/').expect("a path");
        for link in links {
            let relative = link.strip_prefix("./");
            let relative = relative.unwrap_or_else(|| panic!("{page}: {link} is absolute"));
            let path = format!("{folder}/{relative}");
            assert_eq!(broker.get(&path).status, 200, "{page}: {link}");
        }
    }
}

/// A dashboard did not show publishers: it used subscriptions, and they had none. A
/// client without subscriptions must be listed like any other.
#[test]
fn natsboard_6_a_client_that_only_publishes_is_listed_too() {
    for builder in both() {
        let broker = builder.start();
        let mut publisher = client(&broker, "publisher");
        publisher.send(publish("a", 3).repeat(5));
        publisher.sync();
        for query in ["subs=1", "subs=detail", "", "sort=subs"] {
            let listed = connections(&broker, query);
            assert_eq!(listed.len(), 1, "{query}");
            assert_eq!(listed[0]["name"], "publisher", "{query}");
            assert_eq!(listed[0]["in_msgs"], 5, "{query}");
            assert_eq!(listed[0]["subscriptions"], 0, "{query}");
        }
    }
}

/// A broker for all machines also showed the names of all nodes to all machines, since
/// its monitoring port used the clients' address. It must listen on loopback unless
/// configured otherwise.
#[test]
fn puppet_choria_290_monitoring_stays_on_loopback_when_clients_do_not() {
    // The address of the flag is for clients.
    let broker = Broker::midge().flag("-a").flag("0.0.0.0").start();
    assert_eq!(broker.client_addr().ip(), IpAddr::from([0, 0, 0, 0]));
    assert!(broker.monitor_addr().ip().is_loopback());
    let varz = broker.get_json("/varz");
    assert_eq!(varz["http_host"], "127.0.0.1");
}

/// The value of a series with this prefix, summed over its labels.
fn series(metrics: &str, begin: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(begin));
    lines
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum()
}

/// A test program received 160,000 messages and the metric was 290,000, and it was
/// unclear what it counts, and whether it is a counter. Each direction must be exact and
/// a counter.
#[test]
fn exporter_153_the_metrics_count_what_was_published_and_what_was_delivered() {
    let broker = Broker::midge().start();
    let mut readers: Vec<_> = (0..3)
        .map(|at| client(&broker, &format!("r{at}")))
        .collect();
    for reader in &mut readers {
        reader.send("SUB count.* 1\r\n");
        reader.sync();
    }
    let mut publisher = client(&broker, "publisher");
    publisher.send(publish("count.a", 10).repeat(1600));
    publisher.sync();
    for reader in &mut readers {
        assert_eq!(subjects(&reader.sync()).len(), 1600);
    }
    wait_until("all was written", || {
        number(&broker.get_json("/varz")["written_msgs"]) == 4800
    });
    let metrics = broker.get("/metrics").body;
    assert_eq!(series(&metrics, "gnatsd_varz_in_msgs{"), 1600);
    assert_eq!(series(&metrics, "gnatsd_varz_out_msgs{"), 4800);
    assert_eq!(series(&metrics, "gnatsd_varz_in_bytes{"), 16_000);
    assert_eq!(series(&metrics, "gnatsd_varz_out_bytes{"), 48_000);
    let direction = |name: &str| {
        let lines = metrics.lines().filter(|line| {
            line.starts_with("midge_messages_total{") && line.contains(&format!("\"{name}\""))
        });
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum::<u64>()
    };
    assert_eq!((direction("in"), direction("out")), (1600, 4800));
    assert!(metrics.contains("# TYPE midge_messages_total counter"));
}

/// Metrics of a broker that was scraped too early were missing for good. All families
/// must exist from the first scrape on, with zero values, and none may disappear.
#[test]
fn exporter_242_the_first_scrape_has_the_families_of_all_later_ones() {
    fn families(broker: &Broker) -> BTreeSet<String> {
        let metrics = broker.get("/metrics").body;
        let types = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(str::to_owned).collect()
    }
    let broker = Broker::midge().start();
    let first = families(&broker);
    let mut worker = client(&broker, "worker");
    worker.send("SUB a 1\r\nSUB a q 2\r\n");
    worker.send(publish("a", 10).repeat(100));
    assert_eq!(subjects(&worker.sync()).len(), 200);
    let later = families(&broker);
    let lost: Vec<_> = first.difference(&later).collect();
    assert!(lost.is_empty(), "{lost:?}");
    for family in [
        "gnatsd_varz_cpu gauge",
        "gnatsd_varz_mem gauge",
        "gnatsd_varz_in_msgs gauge",
        "gnatsd_varz_slow_consumers gauge",
        "gnatsd_connz_pending_bytes gauge",
        "gnatsd_routez_num_routes gauge",
        "gnatsd_subsz_num_subscriptions gauge",
        "midge_slow_consumers_total counter",
        "midge_messages_lost_total counter",
    ] {
        assert!(first.contains(family), "{family} is missing: {first:?}");
    }
}

/// Puppet's module makes collectd read these fields of `/varz`, each as a number.
#[test]
fn puppet_nats_1_each_field_that_collectd_reads_is_a_number() {
    // `max_pending_size` has been renamed in nats-server since.
    const FIELDS: [&str; 14] = [
        "max_payload",
        "max_control_line",
        "max_pending",
        "mem",
        "connections",
        "total_connections",
        "routes",
        "remotes",
        "in_msgs",
        "out_msgs",
        "in_bytes",
        "out_bytes",
        "slow_consumers",
        "subscriptions",
    ];
    for builder in both() {
        let broker = builder.start();
        let mut client = client(&broker, "worker");
        client.send("SUB a 1\r\n");
        client.send(publish("a", 7).repeat(4));
        assert_eq!(subjects(&client.sync()).len(), 4);
        let varz = broker.get_json("/varz");
        for field in FIELDS {
            assert!(varz[field].is_u64(), "{field}: {}", varz[field]);
        }
        let moved = ["in_msgs", "in_bytes", "out_msgs", "out_bytes"].map(|it| number(&varz[it]));
        assert_eq!(moved, [4, 28, 4, 28]);
        // curl_json accepts no path below an absent key for an object.
        assert!(matches!(varz, Value::Object(_)));
    }
}
